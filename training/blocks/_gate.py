"""The last layer of a gate, which starts open and alike everywhere, and learns to close.

Why: docs/decisions/0002-attention-gates-start-open.md.
"""

from __future__ import annotations

import keras

OPEN = 2.0
"""Logit of a gate at the start: sigmoid(2) = 0.88."""


def open_gate(
    filters: int,
    kernel_size: int | tuple[int, int] = 1,
    *,
    logit: float = OPEN,
    name: str,
    kind: type[keras.layers.Conv2D] = keras.layers.Conv2D,
) -> keras.layers.Conv2D:
    """A convolution of zero weights whose bias is `logit`."""
    return kind(
        filters,
        kernel_size,
        padding="same",
        kernel_initializer="zeros",
        bias_initializer=keras.initializers.Constant(logit),
        name=name,
    )
