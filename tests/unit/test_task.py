"""The three tasks: labels that are kept, merged or refused, and what a recipe may say."""

from __future__ import annotations

from pathlib import Path

import pytest

from qc.errors import DataError, RecipeError
from qc.recipe import ModelTable, read_recipe
from qc.types import Region, Sample
from training.fit import FitResult
from training.run import RunPlan, finish_run, open_run, plan_run, start_run
from training.task import fit_labels

MODEL = {"backbone": "inverted_residual", "size_hw": (32, 32)}


def _sample(name: str, *labels: str) -> Sample:
    square = ((0.0, 0.0), (4.0, 0.0), (4.0, 4.0), (0.0, 4.0))
    regions = tuple(Region(label, square, is_box=True) for label in labels if label != "good")
    return Sample(name, Path(name), labels, regions=regions)


# labels


def test_labels_that_fit_are_kept() -> None:
    one = [_sample("a", "good"), _sample("b", "hole"), _sample("c", "stain")]
    assert fit_labels(one, "multiclass", "good") == one
    assert fit_labels(one, "multilabel", "good") == one, "one defect each is allowed"
    two = [*one, _sample("d", "hole", "stain")]
    assert fit_labels(two, "multilabel", "good") == two


def test_binary_merges_every_defect_and_its_regions() -> None:
    given = [_sample("a", "good"), _sample("b", "hole"), _sample("c", "hole", "stain")]
    found = fit_labels(given, "binary", "good")
    assert [s.labels for s in found] == [("good",), ("defect",), ("defect",)]
    assert [[r.label for r in s.regions] for s in found] == [[], ["defect"], ["defect"] * 2]
    assert [s.regions[0].points for s in found[1:]] == [s.regions[0].points for s in given[1:]]


def test_a_single_defect_keeps_its_name_in_binary() -> None:
    given = [_sample("a", "good"), _sample("b", "hole")]
    assert fit_labels(given, "binary", "good") == given


def test_several_labels_are_refused_by_one_class_with_the_way_out() -> None:
    with pytest.raises(DataError, match=r'model\.task = "multilabel".*hole, stain') as caught:
        fit_labels([_sample("d", "hole", "stain")], "multiclass", "good")
    assert caught.value.where == "d"
    same = [_sample("e", "hole", "hole")]
    assert fit_labels(same, "multiclass", "good") == same


@pytest.mark.parametrize("task", ["multiclass", "binary", "multilabel"])
def test_a_good_part_with_a_defect_is_refused_by_all(task: str) -> None:
    with pytest.raises(DataError, match="a good part cannot have a defect too"):
        fit_labels([_sample("x", "good", "hole")], task, "good")  # type: ignore[arg-type]


def test_a_good_class_called_defect_cannot_be_told_from_the_merged_one() -> None:
    given = [_sample("a", "defect"), _sample("b", "hole"), _sample("c", "stain")]
    with pytest.raises(DataError, match="name of the good one"):
        fit_labels(given, "binary", "defect")
    assert fit_labels(given[:2], "binary", "defect") == given[:2]


# recipes


def test_a_recipe_without_a_task_tells_one_class_of_several() -> None:
    assert ModelTable.model_validate(MODEL).task == "multiclass"


RECIPE = """
name = "toy"

[data]
path = "parts"
good = "good"
{data}

[model]
task = "{task}"
backbone = "inverted_residual"
size_hw = [32, 32]

[train]
epochs = 1
"""


def _written(folder: Path, task: str, data: str = "") -> Path:
    file = folder / "toy.toml"
    file.write_text(RECIPE.format(task=task, data=data))
    return file


def test_an_unknown_task_names_the_legal_ones(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"model\.task.*'multiclass', 'binary' or 'multilabel'"):
        read_recipe(_written(tmp_path, "multi_label"))
    file = _written(tmp_path, "binary")
    file.write_text(file.read_text().replace("task =", "tsk ="))
    with pytest.raises(RecipeError, match=r"unknown key 'model\.tsk', did you mean 'task'"):
        read_recipe(file)


def _plan(folder: Path, parts: Path, task: str, data: str = "") -> RunPlan:
    return plan_run(_written(folder, task, data), data=parts, runs=folder)


def test_a_binary_plan_has_two_classes_and_the_same_split(
    tmp_path: Path, drawn_parts: Path
) -> None:
    several = _plan(tmp_path, drawn_parts, "multilabel")
    plan = _plan(tmp_path, drawn_parts, "binary", 'severity = {defect = "critical"}')
    assert several.classes == ("good", "crack", "hole", "scratch", "stain")
    assert plan.classes == ("good", "defect")
    assert {s.labels for s in plan.samples} == {("good",), ("defect",)}
    assert plan.split_hash == several.split_hash, "the deal knows the classes of the dataset"
    assert plan.path != several.path


def test_severity_names_the_merged_class(tmp_path: Path, drawn_parts: Path) -> None:
    with pytest.raises(DataError, match=r"severity.*expected defect; found crack"):
        _plan(tmp_path, drawn_parts, "binary", 'severity = {crack = "critical"}')


def test_a_wrong_good_class_is_named_with_those_of_the_dataset(
    tmp_path: Path, drawn_parts: Path
) -> None:
    file = _written(tmp_path, "binary")
    file.write_text(file.read_text().replace('good = "good"', 'good = "fine"'))
    with pytest.raises(DataError, match="one of crack, good, hole, scratch, stain"):
        plan_run(file, data=drawn_parts, runs=tmp_path)


def test_a_run_is_opened_with_the_labels_it_was_trained_on(
    tmp_path: Path, drawn_parts: Path
) -> None:
    plan = _plan(tmp_path, drawn_parts, "binary")
    start_run(plan, tmp_path / "toy.toml", resume=False)
    finish_run(plan, FitResult(1, 1, {}, 0.0))
    again = open_run(plan.path)
    assert again.classes == plan.classes and again.split_hash == plan.split_hash
    assert {s.sample_id: s.labels for s in again.samples} == {
        s.sample_id: s.labels for s in plan.samples
    }
