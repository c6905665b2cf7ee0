"""The options of `qc run` and `qc line`; the work is in `edge.line_commands`, loaded when used."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from qc.console import AsJson, Verbose, command, load

line_app = typer.Typer(help="Ask a running line, and tell it what to do.", no_args_is_help=True)

LineFileArgument = Annotated[
    Path, typer.Argument(metavar="LINE", help="The line file that `qc run` runs.")
]


@line_app.command("status")
def status(line: LineFileArgument, as_json: AsJson = False, verbose: Verbose = False) -> None:
    """The account of a running line, and how its sources and sinks do."""
    with command(as_json, verbose) as running:
        load("edge", "edge.line_commands:status")(running, line)


@line_app.command("swap")
def swap(
    line: LineFileArgument,
    bundle: Annotated[Path, typer.Argument(help="The bundle that is to judge.")],
    as_json: AsJson = False,
    verbose: Verbose = False,
) -> None:
    """Take over another bundle between two parts, once it is checked and replayed."""
    with command(as_json, verbose) as running:
        load("edge", "edge.line_commands:swap")(running, line, bundle)


@line_app.command("rollback")
def rollback(line: LineFileArgument, as_json: AsJson = False, verbose: Verbose = False) -> None:
    """Go back to the bundle that judged before the last swap."""
    with command(as_json, verbose) as running:
        load("edge", "edge.line_commands:rollback")(running, line)


def run(
    line: Annotated[Path, typer.Argument(help="A line file (TOML).")],
    show: Annotated[bool, typer.Option("--show", help="Show the last part in a window.")] = False,
    as_json: AsJson = False,
    verbose: Verbose = False,
) -> None:
    """Run a line: source, inspect, journal, sinks."""
    with command(as_json, verbose) as running:
        load("edge", "edge.line_commands:run")(running, line, show=show)
