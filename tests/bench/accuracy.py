"""Does attention pay? Blocks, backbones and masks on magnetic tiles, by group and by leaky chance.

    QC_DATA=<folder of the sets> QC_WEIGHTS=<MobileNetV2 weights> python tests/bench/accuracy.py OUT

Each combination of variant, fold and seed is trained, exported to int8 and judged once on TEST
through the predictor that ships; its row in OUT/rows.jsonl is written when it is whole, and a row
that is there is not made again, so the bench goes on where it was stopped. Folds come from
`training.split.fold_samples` with seed 0 over the pieces of the committed split: part i is TEST,
part i + 1 is VAL (epoch and thresholds), the others TRAIN. `--leaky` deals images, not pieces, as
much of the literature does, and says so in every row. `--table` prints what there is.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from training.datasets import load_samples
from training.split import apply_split, fold_samples, write_split

SPLIT = Path("data/splits/magnetic_tile.csv")
FOLDS = 5
CNN = {"backbone": "inverted_residual", "size_hw": [128, 128], "stride": 8, "dropout": 0.2}
PRETRAINED = {
    "backbone": "mobilenet_v2",
    "size_hw": [192, 192],
    "stride": 16,
    "dropout": 0.2,
    "weights": "imagenet",
    "trainable_from": "block_6_expand",
    "block_at": ["neck"],
}
VARIANTS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    **{
        f"cnn-{block}": ({**CNN, "block": block}, {})
        for block in ("none", "squeeze_excitation", "eca", "cbam", "coordinate")
    },
    "cct": ({**CNN, "backbone": "compact_transformer", "block": "none"}, {}),
    "flagship": ({**PRETRAINED, "block": "cbam"}, {}),
    "flagship-without-masks": ({**PRETRAINED, "block": "cbam"}, {"mask_weight": 0.0}),
    "flagship-without-block": ({**PRETRAINED, "block": "none"}, {}),
}
"""`[model]` and what differs in `[train]`."""

TRAIN = {
    "epochs": 12,
    "batch_size": 32,
    "learning_rate": 1e-3,
    "weight_decay": 1e-3,
    "label_smoothing": 0.1,
    "balance": 0.5,
    "mask_weight": 0.5,
}
FIGURES = ("auroc", "macro_f1", "accuracy", "pointing")


def toml(name: str, seed: int, data: Path, split: Path, variant: str) -> str:
    """The recipe of one row."""
    model, changed = VARIANTS[variant]

    def table(values: dict[str, Any]) -> str:
        return "".join(f"{key} = {json.dumps(value)}\n" for key, value in values.items())

    images = {"path": str(data), "format": "class_folders", "good": "MT_Free"}
    rates = {"max_escape": 0.05, "max_overkill": 0.05}
    gate = {"max_auroc_drop": 1.0, "min_agreement": 0.0}  # what int8 loses is reported, not judged
    parts = {
        "data": {**images, "split": str(split), "colour": "grey"},
        "model": model,
        "train": {**TRAIN, **changed},
        "export": gate,
        "decision": rates,
    }
    head = f'name = "{name}"\nseed = {seed}\n'
    return head + "".join(f"\n[{key}]\n{table(values)}" for key, values in parts.items())


def write_splits(out: Path, data: Path, leaky: bool) -> tuple[Path, list[Path]]:
    """The dataset to train on, and a split file for each fold."""
    _, samples = load_samples(data, "class_folders")
    samples = apply_split(samples, SPLIT)
    if leaky:  # the same images without `groups.csv`, so that nothing keeps a piece together
        bare = out / "without-groups"
        bare.mkdir(exist_ok=True)
        for folder in sorted(p for p in data.iterdir() if p.is_dir()):
            link = bare / folder.name
            if not link.exists():
                link.symlink_to(folder.resolve())
        data, samples = bare, [replace(s, group=s.sample_id) for s in samples]
    files = []
    for number, fold in enumerate(fold_samples(samples, folds=FOLDS, seed=0), 1):
        files.append(out / f"{'leaky' if leaky else 'grouped'}-{number}.csv")
        write_split(fold, files[-1])
    return data.resolve(), files


def qc(*arguments: object) -> dict[str, Any]:
    """Run `qc` with --json; what it printed."""
    command = [sys.executable, "-m", "qc.cli", *map(str, arguments), "--json"]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def figures(kind: str, target: str) -> dict[str, float | None]:
    """What a run or a bundle reaches on TEST."""
    found = qc("evaluate", target, "--split", "test")
    found["pointing"] = found["localisation"]["pointing"]
    names = FIGURES if kind == "float" else (*FIGURES, "escape", "overkill")
    return {f"{name}_{kind}": found[name] for name in names}


def make_row(out: Path, key: dict[str, Any], data: Path, split: Path) -> dict[str, Any]:
    """Train, export and judge one combination."""
    dealt = "leaky" if "leaky" in key["protocol"] else "grouped"
    name = f"{key['variant']}-{dealt}-fold{key['fold']}-seed{key['seed']}-{key['epochs']}epochs"
    recipe = out / f"{name}.toml"
    recipe.write_text(toml(name, key["seed"], data, split.resolve(), key["variant"]))
    trained = qc("train", recipe, "--runs", out / "runs", "--resume")
    row = {**key, "seconds": trained["seconds"], **figures("float", trained["run"])}
    try:
        bundle = qc("export", trained["run"])["bundle"]
    except subprocess.CalledProcessError:  # the reason stands on stderr
        return {**row, "exported": False}
    return {**row, "exported": True, **figures("int8", bundle)}


def print_table(rows: list[dict[str, Any]]) -> None:
    """Mean and standard deviation of each variant, and paired differences to `cnn-none`."""
    base = {
        (r["protocol"], r["fold"], r["seed"]): r
        for r in rows
        if r["variant"] == "cnn-none" and r["exported"]
    }
    print(f"{len(rows)} rows, {sum(not r['exported'] for r in rows)} of them not exported\n")
    print("| protocol | variant | runs | " + " | ".join(FIGURES) + " | AUROC against cnn-none |")
    print("|---" * (len(FIGURES) + 4) + "|")
    for protocol in ("by group", "random, leaky"):
        for variant in VARIANTS:
            mine = [r for r in rows if (r["variant"], r["protocol"]) == (variant, protocol)]
            mine = [r for r in mine if r["exported"]]
            if not mine:
                continue
            cells = []
            for figure in FIGURES:
                values = [r[f"{figure}_int8"] for r in mine if r[f"{figure}_int8"] is not None]
                spread = statistics.stdev(values) if len(values) > 1 else 0.0
                cells.append(f"{np.mean(values):.3f} ± {spread:.3f}" if values else "-")
            pairs = [
                r["auroc_int8"] - base[k]["auroc_int8"]
                for r in mine
                if (k := (protocol, r["fold"], r["seed"])) in base and variant != "cnn-none"
            ]
            spread = statistics.stdev(pairs) if len(pairs) > 1 else 0.0
            paired = f"{np.mean(pairs):+.3f} ± {spread:.3f} of {len(pairs)}" if pairs else "-"
            print(f"| {protocol} | {variant} | {len(mine)} | {' | '.join(cells)} | {paired} |")


def main() -> None:
    """Make the rows that are missing, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--variants", nargs="+", default=list(VARIANTS), choices=list(VARIANTS))
    parser.add_argument("--folds", nargs="+", type=int, default=list(range(1, FOLDS + 1)))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--epochs", type=int, default=TRAIN["epochs"])
    parser.add_argument("--leaky", action="store_true")
    parser.add_argument("--table", action="store_true", help="only print what there is")
    told = parser.parse_args()
    told.out.mkdir(parents=True, exist_ok=True)
    file = told.out / "rows.jsonl"
    rows = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
    if not told.table:
        TRAIN["epochs"] = told.epochs
        place = Path(os.environ["QC_DATA"]) / "magnetic_tile"
        data, splits = write_splits(told.out, place, told.leaky)
        keys = [
            {
                "variant": variant,
                "fold": fold,
                "seed": seed,
                "epochs": told.epochs,
                "protocol": "random, leaky" if told.leaky else "by group",
            }
            for seed in told.seeds
            for fold in told.folds
            for variant in told.variants
        ]
        for key in keys:
            if any(key.items() <= row.items() for row in rows):
                continue
            rows.append(make_row(told.out, key, data, splits[key["fold"] - 1]))
            with file.open("a") as lines:
                lines.write(json.dumps(rows[-1]) + "\n")
    print_table(rows)


if __name__ == "__main__":
    main()
