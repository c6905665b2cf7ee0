"""`qc adopt`: what the scores are, and that nothing wrong is said of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="tensorflow is not installed")
pytest.importorskip("ai_edge_litert.interpreter")

from adopting import THREE, TWO, adopt
from foreign_models import changed, model
from metadata_reader import Reader, metadata

from edge.predictors.litert import LiteRTPredictor
from export.foreign import read_foreign
from export.metadata import with_metadata
from qc.bundle import Bundle, open_bundle
from qc.errors import RecipeError


def test_a_model_whose_classes_are_no_softmax_is_told(tmp_path: Path) -> None:
    """Three sigmoids said to be a softmax do not add up to 1."""

    def logistic(graph: Any) -> None:
        from ai_edge_litert import schema_py_generated as schema

        code = next(
            c for c in graph.operatorCodes if c.builtinCode == schema.BuiltinOperator.SOFTMAX
        )
        code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.LOGISTIC
        op = graph.subgraphs[0].operators[-1]
        op.builtinOptionsType, op.builtinOptions = 0, None
        passed = schema.OperatorCodeT()  # hides what the scores are made by
        passed.builtinCode = passed.deprecatedBuiltinCode = schema.BuiltinOperator.ABS
        passed.version = 1
        graph.operatorCodes.append(passed)
        last = schema.OperatorT()
        tensors = graph.subgraphs[0].tensors
        tensors.append(tensors[op.outputs[0]])
        last.opcodeIndex, last.inputs = len(graph.operatorCodes) - 1, [op.outputs[0]]
        last.outputs = [len(tensors) - 1]
        graph.subgraphs[0].operators.append(last)
        graph.subgraphs[0].outputs = last.outputs

    data = changed(model("float_softmax"), logistic)
    with pytest.raises(RecipeError, match=r"are no softmax: they do not add up to 1.*a sum of"):
        adopt(tmp_path, data, 'input_range = [0, 1]\nscores = "softmax"')
    found = adopt(tmp_path, data, 'input_range = [0, 1]\nscores = "sigmoid"')
    assert (found["task"], found["scores"]) == ("multilabel", "sigmoid")


FOUR = ("scratch", "good", "dent", "hole")
ONE_LESS = "One score for each class of labels.txt but that of good parts, in its order."
RAW = " Raw: a {} makes them probabilities."


def adopted(folder: Path, kind: str | bytes, told: str, labels: tuple[str, ...]) -> Bundle:
    return open_bundle(Path(adopt(folder, kind, told, labels)["bundle"]))


def tensors(model: bytes) -> tuple[Reader, list[Reader]]:
    """What the metadata says of the picture and of the outputs."""
    (graph,) = metadata(model).children(3)
    (image,) = graph.children(2)
    return image, graph.children(3)


@pytest.mark.parametrize(
    ("kind", "told", "labels", "text", "files", "mean"),
    [
        ("float_softmax", "[0, 1]", THREE, "One score for each class.", ["labels.txt"], 0),
        (
            "float_logits",
            '[-1, 1]\nscores = "logits"',
            THREE,
            "One score for each class." + RAW.format("softmax"),
            ["labels.txt"],
            127.5,
        ),
        ("float_defects", "[0, 1]", THREE, "One score for each class.", ["labels.txt"], 0),
        ("float_defects", "[0, 1]", FOUR, ONE_LESS, [], 0),
        ("float_sigmoid", "[0, 1]", TWO, ONE_LESS, [], 0),
        (
            "float_sigmoid_logits",
            '[-2.1, 2.6]\nscores = "sigmoid_logits"',
            TWO,
            ONE_LESS + RAW.format("sigmoid"),
            [],
            2.1 * 255 / 4.7,
        ),
    ],
)
def test_labels_stand_in_the_metadata_only_where_they_fit(
    tmp_path: Path,
    kind: str,
    told: str,
    labels: tuple[str, ...],
    text: str,
    files: list[str],
    mean: float,
) -> None:
    bundle = adopted(tmp_path, kind, f"input_range = {told}", labels)
    image, (score,) = tensors(bundle.model)
    assert (score.text(0), score.text(1)) == ("score", text)
    assert [file.text(0) for file in score.children(6)] == files
    if bundle.manifest.activation == "none":
        assert [score.child(5).floats(slot) for slot in (0, 1)] == [[1.0], [0.0]]
    else:
        assert not score.has(5)
    assert image.children(4)[0].child(1).floats(0) == pytest.approx([mean])


def test_defects_without_a_good_output_keep_their_names(tmp_path: Path) -> None:
    """The second of four classes has no output: 1 less the greatest of the others."""
    bundle = adopted(tmp_path, "float_defects", "input_range = [0, 1]", FOUR)
    assert (bundle.manifest.task, bundle.manifest.class_names) == ("multilabel", FOUR)
    pixels = np.full((16, 16, 3), (200, 40, 90), np.uint8)
    three = adopted(tmp_path, "float_defects", "input_range = [0, 1]", THREE)
    raw = LiteRTPredictor(three).predict(pixels).score  # of this one nothing is worked out
    assert len(set(np.round(raw, 3))) == 3
    expected = [raw[0], 1 - raw.max(), raw[1], raw[2]]
    np.testing.assert_allclose(LiteRTPredictor(bundle).predict(pixels).score, expected, atol=1e-6)


def test_labels_that_the_model_came_with_are_not_kept(tmp_path: Path) -> None:
    (tmp_path / "m.tflite").write_bytes(model("float_defects"))
    found = read_foreign(tmp_path / "m.tflite")
    known = {"name": "x", "description": "x", "licence": "x", "image": found.input}
    labelled = with_metadata(
        found.model, **known, score=found.score, attention=None, classes=3, input_range=[(0, 1)]
    )
    assert tensors(labelled)[1][0].children(6)
    _, (score,) = tensors(adopted(tmp_path, labelled, "", FOUR).model)
    assert score.text(1) == ONE_LESS and not score.children(6)


def test_a_map_of_the_same_name_gets_no_labels(tmp_path: Path) -> None:
    (tmp_path / "m.tflite").write_bytes(model("float_softmax"))
    found = read_foreign(tmp_path / "m.tflite")

    def twin(graph: Any) -> None:
        from ai_edge_litert import schema_py_generated as schema

        tensor, main = schema.TensorT(), graph.subgraphs[0]
        tensor.name, tensor.shape, tensor.type = found.score.name, [1, 4, 4, 3], 0
        tensor.buffer = 0
        main.tensors.append(tensor)
        main.outputs = [len(main.tensors) - 1, *main.outputs]

    known = {"name": "x", "description": "x", "licence": "x", "image": found.input}
    labelled = with_metadata(
        changed(found.model, twin), **known, score=found.score, attention=None, classes=3
    )
    _, (map_, score) = tensors(labelled)
    assert (map_.text(0), map_.children(6)) == (found.score.name, [])
    assert score.text(0) == "score" and score.children(6)
