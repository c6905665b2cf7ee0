"""What is told before a training begins: no run, no place for one, a class that a split lacks."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from toy_sets import RECIPE

from qc.errors import DataError, FaultError, UsageError
from training.run import open_run, plan_run, start_run


@pytest.mark.parametrize("text", [None, "", "{", "{}", '{"recipe": {}}'])
def test_what_is_not_a_run_is_refused(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "plan.json").write_text(text)
    with pytest.raises(UsageError, match=r"this is not a run; expected .*qc train") as caught:
        open_run(tmp_path)
    assert caught.value.where == str(tmp_path)


@pytest.mark.parametrize("split", ["train", "val"])
def test_a_class_that_a_split_lacks_is_named_before_training(
    drawn_parts: Path, tmp_path: Path, split: str
) -> None:
    recipe = tmp_path / "toy.toml"
    recipe.write_text(RECIPE)
    samples = plan_run(recipe, data=drawn_parts, runs=tmp_path).samples
    gone = next(s.labels[0] for s in samples if s.labels[0] != "good")
    other = "val" if split == "train" else "train"
    file = tmp_path / "split.csv"
    lines = [
        f"{s.sample_id},{s.sample_id},{other if s.labels[0] == gone else s.split}" for s in samples
    ]
    file.write_text("sample_id,group,split\n" + "\n".join(lines) + "\n")
    recipe.write_text(RECIPE.replace('good = "good"', f'good = "good"\nsplit = "{file}"'))
    # the lots of the drawn parts would be torn apart, so they are left out of the folder
    parts = tmp_path / "parts"
    shutil.copytree(drawn_parts, parts, ignore=shutil.ignore_patterns("groups.csv"))
    with pytest.raises(DataError, match=f"split '{split}' lacks a class.*found no {gone}"):
        plan_run(recipe, data=parts, runs=tmp_path)


def test_a_file_where_the_run_would_be_is_no_run(drawn_parts: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "toy.toml"
    recipe.write_text(RECIPE)
    plan = plan_run(recipe, data=drawn_parts, runs=tmp_path / "runs")
    plan.path.parent.mkdir(parents=True, exist_ok=True)
    plan.path.write_text("a file")
    with pytest.raises(FaultError, match=r"the run cannot be written.*File exists"):
        start_run(plan, recipe, resume=True)
