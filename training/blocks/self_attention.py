"""Multi-head self-attention over the cells of a feature map, added to the features.

Vaswani et al.: "Attention Is All You Need", NeurIPS 2017 (arXiv 1706.03762), equation 1 and section
3.2.2; every cell is a word. Unlike there the block ends with the sum: it has no layer
normalisation, since batch-normalised features come in, and no feed-forward layer. The output
projection starts at zero, so the block starts as the identity
(docs/decisions/0002-attention-gates-start-open.md). No sinusoids are added; convolutions with
padding know their place. `relative` adds a learnt number for each offset between two cells, as in
Liu et al., "Swin Transformer", ICCV 2021 (arXiv 2103.14030), here over the whole map.

Limits: the scores of N = HW cells are `heads * N * N` numbers, and 2 N^2 C + 4 N C^2
multiplications: at 12x12 and 4 heads 83 thousand numbers, at 56x56 39 million a picture. It is
meant for the last stage (`block_at`); `linear_attention` and `window_attention` grow with N. It has
4 C^2 weights, more than many a stage, and a set of some hundred pictures may not feed them.
`relative` fixes the size of the map, and its int8 graph holds `heads * N * N` bytes for it.
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
from training.blocks._sizes import Shape, channels_of, check_flag, check_whole, map_of


@keras.saving.register_keras_serializable(package="qc")
class SelfAttention(keras.layers.Layer):
    """Multi-head self-attention.

    Args:
        heads: attentions side by side, each on its share of the channels.
        relative: learn a number for each head and each offset between two cells.

    Call arguments:
        inputs: features `(B, H, W, C)`; H, W and C known, C a multiple of heads.

    Output shape:
        `(B, H, W, C)`, as the input.

    Raises:
        ValueError: heads below 1, relative not true or false, channels that are no multiple of
            heads, or features whose height, width or channels are not known.
    """

    def __init__(self, heads: int = 4, relative: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        check_whole("heads", heads)
        check_flag("relative", relative)
        self.heads = heads
        self.relative = relative

    def build(self, input_shape: Shape) -> None:
        self.channels = channels_of(input_shape)
        self.height, self.width = map_of(input_shape)
        check_heads(self.channels, self.heads)
        self.query, self.key, self.value = (
            pointwise(self.channels, name, use_bias=False) for name in ("query", "key", "value")
        )
        self.out = pointwise(self.channels, "out", use_bias=False, kernel_initializer="zeros")
        if self.relative:
            self.table = self.add_weight(
                name="table",
                shape=((2 * self.height - 1) * (2 * self.width - 1), self.heads),
                initializer=keras.initializers.TruncatedNormal(stddev=0.02),
            )
        super().build(input_shape)

    def call(self, inputs: Any) -> Any:
        query, key, value = (
            split_heads(layer(inputs), self.height * self.width, self.heads, self.channels)
            for layer in (self.query, self.key, self.value)
        )
        query = query * (self.channels // self.heads) ** -0.5
        scores = ops.matmul(query, ops.transpose(key, (0, 1, 3, 2)))
        if self.relative:
            bias = ops.take(self.table, offsets(self.height, self.width), axis=0)
            scores = scores + ops.transpose(bias, (2, 0, 1))
        mixed = join_heads(softmax_mix(scores, value), self.height * self.width, self.channels)
        mixed = ops.reshape(mixed, (-1, self.height, self.width, self.channels))
        return inputs + self.out(mixed)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "heads": self.heads, "relative": self.relative}


Block = SelfAttention
"""What `qc.plugins.resolve("block", "self_attention")` offers to the model."""
