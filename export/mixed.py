"""Static int8 with named operations or layers left in float, by litert-quantizer.

XNNPACK has no int8 kernel for the product of two activations and for what a softmax is made of: an
attention layer in int8 is slower than in float. And a layer whose int8 error decides verdicts can
be left in float alone. Ranges are the least and the greatest value seen: the quantiser's own
calibration is a moving average, which clips.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable

from export.bias_room import with_room
from export.convert import Converted, checked, silence
from export.ranges import Ranges
from qc.errors import FaultError

ATTENTION = ("BATCH_MATMUL", "SOFTMAX")
"""What is left in float first."""

WEIGHTED = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")
"""What gains most from int8: everything else may be left in float."""


def last_layers(model: bytes, share: float) -> list[str]:
    """Output tensors of the last operations of a graph, so many of all.

    What follows one of them is another of them, so also a layer that gives an output may be there.
    """
    from ai_edge_litert import schema_py_generated as schema

    main = schema.ModelT.InitFromPackedBuf(model, 0).subgraphs[0]
    names = [main.tensors[i].name.decode() for o in main.operators for i in o.outputs]
    return names[len(names) - round(share * len(names)) :]


def outputs(model: bytes) -> list[str]:
    """Names of the tensors that a graph gives.

    The quantiser cannot leave one of these layers in float where what follows it is in int8.
    """
    from ai_edge_litert import schema_py_generated as schema

    main = schema.ModelT.InitFromPackedBuf(model, 0).subgraphs[0]
    return [main.tensors[i].name.decode() for i in main.outputs]


def operations(model: bytes) -> set[str]:
    """Names of the built-in operations of a graph."""
    from ai_edge_litert import schema_py_generated as schema

    names = {v: k for k, v in vars(schema.BuiltinOperator).items() if not k.startswith("_")}
    graph = schema.ModelT.InitFromPackedBuf(model, 0)
    return {names[max(c.builtinCode, c.deprecatedBuiltinCode)] for c in graph.operatorCodes}


def to_mixed(
    float_model: bytes,
    ranges: Ranges,
    *,
    operations: Iterable[str] = (),
    layers: Iterable[str] = (),
    quiet: bool = True,
) -> Converted:
    """Quantise a float model to static int8 but for what is named.

    Args:
        float_model: a float32 flatbuffer.
        ranges: of its activations.
        operations: kinds of operations that stay in float.
        layers: output tensors of the operations that stay in float; one of `outputs` only with all
            that follows it.
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
        made = quantizer.Quantizer(with_room(float_model, ranges))
        made.add_static_config(".*", name.ALL_SUPPORTED, 8, 8)
        known = {kind.value for kind in name}
        for kind in sorted({"INPUT", "OUTPUT", *operations} & known):  # the others stay as they are
            made.update_quantization_recipe(".*", name(kind), algorithm_key=untouched)
        for layer in layers:
            # a layer is found by the names of its outputs, each of which ends with a semicolon
            made.update_quantization_recipe(
                f"^{re.escape(layer)};$", name.ALL_SUPPORTED, algorithm_key=untouched
            )
        try:
            found = made.quantize(
                ranges, enable_progress_report=False, enable_progress_bar=False
            ).quantized_model
        except (ValueError, RuntimeError, KeyError, IndexError) as error:
            raise FaultError("the model cannot be quantised", found=error) from error
    data = bytes(found)
    return checked("mixed", data, _input_shape(float_model), (*sorted(operations), *layers))


def _input_shape(model: bytes) -> tuple[int, ...]:
    from ai_edge_litert import schema_py_generated as schema

    main = schema.ModelT.InitFromPackedBuf(model, 0).subgraphs[0]
    return tuple(int(n) for n in main.tensors[main.inputs[0]].shape)
