"""The options of `qc review`; the work is in `edge.station`, loaded when used."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from qc.console import AsJson, Verbose, command, load


def review(
    journal: Annotated[Path, typer.Argument(help="A journal.")],
    host: Annotated[str, typer.Option(help="Address to serve on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to serve on.")] = 8500,
    reviewer: Annotated[
        str | None, typer.Option(help="One person alone on this machine, without login.")
    ] = None,
    cert: Annotated[
        Path | None, typer.Option(help="Certificate (PEM); left out: one signed by itself.")
    ] = None,
    key: Annotated[Path | None, typer.Option(help="Its private key (PEM).")] = None,
    second: Annotated[
        float, typer.Option(min=0, max=1, help="Share that another person looks at blind.")
    ] = 0.0,
    bundle: Annotated[
        Path | None, typer.Option(help="Draws occlusion maps, where it has no map of its own.")
    ] = None,
    research: Annotated[
        bool, typer.Option("--research", help="Not for diagnostic use; ids are hashed.")
    ] = False,
    webhook: Annotated[
        str | None, typer.Option(metavar="URL", help="Is told of each decision, as signed JSON.")
    ] = None,
    webhook_secret_env: Annotated[
        str, typer.Option(metavar="NAME", help="Environment variable with its secret.")
    ] = "",
    compare: Annotated[
        tuple[Path, Path] | None,
        typer.Option(metavar="A B", help="Two bundles to compare over what was reviewed."),
    ] = None,
    as_json: AsJson = False,
    verbose: Verbose = False,
) -> None:
    """Serve the flagged parts of a journal for review in a browser."""
    with command(as_json, verbose):
        occluder = None if bundle is None else load("edge", "edge.commands:occluder")(bundle)
        comparer = None
        if compare is not None:
            comparer = load("edge", "edge.comparing_commands:comparer")(*compare)
        hook = None
        if webhook is not None:
            hook = load("webhook", "edge.station.webhook:webhook_to")(webhook, webhook_secret_env)
        load("station", "edge.station.serve:serve")(
            journal,
            host,
            port,
            reviewer,
            verbose,
            occluder,
            certificate=(cert, key),
            second=second,
            comparer=comparer,
            webhook=hook,
            research=research,
        )
