"""CBAM: channel attention, then spatial attention, each a sigmoid gate on the features.

Woo, Park, Lee, Kweon: "CBAM: Convolutional Block Attention Module", ECCV 2018 (arXiv 1807.06521).
Both gates see the mean and the maximum. The MLP of the channel gate is two 1x1 convolutions, so
that the whole block converts to built-in int8 operations. The spatial gate's convolution over two
channels is the sum of two over one: a concatenation would tie the int8 range of the features to its
own and cut their negative half off. Unlike in the paper the gates start open and alike everywhere,
and learn to close, and the MLP's hidden layer is a leaky ReLU: a hidden layer that is zero on every
image has no int8 range, and XNNPACK refuses it (docs/decisions/0002-attention-gates-start-open.md).
"""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from training.blocks._gate import OPEN, open_gate
from training.blocks._sizes import Shape, channels_of, check_odd, check_whole
from training.columns import ColumnsConv2D


@keras.saving.register_keras_serializable(package="qc")
class CBAMChannel(keras.layers.Layer):
    """The channel gate of CBAM: one gate a channel, from the mean and the maximum of all.

    Args:
        ratio: channels of the input for one channel of the MLP's hidden layer.

    Call arguments:
        inputs: features `(B, H, W, C)`.

    Output shape:
        `(B, H, W, C)`, as the input.

    Raises:
        ValueError: ratio below 1, or features whose channels are not known.
    """

    def __init__(self, ratio: int = 8, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        check_whole("ratio", ratio)
        self.ratio = ratio

    def build(self, input_shape: Shape) -> None:
        channels = channels_of(input_shape)
        hidden = max(channels // self.ratio, 4)
        self.squeeze = keras.layers.Conv2D(hidden, 1, activation="leaky_relu", name="squeeze")
        # both descriptors pass through it, so the gate starts at twice the bias
        self.excite = open_gate(channels, logit=OPEN / 2, name="excite")
        self.squeeze.build((None, 1, 1, channels))
        self.excite.build((None, 1, 1, hidden))
        super().build(input_shape)

    def call(self, inputs: Any) -> Any:
        mean = ops.mean(inputs, axis=(1, 2), keepdims=True)
        peak = ops.max(inputs, axis=(1, 2), keepdims=True)
        gate = ops.sigmoid(self.excite(self.squeeze(mean)) + self.excite(self.squeeze(peak)))
        return inputs * gate

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "ratio": self.ratio}


@keras.saving.register_keras_serializable(package="qc")
class CBAMSpatial(keras.layers.Layer):
    """The spatial gate of CBAM: one gate a cell, from the mean and the maximum over channels.

    Args:
        kernel_size: side of the gate's convolution; odd.

    Call arguments:
        inputs: features `(B, H, W, C)`.

    Output shape:
        `(B, H, W, C)`, as the input.

    Raises:
        ValueError: a kernel that is not odd.
    """

    def __init__(self, kernel_size: int = 7, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        check_odd("kernel_size", kernel_size)
        self.kernel_size = kernel_size

    def build(self, input_shape: Shape) -> None:
        self.mean, self.peak = (
            open_gate(1, self.kernel_size, logit=OPEN / 2, name=name, kind=ColumnsConv2D)
            for name in ("mean", "peak")
        )
        self.mean.build((None, None, None, 1))
        self.peak.build((None, None, None, 1))
        super().build(input_shape)

    def call(self, inputs: Any) -> Any:
        mean = ops.mean(inputs, axis=-1, keepdims=True)
        peak = ops.max(inputs, axis=-1, keepdims=True)
        return inputs * ops.sigmoid(self.mean(mean) + self.peak(peak))

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "kernel_size": self.kernel_size}


@keras.saving.register_keras_serializable(package="qc")
class CBAM(keras.layers.Layer):
    """Convolutional block attention: the channel gate, then the spatial gate.

    Args:
        ratio: channels of the input for one channel of the MLP's hidden layer.
        kernel_size: side of the spatial gate's convolution; odd.

    Call arguments:
        inputs: features `(B, H, W, C)`.

    Output shape:
        `(B, H, W, C)`, as the input.

    Raises:
        ValueError: ratio below 1, a kernel that is not odd, or features whose channels are not
            known.
    """

    def __init__(self, ratio: int = 8, kernel_size: int = 7, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.ratio = ratio
        self.kernel_size = kernel_size
        self.channel = CBAMChannel(ratio, name="channel")
        self.spatial = CBAMSpatial(kernel_size, name="spatial")

    def build(self, input_shape: Shape) -> None:
        self.channel.build(input_shape)
        self.spatial.build(input_shape)
        super().build(input_shape)

    def call(self, inputs: Any) -> Any:
        return self.spatial(self.channel(inputs))

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "ratio": self.ratio, "kernel_size": self.kernel_size}


Block = CBAM
"""What `qc.plugins.resolve("block", "cbam")` offers to the model."""
