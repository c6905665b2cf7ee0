"""Self-attention over a map and the softmax it is made of, worked out by hand."""

from __future__ import annotations

from math import log, sqrt

import numpy as np
import pytest

from training.blocks._attention import offsets, softmax_mix
from training.blocks.self_attention import SelfAttention


def _identity(channels: int) -> np.ndarray:
    return np.eye(channels).reshape(1, 1, channels, channels)


def _plain(block: SelfAttention, channels: int) -> None:
    """Projections that change nothing."""
    for layer in (block.query, block.key, block.value, block.out):
        layer.set_weights([_identity(channels)])


def _softmax(scores: np.ndarray) -> np.ndarray:
    weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return weights / weights.sum(axis=-1, keepdims=True)


def test_two_cells_by_hand() -> None:
    """Scores x y / sqrt(1); the second cell, log 3, weighs the two with 3 ** -x."""
    given = np.array([0.0, log(3)]).reshape(1, 1, 2, 1)
    block = SelfAttention(heads=1)
    block.build(given.shape)
    _plain(block, 1)
    block.query.set_weights([np.full((1, 1, 1, 1), 1 / log(3))])  # queries 0 and 1
    # the first cell weighs both alike; the second with 1 and 3
    expected = given + np.array([log(3) / 2, log(3) * 3 / 4]).reshape(1, 1, 2, 1)
    np.testing.assert_allclose(np.asarray(block(given)), expected, rtol=1e-6)


def test_scores_are_divided_by_the_root_of_a_heads_channels() -> None:
    given = np.array([[1.0, 0.0, 0.0, 1.0], [0.0, 2.0, 1.0, 0.0]]).reshape(1, 2, 1, 4)
    block = SelfAttention(heads=1)
    block.build(given.shape)
    _plain(block, 4)
    cells = given.reshape(2, 4)
    weights = _softmax(np.array([[2.0, 0.0], [0.0, 5.0]]) / 2)
    np.testing.assert_allclose(
        np.asarray(block(given)).reshape(2, 4), cells + weights @ cells, rtol=1e-6
    )


def test_each_head_has_its_own_channels_and_weights() -> None:
    given = np.array([[1.0, 0.0, 0.0, 1.0], [0.0, 2.0, 1.0, 0.0]]).reshape(1, 1, 2, 4)
    block = SelfAttention(heads=2)
    block.build(given.shape)
    _plain(block, 4)
    cells = given.reshape(2, 4)
    heads = [_softmax(part @ part.T / sqrt(2)) @ part for part in (cells[:, :2], cells[:, 2:])]
    np.testing.assert_allclose(
        np.asarray(block(given)).reshape(2, 4), cells + np.concatenate(heads, axis=1), rtol=1e-6
    )


def test_it_starts_as_the_identity_and_without_a_place() -> None:
    rng = np.random.default_rng(0)
    given = rng.normal(size=(2, 3, 4, 8)).astype(np.float32)
    block = SelfAttention()
    np.testing.assert_array_equal(np.asarray(block(given)), given)
    block.set_weights([rng.normal(size=w.shape) for w in block.weights])
    turned = np.asarray(block(given[:, ::-1]))[:, ::-1]  # the order of the cells says nothing
    np.testing.assert_allclose(turned, np.asarray(block(given)), rtol=1e-4, atol=1e-4)


def test_offsets_of_a_map_of_two_by_two() -> None:
    """Cells (0,0) (0,1) (1,0) (1,1); the offset (0,0) has number 4 of 3 x 3."""
    expected = [[4, 3, 1, 0], [5, 4, 2, 1], [7, 6, 4, 3], [8, 7, 5, 4]]
    np.testing.assert_array_equal(offsets(2, 2), expected)
    assert offsets(2, 3).max() == 3 * 5 - 1 and offsets(2, 3).min() == 0


def test_a_relative_place_by_hand() -> None:
    given = np.array([1.0, 5.0]).reshape(1, 1, 2, 1)
    block = SelfAttention(heads=1, relative=True)
    block.build(given.shape)
    _plain(block, 1)
    block.query.set_weights([np.zeros((1, 1, 1, 1))])  # only the place counts
    block.table.assign(np.array([[log(3)], [0.0], [0.0]]))  # query less key is -1, 0, 1
    # the first cell sees the second, one to its right, with 3 to 1; the second sees both alike
    expected = given + np.array([(1 + 3 * 5) / 4, (1 + 5) / 2]).reshape(1, 1, 2, 1)
    np.testing.assert_allclose(np.asarray(block(given)), expected, rtol=1e-6)


def test_the_softmax_in_parts_is_the_softmax_of_the_whole() -> None:
    rng = np.random.default_rng(1)
    scores = rng.normal(0, 30, (2, 5, 9)).astype(np.float32)
    values = rng.normal(size=(2, 9, 3)).astype(np.float32)
    expected = _softmax(scores.astype(np.float64)) @ values
    for parts in ([values], [values[:, :4], values[:, 4:]]):
        np.testing.assert_allclose(np.asarray(softmax_mix(scores, *parts)), expected, atol=2e-5)


def test_great_scores_do_not_overflow() -> None:
    scores = np.array([[1e4, -1e4, 0.0]], np.float32)
    found = np.asarray(softmax_mix(scores, np.array([[1.0], [2.0], [4.0]], np.float32)))
    np.testing.assert_allclose(found, [[1.0]], atol=1e-5)


def test_the_parameters_are_counted() -> None:
    block = SelfAttention(relative=True)
    block.build((None, 12, 10, 128))
    assert block.count_params() == 4 * 128 * 128 + 4 * 23 * 19


def test_bad_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match=r"heads must be .*at least 1, found 0"):
        SelfAttention(heads=0)
    with pytest.raises(ValueError, match=r"multiple of heads \(4\), found 10"):
        SelfAttention().build((None, 4, 4, 10))
    with pytest.raises(ValueError, match=r"height and width must be known, found \(None, None, 8"):
        SelfAttention().build((None, None, 8, 16))
