"""A TFLite classifier made elsewhere: what it takes and gives, and whether a line can run it."""

from __future__ import annotations

import hashlib
import io
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ai_edge_litert import schema_py_generated as schema

from export.foreign_range import Pairs, normalised_range
from export.foreign_scheme import ops_of, runtimes_for, scheme_of
from qc.bundle import MAX_BYTES, open_bundle
from qc.errors import BundleError
from qc.manifest import TensorSpec

_MAGIC = {
    b"PK\x03\x04": "a ZIP, as a .keras file is",
    b"\x89HDF": "HDF5, as a .h5 file is",
    b"\x08\x08\x12": "what looks like ONNX",
}
_DETECTION = "TFLite_Detection_PostProcess"
_KINDS = {
    number: name.lower()
    for name, number in vars(schema.TensorType).items()
    if isinstance(number, int)
}
_LEGAL = ("uint8", "int8", "float32")
_PASSED = ("RESHAPE", "SQUEEZE", "QUANTIZE", "DEQUANTIZE")
"""Operations behind the last one that change no score."""
_TRIAL_S = 300
_TRIAL = """
import sys
from ai_edge_litert.interpreter import Interpreter, OpResolverType
plain = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
for kind in ({}, {"experimental_op_resolver_type": plain}):
    runs = Interpreter(model_path=sys.argv[1], **kind)
    runs.allocate_tensors()
    runs.invoke()
"""


@dataclass(frozen=True)
class Foreign:
    """A model that a bundle can hold.

    Args:
        path: the file.
        sha256: of the file as it came.
        size: of the file, bytes.
        model: the flatbuffer alone, without files that were appended.
        input: the picture's tensor `(1, h, w, 1 or 3)`.
        score: the tensor `(1, K)`.
        ends_in: what makes the scores, where the graph itself ends in it.
        scheme: how it is quantised.
        runtimes: distributions that may run it.
        unused: outputs that a bundle does not use.
        said_range: what pixel values 0 and 255 become by the model's own metadata, in each channel
            or in all; None where it has none.
    """

    path: Path
    sha256: str
    size: int
    model: bytes
    input: TensorSpec
    score: TensorSpec
    ends_in: Literal["softmax", "sigmoid"] | None
    scheme: str
    runtimes: tuple[str, ...]
    unused: tuple[str, ...]
    said_range: Pairs | None

    @property
    def channels(self) -> int:
        """1 or 3."""
        return self.input.shape[3]

    @property
    def outputs(self) -> int:
        """How many scores it gives."""
        return self.score.shape[1]


def read_foreign(path: Path) -> Foreign:
    """Read a model and check that it is a classifier of pictures.

    Raises:
        BundleError: unreadable, not TFLite, truncated, a bundle already, or not a classifier that
            a bundle can hold; says what it is instead.
    """
    data = _read(path)
    model = _without_files(path, data)
    graph = _parsed(path, model)
    _refuse_custom(path, graph)
    main = graph.subgraphs[0]
    image = _input(path, [main.tensors[i] for i in main.inputs])
    score, unused = _score(path, [main.tensors[i] for i in main.outputs])
    index = next(i for i in main.outputs if main.tensors[i] is score)
    scheme = scheme_of(graph)
    return Foreign(
        path=path,
        sha256=hashlib.sha256(data).hexdigest(),
        size=len(data),
        model=model,
        input=_spec(path, image, "input"),
        score=_spec(path, score, "output"),
        ends_in=_ends_in(graph, index),
        scheme=scheme,
        runtimes=runtimes_for(graph, scheme),
        unused=unused,
        said_range=normalised_range(graph, int(image.shape[3])),
    )


def try_model(path: Path, model: bytes) -> None:
    """Run a model once on what its input holds at the start, by either kind of kernels.

    The runtime checks little of what a file says: a damaged or odd one may end the whole process,
    and no `except` sees that. So another process is risked first. What the runtime refuses in
    words is not told here: the predictor says it better.

    Args:
        path: the file, for an error.
        model: its flatbuffer.

    Raises:
        BundleError: the model ends the process, or does not come to an end.
    """
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.tflite"
        file.write_bytes(model)
        try:
            ran = subprocess.run(
                [sys.executable, "-P", "-c", _TRIAL, str(file)],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=_TRIAL_S,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise BundleError(
                "the model does not come to an end",
                where=path,
                expected=f"a pass within {_TRIAL_S} s",
            ) from error
    if ran.returncode < 0:
        raise BundleError(
            "the model crashes the runtime: the file is damaged, or holds what the runtime cannot "
            "do",
            where=path,
            expected="a model that runs",
            found=f"an end by signal {-ran.returncode}",
        )


def _read(path: Path) -> bytes:
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise _refusal(path, "the model is too large", f"<= {MAX_BYTES} bytes", size)
        data = path.read_bytes()
    except OSError as error:
        raise _refusal(path, "the model cannot be read", "a file", error.strerror) from error
    if data[4:8] != b"TFL3":
        what = next((w for magic, w in _MAGIC.items() if data.startswith(magic)), None)
        found = what or (f"bytes {data[:8].hex(' ')}" if data else "an empty file")
        raise _refusal(path, "this is not a TFLite file", "a .tflite flatbuffer", found)
    return data


def _without_files(path: Path, data: bytes) -> bytes:
    """The flatbuffer without a ZIP behind it, such as one of labels; a bundle is refused."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            names = {i.filename for i in archive.infolist()}
            starts = [i.header_offset for i in archive.infolist()]
            end = min(starts, default=archive.start_dir)
    except (zipfile.BadZipFile, ValueError):
        return data
    if {"manifest.json", "golden.npz"} <= names:
        manifest = open_bundle(path).manifest  # an altered one says so
        raise _refusal(
            path,
            "this is a bundle of this project already: `qc verify` and `qc run` take it as it is",
            "a model made elsewhere",
            f"bundle {manifest.name} {manifest.bundle_id}",
        )
    return data[:end]


def _parsed(path: Path, model: bytes) -> Any:
    try:
        graph = schema.ModelT.InitFromPackedBuf(model, 0)
        main = graph.subgraphs[0]
        for i in (*main.inputs, *main.outputs):
            tuple(main.tensors[i].shape), main.tensors[i].name.decode()
        ops_of(graph)
    except Exception as error:  # the reader checks nothing: on damaged bytes it raises anything
        raise _refusal(
            path,
            "the TFLite file is truncated or damaged",
            "a whole flatbuffer",
            f"{len(model)} bytes that do not hold together ({type(error).__name__})",
        ) from error
    outside = sum(buffer.offset > 1 for buffer in graph.buffers)
    if outside:
        raise _refusal(
            path,
            "weights lie behind the flatbuffer, as in files over 2 GB",
            "all of them inside of it",
            f"{outside} of {len(graph.buffers)} buffers outside",
        )
    return graph


def _refuse_custom(path: Path, graph: Any) -> None:
    names = [c.customCode.decode("utf-8", "replace") for c in graph.operatorCodes if c.customCode]
    if _DETECTION in names:
        raise _refusal(
            path, "this model finds objects", "a classifier: one score for each class", _DETECTION
        )
    flex = [name for name in names if name.startswith("Flex")]
    if names:
        raise _refusal(
            path,
            f"the model has {'TensorFlow (Flex)' if flex else 'custom'} operations, which no "
            "line's runtime has",
            "built-in operations alone",
            ", ".join(sorted(names)),
        )


def _input(path: Path, inputs: list[Any]) -> Any:
    legal = "one picture (1, h, w, 1 or 3)"
    if len(inputs) != 1:
        found = ", ".join(_words(t) for t in inputs) or "none"
        raise _refusal(path, f"the model has {len(inputs)} inputs", legal, found)
    image = inputs[0]
    shape = _shape(image)
    if len(shape) != 4:
        raise _refusal(path, "the model's input is not a picture", legal, _words(image))
    if shape[0] != 1:
        raise _refusal(path, "the model takes several pictures at once", legal, _words(image))
    signature = image.shapeSignature
    if signature is not None and any(int(n) < 0 for n in signature[1:]):
        found = f"{image.name.decode()} {tuple(int(n) for n in signature)}"
        raise _refusal(path, "the model's input has no fixed size", legal, found)
    if shape[3] not in (1, 3) and shape[1] in (1, 3):
        raise _refusal(
            path,
            "the model takes channels first (NCHW): convert it with channels last (NHWC)",
            legal,
            _words(image),
        )
    if shape[3] not in (1, 3):
        raise _refusal(path, f"the model takes {shape[3]} channels", legal, _words(image))
    return image


def _score(path: Path, outputs: list[Any]) -> tuple[Any, tuple[str, ...]]:
    """The one output `(1, K)`, and names and shapes of maps beside it, which no bundle uses."""
    legal = "one output (1, K): a score for each class"
    found = ", ".join(_words(t) for t in outputs) or "none"
    ranks = [len(_shape(t)) for t in outputs]
    scores = [t for t, rank in zip(outputs, ranks, strict=True) if rank == 2]
    if not scores:
        what = "the model gives no scores"
        if set(ranks) == {4}:
            what = "the model gives a map and no scores, as segmentation does"
        elif 3 in ranks:
            what = "the model gives rows of boxes and no scores, as detection does"
        raise _refusal(path, what, legal, found)
    if len(scores) > 1 or set(ranks) - {2, 4}:
        raise _refusal(path, "the model has several outputs, as detection does", legal, found)
    if _shape(scores[0])[0] != 1 or _shape(scores[0])[1] < 1:
        raise _refusal(path, "the model's output is not one row of scores", legal, found)
    return scores[0], tuple(_words(t) for t in outputs if t is not scores[0])


def _spec(path: Path, tensor: Any, role: str) -> TensorSpec:
    kind = _KINDS.get(tensor.type, str(tensor.type))
    if kind not in _LEGAL:
        raise _refusal(path, f"the model's {role} is {kind}", " or ".join(_LEGAL), _words(tensor))
    quantum: dict[str, Any] = {}
    if kind != "float32":
        known = tensor.quantization
        scales = [] if known is None or known.scale is None else list(known.scale)
        if len(scales) != 1 or not scales[0] > 0:
            raise _refusal(
                path,
                f"the model's {role} is {kind} without a scale and a zero point: convert it with "
                "float32 borders, or quantise it fully",
                "one scale and one zero point",
                _words(tensor),
            )
        zeros = known.zeroPoint if known.zeroPoint is not None else [0]
        quantum = {"scale": float(scales[0]), "zero_point": int(zeros[0])}
    name = tensor.name.decode("utf-8", "replace")
    return TensorSpec.model_validate(
        {"name": name, "shape": _shape(tensor), "dtype": kind, **quantum}
    )


def _ends_in(graph: Any, output: int) -> Literal["softmax", "sigmoid"] | None:
    makers = {int(i): op for op in ops_of(graph)[0] for i in op.outputs}
    last = makers.pop(output, None)
    while last is not None and last.name in _PASSED and last.inputs:
        last = makers.pop(last.inputs[0], None)
    name = "" if last is None else last.name
    return "softmax" if name == "SOFTMAX" else "sigmoid" if name == "LOGISTIC" else None


def _shape(tensor: Any) -> tuple[int, ...]:
    return () if tensor.shape is None else tuple(int(n) for n in tensor.shape)


def _words(tensor: Any) -> str:
    kind = _KINDS.get(tensor.type, str(tensor.type))
    return f"{tensor.name.decode('utf-8', 'replace')} {_shape(tensor)} {kind}"


def _refusal(path: Path, what: str, expected: object, found: object) -> BundleError:
    return BundleError(what, where=path, expected=expected, found=found)
