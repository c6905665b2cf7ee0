"""What a TFLite model costs: its parameters and its multiplications, read off the flatbuffer."""

from __future__ import annotations

from math import prod
from typing import Any


def cost(model: bytes) -> dict[str, float]:
    """Parameters and multiply-accumulate operations of one pass.

    Counted are convolutions, depthwise ones, fully connected layers and products of two matrices:
    what everybody's MACs count. Additions, activations and pooling are not.

    Args:
        model: a TFLite flatbuffer of one graph with fixed shapes.

    Returns:
        parameters: numbers stored in weights and biases of those operations; mmacs: millions of
        multiply-accumulate operations.
    """
    from ai_edge_litert import schema_py_generated as schema

    kind = schema.BuiltinOperator
    graph = schema.ModelT.InitFromPackedBuf(model, 0)
    codes = [max(c.builtinCode, c.deprecatedBuiltinCode) for c in graph.operatorCodes]
    main = graph.subgraphs[0]
    macs, stored = 0, set()

    def shape(index: int) -> list[int]:
        return [int(n) for n in main.tensors[index].shape]

    def constant(index: int) -> bool:
        data: Any = graph.buffers[main.tensors[index].buffer].data
        return data is not None and len(data) > 0

    for operator in main.operators:
        code = codes[operator.opcodeIndex]
        out = prod(shape(operator.outputs[0]))
        first, second = (*operator.inputs[:2], -1)[:2]
        if code == kind.CONV_2D:  # weights (out, h, w, in)
            macs += out * prod(shape(second)[1:])
        elif code == kind.DEPTHWISE_CONV_2D:  # weights (1, h, w, channels)
            macs += out * prod(shape(second)[1:3])
        elif code == kind.FULLY_CONNECTED:  # weights (out, in)
            macs += out * shape(second)[-1]
        elif code == kind.BATCH_MATMUL:  # (..., n, k) by (..., k, m), or transposed
            adjoint = operator.builtinOptions is not None and operator.builtinOptions.adjX
            macs += out * shape(first)[-2 if adjoint else -1]
        else:
            continue
        stored |= {i for i in operator.inputs[1:] if i >= 0 and constant(i)}
    return {
        "parameters": sum(prod(shape(i)) for i in stored),
        "mmacs": round(macs / 1e6, 3),
    }
