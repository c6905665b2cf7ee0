"""Where a run finds its dataset when a folder is named for it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from toy_sets import RECIPE

from qc.errors import DataError
from training.run import plan_run


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    file = tmp_path / "toy.toml"
    file.write_text(RECIPE.replace("parts", "plates"))
    return file


def _plan(recipe: Path, data: Path) -> Path:
    return plan_run(recipe, data=data, runs=recipe.parent / "runs").data


def _refused(recipe: Path, data: Path) -> str:
    with pytest.raises(DataError) as caught:
        _plan(recipe, data)
    assert caught.value.where == str(recipe)
    return caught.value.message


def test_a_folder_that_lacks_the_dataset_is_refused_and_told(
    recipe: Path, drawn_parts: Path, tmp_path: Path
) -> None:
    sets = tmp_path / "sets"
    for name in ("plate", *"abcdefgh"):
        (sets / name).mkdir(parents=True)
    shutil.copytree(drawn_parts, sets / "tiles")
    said = _refused(recipe, sets)
    assert "dataset 'plates' is not in what --data or QC_DATA names; did you mean 'plate'?" in said
    assert f"expected {sets}/plates, or {sets} as the dataset itself" in said
    assert f"found a, b, c, d, e, f, g, h and 2 more in {sets}" in said
    shutil.copytree(drawn_parts, sets / "plates")
    assert _plan(recipe, sets) == sets / "plates"


def test_a_set_of_other_classes_is_not_taken_for_the_recipes(
    recipe: Path, drawn_parts: Path, tmp_path: Path
) -> None:
    other = Path(shutil.copytree(drawn_parts, tmp_path / "other"))
    shutil.rmtree(other / "good")
    (other / "groups.csv").unlink()
    said = _refused(recipe, other)
    assert f"in {other}, which is not the dataset itself: {other}: the good class is not" in said


def test_an_empty_folder_and_a_file_are_named(recipe: Path, tmp_path: Path) -> None:
    empty = tmp_path / "sets"
    empty.mkdir()
    assert f"found nothing in {empty}, which is not the dataset" in _refused(recipe, empty)
    assert f"found the file {recipe}, which is not the dataset" in _refused(recipe, recipe)


def test_the_dataset_itself_may_have_any_name(
    recipe: Path, drawn_parts: Path, tmp_path: Path
) -> None:
    assert _plan(recipe, drawn_parts) == drawn_parts


def test_a_folder_of_the_datasets_name_is_the_dataset_and_its_own_fault_is_told(
    recipe: Path, drawn_parts: Path, tmp_path: Path
) -> None:
    plates = Path(shutil.copytree(drawn_parts, tmp_path / "plates"))
    (plates / "groups.csv").unlink()
    for file in (plates / "good").iterdir():
        file.unlink()
    with pytest.raises(DataError, match="empty class 'good'") as caught:
        _plan(recipe, plates)
    assert caught.value.where == str(plates / "good")
