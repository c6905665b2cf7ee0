"""The encoder layer of a transformer over the cells of a feature map, made of int8 operations.

Vaswani et al.: "Attention Is All You Need", NeurIPS 2017 (arXiv 1706.03762); normalised before each
half and not after it, Xiong et al.: "On Layer Normalization in the Transformer Architecture", ICML
2020 (arXiv 2002.04745); whole halves left out while training, Huang et al.: "Deep Networks with
Stochastic Depth", ECCV 2016 (arXiv 1603.09382).

The cells stay a map `(B, h, w, C)` and every linear map is a 1x1 convolution, which has an int8
range for each of its filters. The hidden layer has a ReLU6 in place of GELU: it is a part of the
convolution, without a rounding and a pass of its own, its range is fixed, and every runtime has it;
tflite-micro has no GELU.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import layers, ops

Shape = tuple[int | None, ...]


@keras.saving.register_keras_serializable(package="qc")
class ChannelNorm(layers.Layer):
    """Layer normalisation of each cell over its channels.

    Ba, Kiros, Hinton: "Layer Normalization", 2016 (arXiv 1607.06450). The same numbers as
    `keras.layers.LayerNormalization`, whose form becomes the operation NEG: it has no int8 kernel.

    Args:
        epsilon: added to the variance.

    Call arguments:
        inputs: `(..., C)`.

    Output shape:
        As the input.

    Raises:
        ValueError: epsilon not above 0.
    """

    def __init__(self, epsilon: float = 1e-3, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not epsilon > 0:
            raise ValueError(f"epsilon must be above 0, found {epsilon}")
        self.epsilon = epsilon

    def build(self, input_shape: Shape) -> None:
        self.gamma = self.add_weight(name="gamma", shape=input_shape[-1:], initializer="ones")
        self.beta = self.add_weight(name="beta", shape=input_shape[-1:], initializer="zeros")
        super().build(input_shape)

    def call(self, inputs: Any) -> Any:
        apart = inputs - ops.mean(inputs, axis=-1, keepdims=True)
        variance = ops.mean(apart * apart, axis=-1, keepdims=True)
        return apart * ops.rsqrt(variance + self.epsilon) * self.gamma + self.beta

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "epsilon": self.epsilon}


@keras.saving.register_keras_serializable(package="qc")
class Position(layers.Layer):
    """Adds a learnt vector for each cell, so that the map's size is fixed.

    Call arguments:
        inputs: `(B, h, w, C)`.

    Output shape:
        As the input.
    """

    def build(self, input_shape: Shape) -> None:
        self.table = self.add_weight(
            name="table",
            shape=(1, *input_shape[1:]),
            initializer=keras.initializers.TruncatedNormal(stddev=0.02),
        )
        super().build(input_shape)

    def call(self, inputs: Any) -> Any:
        return inputs + self.table

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return input_shape


@keras.saving.register_keras_serializable(package="qc")
class CellAttention(layers.Layer):
    """Multi-head self-attention over all cells, without the sum with what came in.

    Args:
        heads: attentions side by side, each on its share of the channels.

    Call arguments:
        inputs: `(B, h, w, C)`; h, w and C known, C a multiple of heads.

    Output shape:
        As the input.

    Raises:
        ValueError: channels that are no multiple of heads.
    """

    def __init__(self, heads: int = 4, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.heads = heads

    def build(self, input_shape: Shape) -> None:
        _, self.height, self.width, self.channels = input_shape
        if self.channels % self.heads:
            raise ValueError(
                f"channels must be a multiple of heads ({self.heads}), found {self.channels}"
            )
        # apart and not one convolution, whose three parts would share one int8 range
        self.query, self.key, self.value, self.out = (
            layers.Conv2D(self.channels, 1, name=name) for name in ("query", "key", "value", "out")
        )
        for layer in (self.query, self.key, self.value, self.out):
            layer.build(input_shape)
        super().build(input_shape)

    def call(self, inputs: Any) -> Any:
        query, key, value = (
            self._heads_apart(layer(inputs)) for layer in (self.query, self.key, self.value)
        )
        query = query * (self.channels // self.heads) ** -0.5
        mixed = _weigh(ops.matmul(query, ops.transpose(key, (0, 1, 3, 2))), value)
        mixed = ops.transpose(mixed, (0, 2, 1, 3))
        return self.out(ops.reshape(mixed, (-1, self.height, self.width, self.channels)))

    def _heads_apart(self, cells: Any) -> Any:
        """`(B, h, w, C)` to `(B, heads, hw, C / heads)`."""
        rows = self.height * self.width
        cells = ops.reshape(cells, (-1, rows, self.heads, self.channels // self.heads))
        return ops.transpose(cells, (0, 2, 1, 3))

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "heads": self.heads}


def _weigh(scores: Any, rows: Any) -> Any:
    """`softmax(scores) @ rows`, taken apart.

    The int8 operation SOFTMAX has a fixed step of 1/256, and weights spread over 144 cells are one
    step or none. Here the greatest weight is 1, and half of the division on either side of the
    product keeps both within eight bits.
    """
    weights = ops.exp(scores - ops.max(scores, axis=-1, keepdims=True))
    root = ops.rsqrt(ops.sum(weights, axis=-1, keepdims=True))
    return ops.matmul(weights * root, rows) * root


def encode(x: Any, *, heads: int, ratio: int, leave_out: float, name: str) -> Any:
    """One encoder layer: attention, then two linear maps for each cell, each added to its input.

    Args:
        x: cells `(B, h, w, C)`.
        heads: of the attention.
        ratio: channels of the hidden layer for one channel of `x`.
        leave_out: probability that a half is left out of a picture's pass while training.
        name: of the layers.

    Returns:
        `(B, h, w, C)`.
    """
    channels = x.shape[-1]
    part = ChannelNorm(name=f"{name}_norm")(x)
    part = CellAttention(heads, name=f"{name}_mix")(part)
    x = _add(x, part, leave_out, f"{name}_mix")
    part = ChannelNorm(name=f"{name}_hidden_norm")(x)
    part = layers.Conv2D(channels * ratio, 1, name=f"{name}_hidden")(part)
    part = layers.ReLU(6.0, name=f"{name}_hidden_relu")(part)
    part = layers.Conv2D(channels, 1, name=f"{name}_project")(part)
    return _add(x, part, leave_out, f"{name}_project")


def _add(x: Any, part: Any, leave_out: float, name: str) -> Any:
    if leave_out:
        # one draw for a picture, which is stochastic depth
        part = layers.Dropout(leave_out, noise_shape=(None, 1, 1, 1), name=f"{name}_depth")(part)
    return layers.Add(name=f"{name}_add")([x, part])
