"""Training: what a run leaves behind, that it repeats, how it is cut off, and when it gives up.

The model is a toy, so that each training takes a moment; it has what makes repeating hard: dropout,
batch normalisation, a schedule, and a running average of the weights.
"""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest

from qc.errors import DataError, FaultError, UsageError
from training import makers, run
from training.evaluate import quick_figures, run_keras
from training.fit import FitResult, Report, _replace, fit
from training.head import EvidenceHead
from training.pipeline import Images, load_images
from training.run import RunPlan, alone, finish_run, open_run, plan_run, start_run
from training.variants import Variant, Variants

pytestmark = pytest.mark.usefixtures("repeatable")

RECIPE = """
name = "toy"
seed = 2

[data]
path = "parts"
good = "good"

[model]
backbone = "inverted_residual"
size_hw = [32, 32]
stride = 8

[train]
epochs = 3
batch_size = 8
learning_rate = 5e-3
"""
EPOCHS = 3


@dataclass(frozen=True)
class _Data:
    recipe: Path
    parts: Path
    train: Images
    val: Images


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory, drawn_parts: Path) -> _Data:
    recipe = tmp_path_factory.mktemp("recipe") / "toy.toml"
    recipe.write_text(RECIPE)
    plan = plan_run(recipe, data=drawn_parts, runs=recipe.parent)
    train, val = (
        load_images(plan.of_split(split), plan.classes, "good", plan.preprocess)
        for split in ("train", "val")
    )
    return _Data(recipe, drawn_parts, train, val)


def _model() -> keras.Model:
    keras.utils.set_random_seed(2)
    image = keras.Input((32, 32, 3), name="image")
    x = keras.layers.Rescaling(1 / 127.5, offset=-1.0)(image)
    x = keras.layers.Conv2D(8, 8, strides=8, name="patches")(x)
    x = keras.layers.BatchNormalization(name="norm")(x)
    x = keras.layers.SpatialDropout2D(0.2, name="dropout")(keras.layers.ReLU()(x))
    score, attention = EvidenceHead(5, name="head")(x)
    return keras.Model(image, {"score": score, "attention": attention})


def _plan(data: _Data, runs: Path, learning_rate: float = 5e-3, average: float = 0.98) -> RunPlan:
    path = runs / "toy.toml"
    last = f"learning_rate = {learning_rate}\naverage = {average}\n"
    path.write_text(RECIPE.replace("learning_rate = 5e-3\n", last))
    return plan_run(path, data=data.parts, runs=runs)


def _train(
    data: _Data, plan: RunPlan, *, resume: bool = False, report: Report | None = None
) -> FitResult:
    assert start_run(plan, data.recipe, resume=resume)
    return fit(plan, _model(), data.train, data.val, resume=resume, report=report)


def _history(plan: RunPlan) -> list[dict[str, str]]:
    """The rows of history.csv without their durations."""
    with (plan.path / "history.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert all(float(row.pop("seconds")) >= 0 for row in rows)
    return rows


def _weights(plan: RunPlan) -> list[np.ndarray]:
    model = keras.models.load_model(plan.path / "model.keras", compile=False)
    return [np.asarray(w) for w in model.weights]


@dataclass(frozen=True)
class _Done:
    plan: RunPlan
    result: FitResult
    told: list[tuple[int, int, str]]


@pytest.fixture(scope="module")
def done(data: _Data, tmp_path_factory: pytest.TempPathFactory) -> _Done:
    """A run that nothing disturbed."""
    plan = _plan(data, tmp_path_factory.mktemp("runs"))
    told: list[tuple[int, int, str]] = []
    result = _train(data, plan, report=lambda *step: told.append(step))
    finish_run(plan, result)
    return _Done(plan, result, told)


def test_a_run_leaves_its_files_and_no_checkpoint(done: _Done, data: _Data) -> None:
    names = {p.name for p in done.plan.path.iterdir()}
    assert names == {
        *("recipe.toml", "plan.json", "split.csv", "history.csv", "model.keras", "result.json"),
        *("curves.png", "tensorboard"),
    }
    assert (done.plan.path / "recipe.toml").read_text() == RECIPE
    assert json.loads((done.plan.path / "plan.json").read_text())["classes"][0] == "good"
    assert done.plan.result() == {
        "epochs": EPOCHS,
        "best_epoch": done.result.best_epoch,
        "val": done.result.val,
        "seconds": done.result.seconds,
        "precision": "float32",
        "devices": 1,
    }
    assert done.plan.path.name.startswith("toy-")


def test_the_history_has_a_row_an_epoch_and_the_best_is_told(done: _Done) -> None:
    rows = _history(done.plan)
    assert [row["epoch"] for row in rows] == ["1", "2", "3"]
    assert float(rows[-1]["loss"]) < float(rows[0]["loss"]), "it does not learn"
    sums = [float(row["val_auroc"]) + float(row["val_macro_f1"]) for row in rows]
    assert done.result.best_epoch == sums.index(max(sums)) + 1
    best = rows[done.result.best_epoch - 1]
    assert done.result.val == {
        "auroc": float(best["val_auroc"]),
        "macro_f1": float(best["val_macro_f1"]),
    }


def test_the_kept_model_is_the_one_that_was_judged(done: _Done, data: _Data) -> None:
    model = keras.models.load_model(done.plan.path / "model.keras", compile=False)
    figures = quick_figures(data.val, run_keras(model, data.val.pixels).score, 0)
    assert figures == pytest.approx(done.result.val, abs=1e-9)


def test_every_step_is_told(done: _Done, data: _Data) -> None:
    total = EPOCHS * (len(data.train) // 8)
    assert [(step, of) for step, of, _ in done.told] == [(i, total) for i in range(1, total + 1)]
    assert done.told[0][2] == "" and "val AUROC" in done.told[-1][2]


def _cut_off_at(step: int) -> Callable[[int, int, str], None]:
    def report(found: int, total: int, line: str) -> None:
        if found == step:
            raise KeyboardInterrupt

    return report


def _go_on(data: _Data, plan: RunPlan, done: _Done, epoch: int) -> None:
    """Resume; from the beginning of `epoch` on, everything is as in the run nothing disturbed."""
    told: list[int] = []
    result = _train(data, plan, resume=True, report=lambda step, *_: told.append(step))
    steps = len(data.train) // 8
    assert told == list(range((epoch - 1) * steps + 1, EPOCHS * steps + 1))
    assert _history(plan) == _history(done.plan)
    assert (result.best_epoch, result.val) == (done.result.best_epoch, done.result.val)
    for one, other in zip(_weights(plan), _weights(done.plan), strict=True):
        np.testing.assert_array_equal(one, other)
    assert not list(plan.path.glob("*checkpoint*"))


def test_the_same_seed_gives_the_same_numbers(done: _Done, data: _Data, tmp_path: Path) -> None:
    """Also where the run was begun and cut off before its first epoch was whole."""
    plan = _plan(data, tmp_path)
    assert plan.path.name == done.plan.path.name
    assert plan_run(data.recipe, data=data.parts, runs=tmp_path, seed=9).path.name != plan.path.name
    assert start_run(plan, data.recipe, resume=False)
    with pytest.raises(UsageError, match="was begun: go on with --resume"):
        start_run(plan, data.recipe, resume=False)
    with pytest.raises(UsageError, match="not finished: go on with `qc train --resume`"):
        open_run(plan.path)
    _go_on(data, plan, done, epoch=1)


def test_processes_that_make_the_pictures_change_no_number(
    done: _Done, data: _Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And they end with the training, also where it is cut off and goes on."""
    begun: list[Any] = []
    begin = makers.start_python

    def noted(*told: Any, **how: Any) -> Any:
        begun.append(begin(*told, **how))
        return begun[-1]

    monkeypatch.setattr(makers, "start_python", noted)
    monkeypatch.setattr(makers, "WORTH", 0)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1})
    plan = _plan(data, tmp_path)
    with pytest.raises(KeyboardInterrupt):
        _train(data, plan, report=_cut_off_at(len(data.train) // 8 + 2))
    assert len(begun) == 2 and all(process.poll() == 0 for process in begun)
    _go_on(data, plan, done, epoch=2)
    assert len(begun) == 4 and all(process.poll() == 0 for process in begun)


def test_the_kept_model_holds_no_optimiser(done: _Done) -> None:
    with zipfile.ZipFile(done.plan.path / "model.keras") as kept:
        assert not json.loads(kept.read("config.json"))["compile_config"]
        with kept.open("model.weights.h5") as file, h5py.File(file) as weights:
            assert "layers" in weights and not weights.get("optimizer")


def test_a_run_cut_off_in_an_epoch_goes_on_from_the_one_before(
    done: _Done, data: _Data, tmp_path: Path
) -> None:
    plan = _plan(data, tmp_path)
    with pytest.raises(KeyboardInterrupt):
        _train(data, plan, report=_cut_off_at(len(data.train) // 8 + 2))
    _go_on(data, plan, done, epoch=2)


def test_a_run_cut_off_while_it_saves_is_not_half_an_epoch_on(
    done: _Done, data: _Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = _plan(data, tmp_path)
    saved: list[str] = []

    def replace(path: Path, write: Callable[[Path], None]) -> None:
        saved.append(path.name)
        if saved.count("checkpoint.json") == 2:
            raise KeyboardInterrupt
        _replace(path, write)

    monkeypatch.setattr("training.fit._replace", replace)
    with pytest.raises(KeyboardInterrupt):
        _train(data, plan)
    monkeypatch.undo()
    _go_on(data, plan, done, epoch=2)


def test_a_checkpoint_of_another_version_is_refused_and_kept(data: _Data, tmp_path: Path) -> None:
    plan = _plan(data, tmp_path)
    with pytest.raises(KeyboardInterrupt):
        _train(data, plan, report=_cut_off_at(len(data.train) // 8 + 2))
    file = plan.path / "checkpoint-1.npz"
    np.savez(file, average=np.zeros(3))
    before = file.read_bytes()
    with pytest.raises(FaultError, match=r"checkpoint-1\.npz.*go on.*this version wrote"):
        _train(data, plan, resume=True)
    assert file.read_bytes() == before


def test_the_average_is_judged_and_the_weights_learn_on(
    done: _Done, data: _Data, tmp_path: Path
) -> None:
    """Without an average the losses are the same, and what is kept is not."""
    plan = _plan(data, tmp_path, average=0.0)
    _train(data, plan)
    for key in ("loss", "score_loss", "attention_loss"):
        assert [r[key] for r in _history(plan)] == [r[key] for r in _history(done.plan)]
    pairs = zip(_weights(plan), _weights(done.plan), strict=True)
    assert any(not np.array_equal(one, other) for one, other in pairs)


def test_a_run_stops_where_nothing_gets_better(data: _Data, tmp_path: Path) -> None:
    """The weights do not move: the first epoch stays the best, and two more are waited for."""
    path = tmp_path / "toy.toml"
    still = "learning_rate = 1e-12\nearly_stop_epochs = 2\n"
    path.write_text(RECIPE.replace("learning_rate = 5e-3\n", still).replace("= 3", "= 9"))
    plan = plan_run(path, data=data.parts, runs=tmp_path)
    result = _train(data, plan)
    assert (result.epochs, result.best_epoch) == (3, 1)


def test_a_run_that_diverges_is_a_fault(data: _Data, tmp_path: Path) -> None:
    plan = _plan(data, tmp_path, learning_rate=1e38)
    with pytest.raises(FaultError, match=r"toy-.*training diverged.*learning_rate") as caught:
        _train(data, plan)
    assert caught.value.exit_code == 3
    assert not (plan.path / "result.json").exists()


def test_why_a_picture_cannot_be_made_is_told(
    data: _Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not what TensorFlow makes of it, once it asks for the batches itself."""
    draw, left = Variants.draw, iter(range(2 * len(data.train)))

    def fail(*told: Any) -> Variant:
        if next(left, None) is None:
            raise FaultError("no memory")
        return draw(*told)

    monkeypatch.setattr(Variants, "draw", fail)
    with pytest.raises(FaultError, match=r"^no memory$"):
        _train(data, _plan(data, tmp_path))


def test_a_disk_that_cannot_be_written_is_a_fault(
    data: _Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("training.fit._replace", full)
    with pytest.raises(FaultError, match="the run cannot be written; found No space left"):
        _train(data, _plan(data, tmp_path))


# the run's directory


def test_a_run_is_trained_by_one_process_at_a_time(data: _Data, tmp_path: Path) -> None:
    """Two that went on with one run would save over each other."""
    plan = _plan(data, tmp_path)
    assert start_run(plan, data.recipe, resume=False)
    code = (
        "import sys; from pathlib import Path; from types import SimpleNamespace; "
        "from training.run import alone\n"
        "with alone(SimpleNamespace(path=Path(sys.argv[1]))): print('mine')"
    )
    command = [sys.executable, "-c", code, str(plan.path)]
    with alone(plan):
        other = subprocess.run(command, capture_output=True, text=True, check=False)
        assert other.returncode == 1 and "mine" not in other.stdout
        assert f"{plan.path}: another qc train goes on with this run; expected" in other.stderr
        assert f"process {os.getpid()} holds run.lock" in other.stderr
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "mine\n"
    assert not (plan.path / "run.lock").exists()


def test_a_disk_without_locks_is_trained_on_all_the_same(
    data: _Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(*arguments: object, **named: object) -> int:
        raise OSError(37, "No locks available")

    plan = _plan(data, tmp_path)
    assert start_run(plan, data.recipe, resume=False)
    monkeypatch.setattr(run, "take_lock", none)
    with alone(plan):
        assert plan.path.is_dir()


def test_of_two_that_begin_a_run_at_once_one_is_told(
    data: _Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = _plan(data, tmp_path)
    monkeypatch.setattr(run, "is_to_train", lambda plan, resume: True)  # both asked before
    assert start_run(plan, data.recipe, resume=False)
    with pytest.raises(UsageError, match=r"another qc train has just begun this run.*"):
        start_run(plan, data.recipe, resume=False)


def test_a_finished_run_is_not_begun_again(done: _Done, data: _Data) -> None:
    before = {p.name: p.stat().st_mtime_ns for p in done.plan.path.iterdir()}
    with pytest.raises(UsageError, match=r"toy-.*is finished: go on with --resume, or remove it"):
        start_run(done.plan, data.recipe, resume=False)
    assert start_run(done.plan, data.recipe, resume=True) is False
    assert {p.name: p.stat().st_mtime_ns for p in done.plan.path.iterdir()} == before


def test_a_finished_run_is_read_back(done: _Done, data: _Data) -> None:
    for place in (None, data.parts, data.parts.parent):
        found = open_run(done.plan.path, place)
        assert found.recipe == done.plan.recipe and found.classes == done.plan.classes
        assert (found.split_hash, found.weights_hash) == (done.plan.split_hash, "")
        for split in ("train", "val", "test"):
            ids = {s.sample_id for s in found.of_split(split)}
            assert ids == {s.sample_id for s in done.plan.of_split(split)} != set()
    with pytest.raises(DataError, match="does not exist"):
        open_run(done.plan.path, data.parts / "missing")
