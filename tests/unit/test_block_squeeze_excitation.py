"""Squeeze-and-excitation, worked out by hand."""

from __future__ import annotations

from math import log

import numpy as np
import pytest

from training.blocks.squeeze_excitation import SqueezeExcitation

OPEN = 1 / (1 + np.exp(-2))


def test_the_gate_by_hand() -> None:
    first, second = [[1.0, 2.0], [3.0, 6.0]], [[0.0, 0.0], [-4.0, 0.0]]  # means 3 and -1
    given = np.stack([first, second], axis=-1)[None]
    block = SqueezeExcitation(ratio=1)
    block.build(given.shape)
    squeeze = np.zeros((1, 1, 2, 4))
    squeeze[0, 0, 0, 0] = squeeze[0, 0, 1, 1] = 1
    block.squeeze.set_weights([squeeze, np.zeros(4)])  # 3, and -1 * 0.2 behind the leaky ReLU
    excite = np.zeros((1, 1, 4, 2))
    excite[0, 0, 0, 0], excite[0, 0, 1, 0] = 1, 5  # 3 - 5 * 0.2 = 2
    block.excite.set_weights([excite, np.array([-2, log(3)])])  # logits 0 and log 3
    expected = np.stack([np.multiply(first, 0.5), np.multiply(second, 0.75)], axis=-1)[None]
    np.testing.assert_allclose(np.asarray(block(given)), expected, rtol=1e-6)


def test_it_starts_open_and_alike_everywhere() -> None:
    given = np.random.default_rng(0).normal(size=(2, 3, 4, 8))
    np.testing.assert_allclose(np.asarray(SqueezeExcitation()(given)), OPEN * given, rtol=1e-5)


@pytest.mark.parametrize(("channels", "ratio", "hidden"), [(128, 16, 8), (64, 8, 8), (16, 16, 4)])
def test_the_hidden_layer_has_c_over_ratio_channels_and_at_least_four(
    channels: int, ratio: int, hidden: int
) -> None:
    block = SqueezeExcitation(ratio=ratio)
    block.build((None, 12, 12, channels))
    assert block.squeeze.kernel.shape == (1, 1, channels, hidden)
    assert block.count_params() == 2 * channels * hidden + hidden + channels


@pytest.mark.parametrize("ratio", [0, -1, 2.5, True])
def test_a_bad_ratio_is_refused(ratio: int) -> None:
    with pytest.raises(ValueError, match=f"ratio must be .*at least 1, found {ratio}"):
        SqueezeExcitation(ratio=ratio)


@pytest.mark.parametrize("shape", [(None, 8, 8, None), (None, 16)])
def test_features_without_known_channels_are_refused(shape: tuple[int | None, ...]) -> None:
    with pytest.raises(ValueError, match=r"must be .*found \(None, "):
        SqueezeExcitation().build(shape)
