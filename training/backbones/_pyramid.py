"""One level of a feature pyramid: what is known at half the resolution, added to the fine features.

Lin et al., "Feature pyramid networks for object detection", CVPR 2017 (arXiv 1612.03144). So a map
at stride 8 rests on features as deep as those at stride 16. Two changes for int8 and one core: the
deep features are enlarged by their nearest neighbour, which moves numbers without rounding them,
and the 3x3 convolution that smooths the sum is a depthwise one.
"""

from __future__ import annotations

from typing import Any

from keras import layers, ops

from training.batch_norm import BatchNormalization


def merge(fine: Any, deep: Any, channels: int) -> Any:
    """Both levels in one.

    Args:
        fine: features `(B, h, w, C)`.
        deep: features `(B, h/2, w/2, D)`.
        channels: of the result.

    Returns:
        `(B, h, w, channels)`, never negative.
    """
    fine = _mix(fine, channels, "pyramid_fine")
    deep = _mix(deep, channels, "pyramid_deep")
    # one built-in op; UpSampling2D becomes reshapes and tiles, and behind a Resizing layer batch
    # normalisation is exported as in training
    deep = ops.image.resize(
        deep, fine.shape[1:3], interpolation="nearest", data_format="channels_last"
    )
    x = layers.Add(name="pyramid_add")([fine, deep])
    x = layers.ReLU(name="pyramid_relu")(x)
    x = layers.DepthwiseConv2D(3, padding="same", use_bias=False, name="pyramid_smooth")(x)
    x = BatchNormalization(momentum=0.9, name="pyramid_smooth_bn")(x)
    return layers.ReLU(name="pyramid_smooth_relu")(x)


def _mix(x: Any, channels: int, name: str) -> Any:
    x = layers.Conv2D(channels, 1, use_bias=False, name=f"{name}_conv")(x)
    return BatchNormalization(momentum=0.9, name=f"{name}_bn")(x)
