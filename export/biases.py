"""Biases for int8: with room for every one, and without what rounding the weights adds on average.

A bias is stored in 32 bits, in steps of the input's step times that of the channel's weights. Where
the weights are next to nothing, as in the channels of a pretrained network that are the same on
every picture, it does not fit, and litert-quantizer makes another number of it without a word;
TensorFlow's own quantiser widens the step.

Rounded weights give another mean: their errors times the mean input, which after an activation is
not zero. Of a channel this is one number, and the bias can take it back (Nagel et al., 2019,
"Data-Free Quantization Through Weight Equalization and Bias Correction", section 4.2).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from copy import copy
from dataclasses import dataclass
from typing import Any

import numpy as np

from export.cost import kinds
from export.ranges import Ranges, packed

_MOST = 2.0**30
"""Steps that a bias may have: half of what 32 bits hold."""
_STEPS = 127
"""Of the largest weight of a channel."""


@dataclass
class _Layer:
    """A layer with weights and a bias, in a graph that is being changed.

    Args:
        name: of its output.
        found: range and mean of its input.
        weights: float32, the channels of the output first.
        bias: float32 `(C,)`.
        depthwise: whether each channel sees one channel of the input.
    """

    name: str
    found: dict[str, np.ndarray]
    weights: np.ndarray
    bias: np.ndarray
    depthwise: bool


def with_room(float_model: bytes, ranges: Ranges) -> bytes:
    """The same model; where a bias would not fit, the largest weight of the channel is larger.

    It changes what the channel gives by less than 1/30,000 of its bias.

    Args:
        float_model: a float32 flatbuffer.
        ranges: of its activations.
    """
    graph = _unpacked(float_model)
    for layer in _layers(graph, ranges):
        high, low = float(layer.found["max"].max()), float(layer.found["min"].min())
        step = (max(high, 0.0) - min(low, 0.0)) / 255
        if step == 0:  # always nothing: it is refused later, by its name
            continue
        for channel, value in zip(layer.weights, layer.bias, strict=True):
            least = _STEPS * abs(value) / (step * _MOST)
            place = np.unravel_index(np.abs(channel).argmax(), channel.shape)
            if abs(channel[place]) < least:
                channel[place] = least
    return packed(graph)


def without_shift(float_model: bytes, ranges: Ranges, left_float: Collection[str] = ()) -> bytes:
    """The same model; every bias is less by what rounding the weights to int8 adds on average.

    The mean input is that of the calibration images, the same at every place: what a border of
    zeros changes is left alone.

    Args:
        float_model: a float32 flatbuffer.
        ranges: of its activations.
        left_float: output tensors of layers that keep their bias, as nothing of them is rounded.
    """
    graph = _unpacked(float_model)
    for layer in _layers(graph, ranges):
        if layer.name in left_float:
            continue
        weights = layer.weights.reshape(len(layer.weights), -1).astype(np.float64)
        step = np.abs(weights).max(axis=1, keepdims=True) / _STEPS
        step[step == 0] = 1.0
        error = (np.round(weights / step) * step - weights).reshape(layer.weights.shape)
        mean = layer.found["mean"]
        if layer.depthwise:
            mean = np.repeat(mean, len(error) // len(mean))
            layer.bias -= error.reshape(len(error), -1).sum(axis=1) * mean
        elif error.shape[-1] == len(mean):  # neither in groups nor of a flattened picture
            layer.bias -= (error * mean).reshape(len(error), -1).sum(axis=1)
    return packed(graph)


def _unpacked(model: bytes) -> Any:
    """A `ModelT` whose numbers can be changed in place."""
    from ai_edge_litert import schema_py_generated as schema

    graph = schema.ModelT.InitFromPackedBuf(bytearray(model), 0)
    for buffer in graph.buffers:
        if buffer.data is not None:
            buffer.data = np.array(buffer.data, np.uint8)
    return graph


def _layers(graph: Any, ranges: Ranges) -> Iterator[_Layer]:
    from ai_edge_litert import schema_py_generated as schema

    axes = {
        schema.BuiltinOperator.CONV_2D: 0,
        schema.BuiltinOperator.FULLY_CONNECTED: 0,
        schema.BuiltinOperator.DEPTHWISE_CONV_2D: 3,
    }
    main, codes = graph.subgraphs[0], kinds(graph)
    uses = Counter(main.tensors[i].buffer for o in main.operators for i in o.inputs if i >= 0)
    for operator in main.operators:
        axis = axes.get(codes[operator.opcodeIndex])
        if axis is None or len(operator.inputs) < 3 or operator.inputs[2] < 0:
            continue
        image, weight, bias = (main.tensors[i] for i in operator.inputs[:3])
        found = ranges.get(image.name.decode())
        weights, numbers = (graph.buffers[t.buffer].data for t in (weight, bias))
        if found is None or weights is None or numbers is None:
            continue
        name = main.tensors[operator.outputs[0]].name.decode()
        if uses[bias.buffer] > 1:  # equal constants lie in one place: this layer gets its own
            numbers = numbers.copy()
            graph.buffers.append(_copy(graph.buffers[bias.buffer], data=numbers))
            place = len(graph.buffers) - 1
            own = f"{bias.name.decode()};{name};bias".encode()
            main.tensors.append(_copy(bias, buffer=place, name=own))
            operator.inputs[2] = len(main.tensors) - 1
        yield _Layer(
            name,
            found,
            np.moveaxis(weights.view(np.float32).reshape(weight.shape), axis, 0),
            numbers.view(np.float32),
            depthwise=axis == 3,
        )


def _copy(thing: Any, **fields: Any) -> Any:
    """A copy of a part of a `ModelT`, but for these fields."""
    made = copy(thing)
    vars(made).update(fields)
    return made
