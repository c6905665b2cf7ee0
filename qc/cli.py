"""The command line: `qc <verb>`. Each verb's code is loaded by its dotted name when it is used.

So the edge needs neither TensorFlow nor Keras, and `qc --help` is fast.
"""

from __future__ import annotations

import sys
from copy import copy
from pathlib import Path
from typing import Annotated

import typer
from typer.models import CommandInfo

from qc.card_cli import card
from qc.console import AsJson, Verbose, command, load
from qc.doctor_cli import doctor
from qc.evaluate_cli import DataOption, compare, evaluate
from qc.journal_cli import journal_app
from qc.keys_cli import keys_app
from qc.line_cli import line_app, run
from qc.people_cli import people_app
from qc.station_cli import review

app = typer.Typer(
    name="qc",
    help="Visual quality control with attention: train, seal, inspect, review.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
data_app = typer.Typer(help="Look at a dataset, and split it without leaks.", no_args_is_help=True)
app.add_typer(data_app, name="data")
app.add_typer(keys_app, name="keys")
app.add_typer(journal_app, name="journal")
app.add_typer(line_app, name="line")
app.add_typer(people_app, name="people")

Options = Annotated[
    list[str] | None,
    typer.Option("--option", metavar="KEY=VALUE", help="What the layout is told; may be repeated."),
]
Keys = Annotated[
    list[Path] | None,
    typer.Option("--key", metavar="PUB", help="Must have signed; may be repeated: one of them."),
]
FormatOption = Annotated[str | None, typer.Option("--format", help="The layout, not detected.")]


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version  # it brings the email package: 15 ms of each start

        typer.echo(f"attention-qc {version('attention-qc')}")
        raise typer.Exit


@app.callback()
def _main(
    show_version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="The version.")
    ] = False,
) -> None:
    """Visual quality control with attention: train, seal, inspect, review."""


@app.command()
def demo(
    out: Annotated[Path, typer.Option("--out", help="Folder to write.")] = Path("demo-out"),
    seed: Annotated[int, typer.Option(help="Another seed draws other parts.")] = 0,
    as_json: AsJson = False,
    verbose: Verbose = False,
) -> None:
    """Draw parts, audit, split, train, export, run the line, and print the result."""
    with command(as_json, verbose) as running:
        load("all", "qc.demo:demo")(running, out, seed)


@data_app.command("audit")
def data_audit(
    path: Annotated[Path, typer.Argument(help="A dataset.")],
    split: Annotated[Path | None, typer.Option(help="CSV of a split to check.")] = None,
    html: Annotated[Path | None, typer.Option(help="Page of what was found, to write.")] = None,
    format: FormatOption = None,
    option: Options = None,
    as_json: AsJson = False,
    verbose: Verbose = False,
) -> None:
    """Everything wrong with a dataset; exit 1 where something blocks training."""
    with command(as_json, verbose) as running:
        load("train", "training.commands:data_audit")(
            running, path, split, format, html, option or ()
        )


@data_app.command("split")
def data_split(
    path: Annotated[Path, typer.Argument(help="A dataset.")],
    out: Annotated[Path, typer.Option("--out", help="CSV to write.")],
    seed: Annotated[int, typer.Option(help="Another seed, another deal.")] = 0,
    group_regex: Annotated[
        str | None, typer.Option(help="Finds the group in a path, such as '(lot[0-9]+)_'.")
    ] = None,
    group_folder: Annotated[
        bool, typer.Option("--group-folder", help="The group is the image's folder.")
    ] = False,
    infer_groups: Annotated[
        bool, typer.Option("--infer-groups", help="Join pictures that show the same thing.")
    ] = False,
    folds: Annotated[
        int | None, typer.Option(help="As many splits, each with another part as TEST.")
    ] = None,
    format: FormatOption = None,
    option: Options = None,
    as_json: AsJson = False,
    verbose: Verbose = False,
) -> None:
    """Deal whole groups into train, val and test; refuses to leak."""
    with command(as_json, verbose) as running:
        load("train", "training.commands:data_split")(
            running,
            path,
            out,
            seed,
            format,
            option or (),
            group_regex=group_regex,
            group_folder=group_folder,
            infer_groups=infer_groups,
            folds=folds,
        )


@data_app.command("convert")
def data_convert(
    source: Annotated[Path, typer.Argument(metavar="SRC", help="A dataset.")],
    to: Annotated[str, typer.Option("--to", help="class_folders, coco_json or yolo_text.")],
    out: Annotated[Path, typer.Option("--out", help="Folder to make.")],
    good: Annotated[
        str | None,
        typer.Option(help="The class that means that nothing is there; '' where none does."),
    ] = None,
    split: Annotated[Path | None, typer.Option(help="CSV of a split to sort by.")] = None,
    format: FormatOption = None,
    option: Options = None,
    as_json: AsJson = False,
    verbose: Verbose = False,
) -> None:
    """Write a dataset as class folders, COCO or YOLO; all of it or nothing."""
    with command(as_json, verbose) as running:
        load("train", "training.convert:data_convert")(
            running,
            source,
            to,
            out,
            format=format,
            split=split,
            good=good,
            options=option or (),
        )


@data_app.command("fetch")
def data_fetch(
    name: Annotated[str, typer.Argument(help="A card's name, or its file.")],
    out: Annotated[Path, typer.Option("--out", help="Folder of the sets.")] = Path("datasets"),
    yes: Annotated[bool, typer.Option("--yes", help="Agree to the licence, do not ask.")] = False,
    as_json: AsJson = False,
    verbose: Verbose = False,
) -> None:
    """Fetch a public dataset by its card: licence first, then download, check and unpack."""
    with command(as_json, verbose) as running:
        load("train", "training.fetch:fetch_command")(running, name, out, yes)


@data_app.command("preview")
def data_preview(
    recipe: Annotated[Path, typer.Argument(help="A recipe (TOML).")],
    data: DataOption = None,
    out: Annotated[Path, typer.Option("--out", help="PNG to write.")] = Path("preview.png"),
    images: Annotated[int, typer.Option(min=1, max=20, help="Samples of each class.")] = 1,
    seed: Annotated[int, typer.Option(min=0, help="Another seed, other pictures.")] = 0,
    as_json: AsJson = False,
    verbose: Verbose = False,
) -> None:
    """Draw a contact sheet of a recipe's augmented TRAIN samples, masks outlined."""
    with command(as_json, verbose) as running:
        load("train", "training.preview:preview")(
            running, recipe, data=data, out=out, images=images, seed=seed
        )


@app.command()
def train(
    recipe: Annotated[Path, typer.Argument(help="A recipe (TOML).")],
    data: DataOption = None,
    weights: Annotated[
        Path | None,
        typer.Option(envvar="QC_WEIGHTS", help="File of the weights the recipe asks for."),
    ] = None,
    runs: Annotated[Path, typer.Option(help="Folder of the runs.")] = Path("runs"),
    seed: Annotated[int | None, typer.Option(help="In place of the recipe's seed.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where it stopped.")] = False,
    as_json: AsJson = False,
    verbose: Verbose = False,
) -> None:
    """Train a recipe; writes RUNS/<name>-<hash>/."""
    with command(as_json, verbose) as running:
        load("train", "training.commands:train")(
            running,
            recipe,
            data=data,
            weights=weights,
            runs=runs,
            seed=seed,
            resume=resume,
        )


app.command()(evaluate)
app.command()(compare)


@app.command()
def export(
    run: Annotated[Path, typer.Argument(help="A finished run.")],
    out: Annotated[Path | None, typer.Option("--out", help="The bundle to write.")] = None,
    data: DataOption = None,
    target: Annotated[str, typer.Option(help="cpu, ethos-u55-128, ethos-u85-256 or mcu.")] = "cpu",
    qat: Annotated[
        bool, typer.Option("--qat", help="Fine-tune under simulated int8 where int8 fails.")
    ] = False,
    recipe: Annotated[
        Path | None, typer.Option(help="Take [export] and [decision] from this recipe.")
    ] = None,
    sign: Annotated[
        Path | None, typer.Option(metavar="KEY", help="Private key to sign the bundle with.")
    ] = None,
    as_json: AsJson = False,
    verbose: Verbose = False,
) -> None:
    """Try every scheme, set thresholds, seal and verify; exit 1 where the gate fails."""
    with command(as_json, verbose) as running:
        load("train", "export.commands:export")(
            running,
            run,
            out=out,
            data=data,
            target=target,
            qat=qat,
            sign=sign,
            recipe=recipe,
        )


@app.command()
def adopt(
    model: Annotated[Path, typer.Argument(help="A TFLite classifier made elsewhere.")],
    labels: Annotated[Path, typer.Option("--labels", help="Its classes, one a line.")],
    manifest: Annotated[
        Path | None,
        typer.Option("--manifest", metavar="TOML", help="What the model does not say itself."),
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", help="The bundle to write.")] = None,
    as_json: AsJson = False,
    verbose: Verbose = False,
) -> None:
    """Make a bundle of a model made elsewhere; asks for what the file does not say."""
    with command(as_json, verbose) as running:
        load("edge", "export.adopt_command:adopt")(
            running, model, labels=labels, manifest=manifest, out=out
        )


@app.command()
def verify(
    bundle: Annotated[Path, typer.Argument(help="A bundle.")],
    key: Keys = None,
    as_json: AsJson = False,
    verbose: Verbose = False,
) -> None:
    """Check every byte of a bundle and replay its golden inputs; exit 1 where it differs."""
    with command(as_json, verbose) as running:
        load("edge", "edge.commands:verify")(running, bundle, key or ())


@app.command()
def show(
    bundle: Annotated[Path, typer.Argument(help="A bundle.")],
    as_json: AsJson = False,
    verbose: Verbose = False,
) -> None:
    """What a bundle says of itself, for a person."""
    with command(as_json, verbose) as running:
        load("edge", "edge.commands:show")(running, bundle)


app.command()(card)


@app.command()
def inspect(
    bundle: Annotated[Path, typer.Argument(help="A bundle.")],
    paths: Annotated[list[Path], typer.Argument(help="Images, or folders of images.")],
    out: Annotated[Path | None, typer.Option("--out", help="Folder for the overlays.")] = None,
    occlusion: Annotated[
        bool,
        typer.Option("--occlusion", help="Draw by hiding places, where the model has no map."),
    ] = False,
    key: Keys = None,
    as_json: AsJson = False,
    verbose: Verbose = False,
) -> None:
    """Verdicts, and overlays of the flagged parts, for files or folders."""
    with command(as_json, verbose) as running:
        load("edge", "edge.inspect_command:inspect")(
            running, bundle, paths, out, key or (), occlusion=occlusion
        )


app.command()(run)


@app.command()
def bench(
    bundle: Annotated[Path, typer.Argument(help="A bundle.")],
    images: Annotated[
        Path | None, typer.Option("--images", help="Folder of pictures; left out: golden inputs.")
    ] = None,
    seconds: Annotated[float, typer.Option(help="How long both sides run in all.")] = 20.0,
    threads: Annotated[int, typer.Option(min=1, help="CPU threads of one pass.")] = 1,
    as_json: AsJson = False,
    verbose: Verbose = False,
) -> None:
    """The line beside a bare loop on this box: throughput, latency, start and memory."""
    with command(as_json, verbose) as running:
        load("edge", "edge.bench:bench_command")(running, bundle, images, seconds, threads)


app.command()(review)
app.command()(doctor)


def main() -> None:
    """Run the command line; of all the verbs only the one that it begins with is built.

    To build all takes 20 ms, and a start of the edge is waited for.
    """
    verb = sys.argv[1] if len(sys.argv) > 1 else ""
    if verb == "train":
        from qc.huge_pages import restart_with_huge_pages

        restart_with_huge_pages()
    named = copy(app)
    named.registered_commands = [c for c in app.registered_commands if _verb(c) == verb]
    named.registered_groups = [g for g in app.registered_groups if g.name == verb]
    (named if named.registered_commands or named.registered_groups else app)()


def _verb(info: CommandInfo) -> str:
    return info.name or (info.callback.__name__ if info.callback else "")


if __name__ == "__main__":
    main()
