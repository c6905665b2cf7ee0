"""Room for the bias of every channel in int8.

A bias is stored in 32 bits, in steps of the input's step times that of the channel's weights. Where
the weights are next to nothing, as in the channels of a pretrained network that are the same on
every picture, it does not fit, and litert-quantizer makes another number of it without a word;
TensorFlow's own quantiser widens the step.
"""

from __future__ import annotations

import numpy as np

from export.ranges import Ranges, packed

_MOST = 2.0**30
"""Steps that a bias may have: half of what 32 bits hold."""


def with_room(float_model: bytes, ranges: Ranges) -> bytes:
    """The same model; where a bias would not fit, the largest weight of the channel is larger.

    It changes what the channel gives by less than 1/30,000 of its bias.

    Args:
        float_model: a float32 flatbuffer.
        ranges: of its activations.
    """
    from ai_edge_litert import schema_py_generated as schema

    axes = {
        schema.BuiltinOperator.CONV_2D: 0,
        schema.BuiltinOperator.FULLY_CONNECTED: 0,
        schema.BuiltinOperator.DEPTHWISE_CONV_2D: 3,
    }
    graph = schema.ModelT.InitFromPackedBuf(float_model, 0)
    main = graph.subgraphs[0]
    for operator in main.operators:
        code = graph.operatorCodes[operator.opcodeIndex]
        axis = axes.get(max(code.builtinCode, code.deprecatedBuiltinCode))
        if axis is None or len(operator.inputs) < 3 or operator.inputs[2] < 0:
            continue
        image, weight, bias = (main.tensors[i] for i in operator.inputs[:3])
        found = ranges.get(image.name.decode())
        held = graph.buffers[weight.buffer]
        biases = graph.buffers[bias.buffer].data
        if found is None or held.data is None or biases is None:
            continue
        step = (max(float(found["max"].max()), 0.0) - min(float(found["min"].min()), 0.0)) / 255
        if step == 0:  # always nothing: it is refused later, by its name
            continue
        weights = np.frombuffer(bytes(held.data), np.float32).reshape(weight.shape).copy()
        channels = np.moveaxis(weights, axis, 0)
        for channel, value in zip(channels, np.frombuffer(bytes(biases), np.float32), strict=True):
            least = 127 * abs(value) / (step * _MOST)
            place = np.unravel_index(np.abs(channel).argmax(), channel.shape)
            if abs(channel[place]) < least:
                channel[place] = least
        held.data = np.frombuffer(weights.tobytes(), np.uint8)
    return packed(graph)
