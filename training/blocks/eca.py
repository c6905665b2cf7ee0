"""Efficient channel attention: one gate a channel, from the means of its neighbours in the list.

Wang, Wu, Zhu, Li, Zuo, Hu: "ECA-Net: Efficient Channel Attention for Deep Convolutional Neural
Networks", CVPR 2020 (arXiv 1910.03151). A handful of weights in all: one convolution along the
channels. Unlike in the paper it has a bias, with which the gate starts open
(docs/decisions/0002-attention-gates-start-open.md).

Limits: which channels are neighbours is chance, and it is the layers before the block that learn to
put up with it. Means only, as in squeeze-and-excitation.
"""

from __future__ import annotations

import math
from typing import Any

import keras
from keras import ops

from training.blocks._gate import open_gate
from training.blocks._sizes import Shape, channels_of, check_odd

_GAMMA, _B = 2, 1
"""The constants of the paper's equation 12."""


def adaptive_kernel_size(channels: int) -> int:
    """The odd number nearest to `(log2(C) + b) / gamma`; between two of them the greater one."""
    size = int((math.log2(channels) + _B) / _GAMMA)
    return size if size % 2 else size + 1


@keras.saving.register_keras_serializable(package="qc")
class ECA(keras.layers.Layer):
    """Efficient channel attention.

    Args:
        kernel_size: channels that one gate sees; odd. None: by the number of channels, as in the
            paper: 3 for 8 to 127 channels, 5 for 128 to 2047.

    Call arguments:
        inputs: features `(B, H, W, C)`.

    Output shape:
        `(B, H, W, C)`, as the input.

    Raises:
        ValueError: a kernel that is not odd, or features whose channels are not known.
    """

    def __init__(self, kernel_size: int | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if kernel_size is not None:
            check_odd("kernel_size", kernel_size)
        self.kernel_size = kernel_size

    def build(self, input_shape: Shape) -> None:
        self.channels = channels_of(input_shape)
        side = self.kernel_size or adaptive_kernel_size(self.channels)
        # the channels lie along the width of a picture with one row
        self.excite = open_gate(1, (1, side), name="excite")
        self.excite.build((None, 1, self.channels, 1))
        super().build(input_shape)

    def call(self, inputs: Any) -> Any:
        row = ops.reshape(ops.mean(inputs, axis=(1, 2)), (-1, 1, self.channels, 1))
        gate = ops.sigmoid(self.excite(row))
        return inputs * ops.reshape(gate, (-1, 1, 1, self.channels))

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "kernel_size": self.kernel_size}


Block = ECA
"""What `qc.plugins.resolve("block", "eca")` offers to the model."""
