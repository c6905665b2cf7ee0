"""What a manifest may not say: each rule is broken by itself, and what is just legal passes."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError
from toy_line import unsealed

from qc.manifest import MAX_TOLERANCE, SCORE_TOLERANCE, SEALED_PARTS

TENSOR: dict[str, Any] = {"name": "t", "dtype": "uint8", "scale": 1.0, "zero_point": 0}
GOOD_AND = [{"name": "good", "severity": "good"}, {"name": "hole", "severity": "major"}]
ONE = {"hole": 0.5}


def _decision(**names: float) -> dict[str, Any]:
    return {"ok_below": names, "ng_above": names, "max_escape": 0.1, "max_overkill": 0.1}


@pytest.mark.parametrize(
    ("legal", "wrong", "says"),
    [
        (
            {"classes": GOOD_AND, "decision": _decision(hole=0.5), "score": {"shape": (1, 2)}},
            {"classes": GOOD_AND[:1], "decision": _decision(hole=0.5), "score": {"shape": (1, 1)}},
            "classes",
        ),
        (
            {"decision": _decision(scratch=0.5, dent=0.5)},
            {"decision": _decision(scratch=0.5)},
            "the thresholds must name every defect class and no other",
        ),
        (
            {"decision": _decision(scratch=0.5, dent=0.5)},
            {"decision": _decision(scratch=0.5, dent=0.5, good=0.5)},
            "the thresholds must name every defect class and no other",
        ),
        ({"runtimes": ["tflite-runtime"]}, {"runtimes": ["onnx"]}, "runtimes are ai-edge-litert"),
        ({"runtimes": ["ai-edge-litert"]}, {"runtimes": []}, "runtimes"),
        (
            {"input": {"shape": (1, 4, 4, 1)}},
            {"input": {"shape": (1, 4, 4, 2)}},
            r"the input must be \(1, h, w, 1 or 3\)",
        ),
        ({"input": {"shape": (1, 4, 4, 3)}}, {"input": {"shape": (4, 4, 3)}}, "the input must be"),
        (
            {"input_range": [(0, 1), (0, 1), (0, 1)]},
            {"input_range": [(0, 1), (0, 1)]},
            "one pair, or one for each channel",
        ),
        ({"input_range": [(-1, 1)]}, {"input_range": [(1, 1)]}, "input_range must rise"),
        ({"input_range": [(0, 0.1)]}, {"input_range": [(0, 1), (0, 1), (1, 0)]}, "must rise"),
        ({"score": {"shape": (1, 3)}}, {"score": {"shape": (1, 4)}}, r"the score must be \(1, 3\)"),
        ({"score": {"shape": (1, 2)}}, {"score": {"shape": (1, 1)}}, "the score must be"),
        ({"score": {"shape": (1, 3)}}, {"score": {"shape": (3,)}}, "the score must be"),
        (
            {"score": {"shape": (1, 2)}, "activation": "sigmoid"},
            {"score": {"shape": (1, 2)}, "activation": "softmax"},
            "a softmax needs a score of the good class too",
        ),
        (
            {"score": {"shape": (1, 3)}, "activation": "softmax"},
            {"score": {"shape": (1, 3)}, "activation": "relu"},
            "activation",
        ),
        ({"overlay": {"lo": 0, "hi": 0.1}}, {"overlay": {"lo": 1, "hi": 1}}, "lo < hi"),
        (
            {"replay_tolerance": SCORE_TOLERANCE},
            {"replay_tolerance": SCORE_TOLERANCE * 0.999},
            "replay_tolerance",
        ),
        ({"replay_tolerance": MAX_TOLERANCE}, {"replay_tolerance": 0.2001}, "replay_tolerance"),
        (
            {"sha256": dict.fromkeys(SEALED_PARTS, "0")},
            {"sha256": dict.fromkeys(SEALED_PARTS[1:], "0")},
            "checksum of every part",
        ),
        (
            {"sha256": dict.fromkeys(SEALED_PARTS, "0")},
            {"sha256": dict.fromkeys([*SEALED_PARTS, "more"], "0")},
            "checksum of every part",
        ),
        ({"schema_version": 1}, {"schema_version": 2}, "schema_version"),
    ],
)
def test_each_rule_has_its_edge(legal: dict[str, Any], wrong: dict[str, Any], says: str) -> None:
    def whole(changes: dict[str, Any]) -> dict[str, Any]:
        return {
            key: {**TENSOR, **value} if key in ("input", "score") else value
            for key, value in changes.items()
        }

    for key, value in legal.items():
        if key in ("runtimes", "replay_tolerance", "activation"):
            found = getattr(unsealed(**whole(legal)), key)
            assert (list(found) if key == "runtimes" else found) == value
    unsealed(**whole(legal))
    with pytest.raises(ValidationError, match=says):
        unsealed(**whole(wrong))


@pytest.mark.parametrize("scale", [0.0, -1.0])
def test_a_scale_is_positive(scale: float) -> None:
    with pytest.raises(ValidationError, match="scale"):
        unsealed(score={**TENSOR, "shape": (1, 3), "scale": scale})


def test_names_in_the_order_of_the_scores() -> None:
    manifest = unsealed()
    assert manifest.class_names == ("good", "scratch", "dent") and manifest.good == "good"
