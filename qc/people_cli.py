"""The options of `qc people`; the work is in `edge.station.people_commands`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from qc.console import AsJson, Verbose, command, load

people_app = typer.Typer(
    help="Who may log in to the review station of a journal.", no_args_is_help=True
)

_WORK = "edge.station.people_commands"

JournalFile = Annotated[Path, typer.Argument(metavar="JOURNAL", help="The station's journal.")]
Name = Annotated[str, typer.Argument(help="As it will stand in each review.")]


@people_app.command("add")
def add(
    journal: JournalFile,
    name: Name,
    role: Annotated[str, typer.Option(help="operator, reviewer, engineer or auditor.")],
    language: Annotated[str | None, typer.Option(help="en or fr; left out: the browser's.")] = None,
    as_json: AsJson = False,
    verbose: Verbose = False,
) -> None:
    """Add a person; the password is asked for, or read from stdin."""
    with command(as_json, verbose) as running:
        load("station", f"{_WORK}:add")(running, journal, name, role, language)


@people_app.command("list")
def show(journal: JournalFile, as_json: AsJson = False, verbose: Verbose = False) -> None:
    """List the people and their roles."""
    with command(as_json, verbose) as running:
        load("station", f"{_WORK}:show")(running, journal)


@people_app.command("disable")
def disable(
    journal: JournalFile,
    name: Name,
    enable: Annotated[bool, typer.Option("--enable", help="Allow it again.")] = False,
    as_json: AsJson = False,
    verbose: Verbose = False,
) -> None:
    """End what a person may do, at once; the name stays known."""
    with command(as_json, verbose) as running:
        load("station", f"{_WORK}:disable")(running, journal, name, enable=enable)


@people_app.command("password")
def password(
    journal: JournalFile, name: Name, as_json: AsJson = False, verbose: Verbose = False
) -> None:
    """Give a person another password; sessions, and a lock-out of the name, end."""
    with command(as_json, verbose) as running:
        load("station", f"{_WORK}:password")(running, journal, name)
