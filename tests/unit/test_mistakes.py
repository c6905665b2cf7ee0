"""Mistakes of somebody new: one error that names the file, what was expected and what was found."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from toy_sets import RECIPE
from typer.testing import CliRunner

from qc.cli import app
from qc.errors import FaultError
from qc.imageio import write_png
from training.run import plan_run, start_run


@pytest.fixture
def parts(drawn_parts: Path, tmp_path: Path) -> Path:
    """The drawn parts, to be spoilt."""
    return Path(shutil.copytree(drawn_parts, tmp_path / "parts"))


def _run(*arguments: object) -> tuple[int, dict[str, Any]]:
    ran = CliRunner().invoke(app, [*map(str, arguments), "--json"])
    return ran.exit_code, json.loads(ran.stdout)


def _refused(*arguments: object, code: int = 2) -> dict[str, str]:
    left, said = _run(*arguments)
    assert left == code, said
    return dict(said["error"])


def test_a_folder_that_is_no_dataset_says_what_lies_there(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    error = _refused("data", "split", tmp_path / "empty", "--out", tmp_path / "split.csv")
    assert error["where"] == str(tmp_path / "empty")
    assert "no dataset format fits this path" in error["message"]
    assert error["message"].endswith("; found nothing")
    for name in "abcdefghij":
        (tmp_path / f"{name}.txt").write_text("")
    error = _refused("data", "audit", tmp_path)
    assert error["message"].endswith(
        "; found a.txt, b.txt, c.txt, d.txt, e.txt, empty, f.txt, g.txt and 3 more"
    )
    (tmp_path / "notes.md").write_text("")
    assert _refused("data", "audit", tmp_path / "notes.md")["message"].endswith("; found a file")


def test_classes_that_differ_by_case_are_one_class_typed_in_two_ways(
    parts: Path, tmp_path: Path
) -> None:
    (parts / "groups.csv").unlink()
    (parts / "Good").mkdir()
    file = min((parts / "good").iterdir())
    file.rename(parts / "Good" / file.name)
    said = "differ by the case of their letters only; expected one name for one class; found Good "
    for command in (
        ("split", "--out", tmp_path / "split.csv"),
        ("convert", "--to", "yolo_text", "--out", tmp_path / "out"),
    ):
        error = _refused("data", command[0], parts, *command[1:])
        assert (
            error["where"] == str(parts)
            and f"{said}(1 images), good (29 images)" in error["message"]
        )
    code, found = _run("data", "audit", parts)
    assert code == 1 and found["blocking"] == ["1 file(s) or annotation(s) do not fit"]
    assert said in found["annotation_errors"][0]["why"]
    assert not (tmp_path / "split.csv").exists() and not (tmp_path / "out").exists()


def test_a_picture_of_one_pixel_blocks(parts: Path, tmp_path: Path) -> None:
    (parts / "groups.csv").unlink()
    write_png(parts / "good" / "one.png", np.zeros((1, 1, 3), np.uint8))
    code, found = _run("data", "audit", parts)
    assert code == 1 and found["blocking"] == ["1 image(s) cannot be read"]
    assert found["unreadable"][0]["path"] == "good/one.png"
    error = _refused("data", "split", parts, "--out", tmp_path / "split.csv")
    assert error["where"] == str(parts / "good" / "one.png")
    said = "too small to show a part; expected 8 pixels or more on each side; found 1 x 1"
    assert said in error["message"]


def test_a_mask_of_another_size_blocks_as_training_would(parts: Path) -> None:
    mask = min((parts / "hole").glob("*_mask.png"))
    write_png(mask, np.full((20, 30), 255, np.uint8))
    code, found = _run("data", "audit", parts)
    assert code == 1
    assert found["blocking"] == [
        "1 mask(s) cannot be read, or are of another size than their image"
    ]
    assert "expected 48 x 48" in found["annotation_errors"][0]["why"]


def test_a_result_that_cannot_be_written_is_refused_before_the_work(
    parts: Path, tmp_path: Path
) -> None:
    page = tmp_path / "nowhere" / "page.html"
    said = f"expected a file that can be written; found no folder {page.parent}"
    for command in (
        ("data", "audit", parts, "--html", page),
        ("data", "split", parts, "--out", page),
        ("evaluate", tmp_path / "no run", "--html", page),
        ("evaluate", tmp_path / "no run", "--predictions", page),
        ("compare", tmp_path / "a", tmp_path / "b", "--html", page),
        ("export", tmp_path / "no run", "--out", page),
    ):
        error = _refused(*command, code=3)
        assert (error["kind"], error["where"]) == ("fault", str(page)), error
        assert said in error["message"]
    error = _refused("data", "audit", parts, "--html", parts, code=3)
    assert "found a folder of that name" in error["message"]


def test_a_split_that_is_not_there_is_named_once(parts: Path, tmp_path: Path) -> None:
    error = _refused("data", "audit", parts, "--split", tmp_path / "gone.csv")
    assert error["message"] == "split file cannot be read (No such file or directory)"


def test_a_run_that_cannot_be_written_is_a_fault(parts: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "toy.toml"
    recipe.write_text(RECIPE)
    plan = plan_run(recipe, data=None, runs=recipe)  # a file where a folder should be
    with pytest.raises(
        FaultError, match="the run cannot be written; found Not a directory"
    ) as caught:
        start_run(plan, recipe, resume=False)
    assert caught.value.where == str(plan.path)


def _split_recipe(parts: Path, home: Path) -> Path:
    """A recipe with a split of its own: no picture is looked at before the training reads it."""
    code, _ = _run("data", "split", parts, "--out", home / "split.csv")
    assert code == 0
    recipe = home / "toy.toml"
    recipe.write_text(RECIPE.replace('good = "good"', 'good = "good"\nsplit = "split.csv"'))
    return recipe


def test_a_training_that_a_picture_stops_leaves_nothing_to_resume(
    parts: Path, tmp_path: Path
) -> None:
    recipe, runs = _split_recipe(parts, tmp_path), tmp_path / "runs"
    picture = min((parts / "good").glob("*.png"))
    whole = picture.read_bytes()
    picture.write_bytes(whole[: len(whole) // 2])
    command = ("train", recipe, "--runs", runs)
    for _ in range(2):  # the second time the same is said, and not that the run was begun
        error = _refused(*command)
        assert (error["kind"], error["where"]) == ("data", str(picture)), error
        assert list(runs.iterdir()) == []
    picture.write_bytes(whole)
    code, said = _run(*command)
    assert code == 0 and said["epochs"] == 1, said
    assert _refused(*command)["message"].startswith("this run is finished")


def test_a_folder_that_takes_no_runs_is_refused_before_the_work(
    parts: Path, tmp_path: Path
) -> None:
    recipe = _split_recipe(parts, tmp_path)
    min((parts / "good").glob("*.png")).write_bytes(b"")
    error = _refused("train", recipe, "--runs", recipe / "runs", code=3)
    assert error["message"] == "the run cannot be written; found Not a directory"
