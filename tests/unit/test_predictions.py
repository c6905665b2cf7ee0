"""The table of what a model said: each part once, in the words and numbers of the figures."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from qc.decide import DecisionSpec
from qc.errors import FaultError
from qc.metrics import points_at
from qc.types import Sample
from training.evaluate import Outputs
from training.pipeline import Images
from training.predictions import write_predictions

CLASSES = ("good", "crack", "dent")


def _images() -> Images:
    samples = tuple(
        Sample(f"{i}.png", Path(f"{i}.png"), (label,), group=group)
        for i, (label, group) in enumerate([("good", "a"), ("crack", "a"), ("dent", None)])
    )
    masks = np.zeros((3, 4, 4), np.uint8)
    masks[1, 3, 3] = 255
    known = np.array([True, True, False])
    pixels = np.zeros((3, 4, 4, 3), np.uint8)
    return Images(samples, pixels, np.array([0, 1, 2]), masks, known, known)


def _outputs() -> Outputs:
    score = np.array([[0.9, 0.06, 0.04], [0.3, 0.6, 0.1], [0.5, 0.3, 0.2]], np.float32)
    maps = np.zeros((3, 2, 2, 3), np.float32)
    maps[1, 1, 1, 1] = 1  # the cell that holds the masked pixel
    return Outputs(score, maps)


def test_a_row_a_part(tmp_path: Path) -> None:
    decision = DecisionSpec(
        ok_below={"crack": 0.2, "dent": 0.2},
        ng_above={"crack": 0.6, "dent": 0.6},
        max_escape=0.1,
        max_overkill=0.1,
    )
    file = tmp_path / "said.csv"
    write_predictions(file, _images(), _outputs(), classes=CLASSES, good="good", decision=decision)
    with file.open(newline="") as text:
        rows = list(csv.DictReader(text))
    assert [r["sample_id"] for r in rows] == ["0.png", "1.png", "2.png"]
    assert [r["group"] for r in rows] == ["a", "a", "2.png"]
    assert [(r["labels"], r["said"]) for r in rows] == [
        ("good", "good"),
        ("crack", "crack"),
        ("dent", "good"),
    ]
    assert [r["verdict"] for r in rows] == ["OK", "NG", "REVIEW"]
    assert [float(r["defect_score"]) for r in rows] == pytest.approx([0.1, 0.7, 0.5])
    assert [r["points"] for r in rows] == ["", "1", ""]
    assert [float(r["score:crack"]) for r in rows] == pytest.approx([0.06, 0.6, 0.3])


def test_without_thresholds_there_is_no_verdict(tmp_path: Path) -> None:
    file = tmp_path / "said.csv"
    write_predictions(file, _images(), _outputs(), classes=CLASSES, good="good", decision=None)
    with file.open(newline="") as text:
        assert {r["verdict"] for r in csv.DictReader(text)} == {""}


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    with pytest.raises(FaultError, match=r"nowhere/said.csv: the predictions cannot"):
        write_predictions(
            tmp_path / "nowhere" / "said.csv",
            _images(),
            _outputs(),
            classes=CLASSES,
            good="good",
            decision=None,
        )


def test_the_hottest_cell_points_or_not() -> None:
    maps = np.zeros((2, 2, 2))
    maps[:, 0, 1] = 1
    masks = np.zeros((2, 4, 4), bool)
    masks[0, 1, 2] = True  # in the cell of row 0, column 1
    masks[1, 3, 0] = True
    assert points_at(maps, masks).tolist() == [True, False]
