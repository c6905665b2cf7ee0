"""Window attention and its global tokens, against hand-made cases and full attention."""

from __future__ import annotations

import numpy as np
import pytest

from training.blocks.self_attention import SelfAttention
from training.blocks.window_attention import WindowAttention, window_side


def _drawn(shape: tuple[int, ...], **options: int) -> WindowAttention:
    rng = np.random.default_rng(7)
    block = WindowAttention(**options)
    block.build(shape)
    block.set_weights([rng.normal(0, 0.5, w.shape) for w in block.weights])
    return block


def _features(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def _full(block: WindowAttention, shape: tuple[int, ...]) -> SelfAttention:
    """Self-attention with the same table and the same projections; they must have no bias."""
    full = SelfAttention(heads=block.heads, relative=True)
    full.build(shape)
    for name in ("query", "key", "value", "out"):
        getattr(full, name).set_weights(getattr(block, name).get_weights()[:1])
    full.table.assign(block.table)
    return full


def _without_bias(block: WindowAttention) -> None:
    for layer in (block.query, block.value, block.out):
        kernel, bias = layer.get_weights()
        layer.set_weights([kernel, np.zeros_like(bias)])


def test_one_window_without_tokens_is_full_attention() -> None:
    given = _features(2, 4, 6, 8)
    block = _drawn(given.shape, window=6, heads=2, tokens=0)
    _without_bias(block)
    expected = np.asarray(_full(block, given.shape)(given))
    np.testing.assert_allclose(np.asarray(block(given)), expected, rtol=1e-4, atol=1e-5)


def test_each_window_is_full_attention_on_its_own_piece() -> None:
    given = _features(2, 6, 8, 8)  # windows of 3 x 4
    block = _drawn(given.shape, window=5, heads=2, tokens=0)
    assert (block.high, block.wide) == (3, 4)
    _without_bias(block)
    full, found = _full(block, (2, 3, 4, 8)), np.asarray(block(given))
    for top in (0, 3):
        for left in (0, 4):
            piece = np.s_[:, top : top + 3, left : left + 4]
            expected = np.asarray(full(given[piece]))
            np.testing.assert_allclose(found[piece], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("tokens", [0, 3])
def test_only_tokens_carry_news_from_window_to_window(tokens: int) -> None:
    given = _features(1, 4, 4, 8)
    block = _drawn(given.shape, window=2, heads=2, tokens=tokens)
    before = np.asarray(block(given))
    given[0, 0, 0] += 3
    change = np.abs(np.asarray(block(given)) - before).max(axis=-1)[0]
    assert (change[:2, :2] > 1e-4).all()
    beyond = np.ones((4, 4), bool)
    beyond[:2, :2] = False
    assert (change[beyond] > 1e-6).all() if tokens else (change[beyond] == 0).all()


def test_a_token_by_hand() -> None:
    """Alike scores everywhere: a cell is mixed with its window of one and with the token."""
    given = np.array([2.0, 6.0]).reshape(1, 1, 2, 1)
    block = WindowAttention(window=1, heads=1, tokens=1)
    block.build(given.shape)
    zero, one = np.zeros((1, 1, 1, 1)), np.ones((1, 1, 1, 1))
    block.query.set_weights([zero, np.zeros(1)])
    block.key.set_weights([zero])
    block.value.set_weights([one, np.zeros(1)])
    block.out.set_weights([one, np.zeros(1)])
    block.table.assign(np.zeros((1, 1)))
    block.token.assign(np.full((1, 1, 1, 1), 10.0))
    # the token reads (2 + 6) / 2 and becomes 14; a cell adds half of itself and half of the token
    expected = np.array([2 + (2 + 14) / 2, 6 + (6 + 14) / 2]).reshape(1, 1, 2, 1)
    np.testing.assert_allclose(np.asarray(block(given)), expected, rtol=1e-6)


def test_pictures_of_a_batch_keep_their_own_tokens() -> None:
    given = _features(3, 4, 6, 8)
    block = _drawn(given.shape, window=2)
    alone = np.concatenate([np.asarray(block(given[i : i + 1])) for i in range(3)])
    np.testing.assert_allclose(np.asarray(block(given)), alone, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("side", "window", "found"),
    [(16, 8, 8), (12, 8, 6), (14, 7, 7), (7, 8, 7), (20, 8, 5), (1, 8, 1), (5, 1, 1)],
)
def test_the_side_of_a_window_divides_the_map(side: int, window: int, found: int) -> None:
    assert window_side(side, window) == found


def test_it_starts_as_the_identity() -> None:
    given = _features(2, 4, 6, 8)
    np.testing.assert_array_equal(np.asarray(WindowAttention()(given)), given)


def test_the_parameters_are_counted() -> None:
    block = WindowAttention()
    block.build((None, 12, 12, 128))
    projections = 4 * 128 * 128 + 3 * 128
    assert block.count_params() == projections + 11 * 11 * 4 + 4 * 128


def test_bad_arguments_are_refused() -> None:
    for options in ({"window": 0}, {"heads": 0}, {"tokens": -1}):
        ((name, value),) = options.items()
        with pytest.raises(ValueError, match=f"{name} must be .*found {value}"):
            WindowAttention(**options)
    with pytest.raises(ValueError, match="windows of 2 to 8 divide, found 23"):
        WindowAttention().build((None, 8, 23, 16))
    with pytest.raises(ValueError, match=r"multiple of heads \(4\), found 10"):
        WindowAttention().build((None, 8, 8, 10))
    with pytest.raises(ValueError, match=r"height and width must be known, found \(None, None, 8"):
        WindowAttention().build((None, None, 8, 16))
