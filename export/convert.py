"""Keras to a full-int8 TFLite flatbuffer: static batch 1, uint8 at the borders, built-in ops."""

from __future__ import annotations

import io
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from export.calibrate import representative
from qc.errors import FaultError, GateError
from qc.manifest import TensorSpec
from qc.quiet import quiet_stderr
from training.pipeline import Progress

_NO_RANGE = 1e-5
"""Width of a range under which a tensor holds nothing; the converter gives 2e-6 to a constant."""


@dataclass(frozen=True)
class Converted:
    """A flatbuffer and its border tensors."""

    model: bytes
    input: TensorSpec
    score: TensorSpec
    attention: TensorSpec


def to_int8(
    model: keras.Model,
    calibration: np.ndarray,
    *,
    progress: Progress | None = None,
    quiet: bool = True,
) -> Converted:
    """Quantise a model fully to int8.

    Args:
        model: images `(B, H, W, 3)` to `score` `(B, K)` and `attention` `(B, h, w, K)`.
        calibration: `(N, H, W, 3)` uint8 from TRAIN.
        progress: told of the calibration images seen.
        quiet: hide what the converter prints.

    Raises:
        FaultError: the converter failed.
        GateError: the graph holds a float island, a custom op, or borders of another type.
    """
    import tensorflow as tf

    shape = (1, *model.input_shape[1:])

    def inputs() -> Iterator[list[np.ndarray]]:
        for i, one in enumerate(representative(calibration), start=1):
            if progress is not None:
                progress(i, len(calibration))
            yield one

    with tempfile.TemporaryDirectory() as folder, _silence(quiet):
        saved = Path(folder) / "saved_model"
        signature = [keras.InputSpec(shape=shape, dtype="float32", name="image")]
        model.export(saved, format="tf_saved_model", input_signature=signature, verbose=False)
        converter = tf.lite.TFLiteConverter.from_saved_model(str(saved))
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = inputs
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = tf.uint8
        converter.inference_output_type = tf.uint8
        try:
            data: bytes = converter.convert()
        except Exception as error:  # the converter raises its own and bare exceptions
            lines = str(error).strip().splitlines() or [type(error).__name__]
            raise FaultError("the model cannot be converted to int8", found=lines[0]) from error
    return _checked(data, shape)


@contextmanager
def _silence(quiet: bool) -> Iterator[None]:
    """TensorFlow talks on both: Python's stdout, and file descriptor 2 from C++."""
    with quiet_stderr(quiet), redirect_stdout(io.StringIO() if quiet else sys.stdout):
        yield


def _checked(data: bytes, shape: tuple[int, ...]) -> Converted:
    from ai_edge_litert import schema_py_generated as schema

    graph = schema.ModelT.InitFromPackedBuf(data, 0)
    if len(graph.subgraphs) != 1:
        raise GateError("the graph has parts", expected=1, found=len(graph.subgraphs))
    codes = {c.customCode.decode() for c in graph.operatorCodes if c.customCode}
    if codes:
        raise GateError("custom or Flex ops in the graph", expected="none", found=sorted(codes))
    main = graph.subgraphs[0]
    floats = [t.name.decode() for t in main.tensors if t.type == schema.TensorType.FLOAT32]
    if floats:
        raise GateError("float islands in the int8 graph", expected="none", found=floats[:3])
    empty = [
        t.name.decode()
        for t in (main.tensors[i] for o in main.operators for i in o.outputs)
        if t.quantization is not None
        and t.quantization.scale is not None
        and 255 * t.quantization.scale[0] < _NO_RANGE
    ]
    if empty:
        raise GateError(
            "a layer is the same on every calibration image: it has no int8 range, and a runtime "
            "may refuse it or crash",
            expected="layers that vary, so train longer or with a smaller learning_rate",
            found=empty[:3],
        )
    inputs = [_spec(main.tensors[i], schema) for i in main.inputs]
    outputs = [_spec(main.tensors[i], schema) for i in main.outputs]
    scores = [t for t in outputs if len(t.shape) == 2]
    maps = [t for t in outputs if len(t.shape) == 4]
    if len(inputs) != 1 or len(scores) != 1 or len(maps) != 1:
        raise GateError("wrong borders", expected="1 input, score and attention", found=outputs)
    image = inputs[0]
    if image.shape != shape or image.scale != 1.0 or image.zero_point != 0:
        raise GateError("wrong input", expected=f"{shape}, scale 1, zero point 0", found=image)
    return Converted(data, image, scores[0], maps[0])


def _spec(tensor: Any, schema: Any) -> TensorSpec:
    if tensor.type != schema.TensorType.UINT8:
        raise GateError("wrong type at the border", expected="uint8", found=tensor.type)
    return TensorSpec(
        name=tensor.name.decode(),
        shape=tuple(int(n) for n in tensor.shape),
        dtype="uint8",
        scale=float(tensor.quantization.scale[0]),
        zero_point=int(tensor.quantization.zeroPoint[0]),
    )
