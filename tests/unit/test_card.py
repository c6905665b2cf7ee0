"""The model card: what a bundle says stands on it, what it does not say is called unknown."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from toy_line import MODEL, facts
from typer.testing import CliRunner

from qc.bundle import Bundle, Golden, open_bundle, write_bundle
from qc.card import Evaluation, card_of, read_evaluation
from qc.cli import app
from qc.errors import BundleError, DataError
from qc.signature import new_key, read_private_key, sign_bundle

VAL: dict[str, Any] = {
    "split": "val",
    "n": 40,
    "groups": 8,
    "classes": {"good": 24, "scratch": 10, "dent": 6},
    "accuracy": 0.9,
    "macro_f1": 0.85,
    "auroc": 0.987,
    "auroc_ci": [0.95, 1.0],
    "average_precision": 0.97,
    "escape": 0.0625,
    "escape_ci": [0.002, 0.302],
    "overkill": 0.0,
    "overkill_ci": [0.0, 0.142],
    "review": 0.125,
    "calibration": {"ece": 0.04},
    "localisation": {"pointing": 0.75, "pointing_chance": 0.1, "aupro": None, "n": 16},
    "per_class": {"dent": {"n": 6, "auroc": 0.9, "average_precision": 0.8, "f1": 0.7}},
    "confusion": [[24, 0, 0]],
}
CANDIDATES = [
    {"scheme": "int8", "bytes": 1000, "agreement": 0.995, "recall_drop": 0.0, "auroc": 0.98},
    {"scheme": "mixed", "bytes": None, "agreement": None, "why_not": "no | such layer"},
]


def _bundle(path: Path, report: dict[str, Any] | None = None, **changes: Any) -> Bundle:
    said = facts() | changes
    score = np.zeros((3, len(said["classes"])), np.float32)
    maps = np.zeros((3, 2, 2, score.shape[1]), np.float32) if said["attention"] else None
    golden = Golden(np.zeros((3, 4, 4, 3), np.uint8), score, maps, ("NG", "OK", "OK"))
    given = {"val": VAL, "candidates": CANDIDATES} if report is None else report
    write_bundle(path, model=MODEL, golden=golden, report=given, facts=said)
    return open_bundle(path)


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return _bundle(tmp_path / "toy.tflite")


def _row(card: str, name: str) -> str:
    found = [line for line in card.splitlines() if line.startswith(f"| {name} |")]
    assert len(found) == 1, f"{name}: {found}"
    return found[0].removeprefix(f"| {name} |").strip(" |")


def _evaluation(file: Path, bundle: Bundle, **changes: Any) -> Path:
    said = {**VAL, "split": "test", "bundle_id": bundle.manifest.bundle_id, "n": 50, "groups": 9}
    file.write_text(json.dumps(said | changes))
    return file


def test_the_card_says_what_the_bundle_says(bundle: Bundle) -> None:
    card = card_of(bundle)
    assert card.startswith(f"# Model card: toy `{bundle.manifest.bundle_id}`\n")
    assert _row(card, "input") == "4 x 4 pixels, rgb, stretched to fit"
    assert _row(card, "quantisation") == "int8; input uint8"
    assert _row(card, "scratch") == "major | 0.250 | 0.750"
    assert _row(card, "escape asked for") == "1.0%"
    assert _row(card, "thresholds").startswith("at most 1.0% escape on VAL, as a point")
    said = "40 parts in 8 groups: good 24, scratch 10, dent 6"
    assert _row(card, "VAL, which set the thresholds") == said
    assert _row(card, "escape") == "6.2% [0.2%, 30.2%]"
    assert _row(card, "AUROC, good against defect") == "0.987 [0.950, 1.000]"
    assert _row(card, "AUPRO of the map") == "unknown"
    assert _row(card, "dent | 6") == "0.900 | 0.800 | 0.700"
    assert _row(card, "int8") == "1000 | 99.5% | 0.0% | 0.980 | passes"
    assert _row(card, "mixed") == r"no \| such layer"
    assert _row(card, "golden inputs") == "3: 1 NG, 2 OK"
    assert (
        _row(card, "the whole file") == f"`{hashlib.sha256(bundle.path.read_bytes()).hexdigest()}`"
    )
    assert bundle.manifest.sha256["model"] in card


def test_what_nobody_knows_is_said_to_be_unknown(bundle: Bundle) -> None:
    card = card_of(bundle)
    unknown = "unknown: the bundle does not say"
    for name in (
        "made by, and when",
        "parts, machine and users that it is meant for",
        "cameras, lights, suppliers, shifts",
        "images and groups of TRAIN",
        "people in the pictures",
    ):
        assert _row(card, name) == unknown
    assert _row(card, "TEST") == "unknown: no evaluation was given"
    assert _row(card, "seed, commit") == f"0, {unknown}"
    assert "It is not signed: who stands for it is not known." in card
    assert "No figures of TEST are on this card" in card


def test_a_bundle_without_a_report_invents_no_figure(tmp_path: Path) -> None:
    card = card_of(_bundle(tmp_path / "bare.tflite", {}))
    assert "Figures: unknown: the bundle does not say." in card
    assert "### VAL" not in card and "AUROC" not in card


def test_the_escape_bound_is_told(tmp_path: Path) -> None:
    bound = {"confidence": 0.95, "bound": 0.0487, "escaped": 0, "groups": 60}
    decision = facts()["decision"] | {"max_escape": 0.05, "escape_bound": bound}
    card = card_of(_bundle(tmp_path / "bound.tflite", decision=decision))
    name = "escape bound (Clopper and Pearson, one-sided, over groups of VAL)"
    said = "at most 4.9% with 95% confidence: 0 of 60 groups escaped"
    assert _row(card, name) == said
    assert "not promised" not in card


def test_a_model_made_elsewhere(tmp_path: Path) -> None:
    report = {"adopted": True, "foreign": {"sha256": "f" * 64}, "defaults": ["colour rgb"]}
    card = card_of(_bundle(tmp_path / "adopted.tflite", report, attention=None))
    assert f"adopted by attention-qc, from a file with SHA-256 `{'f' * 64}`" in card
    said = "set by hand: nothing is known of escape and overkill"
    assert _row(card, "thresholds") == said
    assert "escape asked for" not in card
    assert "Taken without being told: colour rgb." in card
    assert _row(card, "map") == "no map: this model does not say where it looked"


def test_names_cannot_break_the_tables(tmp_path: Path) -> None:
    name = "a|b <script>\n# c"
    classes = [{"name": "good", "severity": "good"}, {"name": name, "severity": "major"}]
    limits = {"ok_below": {name: 0.25}, "ng_above": {name: 0.75}}
    score = facts()["score"] | {"shape": (1, 2)}
    decision = facts()["decision"] | limits
    card = card_of(
        _bundle(tmp_path / "odd.tflite", {}, classes=classes, decision=decision, score=score)
    )
    assert _row(card, r"a\|b \<script> # c") == "major | 0.250 | 0.750"
    assert "<script>" not in card.replace(r"\<script>", "")
    assert "\n# c" not in card


def test_the_card_names_the_key_of_the_signature(bundle: Bundle, tmp_path: Path) -> None:
    pair = new_key(tmp_path / "plant")
    signed = sign_bundle(bundle.path, read_private_key(pair.private)).key_id
    card = card_of(open_bundle(bundle.path))
    assert _row(card, "signature").startswith(f"signed by key {signed}, by its own account")
    assert "It is not signed" not in card


def test_the_same_bundle_gives_the_same_bytes(tmp_path: Path) -> None:
    one, other = (_bundle(tmp_path / name) for name in ("a.tflite", "b.tflite"))
    assert card_of(one) == card_of(other)


def test_an_evaluation_adds_test(bundle: Bundle, tmp_path: Path) -> None:
    file = _evaluation(tmp_path / "test.json", bundle, escape=0.5, escape_ci=[0.1, 0.9])
    card = card_of(bundle, read_evaluation(file, bundle))
    assert _row(card, "TEST").startswith("50 parts in 9 groups")
    at = card.index("### TEST")
    assert "| escape | 50.0% [10.0%, 90.0%] |" in card[at : card.index("### VAL")]
    assert "No figures of TEST" not in card


def test_an_evaluation_of_a_run_has_no_thresholds_to_tell() -> None:
    assert Evaluation(bundle_id=None, split="test", n=1, groups=1).escape is None


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"bundle_id": "0123456789abcdef"}, "0123456789abcdef"),
        ({"bundle_id": None}, "of a run, which has none"),
    ],
)
def test_an_evaluation_of_another_model_is_refused(
    bundle: Bundle, tmp_path: Path, changes: dict[str, Any], found: str
) -> None:
    file = _evaluation(tmp_path / "other.json", bundle, **changes)
    with pytest.raises(DataError) as caught:
        read_evaluation(file, bundle)
    assert str(file) in str(caught.value)
    assert f"expected bundle_id {bundle.manifest.bundle_id}; found {found}" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", "no JSON"),
        ("\x00", "no JSON"),
        ("[]", "valid dictionary"),
        ('{"bundle_id": "x", "split": "test"}', "key 'n'"),
        ('{"split": "test", "n": 1, "groups": 1}', "key 'bundle_id'"),
        ('{"bundle_id": "x", "split": "t", "n": -1, "groups": 1}', "key 'n'"),
        ('{"bundle_id": "x", "split": "t", "n": 1, "groups": 1, "auroc": "a"}', "key 'auroc'"),
    ],
)
def test_what_is_no_evaluation_is_refused(
    bundle: Bundle, tmp_path: Path, text: str, found: str
) -> None:
    file = tmp_path / "said.json"
    file.write_text(text)
    with pytest.raises(DataError) as caught:
        read_evaluation(file, bundle)
    assert "expected the output of `qc evaluate BUNDLE --json`" in str(caught.value)
    assert str(file) in str(caught.value) and found in str(caught.value)


def test_a_report_that_is_none_is_refused(tmp_path: Path) -> None:
    bundle = _bundle(tmp_path / "bad.tflite", {"val": {"n": "many", "groups": 1}})
    with pytest.raises(BundleError, match=r"key 'val\.n'"):
        card_of(bundle)


def _ran(*words: object) -> Any:
    return CliRunner().invoke(app, ["card", *map(str, words)])


def test_the_command_prints_the_card_or_writes_it(bundle: Bundle, tmp_path: Path) -> None:
    printed = _ran(bundle.path)
    assert (printed.exit_code, printed.stdout) == (0, card_of(bundle))
    out = tmp_path / "card.md"
    said = json.loads(_ran(bundle.path, "--out", out, "--json").stdout)
    assert out.read_text(encoding="utf-8") == card_of(bundle)
    assert said == {
        "bundle": str(bundle.path),
        "bundle_id": bundle.manifest.bundle_id,
        "evaluation": None,
        "out": str(out),
        "card": None,
    }
    assert json.loads(_ran(bundle.path, "--json").stdout)["card"] == card_of(bundle)


def test_the_command_refuses_with_its_exit_code(bundle: Bundle, tmp_path: Path) -> None:
    other = _evaluation(tmp_path / "other.json", bundle, bundle_id="0" * 16)
    for words, code, kind in (
        ([tmp_path / "none.tflite"], 2, "bundle"),
        ([bundle.path, "--evaluation", tmp_path / "none.json"], 2, "data"),
        ([bundle.path, "--evaluation", other], 2, "data"),
        ([bundle.path, "--out", tmp_path / "no" / "card.md"], 3, "fault"),
    ):
        ran = _ran(*words, "--json")
        assert ran.exit_code == code, ran.output
        assert json.loads(ran.stdout)["error"]["kind"] == kind
    assert not (tmp_path / "no").exists()
