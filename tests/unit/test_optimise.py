"""Adam by one kernel and gradients clipped together give what Keras' AdamW gives."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from qc.recipe import TrainTable
from training import optimise
from training.optimise import clipped, make_optimiser

RATE, DECAY, LONGEST = 0.01, 0.1, 0.5


def _ours(**changes: Any) -> Any:
    table = {"epochs": 10, "learning_rate": RATE, "warmup_epochs": 0, "weight_decay": DECAY}
    return make_optimiser(
        TrainTable.model_validate({**table, "clip_norm": LONGEST, **changes}), 10, False
    )


def _keras() -> Any:
    rate = keras.optimizers.schedules.CosineDecay(RATE, decay_steps=100, alpha=0.02)
    return keras.optimizers.AdamW(rate, weight_decay=DECAY, clipnorm=LONGEST)


def _walk(optimiser: Any, steps: int = 12) -> list[np.ndarray]:
    """Two variables after some steps of gradients, a part of which is longer than allowed."""
    rng = np.random.default_rng(0)
    weights = [keras.Variable(rng.normal(size=shape), dtype="float32") for shape in ((3, 2), (4,))]
    optimiser.build(weights)

    @tf.function
    def step(grads: Any) -> None:
        optimiser.apply(grads, weights)

    for number in range(steps):
        length = 0.1 if number % 2 else 3.0
        step([tf.constant(length * rng.normal(size=w.shape), tf.float32) for w in weights])
    return [np.asarray(v) for v in (*weights, *optimiser._momentums, *optimiser._velocities)]


def _kernel_calls(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    calls: list[int] = []
    kernel = tf.raw_ops.ResourceApplyAdam

    def counted(**given: Any) -> Any:
        calls.append(1)
        return kernel(**given)

    monkeypatch.setattr(tf.raw_ops, "ResourceApplyAdam", counted)
    return calls


def test_the_steps_are_those_of_keras(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = _kernel_calls(monkeypatch)
    ours, theirs = _walk(_ours()), _walk(_keras())
    assert calls == [1, 1], "once for each variable of the one graph"
    for mine, kept in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(mine, kept, rtol=2e-5, atol=1e-7)


def test_where_there_is_no_kernel_keras_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    by_kernel = _walk(_ours())
    calls = _kernel_calls(monkeypatch)
    monkeypatch.setattr(optimise, "cpu_tensorflow", lambda: None)
    by_keras = _walk(_ours())
    assert not calls
    for mine, kept in zip(by_kernel, by_keras, strict=True):
        np.testing.assert_allclose(mine, kept, rtol=2e-5, atol=1e-7)


def test_a_gradient_of_few_rows_is_keras(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel takes whole gradients alone; an embedding's holds the rows that were looked up."""
    calls = _kernel_calls(monkeypatch)
    table = keras.Variable(np.ones((4, 2)), dtype="float32")
    rows = tf.IndexedSlices(tf.ones((1, 2)), tf.constant([2]), tf.constant([4, 2]))
    optimiser = _ours(clip_norm=0.0, weight_decay=0.0)
    optimiser.apply([rows], [table])
    assert not calls
    assert np.flatnonzero((np.asarray(table) != 1).any(axis=1)).tolist() == [2]


def test_each_gradient_is_clipped_by_its_own_length() -> None:
    short, long = tf.constant([[0.3, 0.4]]), tf.constant([6.0, 8.0])
    found = clipped([short, None, long, tf.zeros(3)], 2.0)
    np.testing.assert_allclose(found[0], short)
    assert found[1] is None
    np.testing.assert_allclose(found[2], [1.2, 1.6], rtol=1e-6)
    np.testing.assert_array_equal(found[3], np.zeros(3))


def test_a_gradient_of_rows_is_as_long_as_their_sum() -> None:
    """Of a table whose second row was looked up twice."""
    values = tf.constant([[3.0, 0.0], [3.0, 0.0], [0.0, 8.0]])
    rows = tf.IndexedSlices(values, tf.constant([1, 1, 2]), tf.constant([4, 2]))
    (found,) = clipped([rows], 5.0)
    np.testing.assert_allclose(found, [[0, 0], [3, 0], [0, 4], [0, 0]], rtol=1e-6)


def test_zero_clips_nothing() -> None:
    free, held = _walk(_ours(clip_norm=0.0)), _walk(_ours())
    assert not np.allclose(free[2], held[2])
    assert np.abs(free[2]).max() > np.abs(held[2]).max()


def test_it_is_made_again_from_what_it_says() -> None:
    optimiser = _ours(average=0.9)
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(optimiser))
    for mine, kept in zip(_walk(again), _walk(optimiser), strict=True):
        np.testing.assert_array_equal(mine, kept)
