"""Squeeze-and-excitation: one sigmoid gate a channel, from the means of all channels.

Hu, Shen, Sun: "Squeeze-and-Excitation Networks", CVPR 2018 (arXiv 1709.01507). The two fully
connected layers are 1x1 convolutions over a map of one cell, so that the block converts to built-in
int8 operations. Unlike in the paper the gate starts open and alike everywhere, the layers have
biases, the hidden layer is a leaky ReLU and has at least four channels
(docs/decisions/0002-attention-gates-start-open.md).

Limits: the gate sees means only, so a defect of one cell in a large map hardly moves it, and it
weighs a channel alike everywhere.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from training.blocks._gate import open_gate
from training.blocks._sizes import Shape, channels_of, check_whole


@keras.saving.register_keras_serializable(package="qc")
class SqueezeExcitation(keras.layers.Layer):
    """Squeeze-and-excitation.

    Args:
        ratio: channels of the input for one channel of the hidden layer.

    Call arguments:
        inputs: features `(B, H, W, C)`.

    Output shape:
        `(B, H, W, C)`, as the input.

    Raises:
        ValueError: ratio below 1, or features whose channels are not known.
    """

    def __init__(self, ratio: int = 16, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        check_whole("ratio", ratio)
        self.ratio = ratio

    def build(self, input_shape: Shape) -> None:
        channels = channels_of(input_shape)
        hidden = max(channels // self.ratio, 4)
        self.squeeze = keras.layers.Conv2D(hidden, 1, activation="leaky_relu", name="squeeze")
        self.excite = open_gate(channels, name="excite")
        self.squeeze.build((None, 1, 1, channels))
        self.excite.build((None, 1, 1, hidden))
        super().build(input_shape)

    def call(self, inputs: Any) -> Any:
        mean = ops.mean(inputs, axis=(1, 2), keepdims=True)
        return inputs * ops.sigmoid(self.excite(self.squeeze(mean)))

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "ratio": self.ratio}


Block = SqueezeExcitation
"""What `qc.plugins.resolve("block", "squeeze_excitation")` offers to the model."""
