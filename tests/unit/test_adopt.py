"""`qc adopt`: the bundle says what the foreign model says, and asks what nobody has said."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="tensorflow is not installed")
interpreter = pytest.importorskip("ai_edge_litert.interpreter")

from adopting import adopt  # noqa: E402 - after the skip
from foreign_models import SIDE, model, photographs  # noqa: E402

from edge.predictors.litert import LiteRTPredictor  # noqa: E402
from export.adopt_table import read_labels  # noqa: E402
from qc.bundle import Bundle, open_bundle  # noqa: E402
from qc.errors import BundleError, DataError, GateError, RecipeError, UsageError  # noqa: E402
from qc.imageio import read_image  # noqa: E402
from qc.preprocess import apply  # noqa: E402
from qc.replay import replay  # noqa: E402


def original(data: bytes, stored: np.ndarray) -> np.ndarray:
    """What the foreign file gives by the bare interpreter, as real numbers `(K,)`."""
    made = interpreter.Interpreter(model_content=data)
    made.allocate_tensors()
    image, score = made.get_input_details()[0], made.get_output_details()[0]
    assert image["dtype"] is stored.dtype.type
    made.set_tensor(image["index"], stored[None])
    made.invoke()
    found = made.get_tensor(score["index"])[0].astype(np.float64)
    scale, zero = score["quantization"]
    return (found - zero) * scale if scale else found


def softmax(x: np.ndarray) -> np.ndarray:
    return np.exp(x) / np.exp(x).sum()


def lone(p: np.ndarray) -> np.ndarray:
    return np.array([1 - p[0], p[0]])


def as_it_is(x: np.ndarray) -> np.ndarray:
    return x


MEAN, STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
NORMALISE = (
    'normalise = { pixels = "0..1", mean = [0.485, 0.456, 0.406], std = [0.229, 0.224, 0.225] }'
)
BY_KIND: dict[str, tuple[str, Callable[[np.ndarray], np.ndarray], Callable[..., Any]]] = {
    "float_softmax": ("input_range = [0, 1]", lambda p: p / np.float32(255), as_it_is),
    "float_logits": (
        'input_range = [-1, 1]\nscores = "logits"',
        lambda p: p.astype(np.float32) / np.float32(127.5) - np.float32(1),
        softmax,
    ),
    "float_sigmoid": ("input_range = [0, 1]", lambda p: p / np.float32(255), lone),
    "float_sigmoid_logits": (
        f'{NORMALISE}\nscores = "sigmoid_logits"',
        lambda p: ((p / 255 - MEAN) / STD).astype(np.float32),
        lambda x: lone(1 / (1 + np.exp(-x))),
    ),
    "dynamic": ("input_range = [0, 1]", lambda p: p / np.float32(255), as_it_is),
    "uint8": ("", as_it_is, as_it_is),
    "int8": ("", lambda p: (p.astype(int) - 128).astype(np.int8), as_it_is),
    "uint8_logits": ('scores = "logits"', as_it_is, softmax),
    "uint8_mean": (
        NORMALISE,
        lambda p: np.clip(np.rint((p / 255 - MEAN) / STD / 0.018431371) + 114, 0, 255).astype(
            np.uint8
        ),
        as_it_is,
    ),
}
"""TOML, pixels as the model was trained to take them, and probabilities of its raw outputs."""


@pytest.mark.parametrize("kind", BY_KIND)
def test_the_bundle_gives_what_the_original_gives(tmp_path: Path, kind: str) -> None:
    """Exact for stored integers; 1e-6 where 0..1 was worked out in another order of float32."""
    told, stored, probabilities = BY_KIND[kind]
    found = adopt(tmp_path, kind, told)
    bundle = open_bundle(Path(found["bundle"]))
    predictor = LiteRTPredictor(bundle)
    seen = set()
    for file in sorted((tmp_path / "photos").iterdir())[:12]:
        bgr = cv2.imread(str(file))
        small = cv2.resize(bgr, (SIDE, SIDE), interpolation=cv2.INTER_AREA)[..., ::-1]
        expected = probabilities(original(model(kind), np.ascontiguousarray(stored(small))))
        got = predictor.predict(apply(bundle.manifest.preprocess, read_image(file))).score
        np.testing.assert_allclose(got, expected, atol=1e-6, rtol=1e-5)
        seen.add(tuple(np.round(expected, 3)))
    assert len(seen) > 6  # it is not one answer for every picture
    assert bundle.manifest.attention is None
    outcome = replay(bundle, predictor)
    assert outcome.ok and outcome.n >= 16 and len(set(bundle.golden.verdicts)) > 1


def test_one_channel_takes_the_luma(tmp_path: Path) -> None:
    bundle = open_bundle(Path(adopt(tmp_path, "float_grey", "input_range = [0, 1]")["bundle"]))
    assert (bundle.manifest.input.shape[3], bundle.manifest.preprocess.colour) == (1, "grey")
    file = sorted((tmp_path / "photos").iterdir())[0]
    grey = cv2.cvtColor(cv2.imread(str(file)), cv2.COLOR_BGR2GRAY)
    small = cv2.resize(grey, (SIDE, SIDE), interpolation=cv2.INTER_AREA)[..., None]
    got = LiteRTPredictor(bundle).predict(apply(bundle.manifest.preprocess, read_image(file)))
    expected = original(model("float_grey"), small / np.float32(255))
    np.testing.assert_allclose(got.score, expected, atol=1e-6, rtol=1e-5)
    with pytest.raises(RecipeError, match="one channel sees no colour"):
        adopt(tmp_path, "float_grey", 'input_range = [0, 1]\ncolour = "rgb"')


def test_what_the_manifest_and_the_answer_say(tmp_path: Path) -> None:
    told = 'name = "elsewhere"\ninput_range = [0, 1]\nseverity = { dent = "critical" }\n'
    found = adopt(tmp_path, "dynamic", told, out=tmp_path / "b.tflite")
    bundle = open_bundle(tmp_path / "b.tflite")
    manifest = bundle.manifest
    assert (manifest.name, manifest.task, manifest.target) == ("elsewhere", "multiclass", "cpu")
    assert [(c.name, c.severity) for c in manifest.classes] == [
        ("good", "good"),
        ("scratch", "major"),
        ("dent", "critical"),
    ]
    assert (manifest.scheme, manifest.runtimes) == ("dynamic", ("ai-edge-litert",))
    text = (tmp_path / "told.toml").read_bytes()
    made = manifest.provenance
    assert made.recipe_hash == sha256(text).hexdigest()
    assert (made.split_hash, made.calibration_hash, made.commit) == ("none", "none", "none")
    assert list(made.versions) == ["ai-edge-litert"] and made.dataset == "photos"
    assert bundle.report["adopted"] is True
    assert bundle.report["foreign"]["sha256"] == sha256(model("dynamic")).hexdigest()
    assert found["map"] is None and found["classes"]["dent"] == "critical"
    assert found["input"] == {"shape": [1, 16, 16, 3], "dtype": "float32", "range": [[0.0, 1.0]]}
    assert found["thresholds"]["ok_below"] == {"scratch": 0.3, "dent": 0.3}
    assert any("SOFTMAX" in text for text in found["defaults"])
    assert any("severity major: scratch" in text for text in found["defaults"])
    first = (tmp_path / "b.tflite").read_bytes()
    adopt(tmp_path, "dynamic", told, out=tmp_path / "b.tflite")
    assert (tmp_path / "b.tflite").read_bytes() == first  # the same bytes from the same files


@pytest.mark.parametrize(
    ("kind", "says", "low", "high"),
    [
        ("uint8", "uint8 input stores the pixel value", 0, 1),
        # scale 2/255 and zero point -1: a level less than -1..1 on one end, one more on the other
        ("int8", "int8 input stores the pixel value less 128", -127 * 2 / 255, 256 / 255),
    ],
)
def test_a_quantised_input_that_stores_the_pixel_needs_no_answer(
    tmp_path: Path, kind: str, says: str, low: float, high: float
) -> None:
    found = adopt(tmp_path, kind)
    assert any(says in text for text in found["defaults"])
    np.testing.assert_allclose(found["input"]["range"], [[low, high]], rtol=1e-5)


def bundle_of(folder: Path, kind: str | bytes, told: str = "") -> Bundle:
    return open_bundle(Path(adopt(folder, kind, told)["bundle"]))


def test_a_zip_behind_the_model_is_left_out(tmp_path: Path) -> None:
    file = io.BytesIO(model("uint8"))
    with zipfile.ZipFile(file, "a") as archive:
        archive.writestr("labels.txt", "good\nscratch\ndent\n")
    bundle = bundle_of(tmp_path, file.getvalue())
    assert bundle.model == bundle_of(tmp_path, "uint8").model
    assert bundle.report["foreign"]["sha256"] == sha256(file.getvalue()).hexdigest()


def test_everything_open_is_asked_at_once_with_a_toml_that_answers(tmp_path: Path) -> None:
    with pytest.raises(RecipeError) as error:
        adopt(tmp_path, "float_logits", None)
    said = error.value.message
    assert said.startswith("5 questions are open")
    for words in (
        "1. Which class is that of good parts: good, scratch, dent?",
        "2. What does the model expect for black and for white: 0..1, -1..1, 0..255?",
        "3. What do the outputs hold?",
        "4. From which defect score on",
        "5. Which pictures prove",
    ):
        assert words in said
    assert error.value.where == str(tmp_path / "foreign.tflite")
    example = said[said.index('good = "good"') :].replace('"pictures"', '"photos"')
    assert adopt(tmp_path, "float_logits", example)["scores"] == "logits"


@pytest.mark.parametrize(
    ("kind", "told", "question"),
    [
        ("float_softmax", "", "1. What does the model expect for black"),
        ("uint8_mean", "", r"tensor can hold -2\.101 to 2\.599"),
        ("float_logits", "input_range = [0, 1]", "neither a softmax nor a sigmoid"),
    ],
)
def test_one_open_question_is_asked(tmp_path: Path, kind: str, told: str, question: str) -> None:
    with pytest.raises(RecipeError, match=r"told\.toml: 1 question is open") as error:
        adopt(tmp_path, kind, told)
    assert re.search(question, error.value.message)
    assert "Answer in this file" in error.value.message


@pytest.mark.parametrize(
    ("kind", "told", "says"),
    [
        ("float_softmax", "input_rang = [0, 1]", "unknown key 'input_rang', did you mean 'input_r"),
        ("float_softmax", "input_range = [1, 0]", r"rising pair, or 3.*found 1\.\.0"),
        ("float_softmax", "input_range = [[0, 1], [0, 1]]", "one rising pair, or 3"),
        ("float_softmax", "input_range = [0, 1, 2]", "input_range"),
        ("float_softmax", f"input_range = [0, 1]\n{NORMALISE}", "same question: keep one"),
        ("float_softmax", NORMALISE.replace("0..1", "0..2"), "normalise.pixels"),
        ("float_softmax", NORMALISE.replace("0.485, ", ""), "one number each"),
        ("float_softmax", NORMALISE.replace("0.229", "0.0"), "greater than 0"),
        ("uint8", "input_range = [0, 255]", "not that of the model's uint8 tensor.* 0 to 1"),
        ("uint8_mean", "input_range = [0, 1]", "uint8 tensor"),
        ("uint8", 'scores = "logits"', "last operation is SOFTMAX: its scores are probabilities"),
        ("float_sigmoid", 'input_range = [0, 1]\nscores = "sigmoid_logits"', "LOGISTIC"),
        ("float_logits", 'input_range = [0, 1]\nscores = "softmax"', "are no probabilities"),
        ("float_logits", 'input_range = [0, 1]\nscores = "sigmoid"', "are no probabilities"),
        ("float_sigmoid_logits", 'input_range = [0, 1]\nscores = "logits"', "good class too"),
        ("uint8", 'task = "binary"', "one defect class"),
        ("uint8", 'task = "multilabel"', "scores of their own"),
        ("uint8", 'severity = { scrach = "major" }', "did you mean 'scratch'"),
        ("uint8", 'severity = { scratch = "huge" }', "severity.scratch"),
        ("uint8", "[decision]\nmax_escape = 0.1", r"needs \[data\]"),
    ],
)
def test_a_wrong_answer_is_refused(tmp_path: Path, kind: str, told: str, says: str) -> None:
    told = told if "[decision]" not in told else f'good = "good"\n{told}'
    with pytest.raises(RecipeError, match=rf"told\.toml: .*{says}"):
        adopt(tmp_path, kind, told)


@pytest.mark.parametrize(
    ("told", "says"),
    [
        ('good = "god"', "not a label, did you mean 'good'"),
        ('good = "good"\n[thresholds]\nok_below = { scratch = 0.2 }\nng_above = 0.7', "for dent"),
        ('good = "good"\n[thresholds]\nok_below = { dents = 0.2 }\nng_above = 0.7', "mean 'dent'"),
        ('good = "good"\n[thresholds]\nok_below = 0.8\nng_above = 0.7', "0 <= ok_below <= ng_abo"),
        ('good = "good"\n[thresholds]\nok_below = "low"\nng_above = 0.7', "thresholds.ok_below"),
        ('good = "good"\n[data]\npath = "x"\ngood = "ok"', "good is 'good', and data.good 'ok'"),
    ],
)
def test_wrong_classes_and_thresholds_are_refused(tmp_path: Path, told: str, says: str) -> None:
    images = "" if "[data]" in told else 'images = "photos"\n'
    with pytest.raises(RecipeError, match=rf"told\.toml: .*{says}"):
        adopt(tmp_path, "uint8", images + told)


def test_thresholds_by_class(tmp_path: Path) -> None:
    told = (
        'good = "good"\nimages = "photos"\n[thresholds]\nok_below = { scratch = 0.1, dent = 0.2 }'
    )
    manifest = bundle_of(tmp_path, "uint8", f"{told}\nng_above = 0.6").manifest
    assert manifest.decision.ok_below == {"scratch": 0.1, "dent": 0.2}
    assert manifest.decision.ng_above == {"scratch": 0.6, "dent": 0.6}
    assert not manifest.decision.independent


def test_a_lone_output_is_the_second_label_and_never_the_good_one(tmp_path: Path) -> None:
    told = "input_range = [0, 1]"
    found = adopt(tmp_path, "float_sigmoid", told)
    assert any("score of 'scratch', the second label" in text for text in found["defaults"])
    assert found["task"] == "binary"
    assert open_bundle(Path(found["bundle"])).manifest.decision.independent
    with pytest.raises(RecipeError, match=r"is the score of 'good'.*label file with 'good' first"):
        adopt(tmp_path, "float_sigmoid", told, ("bad", "good"))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "label file is empty"),
        ("good\n\nscratch\n", "line 2: a label is empty"),
        ("good\ndent\ngood\n", "line 3: label 'good' stands there twice"),
        ("good\ndent\n", "expected 3, one for each output, or 4, where the good.*found 2: good, d"),
        ("a\nb\nc\nd\ne\n", "found 5"),
    ],
)
def test_labels_that_do_not_fit_are_refused(tmp_path: Path, text: str, says: str) -> None:
    file = tmp_path / "labels.txt"
    file.write_text(text)
    with pytest.raises(DataError, match=rf"labels\.txt.*{says}"):
        read_labels(file, 3)


def test_labels_are_read_as_other_programs_write_them(tmp_path: Path) -> None:
    file = tmp_path / "labels.txt"
    file.write_bytes("\ufeffgut\r\nkratzer \r\nbeule\r\n\r\n".encode())
    assert read_labels(file, 3) == read_labels(file, 2) == ("gut", "kratzer", "beule")
    file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match="not text"):
        read_labels(file, 3)
    with pytest.raises(DataError, match="cannot be read"):
        read_labels(tmp_path / "none.txt", 3)
    file.write_text("one\n")
    with pytest.raises(DataError, match=r"expected 2, where the good class is no output"):
        read_labels(file, 1)


def test_too_few_pictures_and_thresholds_in_the_way(tmp_path: Path) -> None:
    photographs(tmp_path / "few", 15)
    told = 'good = "good"\nimages = "few"\n[thresholds]\nok_below = 0.3\nng_above = 0.7'
    with pytest.raises(DataError, match=r"few: too few pictures.*at least 16; found 15"):
        adopt(tmp_path, "uint8", told)
    photographs(tmp_path / "same", 1)
    one = (tmp_path / "same" / "p00.png").read_bytes()
    for number in range(20):
        (tmp_path / "same" / f"q{number}.png").write_bytes(one)
    bundle = bundle_of(tmp_path, "uint8", "")
    value = (
        1
        - LiteRTPredictor(bundle)
        .predict(apply(bundle.manifest.preprocess, read_image(tmp_path / "same" / "p00.png")))
        .score[0]
    )
    told = told.replace("few", "same").replace("0.3", f"{min(value, 0.6):.4f}")
    with pytest.raises(GateError, match="0 of 21: 0 differ by kernel, 21 score within"):
        adopt(tmp_path, "uint8", told.replace("0.7", f"{max(value, 0.6):.4f}"))


def test_the_model_is_not_overwritten_and_a_bundle_is_one_already(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="would overwrite the model"):
        adopt(tmp_path, "uint8", "", out=tmp_path / "foreign.tflite")
    found = adopt(tmp_path, "uint8")
    with pytest.raises(
        BundleError, match=f"is a bundle of this project already.*{found['bundle_id']}"
    ):
        adopt(tmp_path, Path(found["bundle"]).read_bytes())
    assert (tmp_path / "foreign.tflite").exists()
