"""No verdict differs between what was tested and what runs: every TEST tile, one by one."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path

import pytest
from program import done, qc
from test_real_images import ROOT, TILES, pytestmark  # noqa: F401 - skips where no tiles are

RECIPE = f"""
name = "tiles"

[data]
path = "{TILES}"
good = "MT_Free"
format = "class_folders"
split = "{ROOT / "data" / "splits" / "magnetic_tile.csv"}"
colour = "grey"

[model]
backbone = "inverted_residual"
size_hw = [64, 64]
stride = 8
width = 0.5

[train]
epochs = 2
batch_size = 16
learning_rate = 3e-3
average = 0.9

[export]
scheme = "int8"
calibration_images = 64
min_agreement = 0.0
max_recall_drop = 1.0
max_overkill_rise = 1.0
min_map_correlation = -1.0
max_auroc_drop = 1.0

[decision]
max_escape = 0.2
max_overkill = 0.2
"""


def test_evaluate_and_inspect_judge_every_test_tile_alike(tmp_path: Path) -> None:
    (tmp_path / "tiles.toml").write_text(RECIPE)
    run = tmp_path / done(qc("train", "tiles.toml", "--json", cwd=tmp_path))["run"]
    bundle = done(qc("export", run, "--json"))["bundle"]
    table = tmp_path / "tested.csv"
    told = ("--split", "test", "--no-faithfulness", "--predictions", table, "--json")
    done(qc("evaluate", bundle, *told))
    with table.open(newline="") as file:
        tested = {row["sample_id"]: row for row in csv.DictReader(file)}
    assert len(tested) == 307
    found = done(qc("inspect", bundle, *(TILES / name for name in tested), "--json"))["images"]
    assert len(found) == 307
    inspected = {str(Path(row["path"]).relative_to(TILES)): row for row in found}
    flips = {n for n, row in tested.items() if row["verdict"] != inspected[n]["verdict"]}
    assert flips == set()
    for name, row in tested.items():
        for label, score in inspected[name]["score"].items():
            assert float(row[f"score:{label}"]) == pytest.approx(score, abs=1e-4)
    # verdicts of one kind only would agree by chance
    counts = Counter(row["verdict"] for row in tested.values())
    assert sum(n > 10 for n in counts.values()) >= 2, counts
