"""Parts with two defects, command by command: train, export, verify, show, evaluate, inspect."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest
from program import done, qc, refused

sys.path.insert(0, str(Path(__file__).parents[1] / "unit"))

from two_defects import draw_two_defects

RECIPE = """
name = "two"
seed = 1

[data]
path = "parts"
good = "good"
shares = [0.5, 0.34, 0.16]

[model]
task = "multilabel"
backbone = "inverted_residual"
block = "none"
size_hw = [64, 64]
stride = 8
width = 0.5

[train]
epochs = 9
batch_size = 16
learning_rate = 4e-3
average = 0.9

[export]
calibration_images = 32
golden_images = 16
scheme = "int8"
min_agreement = 0.0
max_recall_drop = 1.0
max_overkill_rise = 1.0
min_map_correlation = -1.0
max_auroc_drop = 1.0

[decision]
max_escape = 0.1
max_overkill = 0.1
"""
CLASSES = ["good", "hole", "scratch", "stain"]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if importlib.util.find_spec("tensorflow") is None:
        pytest.skip("tensorflow is not installed")
    folder = tmp_path_factory.mktemp("several")
    draw_two_defects(folder / "parts", seed=4, lots=12, parts_per_lot=32, paint=True)
    (folder / "two.toml").write_text(RECIPE)
    return folder


def test_the_whole_way(home: Path) -> None:
    trained = done(qc("train", "two.toml", "--json", cwd=home))
    assert trained["val"]["auroc"] > 0.7
    bundle = home / "two.tflite"
    exported = done(qc("export", home / trained["run"], "--out", bundle, "--json"))
    assert exported["gate"] == "pass"
    verified = done(qc("verify", bundle, "--json"))
    assert verified["ok"] is True and verified["golden"]["verdict_flips"] == 0
    shown = done(qc("show", bundle, "--json"))
    assert shown["task"] == "multilabel"
    assert [c["name"] for c in shown["classes"]] == CLASSES
    assert shown["score"]["scale"] == 1 / 256
    found = done(qc("evaluate", bundle, "--run", home / trained["run"], "--json"))
    _check_figures(found)
    pictures = sorted((home / "parts" / "images").glob("lot00_*.png"))[:16]
    rows = done(qc("inspect", bundle, *pictures, "--json"))["images"]
    for row in rows:
        good, *defects = (row["score"][name] for name in CLASSES)
        assert abs(good - (1 - max(defects))) < 0.005
        assert row["class"] == max(CLASSES[1:], key=lambda name: row["score"][name])


def _check_figures(found: dict[str, Any]) -> None:
    assert list(found["classes"]) == list(found["per_class"]) == CLASSES
    assert sum(found["classes"].values()) > found["n"], "some parts count for two classes"
    assert found["confusion"] is None and 0 <= found["accuracy"] <= 1
    values = [found["per_class"][name]["average_precision"] for name in CLASSES[1:]]
    assert found["map"] == pytest.approx(sum(values) / 3)
    assert found["auroc"] > 0.7 and found["escape"] is not None
    assert found["localisation"]["n"] > 0 and found["faithfulness"]["n"] > 0


def test_one_class_of_several_is_refused_with_the_way_out(home: Path) -> None:
    recipe = home / "one.toml"
    recipe.write_text(RECIPE.replace('task = "multilabel"', 'task = "multiclass"'))
    ran = qc("train", recipe, "--json", cwd=home)
    assert ran.code == 2 and 'model.task = "multilabel"' in ran.json["error"]["message"]
    refused(ran, kind="data", where=ran.json["error"]["where"])
