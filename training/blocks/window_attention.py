"""Self-attention within windows of the map, which read and write a few tokens for the whole of it.

Windows that do not overlap, and a learnt number for each offset within one: Liu et al., "Swin
Transformer: Hierarchical Vision Transformer using Shifted Windows", ICCV 2021 (arXiv 2103.14030),
equation 4. Global tokens: Zhang et al., "Multi-Scale Vision Longformer", ICCV 2021 (arXiv
2103.15358): a token attends to all cells, and a cell to its window and all tokens. Unlike in
Swin the windows are not shifted, which needs a second block behind; the tokens carry news from
window to window. Unlike in Vision Longformer, where tokens live through many layers and have
projections of their own, they are updated first, so that one block is enough, with the
projections of the cells. No layer normalisation and no feed-forward layer, as in
`self_attention`. The output projection starts at zero, so the block starts as the identity
(docs/decisions/0002-attention-gates-start-open.md).

Limits: there is no padding. The side of a window is the greatest divisor of the map's side that is
not above `window`, so a map of 16 is cut in windows of 8 and one of 12 in windows of 6; a side such
as 23, which leaves windows of one cell, is refused. What one window knows of another passes
through `tokens` vectors. It has 4 C^2 weights, as `self_attention`.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from training.blocks._attention import (
    check_heads,
    join_heads,
    offsets,
    pointwise,
    softmax_mix,
    split_heads,
)
from training.blocks._sizes import Shape, channels_of, check_whole, map_of


def window_side(side: int, window: int) -> int:
    """The greatest divisor of a map's side that is not above `window`.

    Raises:
        ValueError: that is one cell, and the map has more.
    """
    found = next(n for n in range(min(side, window), 0, -1) if side % n == 0)
    if found == 1 < min(side, window):
        raise ValueError(
            f"the map must have sides that windows of 2 to {window} divide, found {side}"
        )
    return found


@keras.saving.register_keras_serializable(package="qc")
class WindowAttention(keras.layers.Layer):
    """Window attention with global tokens.

    Args:
        window: greatest side of a window, in cells.
        heads: attentions side by side, each on its share of the channels.
        tokens: global tokens; 0: windows know nothing of each other.

    Call arguments:
        inputs: features `(B, H, W, C)`; H, W and C known, C a multiple of heads.

    Output shape:
        `(B, H, W, C)`, as the input.

    Raises:
        ValueError: window or heads below 1, tokens below 0, a map that no window divides, channels
            that are no multiple of heads, or features whose height, width or channels are not
            known.
    """

    def __init__(self, window: int = 8, heads: int = 4, tokens: int = 4, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        check_whole("window", window)
        check_whole("heads", heads)
        check_whole("tokens", tokens, least=0)
        self.window = window
        self.heads = heads
        self.tokens = tokens

    def build(self, input_shape: Shape) -> None:
        self.channels = channels_of(input_shape)
        self.height, self.width = map_of(input_shape)
        self.high = window_side(self.height, self.window)
        self.wide = window_side(self.width, self.window)
        check_heads(self.channels, self.heads)
        # an offset of the keys would leave the softmax as it is
        self.query, self.key, self.value = (
            pointwise(self.channels, name, use_bias=name != "key")
            for name in ("query", "key", "value")
        )
        self.out = pointwise(self.channels, "out", kernel_initializer="zeros")
        small = keras.initializers.TruncatedNormal(stddev=0.02)
        self.table = self.add_weight(
            name="table",
            shape=((2 * self.high - 1) * (2 * self.wide - 1), self.heads),
            initializer=small,
        )
        if self.tokens:
            self.token = self.add_weight(
                name="token", shape=(1, 1, self.tokens, self.channels), initializer=small
            )
        super().build(input_shape)

    def call(self, inputs: Any) -> Any:
        query = self._scaled(self.query(inputs))
        key, value = self.key(inputs), self.value(inputs)
        cells = self.high * self.wide
        own = [self._heads(self._windows(x), cells) for x in (query, key, value)]
        bias = ops.take(self.table, offsets(self.high, self.wide), axis=0)
        scores = self._scores(own[0], own[1]) + ops.transpose(bias, (2, 0, 1))
        values = [own[2]]
        if self.tokens:
            far_key, far_value = (
                # the same tokens for each window
                ops.repeat(self._heads(x, self.tokens), self._count, axis=0)
                for x in self._read(key, value)
            )
            scores = ops.concatenate([scores, self._scores(own[0], far_key)], axis=-1)
            values.append(far_value)
        mixed = join_heads(softmax_mix(scores, *values), cells, self.channels)
        return inputs + self.out(self._map(mixed))

    @property
    def _count(self) -> int:
        """Windows in a map."""
        return (self.height // self.high) * (self.width // self.wide)

    def _read(self, key: Any, value: Any) -> tuple[Any, Any]:
        """Keys and values `(B, 1, T, C)` of the tokens, after they have read the whole map."""
        cells = self.height * self.width
        query = self._heads(self._scaled(self.query(self.token)), self.tokens)
        scores = self._scores(query, self._heads(key, cells))
        mixed = softmax_mix(scores, self._heads(value, cells))
        mixed = join_heads(mixed, self.tokens, self.channels)
        token = self.token + self.out(ops.expand_dims(mixed, 1))
        return self.key(token), self.value(token)

    def _scaled(self, query: Any) -> Any:
        return query * (self.channels // self.heads) ** -0.5

    def _heads(self, cells: Any, count: int) -> Any:
        return split_heads(cells, count, self.heads, self.channels)

    def _scores(self, query: Any, key: Any) -> Any:
        return ops.matmul(query, ops.transpose(key, (0, 1, 3, 2)))

    def _windows(self, features: Any) -> Any:
        """`(B, H, W, C)` to `(B * windows, high * wide, C)`, without a fifth axis."""
        across = self.width // self.wide
        rows = ops.reshape(features, (-1, self.high, across, self.wide * self.channels))
        rows = ops.transpose(rows, (0, 2, 1, 3))
        return ops.reshape(rows, (-1, self.high * self.wide, self.channels))

    def _map(self, cells: Any) -> Any:
        """The way back from `_windows`."""
        across = self.width // self.wide
        rows = ops.reshape(cells, (-1, across, self.high, self.wide * self.channels))
        rows = ops.transpose(rows, (0, 2, 1, 3))
        return ops.reshape(rows, (-1, self.height, self.width, self.channels))

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "window": self.window,
            "heads": self.heads,
            "tokens": self.tokens,
        }


Block = WindowAttention
"""What `qc.plugins.resolve("block", "window_attention")` offers to the model."""
