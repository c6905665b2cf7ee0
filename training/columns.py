"""A convolution of few channels, computed on blocks of columns side by side.

Runtimes lay channels beside each other to multiply many numbers at once, and a picture has three, a
map one: on a CPU the first convolution, or the 7x7 kernel of a spatial gate, takes as long as a
stage with a hundred times its multiplications. A row of W cells of C channels has the same bytes as
one of W/b cells of b C channels, so the same sums are those of a convolution from b C channels,
whose kernel is the narrow one written once for each column of a block, with zeros between. In int8
each channel of a block has the scale of its filter: the sums are the same whole numbers
(docs/decisions/0017-columns-beside-each-other.md).
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

_FEW = 4
"""Channels of a picture."""
_CHANNELS = 64
"""Of a block's result, at most: beyond, zeros cost more than is gained."""
_COLUMNS = 8
"""Of a block's result, at most: the kernel's bytes grow with their square."""


@keras.saving.register_keras_serializable(package="qc")
class ColumnsConv2D(keras.layers.Conv2D):
    """As `keras.layers.Conv2D`, for few channels.

    Variables, values and gradients are those of Keras' layer. Where a row is no multiple of a
    block, or the padding is not "same", Keras computes.

    Call arguments:
        inputs: `(B, H, W, C)`.

    Output shape:
        `(B, H / stride, W / stride, filters)`.
    """

    def call(self, inputs: Any) -> Any:
        """As Keras' layer."""
        _, height, width, channels = inputs.shape
        step = self.strides[1]
        block = _block(width, step, self.filters)
        plain = self.padding == "same" and self.dilation_rate == (1, 1) and self.groups == 1
        if block == 1 or not plain or height is None:
            return super().call(inputs)
        given = block * step
        places = ops.cast(_places(self.kernel_size[1], step, block), self.kernel.dtype)
        # (rows, places, C, filters) to (rows, taps, given, C, block, filters)
        kernel = ops.einsum("rpcf,ptgo->rtgcof", self.kernel, places)
        found = ops.conv(
            ops.reshape(inputs, (-1, height, width // given, given * channels)),
            ops.reshape(kernel, (*kernel.shape[:2], given * channels, block * self.filters)),
            strides=(self.strides[0], 1),
            padding="same",
            data_format="channels_last",
        )
        # before the columns lie apart again, so that in int8 it is all one operation
        if self.use_bias:
            found = found + ops.tile(self.bias, block)
        found = self.activation(found)
        return ops.reshape(found, (-1, found.shape[1], width // step, self.filters))


def side_by_side(model: keras.Model) -> keras.Model:
    """The same model, its convolutions of a picture's few channels computed on blocks.

    For what is exported alone: TensorFlow trains faster without blocks. A batch normalisation that
    follows is made a part of the convolution, as the converter does where nothing lies between.

    Args:
        model: a functional model; both share the layers that stay as they are.
    """
    folded: set[str] = set()

    def clone(layer: Any) -> Any:
        if type(layer) is not keras.layers.Conv2D or layer.kernel_size == (1, 1):
            return layer
        if layer.kernel.shape[2] > _FEW or layer.activation is not keras.activations.linear:
            return layer
        blocks = ColumnsConv2D.from_config({**layer.get_config(), "use_bias": True})
        blocks.build(layer.input.shape)
        kernel = np.asarray(layer.kernel)
        bias = np.asarray(layer.bias) if layer.use_bias else np.zeros(layer.filters, np.float32)
        # a set: a network of keras.applications calls its layers twice
        first, *others = {node.operation for node in layer._outbound_nodes}
        if isinstance(first, keras.layers.BatchNormalization) and not others:
            folded.add(first.name)
            kernel, bias = _fold(first, kernel, bias)
        blocks.set_weights([kernel, bias])
        return blocks

    def call(layer: Any, *args: Any, **kwargs: Any) -> Any:
        return args[0] if layer.name in folded else layer(*args, **kwargs)

    return keras.models.clone_model(model, clone_function=clone, call_function=call)


def _fold(
    norm: keras.layers.BatchNormalization, kernel: np.ndarray, bias: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Kernel and bias of a convolution and its batch normalisation in one."""
    scale = 1 / np.sqrt(np.asarray(norm.moving_variance) + norm.epsilon)
    if norm.scale:
        scale = scale * np.asarray(norm.gamma)
    offset = np.asarray(norm.beta) if norm.center else 0
    return kernel * scale, (bias - np.asarray(norm.moving_mean)) * scale + offset


def _block(width: int | None, step: int, filters: int) -> int:
    """Columns of a block's result."""
    most = min(_COLUMNS, max(_CHANNELS // filters, 1))
    return max((b for b in range(1, most + 1) if width and width % (b * step) == 0), default=1)


def _places(kernel: int, step: int, block: int) -> np.ndarray:
    """`(kernel, taps, block * step, block)`: 1 where a column of the kernel meets a given column.

    Of the block's result, column `o` begins `left` before `step * o`, as padding "same" has it.
    """
    given, total = block * step, max(kernel - step, 0)
    left = total // 2
    before, after = -(-left // given), -(-(total - left) // given)
    place, tap, column, o = np.ogrid[:kernel, -before : after + 1, :given, :block]
    return (tap * given + column == step * o - left + place).astype(np.float32)
