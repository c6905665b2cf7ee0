"""The options of `qc card`; the work is in `qc.card`, loaded when it is used."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from qc.console import AsJson, Verbose, command, load


def card(
    bundle: Annotated[Path, typer.Argument(help="A bundle.")],
    out: Annotated[
        Path | None, typer.Option("--out", help="Markdown to write; left out: stdout.")
    ] = None,
    evaluation: Annotated[
        Path | None,
        typer.Option(
            "--evaluation", metavar="JSON", help="What `qc evaluate BUNDLE --json` printed."
        ),
    ] = None,
    as_json: AsJson = False,
    verbose: Verbose = False,
) -> None:
    """The model card of a bundle: what it is, what was measured, and what nobody knows of it."""
    with command(as_json, verbose) as running:
        load("edge", "qc.card:card")(running, bundle, out, evaluation)
