"""The demo: its folder, its recipe and line file, and its figures against a hand count."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from toy_line import inspection, toy_manifest

from qc.demo import LINE, RECIPE, _feed, _from_journal, _next_folder, _open_folder
from qc.errors import UsageError
from qc.journal import JournalWriter
from qc.linefile import read_line
from qc.recipe import read_recipe
from qc.types import Prediction, Verdict

CLASSES = ("good", "scratch", "dent")


def test_the_folder_is_made_and_found_again(tmp_path: Path) -> None:
    recipe = _open_folder(tmp_path / "new" / "demo", 3)
    assert read_recipe(recipe).seed == 3
    recipe.with_name("parts").mkdir()
    assert _open_folder(tmp_path / "new" / "demo", 3) == recipe


def test_a_demo_with_another_seed_is_left_alone(tmp_path: Path) -> None:
    _open_folder(tmp_path, 3)
    with pytest.raises(UsageError, match="another recipe or seed"):
        _open_folder(tmp_path, 4)
    assert read_recipe(tmp_path / "recipe.toml").seed == 3


def test_a_folder_with_other_files_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(UsageError, match="other files"):
        _open_folder(tmp_path, 0)
    with pytest.raises(UsageError, match="found a file"):
        _open_folder(tmp_path / "thesis.txt", 0)
    assert [f.name for f in tmp_path.iterdir()] == ["thesis.txt"]


def test_the_line_file_is_legal_and_stays_in_the_folder(tmp_path: Path) -> None:
    folder = _next_folder(tmp_path)
    assert (folder.name, _next_folder(tmp_path).name) == ("inspected", "inspected-2")
    file = folder / "line.toml"
    file.write_text(LINE.format(here=tmp_path))
    line = read_line(file)
    assert line.bundle.resolve() == (tmp_path / "bundle.tflite").resolve()
    assert line.source[0].arguments["path"].resolve() == (tmp_path / "line").resolve()
    assert line.queue.policy == "wait"
    assert {s.kind for s in line.sinks} == {"folder", "csv_file"}


def test_the_recipe_of_the_demo_is_legal(tmp_path: Path) -> None:
    file = tmp_path / "recipe.toml"
    file.write_text(RECIPE.format(seed=0, here=tmp_path))
    recipe = read_recipe(file)
    assert recipe.data.split == "split.csv" and recipe.train.mask_weight > 0


def test_only_test_parts_reach_the_line_and_their_class_does_not(tmp_path: Path) -> None:
    rows = [("good/lot00_0001.png", "test"), ("crack/lot00_0002.png", "test")]
    rows += [("crack/lot01_0003.png", "train"), ("good/lot02_0004.png", "val")]
    split = tmp_path / "split.csv"
    with split.open("w", newline="") as text:
        csv.writer(text).writerows([("sample_id", "split"), *rows])
    for name, _ in rows:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(name.encode())
    truth = _feed(tmp_path, split, tmp_path / "line")
    assert truth == {"lot00_0001": "good", "lot00_0002": "crack"}
    found = {f.name: f.read_bytes() for f in (tmp_path / "line").iterdir()}
    assert found == {
        "lot00_0001.png": b"good/lot00_0001.png",
        "lot00_0002.png": b"crack/lot00_0002.png",
    }


def test_the_figures_of_the_line_by_hand(tmp_path: Path) -> None:
    # part, truth, verdict, score of good, scratch, dent
    table = [
        ("a", "good", Verdict.OK, (0.875, 0.125, 0.0)),
        ("b", "good", Verdict.NG, (0.125, 0.875, 0.0)),
        ("c", "good", Verdict.REVIEW, (0.5, 0.5, 0.0)),
        ("d", "good", Verdict.OK, (0.75, 0.0, 0.25)),
        ("e", "scratch", Verdict.NG, (0.0, 1.0, 0.0)),
        ("f", "scratch", Verdict.OK, (0.8125, 0.1875, 0.0)),
        ("g", "dent", Verdict.FAULT, None),
    ]
    truth = {part: kind for part, kind, _, _ in table}
    with JournalWriter(tmp_path / "j.db", toy_manifest(tmp_path), "toy") as journal:
        for number, (part, _, verdict, score) in enumerate(table):
            prediction = None
            if score is not None:
                maps = np.zeros((2, 2, 3), np.float32)
                prediction = Prediction(np.array(score, np.float32), maps, 1)
            journal.put(
                inspection(
                    part,
                    verdict,
                    part_id=part,
                    lot=f"lot{number % 2}",
                    prediction=prediction,
                    defect_class=None if score is None else "scratch",
                    defect_score=None if score is None else 1 - score[0],
                )
            )
    found = _from_journal(tmp_path / "j.db", truth, CLASSES)
    assert found["n"] == 7
    assert found["escape"] == pytest.approx(1 / 3)
    assert found["overkill"] == pytest.approx(1 / 4)
    assert found["review"] == pytest.approx(1 / 7)
    # defects 1.0 and 0.1875 against good 0.125, 0.875, 0.5, 0.25: 4 + 1 of 8 pairs in order
    assert found["auroc"] == pytest.approx(5 / 8)
    low, high = found["escape_ci"]
    assert low < 1 / 3 < high
