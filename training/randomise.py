"""A model with its structure and random weights, for the check that its map depends on them."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np


def random_model(model: keras.Model, seed: int) -> keras.Model:
    """A copy of a float model whose weights are what an untrained one begins with."""
    keras.utils.set_random_seed(seed)
    return keras.models.clone_model(model)


def random_flatbuffer(model: bytes, seed: int) -> bytes | None:
    """A TFLite model with the weights of each operation in a random order.

    The numbers stay the same, so that scales and ranges hold: only what was learnt is gone. Biases
    stay, and so do products of two things that are both no constant.

    Args:
        model: a TFLite flatbuffer.
        seed: another seed, another order.

    Returns:
        The flatbuffer, or None where there are no weights, or some cannot be reached: they are
        packed, sparse, stored outside, or made by another operation.
    """
    from ai_edge_litert import schema_py_generated as schema

    kind, width = schema.BuiltinOperator, _widths(schema.TensorType)
    weighted = {kind.CONV_2D, kind.DEPTHWISE_CONV_2D, kind.CONV_3D, kind.TRANSPOSE_CONV}
    weighted |= {kind.FULLY_CONNECTED}
    data = bytearray(model)
    graph = schema.Model.GetRootAs(data, 0)
    rng = np.random.default_rng(seed)
    done: set[int] = set()
    for part in map(graph.Subgraphs, range(graph.SubgraphsLength())):
        for operator in map(part.Operators, range(part.OperatorsLength())):
            code = graph.OperatorCodes(operator.OpcodeIndex())
            name = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
            if name not in weighted and name != kind.BATCH_MATMUL:
                continue
            for i in (1,) if name in weighted else (0, 1):
                tensor = part.Tensors(operator.Inputs(i))
                stored = graph.Buffers(tensor.Buffer()).DataAsNumpy()
                if not isinstance(stored, np.ndarray) or stored.size == 0:
                    if name in weighted:
                        return None
                    continue
                if tensor.Type() not in width or tensor.Sparsity() is not None:
                    return None
                if tensor.Buffer() not in done:
                    done.add(tensor.Buffer())
                    numbers = stored.view(width[tensor.Type()])  # of the bytes of `data`
                    numbers[:] = rng.permutation(numbers)
    return bytes(data) if done else None


def _widths(kind: Any) -> dict[int, str]:
    """How many bytes are one number, as a numpy type, by the type of a tensor."""
    return {kind.INT8: "u1", kind.UINT8: "u1", kind.FLOAT16: "<u2", kind.FLOAT32: "<u4"}
