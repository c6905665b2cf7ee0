"""Metadata of a TFLite model, read back by the slots of the public schema and run with LiteRT."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import flatbuffers
import keras
import numpy as np
import pytest
from metadata_reader import buffers_of, metadata

from export.convert import Converted, saved_model
from export.metadata import with_metadata
from qc.errors import GateError
from training.head import EvidenceHead

schema = pytest.importorskip("ai_edge_litert.schema_py_generated")
interpreter = pytest.importorskip("ai_edge_litert.interpreter")

pytestmark = pytest.mark.usefixtures("repeatable")
SCHEMES = ("int8", "float32")
PIXELS = np.random.default_rng(0).integers(0, 256, (16, 32, 32, 3), np.uint8)


@pytest.fixture(scope="module")
def models() -> dict[str, Converted]:
    """One convolution and the head that ships, as int8 and as float32."""
    image = keras.Input((32, 32, 3), name="image")
    x = keras.layers.Rescaling(1 / 255)(image)
    x = keras.layers.Conv2D(4, 3, 8, padding="same", activation="relu")(x)
    score, attention = EvidenceHead(3, "mean", name="head")(x)
    score = keras.layers.Identity(name="score")(score)
    attention = keras.layers.Identity(name="attention")(attention)
    with saved_model(keras.Model(image, {"score": score, "attention": attention})) as saved:
        return {scheme: saved.convert(scheme, PIXELS) for scheme in SCHEMES}


def told(converted: Converted, **changes: Any) -> bytes:
    """The model with metadata."""
    known: dict[str, Any] = {
        "name": "toy",
        "description": "Looks for cracks.",
        "licence": "CC0-1.0",
        "image": converted.input,
        "score": converted.score,
        "attention": converted.attention,
        "classes": 3,
    }
    return with_metadata(converted.model, **known | changes)


def run(model: bytes) -> list[tuple[str, np.ndarray]]:
    """Names and stored values of the outputs, in the order of the graph."""
    runner = interpreter.Interpreter(model_content=model)
    runner.allocate_tensors()
    image = runner.get_input_details()[0]
    runner.set_tensor(image["index"], PIXELS[:1].astype(image["dtype"]))
    runner.invoke()
    return [(o["name"], runner.get_tensor(o["index"])) for o in runner.get_output_details()]


@pytest.mark.parametrize("scheme", SCHEMES)
def test_every_field_is_read_back(models: dict[str, Converted], scheme: str) -> None:
    converted = models[scheme]
    model = told(converted, version="2")
    root = metadata(model)
    assert [root.text(slot) for slot in (0, 1, 2)] == ["toy", "Looks for cracks.", "2"]
    assert [root.text(slot) for slot in (4, 5, 7)] == [None, "CC0-1.0", "1.0.0"]
    (graph,) = root.children(3)
    (image,) = graph.children(2)
    assert image.text(0) == "image" and "stretched" in (image.text(1) or "")
    content = image.child(3)
    assert content.enum(0) == 2 and content.child(1).enum(0) == 1  # ImageProperties, RGB
    (unit,) = image.children(4)
    assert unit.enum(0) == 1  # NormalizationOptions
    assert [unit.child(1).floats(slot) for slot in (0, 1)] == [[0.0], [1.0]]
    assert [image.child(5).floats(slot) for slot in (0, 1)] == [[255.0], [0.0]]
    outputs = {tensor.text(0): tensor for tensor in graph.children(3)}
    roles = {converted.score.name: "score", converted.attention.name: "attention"}
    assert list(outputs) == [roles[name] for name, _ in run(model)]
    assert all(tensor.child(3).enum(0) == 1 for tensor in outputs.values())  # FeatureProperties
    score = outputs["score"]
    (labels,) = score.children(6)
    assert labels.text(0) == "labels.txt" and labels.enum(2) == 2  # TENSOR_AXIS_LABELS
    assert [score.child(5).floats(slot) for slot in (0, 1)] == [[1.0], [0.0]]
    assert "where the model looked" in (outputs["attention"].text(1) or "")
    assert outputs["attention"].children(6) == []


@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_model_stays_as_it_was(models: dict[str, Converted], scheme: str) -> None:
    """Tensors, weights, order of the outputs, what else the model said, and what it computes."""
    before = models[scheme].model
    after = told(models[scheme])
    assert len(run(before)) == 2
    for (name, value), (same_name, same) in zip(run(before), run(after), strict=True):
        assert name == same_name and value.dtype == same.dtype
        np.testing.assert_array_equal(value, same)
    old, new = (schema.ModelT.InitFromPackedBuf(m, 0) for m in (before, after))
    assert new.metadata[:-1] and len(new.metadata) == len(old.metadata) + 1
    for one, two in zip(old.metadata, new.metadata, strict=False):
        assert (one.name, one.buffer) == (two.name, two.buffer)
    for one, two in zip(old.subgraphs[0].tensors, new.subgraphs[0].tensors, strict=True):
        assert (one.name, one.type, one.buffer) == (two.name, two.type, two.buffer)
    for one, two in zip(old.buffers, new.buffers, strict=False):
        assert bytes([] if one.data is None else one.data) == bytes(
            [] if two.data is None else two.data
        )
    assert after[4:8] == b"TFL3"


@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_signature_still_runs(models: dict[str, Converted], scheme: str) -> None:
    said = []
    for model in (models[scheme].model, told(models[scheme])):
        runner = interpreter.Interpreter(model_content=model)
        assert list(runner.get_signature_list()) == ["serving_default"]
        call = runner.get_signature_runner()
        dtype = np.uint8 if scheme == "int8" else np.float32
        said.append(call(image=PIXELS[:1].astype(dtype)))
    assert set(said[0]) == set(said[1]) == {"score", "attention"}
    for name, value in said[0].items():
        np.testing.assert_array_equal(value, said[1][name])


def test_data_of_buffers_is_aligned(models: dict[str, Converted]) -> None:
    """To 16 bytes, as TFLite's schema demands; a reader may check it in the metadata."""
    model = schema.Model.GetRootAs(told(models["float32"]), 0)
    starts = [
        b._tab.Vector(b._tab.Offset(4))
        for b in map(model.Buffers, range(model.BuffersLength()))
        if not b.DataIsNone()
    ]
    assert len(starts) > 3 and all(start % 16 == 0 for start in starts)


def test_same_facts_give_the_same_bytes(models: dict[str, Converted]) -> None:
    assert told(models["int8"]) == told(models["int8"])


def test_metadata_is_replaced_and_not_written_twice(models: dict[str, Converted]) -> None:
    converted = models["int8"]
    once = told(converted)
    again = Converted("int8", once, converted.input, converted.score, converted.attention)
    assert told(again) == once
    renamed = told(again, name="other")
    assert metadata(renamed).text(0) == "other"
    assert b"toy" not in buffers_of(renamed)[0] and len(renamed) <= len(once) + 16


def test_an_output_without_a_role_keeps_its_name(models: dict[str, Converted]) -> None:
    converted = models["int8"]
    (graph,) = metadata(told(converted, attention=None)).children(3)
    names = {tensor.text(0) for tensor in graph.children(3)}
    assert names == {"score", converted.attention.name}


@pytest.mark.parametrize(
    ("pairs", "mean", "std"),
    [
        (((-1.0, 1.0),), [127.5], [127.5]),
        (((0.0, 1.0),), [0.0], [255.0]),
        (((0.0, 1.0), (-1.0, 1.0), (0.0, 255.0)), [0.0, 127.5, 0.0], [255.0, 127.5, 1.0]),
    ],
)
def test_mean_and_std_undo_the_range(
    models: dict[str, Converted],
    pairs: tuple[tuple[float, float], ...],
    mean: list[float],
    std: list[float],
) -> None:
    """`(0 - 127.5) / 127.5 = -1` and `(255 - 127.5) / 127.5 = 1`."""
    (graph,) = metadata(told(models["float32"], input_range=pairs)).children(3)
    (image,) = graph.children(2)
    options = image.children(4)[0].child(1)
    assert (options.floats(0), options.floats(1)) == (mean, std)
    assert image.child(5).floats(0) == [high for _, high in pairs]
    assert image.child(5).floats(1) == [low for low, _ in pairs]


def test_one_channel_is_grey(models: dict[str, Converted]) -> None:
    grey = models["int8"].input.model_copy(update={"shape": (1, 32, 32, 1)})
    (graph,) = metadata(told(models["int8"], image=grey)).children(3)
    assert graph.children(2)[0].child(3).child(1).enum(0) == 2  # GRAYSCALE


@pytest.mark.parametrize("role", ["image", "score", "attention"])
def test_tensors_of_another_model_are_refused(models: dict[str, Converted], role: str) -> None:
    other = models["int8"].score.model_copy(update={"name": "elsewhere"})
    with pytest.raises(GateError, match=r"not of this model; expected.*elsewhere.*; found inputs"):
        told(models["int8"], **{role: other})


def behind(model: bytes) -> bytes:
    """The same model with its largest weights behind the flatbuffer, as some writers lay them."""
    graph = schema.ModelT.InitFromPackedBuf(model, 0)
    largest = max(graph.buffers, key=lambda b: 0 if b.data is None else len(b.data))
    data = bytes(largest.data)
    largest.data, largest.offset, largest.size = None, 1, 1
    for _ in range(2):  # the place is known once the length is
        builder = flatbuffers.Builder(len(model))
        builder.Finish(graph.Pack(builder), b"TFL3")
        packed = bytes(builder.Output())
        packed += bytes(-len(packed) % 16)
        largest.offset, largest.size = len(packed), len(data)
    return packed + data


@pytest.mark.parametrize("scheme", SCHEMES)
def test_weights_behind_the_flatbuffer_are_kept(models: dict[str, Converted], scheme: str) -> None:
    plain = models[scheme]
    moved = replace(plain, model=behind(plain.model))
    assert any(b.offset > 1 for b in schema.ModelT.InitFromPackedBuf(moved.model, 0).buffers)
    labelled = told(moved)
    assert all(b.offset == 0 for b in schema.ModelT.InitFromPackedBuf(labelled, 0).buffers)
    for (name, value), (same_name, same) in zip(run(plain.model), run(labelled), strict=True):
        assert name == same_name
        np.testing.assert_array_equal(value, same)
