"""The sealed file: what goes in comes out, and no altered byte gets past the opening."""

from __future__ import annotations

import copy
import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError
from toy_line import facts

from qc import bundle as bundle_module
from qc.bundle import Bundle, Golden, open_bundle, write_bundle
from qc.errors import BundleError, FaultError
from qc.manifest import SCORE_TOLERANCE
from qc.replay import replay, require_replay
from qc.types import Image, Prediction

MODEL = b"\x1c\x00\x00\x00TFL3" + bytes(range(256)) * 2
REPORT = {"auroc": 0.9, "n": 4}


def _facts() -> dict[str, Any]:
    tensor = {"name": "t", "shape": (1, 4, 4, 3), "dtype": "uint8", "scale": 1.0, "zero_point": 0}
    return facts() | {
        "classes": [
            {"name": "good", "severity": "good"},
            {"name": "hole", "severity": "major"},
        ],
        "input": tensor,
        "score": tensor | {"shape": (1, 2)},
        "attention": tensor | {"shape": (1, 2, 2, 2), "dtype": "float32"},
        "decision": {
            "ok_below": {"hole": 0.25},
            "ng_above": {"hole": 0.75},
            "max_escape": 0.01,
            "max_overkill": 0.05,
        },
        "overlay": {"lo": 0.0, "hi": 2.0},
    }


def _defect(image: Image) -> float:
    return float(image[0, 0, 0]) / 256


def test_each_task_is_known_and_a_binary_one_has_one_defect(tmp_path: Path) -> None:
    golden = Golden(np.zeros((0,)), np.zeros((0,)), None, ())

    def written(task: str, **changes: Any) -> str:
        given = _facts() | {"task": task} | changes
        file = tmp_path / f"{task}.tflite"
        return write_bundle(file, model=MODEL, golden=golden, report=REPORT, facts=given).task

    assert [written(t) for t in ("multiclass", "binary", "multilabel")][1] == "binary"
    with pytest.raises(ValidationError, match="task"):
        written("ranking")
    names = ("good", "hole", "stain")
    three = [{"name": n, "severity": "good" if n == "good" else "major"} for n in names]
    level = dict.fromkeys(names[1:], 0.5)
    decision = _facts()["decision"] | {"ok_below": level, "ng_above": level}
    with pytest.raises(ValidationError, match="a binary task has one defect class"):
        written("binary", classes=three, decision=decision)


class _FirstPixel:
    """A predictor: the first pixel over 256 is the defect score; `shift` is its error."""

    runtime = "first pixel"

    def __init__(self, shift: float = 0.0, map_shift: float = 0.0) -> None:
        self.shift, self.map_shift = shift, map_shift

    def predict(self, image: Image) -> Prediction:
        defect = _defect(image) + self.shift
        attention = np.full((2, 2, 2), _defect(image) + self.map_shift, np.float32)
        return Prediction(np.array([1 - defect, defect], np.float32), attention, 1)


def _golden() -> Golden:
    images = np.zeros((4, 4, 4, 3), np.uint8)
    images[:, 0, 0, 0] = [0, 60, 128, 255]  # defect 0, 0.234, 0.5, 0.996
    passes = [_FirstPixel().predict(image) for image in images]
    return Golden(
        images,
        np.stack([p.score for p in passes]),
        np.stack([p.attention for p in passes if p.attention is not None]),
        ("OK", "OK", "REVIEW", "NG"),
    )


def _write(path: Path, **changes: Any) -> Path:
    facts = _facts() | changes
    write_bundle(path, model=MODEL, golden=_golden(), report=REPORT, facts=facts)
    return path


@pytest.fixture
def sealed(tmp_path: Path) -> Path:
    return _write(tmp_path / "toy.tflite")


def test_what_goes_in_comes_out(sealed: Path) -> None:
    opened = open_bundle(sealed)
    assert opened.model == MODEL and opened.report == REPORT
    assert opened.manifest.class_names == ("good", "hole") and opened.manifest.good == "good"
    assert opened.manifest.model_bytes == len(MODEL) == 520
    assert opened.golden.verdicts == ("OK", "OK", "REVIEW", "NG")
    np.testing.assert_array_equal(opened.golden.images, _golden().images)
    np.testing.assert_array_equal(opened.golden.score, _golden().score)
    assert opened.golden.attention is not None and opened.golden.attention.shape == (4, 2, 2, 2)
    assert [p.name for p in sealed.parent.iterdir()] == ["toy.tflite"]


def test_it_is_a_tflite_file_and_a_zip_at_once(sealed: Path) -> None:
    assert sealed.read_bytes()[: len(MODEL)] == MODEL
    with zipfile.ZipFile(sealed) as archive:
        assert archive.testzip() is None
        assert archive.read("labels.txt") == b"good\nhole\n"
        assert json.loads(archive.read("manifest.json"))["name"] == "toy"


def test_a_bundle_without_a_map_says_so(tmp_path: Path) -> None:
    golden = Golden(_golden().images, _golden().score, None, _golden().verdicts)
    path = tmp_path / "a.tflite"
    write_bundle(path, model=MODEL, golden=golden, report={}, facts=_facts() | {"attention": None})
    opened = open_bundle(path)
    assert opened.golden.attention is None and opened.manifest.attention is None
    assert replay(opened, _FirstPixel()).max_map_error == 0


def test_the_same_bundle_twice_is_the_same_bytes(tmp_path: Path) -> None:
    first, second = _write(tmp_path / "a.tflite"), _write(tmp_path / "b.tflite")
    assert first.read_bytes() == second.read_bytes()


def test_a_new_threshold_is_a_new_bundle(sealed: Path, tmp_path: Path) -> None:
    decision = _facts()["decision"] | {"ok_below": {"hole": 0.26}}
    other = open_bundle(_write(tmp_path / "b.tflite", decision=decision))
    assert other.manifest.bundle_id != open_bundle(sealed).manifest.bundle_id


def test_every_altered_byte_is_refused(sealed: Path) -> None:
    data = sealed.read_bytes()
    places = {*range(0, len(data), 97), *range(len(data) - 200, len(data))}
    for at in sorted(places):
        for flip in (0x01, 0xFF):
            altered = bytearray(data)
            altered[at] ^= flip
            sealed.write_bytes(altered)
            with pytest.raises(BundleError):
                open_bundle(sealed)
    sealed.write_bytes(data)
    open_bundle(sealed)


def test_every_truncation_and_every_addition_is_refused(sealed: Path) -> None:
    data = sealed.read_bytes()
    for length in sorted({*range(0, len(data), 71), *range(len(data) - 150, len(data))}):
        sealed.write_bytes(data[:length])
        with pytest.raises(BundleError):
            open_bundle(sealed)
    for longer in (data + b"\0", data + b"x" * 70_000, b"x" + data, data + data, data[1:]):
        sealed.write_bytes(longer)
        with pytest.raises(BundleError):
            open_bundle(sealed)


@pytest.mark.parametrize("data", [b"", b"PK\x05\x06" + bytes(18), MODEL, b"text " * 999])
def test_what_is_no_bundle_is_refused_by_name(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "other.tflite"
    path.write_bytes(data)
    with pytest.raises(BundleError) as caught:
        open_bundle(path)
    assert caught.value.where == str(path) and "expected" in caught.value.message


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "gone.tflite", tmp_path):
        with pytest.raises(BundleError, match="cannot be read"):
            open_bundle(path)


def test_a_file_past_the_byte_limit_is_refused(
    sealed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bundle_module, "MAX_BYTES", 100)
    with pytest.raises(BundleError, match="too large"):
        open_bundle(sealed)


def _reseal(path: Path, change: Callable[[dict[str, bytes]], None], model: bytes = MODEL) -> None:
    """Alter the members and seal anew, as someone would who knows how the seal is made."""
    with zipfile.ZipFile(path) as archive:
        members = {i.filename: archive.read(i) for i in archive.infolist()}
    change(members)
    buffer = io.BytesIO()
    buffer.write(model)
    comment = bundle_module._COMMENT
    with zipfile.ZipFile(buffer, "a") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
        archive.comment = comment + b"0" * 64
    body = buffer.getvalue()[: -len(comment) - 64]
    path.write_bytes(body + comment + bundle_module._sha256(body).encode())


def _manifest_change(
    change: Callable[[dict[str, Any]], None],
) -> Callable[[dict[str, bytes]], None]:
    """A change of the manifest whose bundle id is made to fit again."""

    def apply(members: dict[str, bytes]) -> None:
        manifest = json.loads(members["manifest.json"])
        change(manifest)
        manifest["bundle_id"] = bundle_module._bundle_id(manifest)
        members["manifest.json"] = json.dumps(manifest).encode()

    return apply


def test_sealing_anew_without_change_opens(sealed: Path) -> None:
    _reseal(sealed, lambda members: None)
    open_bundle(sealed)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda m: m.update({"extra.txt": b"x"}), "not a bundle of this project"),
        (lambda m: m.pop("report.json"), "not a bundle of this project"),
        (lambda m: m.update({"labels.txt": b"hole\ngood\n"}), "part labels.txt"),
        (lambda m: m.update({"report.json": b"{}"}), "part report.json"),
        (
            lambda m: m.update({"manifest.json": b"not json"}),
            r": the manifest is not valid; found ",
        ),
        (lambda m: m.update({"manifest.json": b"\xff\xfe\xff"}), "manifest is not valid"),
        (
            lambda m: m.update({"manifest.json": b"[1]"}),
            r": the bundle has another schema; expected 1$",
        ),
        (_manifest_change(lambda m: m.update(schema_version=2)), "expected 1; found 2"),
        (_manifest_change(lambda m: m.pop("schema_version")), "another schema"),
        (_manifest_change(lambda m: m["decision"]["ok_below"].clear()), "same classes"),
        (_manifest_change(lambda m: m["decision"]["ng_above"].pop("hole")), "same classes"),
        (_manifest_change(lambda m: m.pop("decision")), "decision"),
        (_manifest_change(lambda m: m.update(surprise=1)), "surprise"),
        (_manifest_change(lambda m: m["sha256"].update(model="0" * 64)), "part model"),
        (_manifest_change(lambda m: m["sha256"].pop("golden.npz")), "checksum"),
    ],
)
def test_a_well_sealed_bundle_with_wrong_contents_is_refused(
    sealed: Path, change: Callable[[dict[str, bytes]], None], what: str
) -> None:
    _reseal(sealed, change)
    with pytest.raises(BundleError, match=what) as caught:
        open_bundle(sealed)
    assert caught.value.where == str(sealed)


def test_a_changed_threshold_does_not_fit_the_bundle_id(sealed: Path) -> None:
    def lower(members: dict[str, bytes]) -> None:
        text = members["manifest.json"].replace(b'"hole": 0.75', b'"hole": 0.99')
        assert text != members["manifest.json"]
        members["manifest.json"] = text

    _reseal(sealed, lower)
    with pytest.raises(BundleError) as caught:
        open_bundle(sealed)
    assert caught.value.message == "the manifest does not match its bundle id"
    assert caught.value.where == str(sealed)


def test_another_model_under_the_same_papers_is_refused(sealed: Path) -> None:
    _reseal(sealed, lambda members: None, model=MODEL[:-1] + b"?")
    with pytest.raises(BundleError, match="part model"):
        open_bundle(sealed)


@pytest.mark.parametrize(
    "classes",
    [
        [("good", "good")],
        [("a", "major"), ("hole", "minor")],
        [("a", "good"), ("b", "good"), ("hole", "minor")],
        [("good", "good"), ("hole", "major"), ("crack", "major")],  # crack has no threshold
        [("good", "good"), ("dent", "major")],
        [("good", "good"), ("hole", "awful")],
    ],
)
def test_classes_that_do_not_fit_are_not_sealed(
    tmp_path: Path, classes: list[tuple[str, str]]
) -> None:
    rows = [{"name": n, "severity": s} for n, s in classes]
    with pytest.raises(ValidationError):
        _write(tmp_path / "a.tflite", classes=rows)
    assert not list(tmp_path.iterdir())


def test_a_place_that_cannot_be_written_is_a_fault(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(FaultError, match="cannot be written"):
        _write(tmp_path / "file" / "a.tflite")


def _opened(sealed: Path) -> Bundle:
    return open_bundle(sealed)


def test_replay_of_the_same_runtime_is_exact(sealed: Path) -> None:
    outcome = require_replay(_opened(sealed), _FirstPixel())
    assert (outcome.n, outcome.verdict_flips, outcome.max_score_error) == (4, 0, 0.0)
    assert outcome.ok and outcome.max_map_error == 0.0


def test_replay_counts_the_flips(sealed: Path) -> None:
    # +1/32: 0.234 -> 0.266 is no longer OK; 0 -> 0.031 and 0.5 -> 0.531 keep their verdict, and
    # 0.996 -> 1.027 is no probability: FAULT instead of NG
    outcome = replay(_opened(sealed), _FirstPixel(shift=1 / 32))
    assert outcome.verdict_flips == 2
    assert outcome.max_score_error == pytest.approx(1 / 32, abs=1e-6) and not outcome.ok
    with pytest.raises(BundleError, match=r"first pixel.*2 flips of 4"):
        require_replay(_opened(sealed), _FirstPixel(shift=1 / 32))


def test_a_moved_score_is_refused_without_any_flip(sealed: Path) -> None:
    kept = copy.copy(_golden().images[:1])  # defect 0: far from both thresholds
    golden = Golden(kept, _golden().score[:1], None, ("OK",))
    opened = _opened(sealed)
    alone = Bundle(opened.path, opened.manifest, opened.model, golden, {})
    assert replay(alone, _FirstPixel(shift=SCORE_TOLERANCE - 1e-4)).ok
    moved = replay(alone, _FirstPixel(shift=SCORE_TOLERANCE + 1e-4))
    assert moved.verdict_flips == 0 and not moved.ok
    wider = opened.manifest.model_copy(update={"replay_tolerance": 0.04})
    allowed = Bundle(opened.path, wider, opened.model, golden, {})
    assert replay(allowed, _FirstPixel(shift=0.039)).ok
    assert not replay(allowed, _FirstPixel(shift=0.041)).ok


def test_replay_reports_a_moved_map(sealed: Path) -> None:
    outcome = replay(_opened(sealed), _FirstPixel(map_shift=0.5))
    assert outcome.max_map_error == pytest.approx(0.5) and outcome.ok


def test_a_predictor_without_the_sealed_map_does_not_replay(sealed: Path) -> None:
    class Blind(_FirstPixel):
        def predict(self, image: Image) -> Prediction:
            found = super().predict(image)
            return Prediction(found.score, None, found.infer_ns)

    with pytest.raises(BundleError, match=r"0 flips of 4.*4 maps missing"):
        require_replay(_opened(sealed), Blind())


def test_a_bundle_without_golden_inputs_proves_nothing(sealed: Path) -> None:
    opened = _opened(sealed)
    none = Golden(_golden().images[:0], _golden().score[:0], None, ())
    bare = Bundle(opened.path, opened.manifest, opened.model, none, {})
    with pytest.raises(BundleError, match="0 flips of 0"):
        require_replay(bare, _FirstPixel())


def test_a_predictor_that_gives_no_numbers_does_not_replay(sealed: Path) -> None:
    outcome = replay(_opened(sealed), _FirstPixel(shift=float("nan")))
    assert outcome.verdict_flips == 4 and not outcome.ok
