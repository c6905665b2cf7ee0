"""Half precision and several devices: what is kept is float32, and two learn as one does."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

from qc.errors import UsageError
from qc.plugins import names
from qc.recipe import ModelTable, TrainTable
from training import devices
from training.fit import FitResult, fit, float_copy
from training.model import build_model
from training.pipeline import Images, load_images
from training.run import RunPlan, plan_run, start_run

pytestmark = pytest.mark.usefixtures("repeatable")

ROOT = Path(__file__).parents[2]

RECIPE = """
name = "toy"

[data]
path = "parts"
good = "good"

[model]
backbone = "inverted_residual"
size_hw = [32, 32]
stride = 8
width = 0.35

[train]
epochs = {epochs}
batch_size = 8
precision = "{precision}"
"""


def _table(**changes: object) -> TrainTable:
    return TrainTable.model_validate({"epochs": 1, **changes})


def test_auto_is_half_precision_only_where_there_is_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "gpu_count", lambda: 0)
    assert devices.precision_of(_table()) == "float32"
    assert devices.precision_of(_table(precision="mixed_float16")) == "mixed_float16"
    monkeypatch.setattr(devices, "gpu_count", lambda: 1)
    assert devices.precision_of(_table()) == "mixed_float16"
    assert devices.precision_of(_table(precision="float32")) == "float32"


def test_the_policy_of_the_process_comes_back_after_an_error() -> None:
    before = keras.config.dtype_policy().name
    with pytest.raises(RuntimeError), devices.precision("mixed_float16"):
        assert keras.config.dtype_policy().name == "mixed_float16"
        raise RuntimeError
    assert keras.config.dtype_policy().name == before


def test_several_gpus_are_refused_where_there_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    assert devices.replicas(_table(), 8) is None
    monkeypatch.setattr(devices, "gpu_count", lambda: 1)
    with pytest.raises(UsageError, match=r"not several GPUs here.*found 'all' and 1"):
        devices.replicas(_table(gpus="all"), 8)
    with pytest.raises(UsageError, match=r"evenly among the GPUs.*multiple of 2; found 9"):
        devices.mirrored(["CPU:0", "CPU:1"], 9)


_MODELS = [
    *({"backbone": name} for name in names("backbone")),
    *({"backbone": "inverted_residual", "block": name} for name in names("block")),
    {"backbone": "inverted_residual", "pooling": "gated"},
    {"backbone": "inverted_residual", "pyramid": True},
]


@pytest.mark.parametrize("changes", _MODELS, ids=lambda c: "-".join(map(str, c.values())))
def test_every_model_gives_in_half_precision_what_its_float_copy_gives(
    changes: dict[str, object],
) -> None:
    stride = 16 if changes["backbone"] == "compact_transformer" else 8
    table = ModelTable.model_validate({"size_hw": [64, 64], "stride": stride, **changes})
    keras.utils.set_random_seed(0)
    with devices.precision("mixed_float16"):
        half = build_model(table, 3)
    whole = float_copy(half)
    assert {layer.dtype_policy.name for layer in whole.layers if layer.weights} == {"float32"}
    assert half.dtype_policy.name == "mixed_float16"
    images = np.random.default_rng(0).integers(0, 256, (4, 64, 64, 3)).astype(np.float32)
    # not traced, which would take far longer than the pass
    found, wanted = (
        {name: np.asarray(value, np.float32) for name, value in model(images).items()}
        for model in (half, whole)
    )
    for name, values in wanted.items():
        assert np.isfinite(found[name]).all()
        # float16 has ten bits: a thousandth of the largest number, over some dozens of layers
        np.testing.assert_allclose(found[name], values, atol=0.02 * max(np.abs(values).max(), 1))


def test_the_float_copy_of_a_float_model_is_itself() -> None:
    table = ModelTable.model_validate({"backbone": "inverted_residual", "size_hw": [32, 32]})
    model = build_model(table, 3)
    assert float_copy(model) is model


def _read(plan: RunPlan, split: str) -> Images:
    return load_images(plan.of_split(split), plan.classes, "good", plan.preprocess)


def _train(
    folder: Path, parts: Path, precision: str, resume: bool = False, stop_after: int | None = None
) -> tuple[RunPlan, FitResult | None]:
    folder.mkdir(exist_ok=True)
    recipe = folder / "toy.toml"
    recipe.write_text(RECIPE.format(precision=precision, epochs=3))
    plan = plan_run(recipe, data=parts, runs=folder)
    start_run(plan, recipe, resume=resume)
    keras.utils.set_random_seed(0)
    with devices.precision(devices.precision_of(plan.recipe.train)):
        model = build_model(plan.recipe.model, len(plan.classes))

    def report(done: int, total: int, line: str) -> None:
        if stop_after is not None and done == 1 + stop_after * total // 3:
            raise KeyboardInterrupt

    train, val = _read(plan, "train"), _read(plan, "val")
    try:
        return plan, fit(plan, model, train, val, resume=resume, report=report)
    except KeyboardInterrupt:
        return plan, None


def test_half_precision_learns_keeps_float_and_goes_on_as_if_unbroken(
    tmp_path: Path, drawn_parts: Path
) -> None:
    plan, whole = _train(tmp_path / "whole", drawn_parts, "mixed_float16")
    _, broken = _train(tmp_path / "broken", drawn_parts, "mixed_float16", stop_after=1)
    assert broken is None
    again_plan, again = _train(tmp_path / "broken", drawn_parts, "mixed_float16", resume=True)
    assert whole is not None and again is not None
    assert whole.precision == again.precision == "mixed_float16"
    assert whole.val == again.val
    kept, kept_again = (
        keras.models.load_model(p.path / "model.keras", compile=False) for p in (plan, again_plan)
    )
    assert kept.dtype_policy.name == "float32"
    assert {w.dtype for w in kept.weights} == {"float32"}
    for one, other in zip(kept.get_weights(), kept_again.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    rows = (plan.path / "history.csv").read_text().splitlines()
    assert float(rows[-1].split(",")[1]) < float(rows[1].split(",")[1]), "it does not learn"


PROGRAM = """
import sys
from pathlib import Path
import keras, numpy as np, tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
from training import devices
from training.fit import fit
from training.head import EvidenceHead
from training.pipeline import load_images
from training.run import plan_run, start_run

recipe, parts = map(Path, sys.argv[1:])

class Cut(Exception):
    pass

def train(runs, strategy, stop=False, resume=False):
    plan = plan_run(recipe, data=parts, runs=recipe.parent / runs)
    start_run(plan, recipe, resume=resume)
    images = [
        load_images(plan.of_split(s), plan.classes, "good", plan.preprocess)
        for s in ("train", "val")
    ]
    keras.utils.set_random_seed(0)
    with devices.scope(strategy):
        image = keras.Input((32, 32, 3), name="image")
        x = keras.layers.Rescaling(1 / 127.5, offset=-1.0)(image)
        x = keras.layers.Conv2D(8, 8, strides=8, activation="relu")(x)
        score, attention = EvidenceHead(len(plan.classes), name="head")(x)
        model = keras.Model(image, {"score": score, "attention": attention})

    def report(done, total, line):
        if stop and done == total // 2 + 1:
            raise Cut

    try:
        result = fit(plan, model, *images, resume=resume, report=report, strategy=strategy)
    except Cut:
        return None
    kept = keras.models.load_model(plan.path / "model.keras", compile=False)
    return result, kept.get_weights()

two = devices.mirrored(["CPU:0", "CPU:1"], 8)
one_result, one = train("one", None)
two_result, both = train("two", two)
assert (one_result.devices, two_result.devices) == (1, 2), (one_result, two_result)
assert train("cut", two, stop=True) is None
_, resumed = train("cut", two, resume=True)
for a, b, c in zip(one, both, resumed, strict=True):
    # the same mean of the same gradients, summed in another order
    np.testing.assert_allclose(a, b, rtol=2e-3, atol=2e-4)
    np.testing.assert_allclose(b, c, rtol=2e-3, atol=2e-4)
assert one_result.val == two_result.val, (one_result, two_result)
print("two devices learn as one")
"""


def test_two_devices_learn_what_one_learns(tmp_path: Path, drawn_parts: Path) -> None:
    recipe = tmp_path / "toy.toml"
    # the norm that is clipped is each device's own, so it is left out
    recipe.write_text(RECIPE.format(precision="float32", epochs=2) + "clip_norm = 0.0\n")
    ran = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(recipe), str(drawn_parts)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr[-3000:]
    assert "two devices learn as one" in ran.stdout
