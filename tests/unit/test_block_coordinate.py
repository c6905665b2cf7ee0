"""Coordinate attention, worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from training.blocks.coordinate import CoordinateAttention


def _sigmoid(x: list[float]) -> np.ndarray:
    return 1 / (1 + np.exp(-np.array(x)))


def test_the_gates_of_rows_and_columns_by_hand() -> None:
    given = np.array([[1.0, 2.0, 3.0], [5.0, 6.0, 7.0]]).reshape(1, 2, 3, 1)
    block = CoordinateAttention()
    block.build(given.shape)
    one = np.zeros(8)
    one[0] = 1
    block.squeeze.set_weights([one.reshape(1, 1, 1, 8)])
    ones, zeros = np.ones(8), np.zeros(8)
    block.norm.set_weights([ones, zeros, zeros, ones - block.norm.epsilon])  # the identity
    # rows: means 2 and 6, hard swish 2 * 5 / 6 and 6; times 0.6 less one: 0 and 2.6
    block.excite_rows.set_weights([one.reshape(1, 1, 8, 1) * 0.6, np.array([-1.0])])
    # columns: means 3 4 5, from 3 on hard swish leaves them; less four: -1 0 1
    block.excite_columns.set_weights([one.reshape(1, 1, 8, 1), np.array([-4.0])])
    gates = np.outer(_sigmoid([0, 2.6]), _sigmoid([-1, 0, 1])).reshape(1, 2, 3, 1)
    np.testing.assert_allclose(np.asarray(block(given)), gates * given, rtol=1e-5)


def test_rows_and_columns_are_normalised_together_in_training() -> None:
    given = np.zeros((1, 2, 2, 1))
    given[0, 0] = 4  # rows 4 and 0, columns 2 and 2: mean 2, variance (4 + 4 + 0 + 0) / 4 = 2
    block = CoordinateAttention()
    block.build(given.shape)
    block.squeeze.set_weights([np.ones((1, 1, 1, 8))])
    block(given, training=True)
    # momentum 0.9 from mean 0 and variance 1
    np.testing.assert_allclose(np.asarray(block.norm.moving_mean), np.full(8, 0.2), rtol=1e-5)
    np.testing.assert_allclose(np.asarray(block.norm.moving_variance), np.full(8, 1.1), rtol=1e-5)


def test_it_starts_open() -> None:
    given = np.random.default_rng(0).normal(size=(2, 3, 4, 8))
    opened = (1 / (1 + np.exp(-2))) ** 2
    np.testing.assert_allclose(np.asarray(CoordinateAttention()(given)), opened * given, rtol=1e-5)


@pytest.mark.parametrize(
    ("channels", "ratio", "hidden"), [(128, 32, 8), (512, 32, 16), (64, 4, 16)]
)
def test_the_hidden_layer_has_c_over_ratio_channels_and_at_least_eight(
    channels: int, ratio: int, hidden: int
) -> None:
    block = CoordinateAttention(ratio=ratio)
    block.build((None, 12, 10, channels))
    trained = sum(int(np.prod(w.shape)) for w in block.trainable_weights)
    assert trained == channels * hidden + 2 * hidden + 2 * (hidden * channels + channels)


def test_bad_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match=r"ratio must be .*at least 1, found 0"):
        CoordinateAttention(ratio=0)
    with pytest.raises(ValueError, match=r"height and width must be known, found \(None, None, 8"):
        CoordinateAttention().build((None, None, 8, 16))
