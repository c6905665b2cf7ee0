"""Efficient attention, worked out by hand and against the paper's formula."""

from __future__ import annotations

from math import log

import keras
import numpy as np
import pytest

from training.blocks.linear_attention import LinearAttention


def _softmax(scores: np.ndarray, axis: int) -> np.ndarray:
    weights = np.exp(scores - scores.max(axis=axis, keepdims=True))
    return weights / weights.sum(axis=axis, keepdims=True)


def test_two_cells_by_hand() -> None:
    """Two channels: two summaries, and a query that picks them with 3 to 1."""
    given = np.array([[0.0, 8.0], [log(3), 4.0]]).reshape(1, 1, 2, 2)
    block = LinearAttention(heads=1)
    block.build(given.shape)
    eye = np.eye(2).reshape(1, 1, 2, 2)
    block.query.set_weights([np.zeros((1, 1, 2, 2)), np.array([log(3), 0.0])])  # 3/4 and 1/4
    only_first = np.array([[1.0, 0.0], [0.0, 0.0]]).reshape(1, 1, 2, 2)
    block.key.set_weights([only_first])  # first map: 1/4 and 3/4; second: 1/2 and 1/2
    block.value.set_weights([eye, np.zeros(2)])
    block.out.set_weights([eye, np.zeros(2)])
    first = np.array([log(3) * 3 / 4, 8 / 4 + 4 * 3 / 4])
    second = np.array([log(3) / 2, (8 + 4) / 2])
    expected = given + (0.75 * first + 0.25 * second)  # the same for both cells
    np.testing.assert_allclose(np.asarray(block(given)), expected, rtol=1e-6)


def test_it_is_the_papers_formula_in_each_head() -> None:
    rng = np.random.default_rng(0)
    given = rng.normal(size=(1, 3, 4, 6)).astype(np.float32)
    block = LinearAttention(heads=2)
    block.build(given.shape)
    block.set_weights([rng.normal(size=w.shape) for w in block.weights])
    cells = given.reshape(12, 6).astype(np.float64)

    def project(layer: keras.layers.Layer, x: np.ndarray) -> np.ndarray:
        kernel, *bias = (np.asarray(w, np.float64) for w in layer.get_weights())
        return x @ kernel[0, 0] + sum(bias)

    query, key, value = (project(x, cells) for x in (block.query, block.key, block.value))
    mixed = [
        _softmax(query[:, h], axis=1) @ (_softmax(key[:, h], axis=0).T @ value[:, h])
        for h in (slice(0, 3), slice(3, 6))
    ]
    expected = cells + project(block.out, np.concatenate(mixed, axis=1))
    np.testing.assert_allclose(np.asarray(block(given)).reshape(12, 6), expected, rtol=1e-4)


def test_no_array_grows_with_the_square_of_the_map(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []
    matmul = keras.ops.matmul

    def watched(left: np.ndarray, right: np.ndarray) -> np.ndarray:
        product = matmul(left, right)
        sizes.append(int(np.prod(product.shape)))
        return product

    monkeypatch.setattr("training.blocks.linear_attention.ops.matmul", watched)
    largest = []
    for side in (8, 16):
        sizes.clear()
        LinearAttention()(np.zeros((1, side, side, 16), np.float32))
        assert len(sizes) == 2
        largest.append(max(sizes))
    assert largest == [8 * 8 * 16, 16 * 16 * 16]


def test_it_starts_as_the_identity() -> None:
    given = np.random.default_rng(0).normal(size=(2, 3, 4, 8)).astype(np.float32)
    np.testing.assert_array_equal(np.asarray(LinearAttention()(given)), given)


def test_bad_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match=r"heads must be .*at least 1, found -2"):
        LinearAttention(heads=-2)
    with pytest.raises(ValueError, match=r"multiple of heads \(4\), found 6"):
        LinearAttention().build((None, 4, 4, 6))
    with pytest.raises(ValueError, match=r"height and width must be known, found \(None, 8, None"):
        LinearAttention().build((None, 8, None, 16))
