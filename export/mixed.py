"""Static int8 with named operations or layers left in float, by litert-quantizer.

XNNPACK has no int8 kernel for the product of two activations and for what a softmax is made of: an
attention layer in int8 is slower than in float. And a layer whose int8 error decides verdicts can
be left in float alone. Ranges are the least and the greatest value seen: the quantiser's own
calibration is a moving average, which clips.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from math import prod

from export.biases import with_room, without_shift
from export.convert import Converted, checked, silence
from export.cost import kinds, multiplying
from export.ranges import Ranges
from qc.errors import FaultError

ATTENTION = ("BATCH_MATMUL", "SOFTMAX")
"""What is left in float first."""

WEIGHTED = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")
"""What gains most from int8: everything else may be left in float."""


def operations(model: bytes) -> set[str]:
    """Names of the built-in operations of a graph."""
    from ai_edge_litert import schema_py_generated as schema

    names = {v: k for k, v in vars(schema.BuiltinOperator).items() if not k.startswith("_")}
    return {names[kind] for kind in kinds(schema.ModelT.InitFromPackedBuf(model, 0))}


@dataclass(frozen=True)
class Weighted:
    """A layer with weights.

    Args:
        name: of its output tensor.
        macs: multiply-accumulate operations of a pass.
        elements: numbers that it reads and writes, weights aside.
    """

    name: str
    macs: int
    elements: int


def weighted(model: bytes) -> list[Weighted]:
    """The layers of a float graph that have weights, in its order."""
    from ai_edge_litert import schema_py_generated as schema

    graph = schema.ModelT.InitFromPackedBuf(model, 0)
    tensors = graph.subgraphs[0].tensors
    wanted = {getattr(schema.BuiltinOperator, kind) for kind in WEIGHTED}
    codes = kinds(graph)
    found = []
    for operator, macs in multiplying(graph):
        read, weights = operator.inputs[:2]
        constant = graph.buffers[tensors[weights].buffer].data is not None
        if constant and codes[operator.opcodeIndex] in wanted:
            written = tensors[operator.outputs[0]]
            elements = sum(prod(int(n) for n in t.shape) for t in (tensors[read], written))
            found.append(Weighted(written.name.decode(), macs, elements))
    return found


def these_alone(
    float_model: bytes, ranges: Ranges, layers: Collection[str], *, quiet: bool = True
) -> Converted:
    """Quantise these of the `weighted` layers to static int8, and nothing else; as `to_mixed`."""
    rest = operations(float_model) - set(WEIGHTED)
    others = [layer.name for layer in weighted(float_model) if layer.name not in layers]
    return to_mixed(float_model, ranges, operations=rest, layers=others, quiet=quiet)


def to_mixed(
    float_model: bytes,
    ranges: Ranges,
    *,
    operations: Iterable[str] = (),
    layers: Collection[str] = (),
    quiet: bool = True,
) -> Converted:
    """Quantise a float model to static int8 but for what is named.

    Args:
        float_model: a float32 flatbuffer.
        ranges: of its activations.
        operations: kinds of operations that stay in float, none of `WEIGHTED`.
        layers: output tensors of the operations that stay in float. The quantiser cannot leave what
            gives an output of the graph in float where what follows it is in int8.
        quiet: hide what the quantiser prints.

    Raises:
        FaultError: the quantiser failed.
        GateError: as `checked`.
    """
    from litert_quantizer import qtyping, quantizer

    name = qtyping.TFLOperationName
    untouched = "no_quantize"
    with silence(quiet), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a constant's place in `ranges` is empty
        made = quantizer.Quantizer(without_shift(with_room(float_model, ranges), ranges, layers))
        made.add_static_config(".*", name.ALL_SUPPORTED, 8, 8)
        known = {kind.value for kind in name}
        for kind in sorted({"INPUT", "OUTPUT", *operations} & known):  # the others stay as they are
            made.update_quantization_recipe(".*", name(kind), algorithm_key=untouched)
        for layer in layers:
            # a layer is found by the names of its outputs, each of which ends with a semicolon
            made.update_quantization_recipe(
                f"^{re.escape(layer)};$", name.ALL_SUPPORTED, algorithm_key=untouched
            )
        own = {key: {"min": r["min"], "max": r["max"]} for key, r in ranges.items()}
        try:  # it writes into what it is given
            found = made.quantize(
                own, enable_progress_report=False, enable_progress_bar=False
            ).quantized_model
        except (ValueError, RuntimeError, KeyError, IndexError) as error:
            raise FaultError("the model cannot be quantised", found=error) from error
    data = bytes(found)
    return checked("mixed", data, _input_shape(float_model), (*sorted(operations), *layers))


def _input_shape(model: bytes) -> tuple[int, ...]:
    from ai_edge_litert import schema_py_generated as schema

    main = schema.ModelT.InitFromPackedBuf(model, 0).subgraphs[0]
    return tuple(int(n) for n in main.tensors[main.inputs[0]].shape)
