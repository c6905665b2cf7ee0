"""Coordinate attention: a gate for each row and a gate for each column, channel by channel.

Hou, Zhou, Feng: "Coordinate Attention for Efficient Mobile Network Design", CVPR 2021
(arXiv 2103.02907). The mean of each row and of each column pass through one shared 1x1 convolution
with batch normalisation and hard swish, and each kind through a convolution of its own to its
gate. Unlike in the paper both gates start open (docs/decisions/0002-attention-gates-start-open.md).

Limits: a place is told by its row times its column, so two defects also light up the two crossings
where there is none. A cell's share in its strip's mean falls with the side of the map.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from training.batch_norm import BatchNormalization
from training.blocks._gate import open_gate
from training.blocks._sizes import Shape, channels_of, check_whole, map_of


@keras.saving.register_keras_serializable(package="qc")
class CoordinateAttention(keras.layers.Layer):
    """Coordinate attention.

    Args:
        ratio: channels of the input for one channel of the hidden layer, which has at least 8.

    Call arguments:
        inputs: features `(B, H, W, C)`; H, W and C known.

    Output shape:
        `(B, H, W, C)`, as the input.

    Raises:
        ValueError: ratio below 1, or features whose height, width or channels are not known.
    """

    def __init__(self, ratio: int = 32, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        check_whole("ratio", ratio)
        self.ratio = ratio

    def build(self, input_shape: Shape) -> None:
        channels = channels_of(input_shape)
        self.height, self.width = map_of(input_shape)
        hidden = max(channels // self.ratio, 8)
        self.squeeze = keras.layers.Conv2D(hidden, 1, use_bias=False, name="squeeze")
        self.norm = BatchNormalization(momentum=0.9, name="norm")
        self.excite_rows = open_gate(channels, name="excite_rows")
        self.excite_columns = open_gate(channels, name="excite_columns")
        self.squeeze.build((None, None, 1, channels))
        for layer in (self.norm, self.excite_rows, self.excite_columns):
            layer.build((None, None, 1, hidden))
        super().build(input_shape)

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        rows = ops.mean(inputs, axis=2, keepdims=True)
        columns = ops.transpose(ops.mean(inputs, axis=1, keepdims=True), (0, 2, 1, 3))
        # means of the same features: one int8 range does for both
        strips = ops.concatenate([rows, columns], axis=1)
        hidden = ops.hard_silu(self.norm(self.squeeze(strips), training=training))
        of_rows = ops.sigmoid(self.excite_rows(hidden[:, : self.height]))
        of_columns = ops.sigmoid(self.excite_columns(hidden[:, self.height :]))
        return inputs * of_rows * ops.transpose(of_columns, (0, 2, 1, 3))

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "ratio": self.ratio}


Block = CoordinateAttention
"""What `qc.plugins.resolve("block", "coordinate")` offers to the model."""
