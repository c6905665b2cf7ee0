"""Batch normalisation by one kernel computes what Keras computes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from training.backend import cpu_tensorflow
from training.batch_norm import BatchNormalization


def _features(shape: tuple[int, ...] = (3, 5, 4, 6)) -> np.ndarray:
    return np.random.default_rng(0).normal(2.0, 3.0, shape).astype(np.float32)


def _step(kind: Any, features: np.ndarray, **given: Any) -> dict[str, np.ndarray]:
    """One step in training: what comes out, the statistics afterwards, and all gradients."""
    layer = kind(momentum=0.7, epsilon=1e-2, **given)
    layer.build(features.shape)
    rng = np.random.default_rng(1)
    layer.set_weights([rng.uniform(0.5, 1.5, w.shape) for w in layer.get_weights()])
    x = tf.constant(features)
    with tf.GradientTape() as tape:
        tape.watch(x)
        out = layer(x, training=True)
        loss = tf.reduce_sum(out**3)
    slopes = tape.gradient(loss, [x, *(v.value for v in layer.trainable_variables)])
    named = {f"gradient {i}": g.numpy() for i, g in enumerate(slopes)}
    return {"out": out.numpy(), **{v.name: v.numpy() for v in layer.variables}, **named}


@pytest.mark.parametrize("shape", [(3, 5, 4, 6), (1, 1, 1, 4), (7, 6)])
def test_output_statistics_and_gradients_are_those_of_keras(shape: tuple[int, ...]) -> None:
    ours = _step(BatchNormalization, _features(shape))
    theirs = _step(keras.layers.BatchNormalization, _features(shape))
    assert set(ours) == set(theirs)
    for name, values in theirs.items():
        np.testing.assert_allclose(ours[name], values, rtol=2e-4, atol=2e-4, err_msg=name)


def _kernel_calls(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    calls: list[int] = []
    kernel = tf.compat.v1.nn.fused_batch_norm

    def counted(*args: Any, **kwargs: Any) -> Any:
        calls.append(1)
        return kernel(*args, **kwargs)

    monkeypatch.setattr(tf.compat.v1.nn, "fused_batch_norm", counted)
    return calls


def test_the_kernel_is_used_in_training_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = _kernel_calls(monkeypatch)
    layer = BatchNormalization()
    layer(_features(), training=False)
    layer.trainable = False
    layer(_features(), training=True)
    assert not calls, "inference and frozen layers are Keras' own"
    layer.trainable = True
    layer(_features(), training=True)
    assert calls == [1]


@pytest.mark.parametrize("given", [{"scale": False}, {"center": False}, {"axis": 1}])
def test_what_the_kernel_cannot_do_keras_does(
    given: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = _kernel_calls(monkeypatch)
    ours = _step(BatchNormalization, _features(), **given)
    theirs = _step(keras.layers.BatchNormalization, _features(), **given)
    assert not calls
    np.testing.assert_array_equal(ours["out"], theirs["out"])


def test_another_backend_or_a_gpu_has_no_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    tensorflow = cpu_tensorflow.__wrapped__  # what it says is kept for a process
    assert tensorflow() is tf
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: [kind])
    assert tensorflow() is None
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: [])
    assert tensorflow() is None


def test_a_saved_model_says_the_same_when_loaded(tmp_path: Path) -> None:
    image = keras.Input((5, 4, 6))
    model = keras.Model(image, BatchNormalization(name="norm")(image))
    model.compile("sgd", "mse")
    model.fit(_features(), np.zeros((3, 5, 4, 6)), verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert type(loaded.get_layer("norm")) is BatchNormalization
    np.testing.assert_array_equal(model.predict(_features(), verbose=0), loaded(_features()))
