"""Magnetic tiles by group, three seeds, float and int8: the rows of docs/benchmarks.md.

    QC_DATA=<folder of the set> QC_WEIGHTS=<MobileNetV2 weights> python tests/bench/magnetic_tile.py

Runs that are finished are not trained again; runs that were cut off go on.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

RECIPE = "data/recipes/magnetic_tile.toml"
SEEDS = (0, 1, 2)


def qc(*arguments: str) -> dict[str, Any]:
    """Run `qc` with --json; what it printed."""
    done = subprocess.run(
        [sys.executable, "-m", "qc.cli", *arguments, "--json"], stdout=subprocess.PIPE, check=True
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def main() -> None:
    """Train, export and evaluate each seed; print the table."""
    rows: list[dict[str, float]] = []
    for seed in SEEDS:
        run = qc("train", RECIPE, "--seed", str(seed), "--resume", "--runs", "runs")["run"]
        bundle = qc("export", run)["bundle"]
        exact = qc("evaluate", run, "--split", "test")
        sealed = qc("evaluate", bundle, "--split", "test")
        Path(run, "test.json").write_text(json.dumps({"float": exact, "int8": sealed}, indent=1))
        rows.append(
            {
                "AUROC float": exact["auroc"],
                "AUROC int8": sealed["auroc"],
                "macro-F1 float": exact["macro_f1"],
                "macro-F1 int8": sealed["macro_f1"],
                "accuracy int8": sealed["accuracy"],
                "escape": sealed["escape"],
                "overkill": sealed["overkill"],
                "review": sealed["review"],
                "pointing": sealed["localisation"]["pointing"],
                "chance": sealed["localisation"]["pointing_chance"],
                "AUPRO": sealed["localisation"]["aupro"],
            }
        )
    print("| seed | " + " | ".join(rows[0]) + " |")
    print("|---" * (len(rows[0]) + 1) + "|")
    for seed, row in zip(SEEDS, rows, strict=True):
        print(f"| {seed} | " + " | ".join(f"{v:.3f}" for v in row.values()) + " |")
    means = [statistics.mean(row[key] for row in rows) for key in rows[0]]
    print("| mean | " + " | ".join(f"{v:.3f}" for v in means) + " |")


if __name__ == "__main__":
    main()
