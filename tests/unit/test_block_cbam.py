"""CBAM and its two gates, worked out by hand."""

from __future__ import annotations

from math import log

import keras
import numpy as np
import pytest

from training.blocks.cbam import CBAM, CBAMChannel, CBAMSpatial


def test_the_channel_gate_by_hand() -> None:
    given = np.array([1.0, 2.0, 3.0, 6.0]).reshape(1, 2, 2, 1)  # mean 3, maximum 6
    block = CBAMChannel()
    block.build(given.shape)
    one = np.array([1.0, 0.0, 0.0, 0.0])
    block.squeeze.set_weights([one.reshape(1, 1, 1, 4), np.zeros(4)])
    # (3 + 6) * log(3) / 9, and the bias twice
    kernel = one.reshape(1, 1, 4, 1) * log(3) / 9
    block.excite.set_weights([kernel, np.array([0.0])])
    np.testing.assert_allclose(np.asarray(block(given)), 0.75 * given, rtol=1e-6)
    block.excite.set_weights([kernel, np.array([-log(3) / 2])])
    np.testing.assert_allclose(np.asarray(block(given)), 0.5 * given, rtol=1e-6)


def test_the_spatial_gate_by_hand() -> None:
    given = np.array([[1.0, 3.0], [0.0, -2.0], [2.0, 2.0]]).reshape(1, 1, 3, 2)
    block = CBAMSpatial(kernel_size=3)
    block.build(given.shape)
    centre, right = np.zeros((3, 3, 1, 1)), np.zeros((3, 3, 1, 1))
    centre[1, 1], right[1, 2] = 1, 1
    block.mean.set_weights([centre, np.array([-1.0])])  # own mean, less one: 1 -2 1
    block.peak.set_weights([right, np.array([0.0])])  # maximum of the cell to the right: 0 2 0
    high = 1 / (1 + np.exp(-1))
    gates = np.array([high, 0.5, high]).reshape(1, 1, 3, 1)
    np.testing.assert_allclose(np.asarray(block(given)), gates * given, rtol=1e-6)


def test_the_whole_is_the_channel_gate_then_the_spatial_gate() -> None:
    rng = np.random.default_rng(0)
    given = rng.normal(size=(2, 5, 4, 8)).astype(np.float32)
    whole, channel, spatial = CBAM(4, 3), CBAMChannel(4), CBAMSpatial(3)
    for layer in (whole, channel, spatial):
        layer.build(given.shape)
    whole.set_weights([rng.normal(0, 0.5, w.shape) for w in whole.weights])
    channel.set_weights(whole.channel.get_weights())
    spatial.set_weights(whole.spatial.get_weights())
    found = np.asarray(whole(given))
    np.testing.assert_allclose(found, np.asarray(spatial(channel(given))), rtol=1e-6)
    assert not np.allclose(found, np.asarray(channel(spatial(given))), rtol=1e-2)


@pytest.mark.parametrize(("kind", "gates"), [(CBAM, 2), (CBAMChannel, 1), (CBAMSpatial, 1)])
def test_it_starts_open_and_alike_everywhere(kind: type[keras.layers.Layer], gates: int) -> None:
    given = np.random.default_rng(0).normal(size=(2, 3, 4, 8))
    opened = (1 / (1 + np.exp(-2))) ** gates
    np.testing.assert_allclose(np.asarray(kind()(given)), opened * given, rtol=1e-5)


def test_the_parameters_are_counted() -> None:
    block = CBAM()
    block.build((None, 12, 12, 128))
    assert block.channel.count_params() == 2 * 128 * 16 + 16 + 128
    assert block.spatial.count_params() == 2 * (49 + 1)
    assert block.count_params() == 4240 + 100


def test_bad_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match=r"ratio must be .*at least 1, found 0"):
        CBAM(ratio=0)
    with pytest.raises(ValueError, match="kernel_size must be odd, found 4"):
        CBAM(kernel_size=4)
    with pytest.raises(ValueError, match=r"the number of channels must be known, found \(None, "):
        CBAM().build((None, 8, 8, None))
