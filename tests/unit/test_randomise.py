"""Random weights: of a Keras model, and in the bytes of a TFLite one."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

from training.randomise import random_flatbuffer, random_model

schema = pytest.importorskip("ai_edge_litert.schema_py_generated")
flatbuffers = pytest.importorskip("flatbuffers")
interpreter = pytest.importorskip("ai_edge_litert.interpreter")

KIND, TYPE = schema.BuiltinOperator, schema.TensorType
WEIGHTS = np.arange(1, 13, dtype=np.float32).reshape(4, 1, 1, 3)
BIAS = np.array([1, 2, 3, 4], np.float32)


def _convolution(
    weights: np.ndarray | None = WEIGHTS, kind: int = TYPE.FLOAT32, operator: int = KIND.CONV_2D
) -> bytes:
    """One convolution 1 x 1 over `(1, 2, 2, 3)`; without weights they are a second input."""
    model, graph, made = schema.ModelT(), schema.SubGraphT(), schema.OperatorT()
    model.version, model.buffers, graph.tensors = 3, [schema.BufferT()], []

    def tensor(name: str, shape: list[int], number: int, data: np.ndarray | None = None) -> int:
        tensor = schema.TensorT()
        tensor.name, tensor.shape, tensor.type = name, shape, number
        if data is not None:
            buffer = schema.BufferT()
            buffer.data = np.frombuffer(data.tobytes(), np.uint8)
            model.buffers.append(buffer)
            tensor.buffer = len(model.buffers) - 1
        graph.tensors.append(tensor)
        return len(graph.tensors) - 1

    image = tensor("image", [1, 2, 2, 3], TYPE.FLOAT32)
    kernel = tensor("kernel", [4, 1, 1, 3], kind, weights)
    bias = tensor("bias", [4], TYPE.FLOAT32, BIAS)
    out = tensor("out", [1, 2, 2, 4], TYPE.FLOAT32)
    options = schema.Conv2DOptionsT()
    options.strideW = options.strideH = 1
    made.inputs, made.outputs = [image, kernel, bias], [out]
    made.builtinOptionsType, made.builtinOptions = schema.BuiltinOptions.Conv2DOptions, options
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = operator
    code.version = 1
    graph.operators, model.operatorCodes = [made], [code]
    graph.inputs, graph.outputs = [image] if weights is not None else [image, kernel], [out]
    model.subgraphs = [graph]
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def _buffers(model: bytes) -> list[np.ndarray]:
    found = schema.ModelT.InitFromPackedBuf(model, 0).buffers
    return [np.asarray(b.data, np.uint8) for b in found if b.data is not None and len(b.data)]


def _run(model: bytes) -> np.ndarray:
    runs = interpreter.Interpreter(model_content=model)
    runs.allocate_tensors()
    image = np.eye(3, dtype=np.float32)[[0, 1, 2, 2]].reshape(1, 2, 2, 3)
    runs.set_tensor(runs.get_input_details()[0]["index"], image)
    runs.invoke()
    found: np.ndarray = runs.get_tensor(runs.get_output_details()[0]["index"])
    return found[0].reshape(4, 4)[:3]  # one row for each input channel


def test_the_weights_are_the_same_numbers_in_another_order_and_run() -> None:
    model = _convolution()
    np.testing.assert_array_equal(_run(model), WEIGHTS[:, 0, 0].T + BIAS)
    found = random_flatbuffer(model, 0)
    assert found is not None and len(found) == len(model)
    weights = _run(found) - BIAS
    assert (weights != WEIGHTS[:, 0, 0].T).any()
    np.testing.assert_array_equal(np.sort(weights.ravel()), WEIGHTS.ravel())


def test_nothing_else_changes_and_the_model_itself_stays() -> None:
    model = _convolution()
    before = bytes(model)
    found = random_flatbuffer(model, 1)
    assert found is not None and model == before
    _, bias = _buffers(found)
    np.testing.assert_array_equal(bias.view(np.float32), BIAS)
    changed = [i for i, (a, b) in enumerate(zip(model, found, strict=True)) if a != b]
    assert changed[-1] - changed[0] < WEIGHTS.nbytes


def test_a_seed_repeats_and_another_deals_anew() -> None:
    model = _convolution()
    assert random_flatbuffer(model, 2) == random_flatbuffer(model, 2)
    assert random_flatbuffer(model, 2) != random_flatbuffer(model, 3)


def test_int8_weights_are_dealt_byte_by_byte() -> None:
    weights = np.arange(-6, 6, dtype=np.int8).reshape(4, 1, 1, 3)
    found = random_flatbuffer(_convolution(weights, TYPE.INT8), 0)
    assert found is not None
    dealt = _buffers(found)[0].view(np.int8)
    assert dealt.tolist() != weights.ravel().tolist()
    assert sorted(dealt.tolist()) == weights.ravel().tolist()


@pytest.mark.parametrize(
    "model",
    [
        _convolution(None),
        _convolution(WEIGHTS.astype(np.int8), TYPE.INT4),
        _convolution(operator=KIND.ADD),
    ],
    ids=["weights that are an input", "packed weights", "no weights at all"],
)
def test_what_cannot_be_dealt_anew_is_none(model: bytes) -> None:
    assert random_flatbuffer(model, 0) is None


def _small() -> Any:
    inputs = keras.Input((4, 4, 3), name="image")
    features = keras.layers.Conv2D(8, 3, padding="same", activation="relu")(inputs)
    return keras.Model(inputs, {"score": keras.layers.Conv2D(2, 1)(features)})


def test_a_keras_model_with_other_weights_of_the_same_shape() -> None:
    model = _small()
    before = [w.copy() for w in model.get_weights()]
    first, again, other = (random_model(model, seed) for seed in (0, 0, 1))
    assert [w.shape for w in first.get_weights()] == [w.shape for w in before]
    assert set(first.output) == {"score"}
    for a, b in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(a, b)
    for kernel in (0, 2):
        fresh = first.get_weights()[kernel]
        assert (fresh != before[kernel]).any() and (fresh != other.get_weights()[kernel]).any()
        np.testing.assert_array_equal(fresh, again.get_weights()[kernel])
