"""Does attention pay? Blocks, backbones and masks on real sets, by group and by leaky chance.

    QC_DATA=<folder of the sets> QC_WEIGHTS=<MobileNetV2 weights> python tests/bench/accuracy.py OUT

Each combination of variant, fold and seed is trained, exported to int8 and judged once on TEST
through the predictor that ships. Its row in OUT/rows.jsonl is written when it is whole, with what
the model said of each part; a row that is there is not made again, so the bench goes on where it
was stopped, also from the rows of an earlier sitting (`--known`). Folds come from
`training.split.fold_samples` with seed 0: part i is TEST, part i + 1 is VAL (epoch and thresholds),
the others TRAIN. `tests/bench/accuracy_table.py` prints the rows as tables.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from accuracy_sets import LEAKY, Dealt, deal

SMALL = {"size_hw": [128, 128], "stride": 8, "dropout": 0.1}
CNN = {"backbone": "inverted_residual", **SMALL}
CCT = {**SMALL, "backbone": "compact_transformer", "block": "none", "stride": 16}
PRETRAINED = {
    "backbone": "mobilenet_v2",
    "size_hw": [192, 192],
    "stride": 16,
    "dropout": 0.2,
    "weights": "imagenet",
    "trainable_from": "block_6_expand",
    "block_at": ["neck"],
}
FLAGSHIP = {**PRETRAINED, "block": "cbam"}
TRAIN = {
    "epochs": 12,
    "batch_size": 32,
    "learning_rate": 1e-3,
    "weight_decay": 1e-3,
    "label_smoothing": 0.1,
    "balance": 0.5,
    "mask_weight": 0.5,
}
FROM_SCRATCH = {
    "epochs": 30,
    "batch_size": 16,
    "learning_rate": 3e-3,
    "weight_decay": 1e-4,
    "label_smoothing": 0.05,
    "mask_weight": 2.0,
    "augment": {"quarter_turns": True},
}
TRANSFORMER = {
    **FROM_SCRATCH,
    "epochs": 80,
    "learning_rate": 1.2e-3,
    "weight_decay": 0.01,
    "warmup_epochs": 6,
}
STEEL_FROM_SCRATCH = {**FROM_SCRATCH, "epochs": 12, "mask_weight": 0.0}
BLOCKS = ("none", "squeeze_excitation", "eca", "cbam", "coordinate")

VARIANTS: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "flagship": ("magnetic_tile", FLAGSHIP, {}),
    "flagship-without-masks": ("magnetic_tile", FLAGSHIP, {"mask_weight": 0.0}),
    "flagship-without-block": ("magnetic_tile", {**PRETRAINED, "block": "none"}, {}),
    **{f"cnn-{b}": ("magnetic_tile", {**CNN, "block": b}, FROM_SCRATCH) for b in BLOCKS},
    # as many multiplications for a picture of twice the side
    "cnn-fast": (
        "magnetic_tile",
        {**CNN, "block": "cbam", "size_hw": [256, 256], "stem_stride": 4, "stride": 16},
        FROM_SCRATCH,
    ),
    "cnn-none-without-masks": (
        "magnetic_tile",
        {**CNN, "block": "none"},
        {**FROM_SCRATCH, "mask_weight": 0.0},
    ),
    # as many parameters as the transformer
    "cnn-wide": ("magnetic_tile", {**CNN, "block": "none", "width": 1.6}, FROM_SCRATCH),
    "cct": ("magnetic_tile", CCT, TRANSFORMER),
    "steel": (
        "neu_det",
        {**FLAGSHIP, "size_hw": [128, 128]},
        {"epochs": 8, "mask_weight": 0.0},
    ),
    "steel-cnn": ("neu_det", {**CNN, "block": "cbam"}, STEEL_FROM_SCRATCH),
    "steel-cct": ("neu_det", CCT, STEEL_FROM_SCRATCH),
    "chests": (
        "pneumonia_mnist",
        {**FLAGSHIP, "size_hw": [96, 96]},
        {"epochs": 6, "mask_weight": 0.0, "augment": {"flip_vertical": False}},
    ),
    "cells": (
        "bccd",
        {"backbone": "inverted_residual", "size_hw": [64, 64], "stride": 8, "block": "cbam"},
        {"epochs": 6, "batch_size": 64, "learning_rate": 2e-3, "mask_weight": 0.0},
    ),
}
"""Set, `[model]`, and what differs in `[train]`."""

REPORTED = {
    "scheme": "int8",
    "min_agreement": 0.0,
    "max_recall_drop": 1.0,
    "max_overkill_rise": 1.0,
    "min_map_correlation": -1.0,
    "max_auroc_drop": 1.0,
}
"""int8, whatever it loses: what it loses is in the row."""

PROTOCOLS = {"pneumonia_mnist": "the split of its source"}
"""Where it is not by group: of this set nobody knows which images belong together."""

FIGURES = ("auroc", "macro_f1", "accuracy")
PLACES = ("pointing", "pointing_chance", "energy_in_mask", "aupro")


def key_of(
    variant: str, fold: int, seed: int, *, epochs: int | None = None, leaky: bool = False
) -> dict[str, Any]:
    """What tells one combination from the others; its own number of epochs where None."""
    kind, _, changed = VARIANTS[variant]
    return {
        "set": kind,
        "variant": variant,
        "fold": fold,
        "seed": seed,
        "epochs": epochs or {**TRAIN, **changed}["epochs"],
        "protocol": LEAKY if leaky else PROTOCOLS.get(kind, "by group"),
    }


def toml(name: str, key: dict[str, Any], dealt: Dealt, export: dict[str, Any] = REPORTED) -> str:
    """The recipe of one row, with its `[export]`."""
    _, model, changed = VARIANTS[key["variant"]]
    train = {**TRAIN, **changed, "epochs": key["epochs"]}
    data = {"path": str(dealt.path), "format": dealt.format, "good": dealt.good}
    tables = {
        "data": {**data, "split": str(dealt.splits[key["fold"] - 1]), "colour": dealt.colour},
        "data.options": dealt.options,
        "model": model,
        "train": {k: v for k, v in train.items() if k != "augment"},
        "train.augment": train.get("augment", {}),
        "export": export,
        "decision": {"max_escape": 0.05, "max_overkill": 0.05},
    }
    return tables_of(name, key["seed"], tables)


def tables_of(name: str, seed: int, tables: dict[str, dict[str, Any]]) -> str:
    """A recipe of these tables, as TOML."""
    lines = [f'name = "{name}"', f"seed = {seed}"]
    for table, values in tables.items():
        lines += ["", f"[{table}]", *(f"{k} = {json.dumps(v)}" for k, v in values.items())]
    return "\n".join(lines) + "\n"


def qc(*arguments: object) -> dict[str, Any]:
    """Run `qc` with --json; what it printed."""
    command = [sys.executable, "-m", "qc.cli", *map(str, arguments), "--json"]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def figures(kind: str, found: dict[str, Any]) -> dict[str, float | None]:
    """The figures of a row from what `qc evaluate` printed."""
    named = {name: found[name] for name in FIGURES}
    named |= {name: found["localisation"][name] for name in PLACES}
    if kind == "int8":
        named |= {name: found[name] for name in ("escape", "overkill", "review")}
    return {f"{name}_{kind}": value for name, value in named.items()}


def run_name(key: dict[str, Any]) -> str:
    """What the recipe of a combination is called, and its run directory begins with."""
    protocol = "leaky" if key["protocol"] == LEAKY else "grouped"
    return f"{key['variant']}-{protocol}-fold{key['fold']}-seed{key['seed']}-{key['epochs']}epochs"


def train(out: Path, key: dict[str, Any], dealt: Dealt) -> dict[str, Any]:
    """Train one combination, or go on with it; what `qc train` printed."""
    name = run_name(key)
    recipe = out / f"{name}.toml"
    recipe.write_text(toml(name, key, dealt))
    return qc("train", recipe, "--runs", out / "runs", "--resume")


def make_row(out: Path, key: dict[str, Any], dealt: Dealt) -> dict[str, Any]:
    """Train, export and judge one combination."""
    name, trained = run_name(key), train(out, key, dealt)
    table = out / f"{name}.csv"
    test = ("--split", "test", "--no-faithfulness")
    row = {**key, "seconds": trained["seconds"], "precision": trained["precision"]}
    row |= figures("float", qc("evaluate", trained["run"], *test))
    try:
        exported = qc("export", trained["run"])
    except subprocess.CalledProcessError:  # the reason stands on stderr
        return {**row, "exported": False}
    cost = exported["candidates"][0]
    row |= {"bytes": cost["bytes"], "parameters": cost["parameters"], "mmacs": cost["mmacs"]}
    row |= figures("int8", qc("evaluate", exported["bundle"], *test, "--predictions", table))
    with table.open(newline="") as rows:
        parts = [
            [r["group"], r["labels"], r["said"], float(r["defect_score"]), r["points"]]
            for r in csv.DictReader(rows)
        ]
    return {**row, "exported": True, "good": dealt.good, "parts": parts}


def read_rows(files: list[Path]) -> list[dict[str, Any]]:
    """The rows of earlier sittings; a file that is not there has none."""
    lines = [line for f in files if f.exists() for line in f.read_text().splitlines()]
    return [json.loads(line) for line in lines]


def main() -> None:
    """Make the rows that are missing."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--variants", nargs="+", default=list(VARIANTS), choices=list(VARIANTS))
    parser.add_argument("--folds", nargs="+", type=int, default=[1, 2, 3, 4, 5])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--epochs", type=int, help="in place of the variant's own")
    parser.add_argument("--leaky", action="store_true", help="deal single images")
    parser.add_argument("--known", nargs="*", type=Path, default=[], help="rows not to make again")
    told = parser.parse_args()
    told.out.mkdir(parents=True, exist_ok=True)
    file = told.out / "rows.jsonl"
    rows = read_rows([file, *told.known])
    for seed, fold, variant in (
        (s, f, v) for s in told.seeds for f in told.folds for v in told.variants
    ):
        key = key_of(variant, fold, seed, epochs=told.epochs, leaky=told.leaky)
        kind = key["set"]
        if any(key.items() <= row.items() for row in rows):
            continue
        dealt = deal(kind, Path(os.environ["QC_DATA"]), told.out / kind, told.leaky)
        if fold > len(dealt.splits):
            continue
        rows.append(make_row(told.out, key, dealt))
        with file.open("a") as lines:
            lines.write(json.dumps(rows[-1]) + "\n")


if __name__ == "__main__":
    main()
