"""MobileNetV3-Small of keras.applications, cut at stride 16 or 8.

Howard et al., "Searching for MobileNetV3", ICCV 2019 (arXiv 1905.02244). It has squeeze-and-excite
blocks of its own, as its weights were trained with. Weights come from ImageNet (widths 0.75 and 1),
from a local file, or from nowhere. Blocks may stand at stage1 (stride 4), stage2 (8), stage3 (16)
and at the neck; weights, freezing and pyramid are those of `_pretrained`.

Its hard swish is put another way, with the same value. What Keras writes becomes the operation
HARD_SWISH, which XNNPACK does not take in int8: at 192 pixels and stride 16 an image took 2.9 ms in
place of 1.0.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import keras
from keras import ops

from qc.recipe import ModelTable
from training.backbones import _pretrained


@keras.saving.register_keras_serializable(package="qc")
class HardSwish(keras.layers.Layer):
    """`x * relu6(x + 3) / 6`, as one addition and two multiplications.

    Call arguments:
        inputs: numbers of any shape.

    Output shape:
        As the input.
    """

    def call(self, inputs: Any) -> Any:
        # the sixth belongs to x: the converter knows every other order as HARD_SWISH
        return ops.relu6(inputs + 3.0) * (inputs * (1 / 6))

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return input_shape


_NETWORK = _pretrained.Network(
    title="MobileNetV3-Small",
    # without its own preprocessing it takes -1 to 1, as `_pretrained` gives them
    make=partial(keras.applications.MobileNetV3Small, include_preprocessing=False),
    stages=(
        "expanded_conv_project_bn",
        "expanded_conv_2_add",
        "expanded_conv_7_add",
        "expanded_conv_10_add",
    ),
    cuts={16: "expanded_conv_8_depthwise_pad", 8: "expanded_conv_3_depthwise_pad"},
    activation=lambda x: HardSwish()(x),
)


def build(inputs: Any, table: ModelTable, attend: Callable[[Any, str], Any]) -> tuple[Any, int]:
    """Images to features; see `_pretrained.build`."""
    return _pretrained.build(_NETWORK, inputs, table, attend)
