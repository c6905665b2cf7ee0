"""The options of `qc keys`; the work is in `qc.signature`, loaded when it is used."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from qc.console import AsJson, Verbose, command, load

keys_app = typer.Typer(help="Make keys, and sign bundles with them.", no_args_is_help=True)


@keys_app.command("new")
def keys_new(
    name: Annotated[str, typer.Argument(help="Of the two files NAME.key and NAME.pub.")],
    out: Annotated[Path, typer.Option("--out", help="Folder of the key.")] = Path(),
    as_json: AsJson = False,
    verbose: Verbose = False,
) -> None:
    """Make a key: the private half signs bundles, the public half checks them."""
    with command(as_json, verbose) as running:
        load("edge", "qc.signature:keys_new")(running, name, out)


@keys_app.command("sign")
def keys_sign(
    bundle: Annotated[Path, typer.Argument(help="A bundle.")],
    key: Annotated[Path, typer.Option("--key", help="The private key.")],
    as_json: AsJson = False,
    verbose: Verbose = False,
) -> None:
    """Sign a bundle in place; a signature that it has is replaced."""
    with command(as_json, verbose) as running:
        load("edge", "qc.signature:keys_sign")(running, bundle, key)
