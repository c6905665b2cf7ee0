"""How a foreign flatbuffer is quantised, read from its operations, and what may run it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ai_edge_litert import schema_py_generated as schema

from qc.manifest import RUNTIMES

_NAMES = {
    number: name for name, number in vars(schema.BuiltinOperator).items() if isinstance(number, int)
}
_SMALL = (schema.TensorType.INT8, schema.TensorType.UINT8, schema.TensorType.INT4)
_FLOAT, _HALF, _WIDE = (
    schema.TensorType.FLOAT32,
    schema.TensorType.FLOAT16,
    schema.TensorType.INT16,
)
_DENSE_TOO_NEW = 12
"""tflite-runtime 2.14 does not know FULLY_CONNECTED from this version on."""


@dataclass(frozen=True)
class Op:
    """One operation of a graph.

    Args:
        name: of the built-in operation.
        version: of it.
        inputs, outputs: indices of its tensors.
        moving: types of the tensors that change from picture to picture.
        fixed: types of its weights.
    """

    name: str
    version: int
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    moving: frozenset[int]
    fixed: frozenset[int]


def ops_of(graph: Any) -> list[list[Op]]:
    """The operations of each subgraph of a `ModelT`, the main one first."""
    return [[_op(graph, part, op) for op in part.operators or ()] for part in graph.subgraphs]


def _op(graph: Any, part: Any, op: Any) -> Op:
    code = graph.operatorCodes[op.opcodeIndex]
    # files older than 2020 have their code in the field that was too narrow later
    number = max(int(code.builtinCode), int(code.deprecatedBuiltinCode))
    inputs = tuple(int(i) for i in (op.inputs if op.inputs is not None else ()) if i >= 0)
    outputs = tuple(int(i) for i in (op.outputs if op.outputs is not None else ()))
    weights = {i for i in inputs if _has_data(graph.buffers[part.tensors[i].buffer])}
    return Op(
        _NAMES.get(number, str(number)),
        int(code.version),
        inputs,
        outputs,
        frozenset(part.tensors[i].type for i in (*inputs, *outputs) if i not in weights),
        frozenset(part.tensors[i].type for i in weights),
    )


def _has_data(buffer: Any) -> bool:
    return buffer.data is not None and len(buffer.data) > 0


def scheme_of(graph: Any) -> str:
    """ "float32", "float16", "int8", "dynamic" (float with int8 weights), "int16" or "mixed"."""
    floats = wholes = wide = half = hybrid = False
    for op in (op for ops in ops_of(graph) for op in ops):
        half |= _HALF in op.fixed
        is_float = _FLOAT in op.moving
        small = not op.fixed.isdisjoint(_SMALL)
        if op.name == "DEQUANTIZE" and small:
            hybrid = True
        if op.name in ("QUANTIZE", "DEQUANTIZE"):
            continue
        wide |= _WIDE in op.moving
        floats |= is_float
        hybrid |= is_float and small
        wholes |= not is_float and not op.moving.isdisjoint(_SMALL)
    if wide:
        return "int16"
    if floats and wholes:
        return "mixed"
    if hybrid:
        return "dynamic"
    if wholes:
        return "int8"
    return "float16" if half else "float32"


def runtimes_for(graph: Any, scheme: str) -> tuple[str, ...]:
    """Distributions that may run a model of a scheme.

    `tflite-runtime` does not load some models with operations newer than itself, and runs some of
    other schemes than float and whole int8 wrongly without a word.
    """
    too_new = any(
        op.name == "FULLY_CONNECTED" and op.version >= _DENSE_TOO_NEW
        for ops in ops_of(graph)
        for op in ops
    )
    both = scheme in ("float32", "float16", "int8") and not too_new
    return RUNTIMES if both else RUNTIMES[:1]
