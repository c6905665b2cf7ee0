"""Keras to a TFLite flatbuffer of any scheme: static batch 1, built-in operations alone.

int8 has uint8 at its borders: the camera's picture goes in as it is. The other schemes take the
same pixel values in float32, 0 to 255.
"""

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
from export.ranges import find_ranges, with_ranges
from qc.errors import FaultError, GateError
from qc.manifest import RUNTIMES, TensorSpec
from qc.quiet import quiet_stderr
from training.columns import side_by_side
from training.pipeline import Progress

RISKY = ("dynamic", "mixed")
"""Schemes for LiteRT alone: tflite-runtime 2.14 cannot load some such models, and runs others
wrongly without a word."""

_NO_RANGE = 1e-5
"""Width of a range under which a tensor holds nothing; the converter gives 2e-6 to a constant."""


@dataclass(frozen=True)
class Converted:
    """A flatbuffer and its border tensors.

    Args:
        scheme: how it is quantised.
        model: the flatbuffer.
        input, score, attention: what goes in and comes out.
        left_float: operations or layers that a mixed scheme leaves in float.
    """

    scheme: str
    model: bytes
    input: TensorSpec
    score: TensorSpec
    attention: TensorSpec
    left_float: tuple[str, ...] = ()

    @property
    def runtimes(self) -> tuple[str, ...]:
        """Distributions that may run it."""
        return RUNTIMES[:1] if self.scheme in RISKY else RUNTIMES


@dataclass(frozen=True)
class SavedModel:
    """A Keras model laid out for the converter, once in each way that a scheme asks for.

    Args:
        model: images `(B, H, W, 3)` to `score` `(B, K)` and `attention` `(B, h, w, K)`.
        folder: for TensorFlow's SavedModels.
        quiet: hide what export and converter print.
    """

    model: keras.Model
    folder: Path
    quiet: bool

    def convert(
        self,
        scheme: str,
        calibration: np.ndarray | None = None,
        progress: Progress | None = None,
        *,
        columns: bool | None = None,
    ) -> Converted:
        """Convert to "int8", "dynamic", "float16" or "float32".

        Args:
            scheme: one of these.
            calibration: `(N, H, W, 3)` uint8 from TRAIN, for int8.
            progress: told of the calibration images seen.
            columns: the first convolution on blocks of columns, `training.columns`; None: in int8.
                In float the zeros cost as much as is gained.

        Raises:
            FaultError: the converter failed.
            GateError: the graph holds a custom or Flex op or, in int8, a float island, or its
                borders are of another type.
        """
        import tensorflow as tf

        place = self._laid_out(scheme == "int8" if columns is None else columns)
        with silence(self.quiet):
            converter = tf.lite.TFLiteConverter.from_saved_model(str(place))
            converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
            if scheme != "float32":
                converter.optimizations = [tf.lite.Optimize.DEFAULT]
            if scheme == "float16":
                converter.target_spec.supported_types = [tf.float16]
            try:
                if scheme == "int8":
                    assert calibration is not None
                    data = _int8(converter, calibration, progress)
                else:
                    data = converter.convert()
            except Exception as error:  # the converter raises its own and bare exceptions
                lines = str(error).strip().splitlines() or [type(error).__name__]
                raise FaultError(
                    f"the model cannot be converted to {scheme}", found=lines[0]
                ) from error
        return checked(scheme, data, self._shape)

    @property
    def _shape(self) -> tuple[int, ...]:
        return (1, *self.model.input_shape[1:])

    def _laid_out(self, columns: bool) -> Path:
        place = self.folder / ("columns" if columns else "plain")
        if not place.exists():
            model = side_by_side(self.model) if columns else self.model
            image = [keras.InputSpec(shape=self._shape, dtype="float32", name="image")]
            with silence(self.quiet):
                model.export(place, format="tf_saved_model", input_signature=image, verbose=False)
        return place


def _int8(converter: Any, calibration: np.ndarray, progress: Progress | None) -> bytes:
    """A graph in int8 within the ranges of `find_ranges`, which TensorFlow's calibration widens.

    It is asked to calibrate on one image, which lays the graph out as its quantiser wants it, and
    the quantiser is run on that graph, as TensorFlow's own `QuantizationDebugger` does.
    """
    import tensorflow as tf
    from tensorflow.lite.python.convert import mlir_quantize

    converter.representative_dataset = lambda: representative(calibration[:1])
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.uint8
    converter._experimental_calibrate_only = True
    laid_out = bytes(converter.convert())
    ranged = with_ranges(laid_out, find_ranges(laid_out, calibration, progress))
    return bytes(mlir_quantize(ranged, input_data_type=tf.uint8, output_data_type=tf.uint8))


@contextmanager
def saved_model(model: keras.Model, *, quiet: bool = True) -> Iterator[SavedModel]:
    """A Keras model for the converter, in a folder that is gone afterwards; see `SavedModel`."""
    with tempfile.TemporaryDirectory() as folder:
        yield SavedModel(model, Path(folder), quiet)


def to_int8(
    model: keras.Model,
    calibration: np.ndarray,
    *,
    progress: Progress | None = None,
    quiet: bool = True,
) -> Converted:
    """Quantise a model fully to int8; as `SavedModel.convert`."""
    with saved_model(model, quiet=quiet) as saved:
        return saved.convert("int8", calibration, progress)


@contextmanager
def silence(quiet: bool) -> Iterator[None]:
    """TensorFlow talks on both: Python's stdout, and file descriptor 2 from C++."""
    with quiet_stderr(quiet), redirect_stdout(io.StringIO() if quiet else sys.stdout):
        yield


def checked(
    scheme: str, data: bytes, shape: tuple[int, ...], left_float: tuple[str, ...] = ()
) -> Converted:
    """A flatbuffer of a scheme, once its graph is what the line can run.

    Raises:
        GateError: it is not.
    """
    from ai_edge_litert import schema_py_generated as schema

    graph = schema.ModelT.InitFromPackedBuf(data, 0)
    if len(graph.subgraphs) != 1:
        raise GateError("the graph has parts", expected=1, found=len(graph.subgraphs))
    codes = {c.customCode.decode() for c in graph.operatorCodes if c.customCode}
    if codes:
        raise GateError("custom or Flex ops in the graph", expected="none", found=sorted(codes))
    main = graph.subgraphs[0]
    if scheme == "int8":
        _refuse_islands(main, schema)
    if scheme in ("int8", "mixed"):
        _refuse_constant(main)
    inputs = [_spec(main.tensors[i], schema) for i in main.inputs]
    outputs = [_spec(main.tensors[i], schema) for i in main.outputs]
    scores = [t for t in outputs if len(t.shape) == 2]
    maps = [t for t in outputs if len(t.shape) == 4]
    if len(inputs) != 1 or len(scores) != 1 or len(maps) != 1:
        raise GateError("wrong borders", expected="1 input, score and attention", found=outputs)
    image = inputs[0]
    kind = "uint8" if scheme == "int8" else "float32"
    border = (image.shape, image.dtype, image.scale, image.zero_point)
    if border != (shape, kind, 1.0, 0):
        raise GateError("wrong input", expected=f"{shape} {kind}, as the picture is", found=image)
    return Converted(scheme, data, image, scores[0], maps[0], left_float)


def _refuse_islands(main: Any, schema: Any) -> None:
    floats = [t.name.decode() for t in main.tensors if t.type == schema.TensorType.FLOAT32]
    if floats:
        raise GateError("float islands in the int8 graph", expected="none", found=floats[:3])


def _refuse_constant(main: Any) -> None:
    """A runtime is not even asked: it may end the process."""
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


def _spec(tensor: Any, schema: Any) -> TensorSpec:
    kinds = {schema.TensorType.UINT8: "uint8", schema.TensorType.FLOAT32: "float32"}
    if tensor.type not in kinds:
        raise GateError("wrong type at the border", expected="uint8 or float32", found=tensor.type)
    quantum: dict[str, Any] = {}
    if kinds[tensor.type] == "uint8":
        quantum["scale"] = float(tensor.quantization.scale[0])
        quantum["zero_point"] = int(tensor.quantization.zeroPoint[0])
    return TensorSpec.model_validate(
        {
            "name": tensor.name.decode(),
            "shape": tuple(int(n) for n in tensor.shape),
            "dtype": kinds[tensor.type],
            **quantum,
        }
    )
