"""Efficient attention: every cell reads a few summaries of the map, at a cost that grows with HW.

Shen, Zhang, Zhao, Yi, Li: "Efficient Attention: Attention with Linear Complexities", WACV 2021
(arXiv 1812.01243), with its softmax normalisation: `softmax(Q) (softmax(K)^T V)`, Q over the
channels of each cell, K over the cells of each channel. Each of the C / heads channels of a key is
one map of weights over the picture, and the values under it are one summary. Heads, reprojection
and the sum with the features are the paper's; unlike there the reprojection starts at zero, so the
block starts as the identity (docs/decisions/0002-attention-gates-start-open.md).

Limits: it is not softmax attention made fast but another function. A cell picks among C / heads
summaries and not among cells, so it cannot point at one cell. It has 4 C^2 weights, as
`self_attention`.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from training.blocks._attention import (
    check_heads,
    join_heads,
    pointwise,
    softmax_mix,
    split_heads,
)
from training.blocks._sizes import Shape, channels_of, check_whole, map_of


@keras.saving.register_keras_serializable(package="qc")
class LinearAttention(keras.layers.Layer):
    """Efficient attention.

    Args:
        heads: attentions side by side, each on its share of the channels.

    Call arguments:
        inputs: features `(B, H, W, C)`; H, W and C known, C a multiple of heads.

    Output shape:
        `(B, H, W, C)`, as the input.

    Raises:
        ValueError: heads below 1, channels that are no multiple of heads, or features whose
            height, width or channels are not known.
    """

    def __init__(self, heads: int = 4, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        check_whole("heads", heads)
        self.heads = heads

    def build(self, input_shape: Shape) -> None:
        self.channels = channels_of(input_shape)
        self.height, self.width = map_of(input_shape)
        check_heads(self.channels, self.heads)
        self.query = pointwise(self.channels, "query")
        # an offset of a key would leave its softmax over the cells as it is
        self.key = pointwise(self.channels, "key", use_bias=False)
        self.value = pointwise(self.channels, "value")
        self.out = pointwise(self.channels, "out", kernel_initializer="zeros")
        super().build(input_shape)

    def call(self, inputs: Any) -> Any:
        cells = self.height * self.width
        query, key, value = (
            split_heads(layer(inputs), cells, self.heads, self.channels)
            for layer in (self.query, self.key, self.value)
        )
        summaries = softmax_mix(ops.transpose(key, (0, 1, 3, 2)), value)
        mixed = join_heads(ops.matmul(ops.softmax(query), summaries), cells, self.channels)
        mixed = ops.reshape(mixed, (-1, self.height, self.width, self.channels))
        return inputs + self.out(mixed)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "heads": self.heads}


Block = LinearAttention
"""What `qc.plugins.resolve("block", "linear_attention")` offers to the model."""
