"""What a TFLite model costs: its parameters and its multiplications, read off the flatbuffer."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from typing import Any


def kinds(graph: Any) -> list[int]:
    """The built-in operation that each operator code of a `ModelT` stands for."""
    return [max(c.builtinCode, c.deprecatedBuiltinCode) for c in graph.operatorCodes]


def multiplying(graph: Any) -> Iterator[tuple[Any, int]]:
    """The operators of a graph that multiply, each with its multiply-accumulate operations.

    Convolutions, depthwise ones, fully connected layers and products of two matrices: what
    everybody's MACs count. Additions, activations and pooling are not.

    Args:
        graph: the `ModelT` of a graph with fixed shapes.
    """
    from ai_edge_litert import schema_py_generated as schema

    kind, codes = schema.BuiltinOperator, kinds(graph)
    main = graph.subgraphs[0]

    def shape(index: int) -> list[int]:
        return [int(n) for n in main.tensors[index].shape]

    for operator in main.operators:
        code = codes[operator.opcodeIndex]
        out = prod(shape(operator.outputs[0]))
        first, second = (*operator.inputs[:2], -1)[:2]
        if code == kind.CONV_2D:  # weights (out, h, w, in)
            yield operator, out * prod(shape(second)[1:])
        elif code == kind.DEPTHWISE_CONV_2D:  # weights (1, h, w, channels)
            yield operator, out * prod(shape(second)[1:3])
        elif code == kind.FULLY_CONNECTED:  # weights (out, in)
            yield operator, out * shape(second)[-1]
        elif code == kind.BATCH_MATMUL:  # (..., n, k) by (..., k, m), or transposed
            adjoint = operator.builtinOptions is not None and operator.builtinOptions.adjX
            yield operator, out * shape(first)[-2 if adjoint else -1]


def cost(model: bytes) -> dict[str, float]:
    """Parameters and multiply-accumulate operations of one pass, of what `multiplying` counts.

    Args:
        model: a TFLite flatbuffer of one graph with fixed shapes.

    Returns:
        parameters: numbers stored in weights and biases of those operations; mmacs: millions of
        multiply-accumulate operations.
    """
    from ai_edge_litert import schema_py_generated as schema

    graph = schema.ModelT.InitFromPackedBuf(model, 0)
    main = graph.subgraphs[0]
    tensors = main.tensors
    codes = kinds(graph)
    widened = {  # weights that are stored in float16
        o.outputs[0]: o.inputs[0]
        for o in main.operators
        if codes[o.opcodeIndex] == schema.BuiltinOperator.DEQUANTIZE
    }
    macs, stored = 0, set()

    def constant(index: int) -> bool:
        buffer = graph.buffers[tensors[index].buffer]
        if buffer.offset > 1:  # litert-quantizer lays weights behind the flatbuffer
            return True
        return buffer.data is not None and len(buffer.data) > 0

    for operator, count in multiplying(graph):
        macs += count
        sources = (widened.get(i, i) for i in operator.inputs[1:] if i >= 0)
        stored |= {i for i in sources if constant(i)}
    return {
        "parameters": sum(prod(int(n) for n in tensors[i].shape) for i in stored),
        "mmacs": round(macs / 1e6, 3),
    }
