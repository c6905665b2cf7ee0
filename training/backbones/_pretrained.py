"""What the networks of keras.applications share: weights, cut, blocks inside, pyramid, freezing.

The network is made and gets its weights as keras.applications publishes it. Then its layers are
called a second time, in their own order, with an attention block at the end of a stage where the
recipe wants one: no layer is copied or renamed, so weights load as ever and without blocks nothing
is changed. Batch normalisation keeps its statistics: a factory's set is too small for new ones.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
from keras import layers

from qc.errors import FaultError, RecipeError, nearest
from qc.recipe import ModelTable
from training.backbones import _pyramid
from training.batch_norm import BatchNormalization

_NECK = 128
"""Channels that the block and the head see: a cut lies after a wide expansion."""


@dataclass(frozen=True)
class Network:
    """One network of keras.applications.

    Args:
        title: its name in messages.
        make: its function; called with `input_tensor`, `input_shape`, `alpha`, `weights` and
            `include_top`.
        stages: the last layer at stride 4, 8, 16 and 32: the ends of stage1 to stage4.
        cuts: stride -> the first layer of the block that halves the resolution after it; what flows
            into that layer is the cut.
        activation: takes the place of the network's activation layers, where given: the same
            function in a form that quantises better.
    """

    title: str
    make: Callable[..., keras.Model]
    stages: tuple[str, ...]
    cuts: Mapping[int, str]
    activation: Callable[[Any], Any] | None = None


def build(
    network: Network, inputs: Any, table: ModelTable, attend: Callable[[Any, str], Any]
) -> tuple[Any, int]:
    """Images to features, as `build` of a backbone.

    Args:
        network: which one.
        inputs: images `(B, H, W, 3)`, 0 to 255.
        table: `weights` is "none", "imagenet" or a file with the weights of the network without its
            classifier; `width` is its alpha; `trainable_from` names the first layer that learns;
            `pyramid` adds the features at twice the stride.
        attend: takes features and the name of their stage, and gives them back, through an
            attention block where the recipe wants one.

    Returns:
        Features `(B, H/stride, W/stride, 128)` and the stride.

    Raises:
        RecipeError: the weights do not fit, their file is missing, or there is no such layer.
        FaultError: the ImageNet weights cannot be fetched.
    """
    if table.stride not in network.cuts:
        raise RecipeError(
            f"{network.title} has no cut at this stride",
            where="model.stride",
            expected=" or ".join(map(str, sorted(network.cuts))),
            found=table.stride,
        )
    x = layers.Rescaling(1 / 127.5, offset=-1.0, name="rescale")(inputs)
    whole = _load(network, x, table)
    _freeze(network, whole, table.trainable_from)
    ends = [whole.get_layer(network.cuts[table.stride]).input]
    if table.pyramid:
        deeper = network.cuts.get(2 * table.stride)
        ends.append(
            whole.get_layer(deeper).input if deeper else whole.get_layer(network.stages[-1]).output
        )
    features = _with_blocks(network, keras.Model(inputs, ends), attend)
    if table.pyramid:
        neck = _pyramid.merge(*features, _NECK)
    else:
        neck = layers.Conv2D(_NECK, 1, use_bias=False, name="neck_conv")(features[0])
        neck = BatchNormalization(momentum=0.9, name="neck_bn")(neck)
        neck = layers.ReLU(6.0, name="neck_relu")(neck)
    return attend(neck, "neck"), table.stride


def _with_blocks(
    network: Network, part: keras.Model, attend: Callable[[Any, str], Any]
) -> list[Any]:
    """The outputs of a part of the network, its layers called anew with the blocks between them."""
    stages = {layer: f"stage{i}" for i, layer in enumerate(network.stages, start=1)}

    def call(layer: Any, *args: Any, **kwargs: Any) -> Any:
        if network.activation is not None and isinstance(layer, layers.Activation):
            return network.activation(*args)
        out = layer(*args, **kwargs)
        return attend(out, stages[layer.name]) if layer.name in stages else out

    again = keras.models.clone_model(
        part, input_tensors=part.input, clone_function=lambda layer: layer, call_function=call
    )
    return list(again.outputs)


def _freeze(network: Network, whole: keras.Model, trainable_from: str | None) -> None:
    names = [layer.name for layer in whole.layers]
    if trainable_from is not None and trainable_from not in names:
        near = nearest(trainable_from, names)
        raise RecipeError(
            f"{network.title} has no such layer",
            where="model.trainable_from",
            expected=f"'{near}'?" if near else "a layer's name",
            found=repr(trainable_from),
        )
    frozen = trainable_from is not None
    for layer in whole.layers:
        frozen = frozen and layer.name != trainable_from
        layer.trainable = not frozen and not isinstance(layer, layers.BatchNormalization)


def _load(network: Network, x: Any, table: ModelTable) -> keras.Model:
    def make(weights: str | None) -> keras.Model:
        with warnings.catch_warnings():
            # Keras warns that the weights were made for 224 pixels; a convolution has no size
            warnings.filterwarnings("ignore", message=".*input_shape.*")
            return network.make(
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
    whole = make(None)
    if table.weights != "none":
        path = Path(table.weights)
        if not path.is_file():
            raise RecipeError("the weights do not exist", where=path, expected="a .weights.h5 file")
        try:
            with warnings.catch_warnings():
                # of a file that does not fit, Keras lists every layer before it raises
                warnings.filterwarnings("ignore", message="Skipping nested container")
                whole.load_weights(path)
        except (ValueError, OSError, KeyError) as error:
            lines = str(error).splitlines() or [type(error).__name__]
            raise RecipeError(
                f"the weights do not fit {network.title}", where=path, found=lines[0]
            ) from error
    return whole
