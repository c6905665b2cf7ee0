"""Efficient channel attention, worked out by hand."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from training.blocks.eca import ECA, adaptive_kernel_size


@pytest.mark.parametrize(
    ("channels", "kernel_size"),
    [(1, 1), (7, 1), (8, 3), (16, 3), (32, 3), (64, 3), (128, 5), (256, 5), (512, 5), (2048, 7)],
)
def test_the_kernel_follows_the_channels(channels: int, kernel_size: int) -> None:
    """`(log2 64 + 1) / 2` = 3.5 is nearest to 3; 4 for 128 lies between 3 and 5, and 5 is taken."""
    assert adaptive_kernel_size(channels) == kernel_size
    block = ECA()
    block.build((None, 4, 4, channels))
    assert block.excite.kernel.shape == (1, kernel_size, 1, 1)
    assert block.count_params() == kernel_size + 1


def test_the_gates_by_hand() -> None:
    means = np.array([1.0, 2.0, 3.0, 4.0])
    given = means * np.array([0.5, 1.5]).reshape(1, 2, 1, 1)  # two rows around the means
    block = ECA(kernel_size=3)
    block.build(given.shape)
    # left neighbour less right one, nothing beyond the ends: -2 -2 -2 3; with the bias 0 0 0 5
    block.excite.set_weights([np.array([1.0, 0.0, -1.0]).reshape(1, 3, 1, 1), np.array([2.0])])
    gates = np.array([0.5, 0.5, 0.5, 1 / (1 + np.exp(-5))])
    np.testing.assert_allclose(np.asarray(block(given)), given * gates, rtol=1e-6)


def test_a_given_kernel_is_kept_in_the_config() -> None:
    block = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(ECA(9)))
    assert isinstance(block, ECA) and block.kernel_size == 9
    assert ECA().get_config()["kernel_size"] is None


def test_it_starts_open() -> None:
    given = np.random.default_rng(0).normal(size=(2, 3, 4, 8))
    np.testing.assert_allclose(np.asarray(ECA()(given)), given / (1 + np.exp(-2)), rtol=1e-5)


@pytest.mark.parametrize("size", [0, 2, -3, 3.0])
def test_a_bad_kernel_is_refused(size: int) -> None:
    with pytest.raises(ValueError, match=f"kernel_size must be .*found {size}"):
        ECA(kernel_size=size)
