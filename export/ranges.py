"""The range and the mean of every activation of a float graph: what static int8 rounds within.

The least and the greatest value seen, read after a pass in which every tensor keeps its own memory.
TensorFlow's own calibration reads the inputs of an operation after it ran, also where the output
lies in the memory of an input: then the range of, say, the operand of an addition holds that of the
sum too (tensorflow/tensorflow issue 127842), and its steps are coarser than they need be.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from export.calibrate import representative
from qc.errors import FaultError
from training.pipeline import Progress

Ranges = dict[str, dict[str, np.ndarray]]
"""Tensor -> "min" and "max" of its values, of its own rank, and "mean" of each channel."""


def interpreter(model: bytes, *, fast: bool = False) -> Any:
    """LiteRT without XNNPACK, every tensor readable after a pass; or fast, the outputs alone.

    Raises:
        FaultError: it cannot run the model.
    """
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    kernels = OpResolverType.AUTO if fast else OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    made = Interpreter(
        model_content=model,
        num_threads=1,
        experimental_preserve_all_tensors=not fast,
        experimental_op_resolver_type=kernels,
    )
    try:
        made.allocate_tensors()
    except RuntimeError as error:
        raise FaultError("LiteRT cannot run the model", found=error) from error
    return made


def activations(model: bytes) -> list[str]:
    """Names of the float tensors of a graph that are no constants."""
    from ai_edge_litert import schema_py_generated as schema

    graph = schema.ModelT.InitFromPackedBuf(model, 0)
    main = graph.subgraphs[0]
    made = set(main.inputs) | {i for o in main.operators for i in o.outputs}
    return [main.tensors[i].name.decode() for i in sorted(made)]


def find_ranges(
    float_model: bytes, calibration: np.ndarray, progress: Progress | None = None
) -> Ranges:
    """The range of every activation.

    Args:
        float_model: a float32 flatbuffer.
        calibration: `(N, H, W, 3)` uint8 from TRAIN.
        progress: told of the images seen.
    """
    made = interpreter(float_model)
    wanted = set(activations(float_model))
    details = [d for d in made.get_tensor_details() if d["name"] in wanted]
    ranges: Ranges = {}
    for number, [image] in enumerate(representative(calibration), start=1):
        made.set_tensor(made.get_input_details()[0]["index"], image)
        made.invoke()
        for detail in details:
            value = made.get_tensor(detail["index"])
            low, high = value.min(keepdims=True), value.max(keepdims=True)
            wide = np.atleast_1d(value)
            mean = wide.reshape(-1, wide.shape[-1]).mean(axis=0, dtype=np.float64)
            kept = ranges.setdefault(detail["name"], {"min": low, "max": high, "mean": 0 * mean})
            kept["min"], kept["max"] = np.minimum(kept["min"], low), np.maximum(kept["max"], high)
            kept["mean"] += mean / len(calibration)
        if progress is not None:
            progress(number, len(calibration))
    return ranges


def with_ranges(float_model: bytes, ranges: Ranges) -> bytes:
    """A calibrated float flatbuffer with these ranges in place of its own.

    Args:
        float_model: a float32 flatbuffer whose activations have a range.
        ranges: of its activations.
    """
    from ai_edge_litert import schema_py_generated as schema

    graph = schema.ModelT.InitFromPackedBuf(float_model, 0)
    for tensor in graph.subgraphs[0].tensors:
        found, kept = ranges.get(tensor.name.decode()), tensor.quantization
        if found is not None and kept is not None and kept.min is not None:
            kept.min, kept.max = found["min"].reshape(1), found["max"].reshape(1)
    return packed(graph)


def packed(graph: Any) -> bytes:
    """A `ModelT` as a flatbuffer."""
    import flatbuffers

    builder = flatbuffers.Builder(1024)
    builder.Finish(graph.Pack(builder), b"TFL3")
    return bytes(builder.Output())
