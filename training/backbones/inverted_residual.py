"""A small inverted-residual network with an attention block in each stage, trained from scratch.

The bottleneck is that of Sandler et al., "MobileNetV2", CVPR 2018 (arXiv 1801.04381). In the first
stages one full convolution takes the place of the expansion and the depthwise convolution, as in
Tan and Le, "EfficientNetV2", ICML 2021 (arXiv 2104.00298): at that resolution it is faster to
train. About 150 thousand parameters at width 1: it fits a set of some hundred images and one core
of a line computer. With `stem_stride = 4` the first convolution takes whole patches of 4x4 pixels:
a picture of twice the side costs what one of the side costs without.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from keras import layers

from qc.errors import RecipeError
from qc.recipe import ModelTable
from training.backbones import _pyramid
from training.batch_norm import BatchNormalization

_STAGES = ((24, 1, 2, True), (40, 2, 3, True), (64, 2, 4, False))
"""Channels, bottlenecks, expansion and whether they are fused, of each stage after the stem."""


def build(inputs: Any, table: ModelTable, attend: Callable[[Any, str], Any]) -> tuple[Any, int]:
    """Images to features.

    Args:
        inputs: images `(B, H, W, 3)`, 0 to 255.
        table: width, stem_stride, stride and pyramid; `weights` must be "none".
        attend: takes features and the name of their stage, and gives them back, through an
            attention block where the recipe wants one.

    Returns:
        Features `(B, H/stride, W/stride, C)` and the stride.

    Raises:
        RecipeError: weights were asked for, or a pyramid above stride 16.
    """
    if table.weights != "none":
        raise RecipeError(
            "there are no weights for this backbone",
            where="model.weights",
            expected="'none' with backbone 'inverted_residual'",
            found=repr(table.weights),
        )
    x = layers.Rescaling(1 / 127.5, offset=-1.0, name="rescale")(inputs)
    stride = table.stem_stride
    x = _convolve(x, _channels(16, table.width), max(3, stride), stride, "stem")
    deepest = table.stride * (2 if table.pyramid else 1)
    if table.pyramid and deepest > 16:
        raise RecipeError(
            "this backbone has nothing deeper than stride 16",
            where="model.pyramid",
            expected="false, or model.stride = 8",
            found=f"true with stride {table.stride}",
        )
    fine = x
    for number, (channels, repeats, expansion, fused) in enumerate(_STAGES, start=1):
        step = 2 if stride < deepest else 1
        for i in range(repeats):
            x = _bottleneck(
                x,
                _channels(channels, table.width),
                step if i == 0 else 1,
                expansion,
                fused,
                f"stage{number}_{i + 1}",
            )
        stride *= step
        x = attend(x, f"stage{number}")
        if stride == table.stride:
            fine = x
    if table.pyramid:
        return attend(_pyramid.merge(fine, x, x.shape[-1]), "neck"), table.stride
    return x, stride


def _channels(channels: int, width: float) -> int:
    """A multiple of 8, as XNNPACK and NPUs like it."""
    return max(8, int(channels * width + 4) // 8 * 8)


def _convolve(x: Any, channels: int, kernel_size: int, strides: int, name: str) -> Any:
    x = layers.Conv2D(
        channels, kernel_size, strides, padding="same", use_bias=False, name=f"{name}_conv"
    )(x)
    x = BatchNormalization(momentum=0.9, name=f"{name}_bn")(x)
    return layers.ReLU(6.0, name=f"{name}_relu")(x)


def _bottleneck(x: Any, channels: int, strides: int, expansion: int, fused: bool, name: str) -> Any:
    given = x
    wide = given.shape[-1] * expansion
    if fused:
        x = _convolve(x, wide, 3, strides, f"{name}_expand")
    else:
        x = _convolve(x, wide, 1, 1, f"{name}_expand")
        x = layers.DepthwiseConv2D(
            3, strides, padding="same", use_bias=False, name=f"{name}_depthwise"
        )(x)
        x = BatchNormalization(momentum=0.9, name=f"{name}_depthwise_bn")(x)
        x = layers.ReLU(6.0, name=f"{name}_depthwise_relu")(x)
    x = layers.Conv2D(channels, 1, use_bias=False, name=f"{name}_project")(x)
    x = BatchNormalization(momentum=0.9, name=f"{name}_project_bn")(x)
    if strides == 1 and given.shape[-1] == channels:
        x = layers.Add(name=f"{name}_add")([given, x])
    return x
