"""MobileNetV2 of keras.applications, cut at stride 16 or 8, with an attention block on its
features.

Sandler et al., "MobileNetV2", CVPR 2018 (arXiv 1801.04381). Weights come from ImageNet, from a
local file, or from nowhere. Batch normalisation keeps its statistics: a factory's set is too small
for new ones.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import keras
from keras import layers

from qc.errors import FaultError, RecipeError, nearest
from qc.recipe import ModelTable

_CUT = {16: "block_13_expand_relu", 8: "block_6_expand_relu"}


def build(inputs: Any, table: ModelTable, attend: Callable[[Any, str], Any]) -> tuple[Any, int]:
    """Images to features.

    Args:
        inputs: images `(B, H, W, 3)`, 0 to 255.
        table: `weights` is "none", "imagenet" or a file with the weights of the network without its
            classifier; `width` is its alpha; `trainable_from` names the first layer that learns.
        attend: takes features and the name of their stage, and gives them back, through an
            attention block where the recipe wants one.

    Returns:
        Features `(B, H/stride, W/stride, C)` and the stride.

    Raises:
        RecipeError: the weights do not fit, their file is missing, or there is no such layer.
        FaultError: the ImageNet weights cannot be fetched.
    """
    if table.stride not in _CUT:
        raise RecipeError(
            "MobileNetV2 has no cut at this stride",
            where="model.stride",
            expected=" or ".join(map(str, sorted(_CUT))),
            found=table.stride,
        )
    x = layers.Rescaling(1 / 127.5, offset=-1.0, name="rescale")(inputs)
    network = _network(x, table)
    names = [layer.name for layer in network.layers]
    if table.trainable_from is not None and table.trainable_from not in names:
        near = nearest(table.trainable_from, names)
        raise RecipeError(
            "MobileNetV2 has no such layer",
            where="model.trainable_from",
            expected=f"'{near}'?" if near else "a layer's name",
            found=repr(table.trainable_from),
        )
    frozen = table.trainable_from is not None
    for layer in network.layers:
        frozen = frozen and layer.name != table.trainable_from
        layer.trainable = not frozen and not isinstance(layer, layers.BatchNormalization)
    features = network.get_layer(_CUT[table.stride]).output
    # the cut lies after a wide expansion: a thin mix of it is what the block and the head see
    features = layers.Conv2D(128, 1, use_bias=False, name="neck_conv")(features)
    features = layers.BatchNormalization(momentum=0.9, name="neck_bn")(features)
    features = layers.ReLU(6.0, name="neck_relu")(features)
    return attend(features, "neck"), table.stride


def _network(x: Any, table: ModelTable) -> keras.Model:
    def make(weights: str | None) -> keras.Model:
        return keras.applications.MobileNetV2(
            input_tensor=x,
            input_shape=x.shape[1:],
            alpha=table.width,
            weights=weights,
            include_top=False,
        )

    if table.weights == "imagenet":
        try:
            with redirect_stdout(sys.stderr):  # Keras announces its download on stdout
                return make("imagenet")
        except ValueError as error:
            raise RecipeError(
                "there are no ImageNet weights for this width", where="model.width", found=error
            ) from error
        except Exception as error:  # keras reports a failed download as a plain Exception
            raise FaultError(
                "the ImageNet weights cannot be fetched; give a local file in model.weights",
                where="model.weights",
                found=error,
            ) from error
    network = make(None)
    if table.weights != "none":
        path = Path(table.weights)
        if not path.is_file():
            raise RecipeError("the weights do not exist", where=path, expected="a .weights.h5 file")
        try:
            network.load_weights(path)
        except (ValueError, OSError) as error:
            text = str(error).splitlines()[0]
            raise RecipeError(
                "the weights do not fit MobileNetV2", where=path, found=text
            ) from error
    return network
