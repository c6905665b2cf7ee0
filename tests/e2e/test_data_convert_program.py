"""`qc data convert` as a user runs it: round trips, a full disk, and a folder that is read-only."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from program import done, qc, refused
from test_bad_input import mounted

from qc.imageio import read_image, write_png

pytest.importorskip("yaml", reason="PyYAML is not installed")


@pytest.fixture
def parts(tmp_path: Path) -> Path:
    """Class folders of three good parts and three with a mask, two images a piece."""
    root = tmp_path / "parts"
    draw = np.random.default_rng(5)
    rows = ["path,group"]
    for name in ("good", "scratch"):
        (root / name).mkdir(parents=True)
        for number in range(3):
            write_png(root / name / f"{number}.png", draw.integers(0, 256, (64, 80, 3), np.uint8))
            rows.append(f"{name}/{number}.png,piece {number}")
    for number in range(3):
        mask = np.zeros((64, 80), np.uint8)
        mask[5 + number : 9, 10 : 30 + number] = 255
        write_png(root / "scratch" / f"{number}_mask.png", mask)
    (root / "groups.csv").write_text("\n".join(rows) + "\n")
    return root


def test_there_and_back_again(parts: Path) -> None:
    at, home = parts, parts.parent
    for to in ("coco_json", "yolo_text", "class_folders"):
        said = done(qc("data", "convert", at, "--to", to, "--out", to, "--json", cwd=home))
        assert (said["format"], said["out"], said["images"], said["groups"]) == (to, to, 6, 3)
        assert said["classes"] == {"good": 3, "scratch": 3}
        at = home / to
        found = qc("data", "audit", at, "--json").json
        assert (found["format"], found["annotation_errors"]) == (to, [])
    assert sorted(p.name for p in home.iterdir()) == [
        *("class_folders", "coco_json", "parts", "yolo_text")
    ]
    for file in (parts / "scratch").iterdir():
        there = read_image(at / "scratch" / file.name)
        assert np.array_equal(there, read_image(file))
    assert (at / "groups.csv").read_text() == (parts / "groups.csv").read_text()


def test_a_wrong_word_has_its_nearest(parts: Path) -> None:
    ran = qc("data", "convert", parts, "--to", "yolo_test", "--out", parts / "x", "--json")
    refused(ran, kind="usage", where="--to", says=("did you mean 'yolo_text'?",))
    assert not (parts / "x").exists()


@pytest.mark.parametrize(("options", "why"), [("size=40k", "No space left"), ("ro", "Read-only")])
def test_a_folder_that_cannot_be_written_is_a_fault(parts: Path, options: str, why: str) -> None:
    with mounted(parts.parent / "small", options) as disk:
        ran = qc("data", "convert", parts, "--to", "coco_json", "--out", disk / "out", "--json")
        assert (ran.code, ran.json["error"]["kind"]) == (3, "fault")
        assert why in ran.json["error"]["message"]
        assert str(disk / "out") in ran.json["error"]["where"]
        assert not list(disk.iterdir())
