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

_OPEN = 2.0
"""Logit of both gates at the start: sigmoid(2) = 0.88."""


@keras.saving.register_keras_serializable(package="qc")
class CBAM(keras.layers.Layer):
    """Convolutional block attention.

    Args:
        ratio: channels of the input for one channel of the MLP's hidden layer.
        kernel_size: side of the spatial gate's convolution; odd.

    Call arguments:
        inputs: features `(B, H, W, C)`.

    Output shape:
        `(B, H, W, C)`, as the input.

    Raises:
        ValueError: ratio below 1, or a kernel that is not odd.
    """

    def __init__(self, ratio: int = 8, kernel_size: int = 7, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if ratio < 1:
            raise ValueError(f"ratio must be at least 1, found {ratio}")
        if kernel_size < 1 or kernel_size % 2 == 0:
            raise ValueError(f"kernel_size must be odd, found {kernel_size}")
        self.ratio = ratio
        self.kernel_size = kernel_size

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        channels = input_shape[-1]
        if channels is None:
            raise ValueError(f"the number of channels must be known, found {input_shape}")
        hidden = max(channels // self.ratio, 4)
        self.squeeze = keras.layers.Conv2D(hidden, 1, activation="leaky_relu", name="squeeze")
        self.excite = keras.layers.Conv2D(
            channels,
            1,
            kernel_initializer="zeros",
            # both descriptors pass through it, so the gate starts at twice the bias
            bias_initializer=keras.initializers.Constant(_OPEN / 2),
            name="excite",
        )
        self.spatial_mean, self.spatial_peak = (
            keras.layers.Conv2D(
                1,
                self.kernel_size,
                padding="same",
                kernel_initializer="zeros",
                bias_initializer=keras.initializers.Constant(_OPEN / 2),
                name=name,
            )
            for name in ("spatial_mean", "spatial_peak")
        )
        self.squeeze.build((None, 1, 1, channels))
        self.excite.build((None, 1, 1, hidden))
        self.spatial_mean.build((None, None, None, 1))
        self.spatial_peak.build((None, None, None, 1))
        super().build(input_shape)

    def call(self, inputs: Any) -> Any:
        mean = ops.mean(inputs, axis=(1, 2), keepdims=True)
        peak = ops.max(inputs, axis=(1, 2), keepdims=True)
        gate = ops.sigmoid(self.excite(self.squeeze(mean)) + self.excite(self.squeeze(peak)))
        features = inputs * gate
        across = ops.mean(features, axis=-1, keepdims=True)
        highest = ops.max(features, axis=-1, keepdims=True)
        return features * ops.sigmoid(self.spatial_mean(across) + self.spatial_peak(highest))

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "ratio": self.ratio, "kernel_size": self.kernel_size}


Block = CBAM
"""What `qc.plugins.resolve("block", "cbam")` offers to the model."""
