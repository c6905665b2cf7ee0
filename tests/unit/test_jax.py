"""Blocks, models and the training step are Keras alone: JAX trains what TensorFlow exports."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

from training.run import plan_run
from training.steps import load_model

ROOT = Path(__file__).parents[2]

RECIPE = """
name = "toy"

[data]
path = "parts"
good = "good"

[model]
task = "{task}"
backbone = "inverted_residual"
size_hw = [32, 32]
stride = 8
width = 0.35

[train]
epochs = 2
batch_size = 32
"""

PROGRAM = """
import sys
from pathlib import Path
import keras, numpy as np
from training.fit import fit
from training.model import build_model
from training.pipeline import load_images
from training.run import plan_run, start_run

assert keras.backend.backend() == "jax"
recipe, parts = map(Path, sys.argv[1:])
plan = plan_run(recipe, data=parts, runs=recipe.parent)
start_run(plan, recipe, resume=False)
train, val = (
    load_images(plan.of_split(s), plan.classes, "good", plan.preprocess) for s in ("train", "val")
)
keras.utils.set_random_seed(0)
result = fit(plan, build_model(plan.recipe.model, len(plan.classes)), train, val, resume=False)
model = keras.models.load_model(plan.path / "model.keras", compile=False)
found = model.predict_on_batch(val.pixels[:8].astype("float32"))
np.savez(recipe.parent / "jax.npz", pixels=val.pixels[:8], **found)
"""


@pytest.mark.skipif(importlib.util.find_spec("jax") is None, reason="jax is not installed")
@pytest.mark.parametrize("task", ["multiclass", "multilabel"])
def test_what_jax_trained_is_the_same_model_on_tensorflow(
    task: str, tmp_path: Path, drawn_parts: Path
) -> None:
    recipe = tmp_path / "toy.toml"
    recipe.write_text(RECIPE.format(task=task))
    ran = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(recipe), str(drawn_parts)],
        env={**os.environ, "KERAS_BACKEND": "jax"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr[-3000:]
    assert keras.backend.backend() == "tensorflow"
    model = load_model(plan_run(recipe, data=drawn_parts, runs=tmp_path))
    with np.load(tmp_path / "jax.npz") as there:
        here = model.predict_on_batch(there["pixels"].astype(np.float32))
        for name in ("score", "attention"):
            np.testing.assert_allclose(here[name], there[name], rtol=1e-3, atol=1e-4)
