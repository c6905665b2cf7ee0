"""TFLite model metadata: what any LiteRT or MediaPipe program wants to know of the model.

Inside the flatbuffer lies a second one, of identifier M001, in the buffer that the model's table
`metadata` calls TFLITE_METADATA. It names the tensors, says how a picture becomes the input and
that `labels.txt` of the ZIP behind the model names the scores. Slot numbers below are those of
TensorFlow's public `metadata_schema.fbs`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Literal

import flatbuffers
import numpy as np

from qc.errors import GateError
from qc.manifest import TensorSpec

ENTRY = b"TFLITE_METADATA"
"""Key of the metadata in the model's own table."""

LABELS = "labels.txt"
"""Member of the bundle's ZIP: one class name a line, in the order of the scores."""

_PARSER = "1.0.0"  # no field here is younger
_RGB, _GREY = 1, 2  # ColorSpaceType
_FEATURE, _IMAGE = 1, 2  # union ContentProperties
_NORMALIZATION = 1  # union ProcessUnitOptions
_AXIS_LABELS = 2  # AssociatedFileType
_ALIGNMENT = 16  # bytes, of a buffer's data by TFLite's schema


def with_metadata(
    model: bytes,
    *,
    name: str,
    description: str,
    licence: str,
    image: TensorSpec,
    score: TensorSpec,
    attention: TensorSpec | None,
    classes: int,
    activation: Literal["none", "softmax", "sigmoid"] = "none",
    input_range: Sequence[tuple[float, float]] = ((0.0, 255.0),),
    version: str = "1",
) -> bytes:
    """A TFLite model with metadata in the place of what it had; weights and graph stay.

    Args:
        model: a flatbuffer of one graph.
        name: of the model.
        description: of the model, a sentence.
        licence: of the data it has learnt from.
        image: its only input, `(1, h, w, 3)` or `(1, h, w, 1)`.
        score: the output `(1, K)`, or `(1, K - 1)` without the good class.
        attention: the output `(1, h, w, K)`, or None.
        classes: K, lines of `labels.txt`. Only K scores are named by it: of fewer, each would get
            the name of another.
        activation: what makes probabilities of the scores; they are named as raw where there is
            one.
        input_range: real numbers that pixel values 0 and 255 become, for all channels or each.
        version: of the model.

    Returns:
        The flatbuffer; the same arguments give the same bytes.

    Raises:
        GateError: the graph has not these tensors at its borders.
    """
    from ai_edge_litert import schema_py_generated as schema

    graph = schema.ModelT.InitFromPackedBuf(model, 0)
    main = graph.subgraphs[0]
    inputs = [main.tensors[i].name.decode() for i in main.inputs]
    # a foreign model may have two outputs of one name
    outputs = [
        (main.tensors[i].name.decode(), tuple(int(n) for n in main.tensors[i].shape))
        for i in main.outputs
    ]
    known = {(score.name, score.shape): _score(score.shape[1] == classes, activation)}
    if attention is not None:
        known[attention.name, attention.shape] = _attention()
    if inputs != [image.name] or not set(known) <= set(outputs):
        raise GateError(
            "the metadata is not of this model",
            expected=f"input {image.name}, outputs {_words(known)}",
            found=f"inputs {', '.join(inputs)}, outputs {_words(outputs)}",
        )
    told = _flatbuffer(
        {
            0: name,
            1: description,
            2: version,
            3: [
                {
                    2: [_image(image, input_range)],
                    3: [known.get(output, {0: output[0]}) for output in outputs],
                }
            ],
            5: licence,
            7: _PARSER,
        },
        b"M001",
    )
    _gather(graph, model)
    _keep(graph, told, schema)
    builder = _AlignedBuilder(len(model) + len(told))
    builder.Finish(graph.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def _image(spec: TensorSpec, input_range: Sequence[tuple[float, float]]) -> dict[int, Any]:
    """TensorMetadata of the input: `(pixel - mean) / std` is the real number behind the tensor."""
    low, high = np.array(input_range, np.float64).T
    std = 255.0 / (high - low)
    mean = 0.0 - low * std  # 0 - 0 is 0, and -0 would be written
    return {
        0: "image",
        1: "The picture, stretched to the input's height and width; pixel values 0 to 255.",
        3: {0: _IMAGE, 1: {0: _RGB if spec.shape[3] == 3 else _GREY}},
        4: [{0: _NORMALIZATION, 1: {0: mean, 1: std}}],
        5: {0: high, 1: low},
    }


def _score(is_named: bool, activation: Literal["none", "softmax", "sigmoid"]) -> dict[int, Any]:
    """TensorMetadata of the scores."""
    text = "One score for each class."
    if not is_named:
        text = f"One score for each class of {LABELS} but that of good parts, in its order."
    found: dict[int, Any] = {0: "score", 1: text, 3: {0: _FEATURE, 1: {}}}
    if activation == "none":
        found[5] = {0: np.ones(1), 1: np.zeros(1)}
    else:
        found[1] += f" Raw: a {activation} makes them probabilities."
    if is_named:
        found[6] = [{0: LABELS, 1: "Class names in the order of the scores.", 2: _AXIS_LABELS}]
    return found


def _attention() -> dict[int, Any]:
    """TensorMetadata of the map; without labels, which would make it a classification."""
    return {
        0: "attention",
        1: "Evidence for each class in each cell of a grid over the picture, (1, h, w, classes): "
        "where the model looked, not the outline of a defect.",
        3: {0: _FEATURE, 1: {}},
    }


def _words(outputs: Iterable[tuple[str, tuple[int, ...]]]) -> str:
    return ", ".join(f"{name} {shape}" for name, shape in outputs)


def _gather(graph: Any, model: bytes) -> None:
    """Take weights that lie behind a flatbuffer, at an offset, into it: packing would lose them."""
    for buffer in graph.buffers:
        if buffer.offset > 1:  # as the runtime reads it: 0 and 1 say that there are none
            buffer.data = np.frombuffer(model, np.uint8, buffer.size, buffer.offset)
            buffer.offset = buffer.size = 0


def _keep(graph: Any, told: bytes, schema: Any) -> None:
    """Put metadata into an unpacked model, in the buffer of the old one if there is one."""
    graph.metadata = graph.metadata or []
    old = [entry for entry in graph.metadata if entry.name == ENTRY]
    if old:
        buffer = graph.buffers[old[0].buffer]
    else:
        buffer, entry = schema.BufferT(), schema.MetadataT()
        entry.name, entry.buffer = ENTRY, len(graph.buffers)
        graph.buffers.append(buffer)
        graph.metadata.append(entry)
    buffer.data = np.frombuffer(told, np.uint8)


def _flatbuffer(root: dict[int, Any], identifier: bytes) -> bytes:
    builder = flatbuffers.Builder(1024)
    builder.Finish(_written(builder, root), identifier)
    return bytes(builder.Output())


def _written(builder: flatbuffers.Builder, value: Any) -> int:
    """Offset of a value in the flatbuffer.

    Args:
        builder: of the flatbuffer.
        value: a table as `{slot: value}` where an int is an enum of one byte, a list of tables, an
            array that becomes a vector of float32, or a string.
    """
    if isinstance(value, str):
        return int(builder.CreateString(value))
    if isinstance(value, np.ndarray):
        return int(builder.CreateNumpyVector(value.astype("<f4")))
    if isinstance(value, list):
        offsets = [_written(builder, item) for item in value]
        builder.StartVector(4, len(offsets), 4)
        for offset in reversed(offsets):
            builder.PrependUOffsetTRelative(offset)
        return int(builder.EndVector())
    offsets_of = {k: _written(builder, v) for k, v in value.items() if not isinstance(v, int)}
    builder.StartObject(max(value, default=-1) + 1)
    for slot, field in value.items():
        if isinstance(field, int):
            builder.PrependInt8Slot(slot, field, 0)
        else:
            builder.PrependUOffsetTRelativeSlot(slot, offsets_of[slot], 0)
    return int(builder.EndObject())


class _AlignedBuilder(flatbuffers.Builder):
    """Aligns vectors of bytes as the schema demands of buffers, which Python's writer leaves out.

    MediaPipe checks it in the metadata, and some processors load misaligned weights slowly.
    """

    def StartVector(self, elem_size: int, count: int, alignment: int) -> int:  # noqa: N802
        """As the original, which the generated code calls."""
        wide = _ALIGNMENT if elem_size == 1 else alignment
        return int(super().StartVector(elem_size, count, wide))
