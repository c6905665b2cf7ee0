"""The LiteRT predictor on a model of two operations, built here: means and the picture itself."""

from __future__ import annotations

import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from toy_line import facts, frame, picture, seal

from edge.inspect import inspect_frame
from qc.bundle import Bundle
from qc.errors import BundleError, DataError, FaultError, UsageError
from qc.replay import Predictor
from qc.types import Verdict

pytest.importorskip("ai_edge_litert", reason="no TFLite runtime is installed")
schema = pytest.importorskip("ai_edge_litert.schema_py_generated")
flatbuffers = pytest.importorskip("flatbuffers")

from edge.predictors.litert import LiteRTPredictor  # noqa: E402 - after the skip


def tiny_model() -> bytes:
    """`(1, 4, 4, 3)` uint8 in; its mean colour out as score, its own bytes `(1, 2, 8, 3)` as map.

    The score is stored with scale 1 / 64 and zero point 10, the map with scale 0.5 and 128.
    """
    model, graph = schema.ModelT(), schema.SubGraphT()
    model.version, model.description = 3, "tiny"
    model.buffers, graph.tensors = [schema.BufferT()], []

    def tensor(name: str, shape: list[int], kind: int, *quantum: float, data: Any = None) -> int:
        made = schema.TensorT()
        made.name, made.shape, made.type = name, shape, kind
        if quantum:
            made.quantization = schema.QuantizationParametersT()
            made.quantization.scale, made.quantization.zeroPoint = [quantum[0]], [int(quantum[1])]
        if data is not None:
            buffer = schema.BufferT()
            buffer.data = np.frombuffer(np.array(data, np.int32).tobytes(), np.uint8)
            model.buffers.append(buffer)
            made.buffer = len(model.buffers) - 1
        graph.tensors.append(made)
        return len(graph.tensors) - 1

    def operation(
        code: int, builtin: int, kind: int, options: Any, ins: list[int], out: int
    ) -> Any:
        made = schema.OperatorT()
        made.opcodeIndex, made.inputs, made.outputs = code, ins, [out]
        made.builtinOptionsType, made.builtinOptions = kind, options
        opcode = schema.OperatorCodeT()
        opcode.builtinCode = opcode.deprecatedBuiltinCode = builtin
        opcode.version = 1 if builtin == schema.BuiltinOperator.RESHAPE else 2
        return made, opcode

    uint8, int32 = schema.TensorType.UINT8, schema.TensorType.INT32
    image = tensor("serving_image", [1, 4, 4, 3], uint8, 1.0, 0)
    axes = tensor("axes", [2], int32, data=[1, 2])
    shape = tensor("shape", [4], int32, data=[1, 2, 8, 3])
    score = tensor("serving_score:0", [1, 3], uint8, 1 / 64, 10)
    attention = tensor("serving_attention:0", [1, 2, 8, 3], uint8, 0.5, 128)
    reshape = schema.ReshapeOptionsT()
    reshape.newShape = [1, 2, 8, 3]
    reducer = schema.ReducerOptionsT()
    reducer.keepDims = False
    made = [
        operation(0, schema.BuiltinOperator.MEAN, schema.BuiltinOptions.ReducerOptions, reducer,
                  [image, axes], score),
        operation(1, schema.BuiltinOperator.RESHAPE, schema.BuiltinOptions.ReshapeOptions, reshape,
                  [image, shape], attention),
    ]  # fmt: skip
    graph.operators, model.operatorCodes = [m[0] for m in made], [m[1] for m in made]
    graph.inputs, graph.outputs = [image], [attention, score]
    model.subgraphs = [graph]
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def tensors(**changes: dict[str, Any]) -> dict[str, Any]:
    """The manifest's view of the tiny model."""
    found = facts()
    known = {
        "input": found["input"],
        "score": {"name": "score", "shape": (1, 3), "dtype": "uint8", "scale": 1 / 64,
                  "zero_point": 10},
        "attention": {"name": "attention", "shape": (1, 2, 8, 3), "dtype": "uint8", "scale": 0.5,
                      "zero_point": 128},
    }  # fmt: skip
    return {name: known[name] | changes.get(name, {}) for name in known}


def tiny(folder: Path, **changes: dict[str, Any]) -> Bundle:
    return seal(folder / "tiny.tflite", model=tiny_model(), **tensors(**changes))


def test_stored_numbers_become_real_ones(tmp_path: Path) -> None:
    """Channel means 0, 1 and 2 are stored as 10, 74, 138; byte 0 of the map means -64."""
    predictor: Predictor = LiteRTPredictor(tiny(tmp_path))
    image = np.zeros((4, 4, 3), np.uint8)
    image[..., 1], image[..., 2] = 1, 2
    image[3, 3] = (0, 1, 2)
    found = predictor.predict(image)
    assert found.score.dtype == np.float32 and found.score.tolist() == [0.0, 1.0, 2.0]
    assert found.attention is not None and found.attention.dtype == np.float32
    assert found.attention.shape == (2, 8, 3)
    np.testing.assert_array_equal(found.attention[1, 7], [-64.0, -63.5, -63.0])
    assert 0 < found.infer_ns < 1e9
    assert predictor.runtime == f"ai-edge-litert {version('ai-edge-litert')}"


def test_without_the_delegate_it_says_so_and_measures_the_same(tmp_path: Path) -> None:
    """A mean of whole numbers leaves nothing to round otherwise."""
    bundle = tiny(tmp_path)
    plain = LiteRTPredictor(bundle, delegate=False)
    assert plain.runtime.endswith("without XNNPACK")
    image = np.full((4, 4, 3), 2, np.uint8)
    np.testing.assert_array_equal(
        plain.predict(image).score, LiteRTPredictor(bundle).predict(image).score
    )


def test_a_prediction_is_not_changed_by_the_next(tmp_path: Path) -> None:
    predictor = LiteRTPredictor(tiny(tmp_path), num_threads=2)
    first = predictor.predict(np.full((4, 4, 3), 1, np.uint8))
    predictor.predict(np.full((4, 4, 3), 3, np.uint8))
    assert first.score.tolist() == [1.0, 1.0, 1.0]
    assert first.attention is not None and (first.attention == -63.5).all()


def test_a_model_without_map_says_none(tmp_path: Path) -> None:
    bundle = seal(tmp_path / "m.tflite", model=tiny_model(), **{**tensors(), "attention": None})
    assert LiteRTPredictor(bundle).predict(picture()).attention is None


def test_the_start_of_the_runtime_is_silent(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    LiteRTPredictor(tiny(tmp_path)).predict(picture())
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("tensor", "change", "said"),
    [
        ("score", {"shape": (1, 2)}, r"no tensor that is the manifest's score; expected score \(1"),
        ("score", {"scale": 1 / 32}, "score is not as the manifest says.*scale 0.03125.*0.015625"),
        ("score", {"zero_point": 11}, "zero point 11; found.*zero point 10"),
        ("score", {"dtype": "float32"}, "expected float32.*found uint8"),
        ("attention", {"shape": (1, 4, 4, 3)}, "manifest's attention"),
        ("attention", {"zero_point": 0}, "attention is not as the manifest says"),
        ("input", {"shape": (1, 8, 8, 3)}, "manifest's input"),
        ("input", {"scale": 0.5}, "expected uint8, scale 0.5, zero point 0; found uint8, scale 1,"),
        ("input", {"dtype": "float32"}, "expected float32.*found uint8"),
    ],
)
def test_a_model_that_is_not_its_manifest_is_refused(
    tmp_path: Path, tensor: str, change: dict[str, Any], said: str
) -> None:
    with pytest.raises(BundleError, match=rf"tiny\.tflite: .*{said}"):
        LiteRTPredictor(tiny(tmp_path, **{tensor: change}))


def test_bytes_that_are_no_model_are_refused(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(
        BundleError, match=r"toy\.tflite: the model cannot be run by ai-edge-litert"
    ):
        LiteRTPredictor(seal(tmp_path / "toy.tflite"))
    assert capfd.readouterr().err == ""


def test_a_picture_of_another_shape_is_refused(tmp_path: Path) -> None:
    predictor = LiteRTPredictor(tiny(tmp_path))
    for image in (np.zeros((5, 4, 3), np.uint8), np.zeros((4, 4, 3), np.float32)):
        with pytest.raises(DataError, match=r"expected \(4, 4, 3\) uint8; found \([45], 4, 3\)"):
            predictor.predict(image)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="expected at least 1; found 0"):
        LiteRTPredictor(tiny(tmp_path), num_threads=0)


def test_a_score_outside_its_range_is_a_fault(tmp_path: Path) -> None:
    """Mean 2 of a channel is no probability; nobody calls such a part OK."""
    bundle = tiny(tmp_path)
    found = inspect_frame(
        frame(1, np.full((4, 4, 3), 2, np.uint8)), bundle, LiteRTPredictor(bundle)
    )
    assert found.verdict is Verdict.FAULT and "not a number in [0, 1]" in found.reason


def test_no_runtime_is_a_fault_with_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("ai_edge_litert", "tflite_runtime"):
        monkeypatch.setitem(sys.modules, name, None)
        monkeypatch.setitem(sys.modules, f"{name}.interpreter", None)
    with pytest.raises(FaultError, match=r"pip install 'attention-qc\[edge\]'"):
        LiteRTPredictor(tiny(tmp_path))
