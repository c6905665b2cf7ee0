"""`qc demo`: the main job on parts it draws itself, each step by the function of its own verb.

Draw, audit, split by lot, train, export, verify, run the line over lots the model never saw, and
put what the journal says beside the truth. An interrupted demo goes on where it stopped; a finished
one runs the line again, into a folder of its own.
"""

from __future__ import annotations

import csv
import math
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from qc import metrics
from qc.bundle import open_bundle
from qc.console import Command, load, stderr
from qc.errors import FaultError, UsageError
from qc.journal import Journal
from qc.types import Verdict

LOTS, PARTS_PER_LOT = 40, 30
_STEPS = ("draw", "audit", "split by lot", "train", "export and verify", "run the line", "result")

RECIPE = """\
# Written by `qc demo`. Change it, then: qc train {here}/recipe.toml --runs {here}/runs
name = "drawn"
seed = {seed}

[data]
path = "parts"
good = "good"
format = "class_folders"
split = "split.csv"
licence = "drawn by attention-qc"

[model]
backbone = "inverted_residual"
block = "cbam"
size_hw = [128, 128]
stride = 8
dropout = 0.0

[train]
epochs = 11
batch_size = 8
learning_rate = 2e-3
label_smoothing = 0.0
balance = 0.3
mask_weight = 3.0

[train.augment]
rotate_deg = 0.0
shift = 0.04
scale = 0.0
brightness = 0.1
contrast = 0.1
noise = 0.0

[export]
calibration_images = 100

[decision]
max_escape = 0.05
max_overkill = 0.05
"""

LINE = """\
# Written by `qc demo`: judges every part in {here}/line.
bundle = "../bundle.tflite"
journal = "journal.db"

[source]
kind = "folder"
path = "../line"

[queue]
policy = "wait"

[[sinks]]
kind = "folder"
path = "overlays"

[[sinks]]
kind = "csv_file"
path = "results.csv"
"""


def demo(running: Command, out: Path, seed: int) -> None:
    """Run the demo into a folder.

    Args:
        running: the command.
        out: a folder that is empty, missing, or of an earlier demo with the same seed.
        seed: of the drawing and the training.

    Raises:
        UsageError: the folder holds something else.
    """
    started = time.monotonic()
    inner = Command(as_json=False, verbose=running.verbose)
    recipe = _open_folder(out, seed)
    load("all", "training.backend:wake")(quiet=not running.verbose)

    _headline(1)
    parts = _draw(inner, out / "parts", seed)
    _headline(2)
    load("all", "training.commands:data_audit")(inner, parts, None, "class_folders")
    _headline(3)
    split = out / "split.csv"
    load("all", "training.commands:data_split")(inner, parts, split, seed, "class_folders")
    _headline(4)
    run = load("all", "training.commands:train")(
        inner, recipe, data=None, weights=None, runs=out / "runs", seed=None, resume=True
    )
    _headline(5)
    bundle = out / "bundle.tflite"
    load("all", "export.commands:export")(inner, run, out=bundle, data=None)
    load("all", "edge.commands:verify")(inner, bundle)
    _headline(6)
    truth = _feed(parts, split, out / "line")
    inspected = _next_folder(out)
    (inspected / "line.toml").write_text(LINE.format(here=out), encoding="utf-8")
    report = load("all", "edge.line_commands:run_line")(inner, inspected / "line.toml")
    _headline(7)
    manifest = open_bundle(bundle).manifest
    plan = load("all", "training.run:open_run")(run)
    exact = load("all", "training.steps:evaluate_run")(
        plan, "test", inner, decision=manifest.decision
    )
    sealed = load("all", "training.steps:evaluate_bundle")(plan, open_bundle(bundle), "test", inner)
    judged = _from_journal(inspected / "journal.db", truth, plan.classes)
    seconds = time.monotonic() - started
    running.result(
        {
            "out": str(out),
            "bundle": str(bundle),
            "journal": report["journal"],
            "overlays": str(inspected / "overlays"),
            "line": {key: value for key, value in report.items() if key != "journal"},
            "scheme": manifest.scheme,
            "sealed": {**judged, "localisation": sealed["localisation"]},
            "float": {key: exact[key] for key in (*judged, "localisation")},
            "seconds": round(seconds, 1),
        }
    )
    running.show(_table(judged, exact, sealed, report, len(truth), manifest.scheme))
    running.say(
        f"flagged parts  {inspected / 'overlays'}\n"
        f"every part     {inspected / 'results.csv'}\n"
        f"journal        {report['journal']}\n"
        f"bundle         {bundle}\n"
        f"review them    qc review {report['journal']}\n"
        f"{seconds:.0f} s. The parts are drawings: the figures say that the software works, "
        "nothing about your line."
    )


def _headline(number: int) -> None:
    stderr.print(f"[bold]{number}/{len(_STEPS)} {_STEPS[number - 1]}[/]")


def _open_folder(out: Path, seed: int) -> Path:
    """The recipe in the demo's folder, written where the folder is new."""
    recipe = out / "recipe.toml"
    text = RECIPE.format(seed=seed, here=out)
    if recipe.is_file():
        if recipe.read_text(encoding="utf-8") == text:
            return recipe
        found = "a demo with another recipe or seed"
    elif (out.is_dir() and not any(out.iterdir())) or not out.exists():
        try:
            out.mkdir(parents=True, exist_ok=True)
            recipe.write_text(text, encoding="utf-8")
        except OSError as error:
            raise FaultError(
                "the folder cannot be written", where=out, found=error.strerror
            ) from error
        return recipe
    else:
        found = "other files" if out.is_dir() else "a file"
    raise UsageError(
        "the demo needs a folder of its own: name another with --out",
        where=out,
        expected=f"an empty folder, or a demo with seed {seed}",
        found=found,
    )


def _draw(running: Command, parts: Path, seed: int) -> Path:
    """The drawn parts; a set that was left half drawn is drawn again."""
    if parts.is_dir():
        running.say(f"{parts} is there already")
        return parts
    partial = parts.with_name("parts-partial")
    if partial.is_dir():
        shutil.rmtree(partial)
    with running.step(f"draw {LOTS * PARTS_PER_LOT} parts") as tell:
        load("all", "training.datasets.drawn:draw_dataset")(
            partial, seed=seed, lots=LOTS, parts_per_lot=PARTS_PER_LOT, progress=tell
        )
    partial.rename(parts)
    running.say(f"{LOTS} lots of {PARTS_PER_LOT} parts, every defect with its mask, in {parts}")
    return parts


def _feed(parts: Path, split: Path, line: Path) -> dict[str, str]:
    """Lay the TEST parts on the line without their class; the class of each part id."""
    truth = {}
    line.mkdir(exist_ok=True)
    with split.open(newline="", encoding="utf-8") as text:
        for row in csv.DictReader(text):
            file = parts / row["sample_id"]
            if row["split"] == "test":
                truth[file.stem] = file.parent.name
                shutil.copyfile(file, line / file.name)
    return truth


def _next_folder(out: Path) -> Path:
    """`inspected`, or `inspected-2` and so on: an earlier journal stays as it is."""
    number = 1
    while True:
        folder = out / ("inspected" if number == 1 else f"inspected-{number}")
        if not folder.exists():
            folder.mkdir()
            return folder
        number += 1


def _from_journal(path: Path, truth: dict[str, str], classes: tuple[str, ...]) -> dict[str, Any]:
    """Figures of the line, from what stands in its journal; a FAULT has a verdict but no score."""
    rows = [r for r in Journal(path).rows(limit=len(truth) + 1) if r.part_id is not None]
    good = classes[0]
    bad = [r for r in rows if truth[str(r.part_id)] != good]
    fine = [r for r in rows if truth[str(r.part_id)] == good]
    escape, escape_ci = metrics.rate_with_interval(
        sum(r.verdict is Verdict.OK for r in bad), len(bad)
    )
    overkill, overkill_ci = metrics.rate_with_interval(
        sum(r.verdict is Verdict.NG for r in fine), len(fine)
    )
    measured = [r for r in rows if r.scores is not None]
    is_defect = np.array([truth[str(r.part_id)] != good for r in measured])
    value = np.array([1 - (r.scores or {})[good] for r in measured])
    table = np.array([[(r.scores or {})[c] for c in classes] for r in measured])
    labels = np.array([classes.index(truth[str(r.part_id)]) for r in measured])
    return {
        "n": len(rows),
        "auroc": metrics.auroc(is_defect, value),
        "auroc_ci": metrics.auroc_interval(is_defect, value, [str(r.lot) for r in measured]),
        "macro_f1": metrics.classification(table, labels, classes)["macro_f1"],
        "escape": escape,
        "escape_ci": escape_ci,
        "overkill": overkill,
        "overkill_ci": overkill_ci,
        "review": sum(r.verdict is Verdict.REVIEW for r in rows) / max(len(rows), 1),
    }


def _table(
    judged: dict[str, Any],
    exact: dict[str, Any],
    sealed: dict[str, Any],
    report: dict[str, Any],
    parts: int,
    scheme: str,
) -> Table:
    """The result: the line's own figures beside the float model's on the same parts."""
    with_interval = load("all", "training.commands:with_interval")
    table = Table(
        title=f"{parts} parts of {exact['groups']} lots the model never saw (split by group)",
        title_justify="left",
    )
    table.add_column("95 % interval in brackets")
    table.add_column(f"{scheme} on the line", justify="right", style="bold")
    table.add_column("float model", justify="right")
    for name, key, form in (
        ("escape: defects judged OK", "escape", ".1%"),
        ("overkill: good parts judged NG", "overkill", ".1%"),
        ("AUROC, good against defect", "auroc", ".3f"),
    ):
        cells = (with_interval(f[key], f[f"{key}_ci"], form) for f in (judged, exact))
        table.add_row(name, *cells)
    table.add_row("left to a person: REVIEW", *(f"{f['review']:.1%}" for f in (judged, exact)))
    table.add_row("macro-F1", *(f"{f['macro_f1']:.3f}" for f in (judged, exact)))
    pointing = [f["localisation"]["pointing"] for f in (sealed, exact)]
    chance = exact["localisation"]["pointing_chance"] or math.nan
    table.add_row(
        f"map points at the defect (chance {chance:.0%})",
        *("unknown" if p is None else f"{p:.1%}" for p in pointing),
    )
    table.add_section()
    counts = ", ".join(f"{report[k]} {k.upper()}" for k in ("ok", "ng", "review", "fault"))
    table.add_row(f"{report['captured']} captured", counts, "")
    table.add_row("p50 / p99 of an inspection", _latency(report), "")
    return table


def _latency(report: dict[str, Any]) -> str:
    if report["p50_ms"] is None:
        return "nothing measured"
    return f"{report['p50_ms']:.1f} / {report['p99_ms']:.1f} ms"
