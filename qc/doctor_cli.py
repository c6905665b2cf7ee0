"""The options of `qc doctor`; the work is in `edge.doctor`, loaded when it is used."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from qc.console import AsJson, Verbose, command, load


def doctor(
    file: Annotated[
        Path | None,
        typer.Argument(help="A bundle, or a line file (.toml), that is to run here."),
    ] = None,
    key: Annotated[
        list[Path] | None,
        typer.Option("--key", metavar="PUB", help="Must have signed the bundle; may be repeated."),
    ] = None,
    journal: Annotated[
        Path | None,
        typer.Option("--journal", help="The journal to be written; left out: one in this folder."),
    ] = None,
    as_json: AsJson = False,
    verbose: Verbose = False,
) -> None:
    """Whether this machine can run a line; exit 1 names what is wrong, with what mends it."""
    with command(as_json, verbose) as running:
        load("edge", "edge.doctor.command:doctor")(running, file, key or (), journal)
