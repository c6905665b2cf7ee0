"""What the blocks with queries, keys and values share.

The softmax is taken apart: `softmax(s) @ v` is `((e * r) @ v) * r` with `e = exp(s - max(s))` and
`r = 1 / sqrt(sum(e))`. It is the same number, but the int8 operation SOFTMAX has a fixed step of
1/256, and attention spread evenly over the 256 cells of a map is one step or none in each. Here
the largest weight is always 1, and half of the division on either side of the product keeps both
within the range of eight bits.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops


def softmax_mix(scores: Any, *values: Any) -> Any:
    """The rows of all values, weighted by one softmax over the scores.

    Args:
        scores: `(..., Q, N)`.
        values: arrays `(..., n, D)`, whose rows are N together, in the order of the scores.

    Returns:
        `(..., Q, D)`.
    """
    weights = ops.exp(scores - ops.max(scores, axis=-1, keepdims=True))
    root = ops.rsqrt(ops.sum(weights, axis=-1, keepdims=True))
    ends = np.cumsum([rows.shape[-2] for rows in values])[:-1].tolist()
    parts = ops.split(weights * root, ends, axis=-1) if ends else [weights * root]
    mixed = [ops.matmul(part, rows) for part, rows in zip(parts, values, strict=True)]
    return sum(mixed[1:], mixed[0]) * root


def split_heads(cells: Any, count: int, heads: int, channels: int) -> Any:
    """`(..., C)` to `(B, heads, count, C / heads)`, with `count` rows each."""
    cells = ops.reshape(cells, (-1, count, heads, channels // heads))
    return ops.transpose(cells, (0, 2, 1, 3))


def join_heads(cells: Any, count: int, channels: int) -> Any:
    """`(B, heads, count, C / heads)` to `(B, count, C)`."""
    return ops.reshape(ops.transpose(cells, (0, 2, 1, 3)), (-1, count, channels))


def check_heads(channels: int, heads: int) -> None:
    """Raise ValueError where the channels cannot be dealt to the heads."""
    if channels % heads:
        raise ValueError(f"channels must be a multiple of heads ({heads}), found {channels}")


def pointwise(channels: int, name: str, **options: Any) -> keras.layers.Conv2D:
    """A linear map of each cell, `(B, H, W, C)` to `(B, H, W, C)`, built."""
    layer = keras.layers.Conv2D(channels, 1, name=name, **options)
    layer.build((None, None, None, channels))
    return layer


def offsets(height: int, width: int) -> np.ndarray:
    """Which of the `(2H - 1) * (2W - 1)` offsets lies between two cells: `(HW, HW)` int32."""
    y, x = (a.ravel() for a in np.indices((height, width)))
    down = y[:, None] - y[None, :] + height - 1
    right = x[:, None] - x[None, :] + width - 1
    return (down * (2 * width - 1) + right).astype(np.int32)
