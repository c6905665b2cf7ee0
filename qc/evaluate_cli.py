"""The options of `qc evaluate` and `qc compare`; the work is in `training`, loaded when used."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from qc.console import AsJson, Verbose, command, load

DataOption = Annotated[
    Path | None,
    typer.Option("--data", envvar="QC_DATA", help="The dataset, or the folder that holds it."),
]


def evaluate(
    target: Annotated[Path, typer.Argument(help="A run, or a bundle.")],
    split: Annotated[str, typer.Option(help="train, val or test.")] = "test",
    run: Annotated[
        Path | None, typer.Option(help="The run of a bundle that lies somewhere else.")
    ] = None,
    data: DataOption = None,
    predictions: Annotated[
        Path | None,
        typer.Option("--predictions", help="CSV of what the model says of each part."),
    ] = None,
    faithfulness: Annotated[
        bool, typer.Option(help="Check that the map shows what the score rests on.")
    ] = True,
    html: Annotated[
        Path | None, typer.Option("--html", help="Report to read, print and sign, to write.")
    ] = None,
    robustness: Annotated[
        bool, typer.Option(help="Judge worse pictures again, for the report.")
    ] = True,
    metadata: Annotated[
        Path | None,
        typer.Option(
            "--metadata",
            metavar="CSV",
            help="Columns by sample_id, in which the report looks for differences.",
        ),
    ] = None,
    as_json: AsJson = False,
    verbose: Verbose = False,
) -> None:
    """Figures of a run or bundle on a split, with intervals; with --html as a report."""
    with command(as_json, verbose) as running:
        load("train", "training.commands:evaluate")(
            running,
            target,
            split=split,
            run=run,
            data=data,
            faithful=faithfulness,
            predictions=predictions,
            html=html,
            robust=robustness,
            metadata=metadata,
        )


def compare(
    first: Annotated[Path, typer.Argument(metavar="A", help="A run, or a bundle.")],
    second: Annotated[Path, typer.Argument(metavar="B", help="Another one.")],
    split: Annotated[str, typer.Option(help="train, val or test.")] = "test",
    run: Annotated[
        list[Path] | None,
        typer.Option(help="The run of a bundle that lies somewhere else: once, or for A and B."),
    ] = None,
    data: DataOption = None,
    html: Annotated[
        Path | None, typer.Option("--html", help="Page with the flips as pictures, to write.")
    ] = None,
    as_json: AsJson = False,
    verbose: Verbose = False,
) -> None:
    """Two models on the same parts: what differs, how sure that is, and on which parts."""
    with command(as_json, verbose) as running:
        load("train", "training.commands:compare")(
            running, first, second, split=split, runs=run or (), data=data, html=html
        )
