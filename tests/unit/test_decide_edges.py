"""The edges of the policy: each number here is one that a slip of a sign or of `<` would move."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from qc.decide import (
    DecisionSpec,
    EscapeBound,
    calibrated,
    decide,
    defect_scores,
    groups_needed,
)
from qc.errors import QCError
from qc.types import Prediction, Verdict

BOUND = EscapeBound(confidence=0.95, bound=0.02, escaped=0, groups=149)


def _spec(**more: Any) -> DecisionSpec:
    return DecisionSpec(
        **{
            "ok_below": {"x": 0.25},
            "ng_above": {"x": 0.75},
            "max_escape": 0.02,
            "max_overkill": 0.05,
            **more,
        }
    )


def _judged(*score: float, spec: DecisionSpec | None = None, good: str = "g") -> Any:
    prediction = Prediction(np.array(score, np.float32), None, 0)
    return decide(prediction, spec or _spec(), ("g", "x") if good == "g" else ("x", good), good)


@pytest.mark.parametrize(
    ("field", "legal", "illegal"),
    [
        ("max_escape", [0.0, 0.999], [-0.001, 1.0]),
        ("max_overkill", [0.0, 0.999], [-0.001, 1.0]),
        ("temperature", [0.05, 20.0], [0.049, 20.01]),
        ("ok_below", [{"x": 0.0}, {"x": 0.75}], [{"x": -0.001}, {"x": 0.751}]),
        ("ng_above", [{"x": 0.25}, {"x": 1.01}], [{"x": 0.249}, {"x": 1.011}]),
    ],
)
def test_the_ends_of_what_a_spec_may_hold(field: str, legal: list[Any], illegal: list[Any]) -> None:
    for value in legal:
        assert getattr(_spec(**{field: value}), field) == value
    for value in illegal:
        with pytest.raises(ValidationError):
            _spec(**{field: value})


@pytest.mark.parametrize(
    ("field", "legal", "illegal"),
    [
        ("confidence", [0.5, 0.999], [0.499, 1.0]),
        ("bound", [0.0, 1.0], [-0.001, 1.001]),
        ("escaped", [0, 1], [-1]),
        ("groups", [1, 2], [0]),
    ],
)
def test_the_ends_of_what_a_bound_may_hold(
    field: str, legal: list[float], illegal: list[float]
) -> None:
    facts = BOUND.model_dump()
    for value in legal:
        assert getattr(EscapeBound(**facts | {field: value}), field) == value
    for value in illegal:
        with pytest.raises(ValidationError):
            EscapeBound(**facts | {field: value})


# what is promised


def test_a_rate_is_promised_up_to_the_bound_itself() -> None:
    assert not _spec().promised, "nothing was asked for"
    assert _spec(escape_bound=BOUND).promised, "a bound of 0.02 keeps 0.02"
    assert not _spec(escape_bound=BOUND, max_escape=0.0199).promised


def test_every_severity_must_keep_its_rate() -> None:
    asked = {"critical": 0.02, "major": 0.5}
    of_all = {"escape_bound": BOUND, "severity_escape": asked}
    assert _spec(**of_all, severity_bound={"critical": BOUND, "major": BOUND}).promised
    looser = BOUND.model_copy(update={"bound": 0.021})
    assert not _spec(**of_all, severity_bound={"critical": looser, "major": BOUND}).promised


@pytest.mark.parametrize(
    ("rate", "confidence", "groups"),
    [
        (0.5, 0.75, 2),  # 0.5 ** 2 = 0.25: exactly enough
        (0.5, 0.76, 3),
        (0.01, 0.95, 299),  # the "rule of three": 3 / 0.01
        (0.02, 0.95, 149),
        (0.1, 0.9, 22),
    ],
)
def test_groups_needed_by_the_bound_of_none(rate: float, confidence: float, groups: int) -> None:
    assert groups_needed(rate, confidence) == groups
    assert 1 - (1 - confidence) ** (1 / groups) <= rate < 1 - (1 - confidence) ** (1 / (groups - 1))


def test_what_is_said_of_the_escape_rate() -> None:
    as_point = "at most 2.0% escape on VAL, as a point: other pieces may escape more often"
    assert _spec().escape_words == as_point
    kept = "at most 2.0% escape with 95% confidence (0 of 149 groups with defects escape on VAL)"
    assert _spec(escape_bound=BOUND).escape_words == kept
    assert _spec(max_escape=0.01, escape_bound=BOUND).escape_words == (
        "1.0% escape is not promised: 0 of 149 groups with defects escape on VAL shows at most "
        "2.0% escape with 95% confidence; 1.0% needs 299 groups"
    )


def test_what_is_said_of_each_severity() -> None:
    asked = {"critical": 0.02, "minor": 0.1}
    spec = _spec(escape_bound=BOUND, severity_escape=asked, severity_bound={"critical": BOUND})
    first, second, third = spec.escape_words.split("; ")
    assert first == _spec(escape_bound=BOUND).escape_words
    assert second == first.replace("with defects", "with critical defects")
    assert third == (
        "at most 10.0% escape of minor defects on VAL, as a point: other pieces may escape more "
        "often"
    )


# scores


def test_what_comes_out_is_float32() -> None:
    wide = np.array([[0.5, 0.5, 0.25]])
    assert defect_scores(wide, 0).dtype == np.float32
    for independent in (False, True):
        found = calibrated(wide, _spec(temperature=2.0, independent=independent), 0)
        assert found.dtype == np.float32 and found.shape == (1, 3)


def test_a_temperature_of_one_changes_nothing() -> None:
    score = np.array([0.75, 0.25], np.float32)
    assert calibrated(score, _spec(), 0) is score


def test_a_stored_nought_counts_as_half_a_step() -> None:
    """At temperature 2: roots of 1 and of 1 / 1024, so 32 against 1."""
    score = np.array([1.0, 0.0], np.float32)
    found = calibrated(score, _spec(temperature=2.0), 0)
    assert found == pytest.approx([32 / 33, 1 / 33], abs=1e-6)
    alone = calibrated(score, _spec(temperature=2.0, independent=True), 0)
    assert alone[1] == pytest.approx((1 / 32) / (1 / 32 + 1), abs=1e-6)
    sure = calibrated(score[::-1].copy(), _spec(temperature=2.0, independent=True), 0)
    assert sure == pytest.approx([1 - 32 / 33, 32 / 33], abs=1e-6), "1 leaves a little too"


def test_independent_rows_are_each_by_themselves() -> None:
    """The greatest defect of a row is looked for along the classes, wherever the good one is."""
    score = np.array([[0.5, 0.1, 0.8], [0.9, 0.3, 0.2], [0.5, 0.5, 0.5], [0, 0, 0]], np.float32)
    spec = _spec(temperature=0.5, independent=True)
    rows = calibrated(score, spec, 1)
    for row, alone in zip(rows, score, strict=True):
        np.testing.assert_array_equal(row, calibrated(alone, spec, 1))
        assert row[1] == pytest.approx(1 - max(row[0], row[2]), abs=1e-6)


def test_the_good_class_is_where_the_bundle_says_also_after_calibration() -> None:
    spec = _spec(temperature=0.5, independent=True)
    bad = _judged(0.9, 0.1, spec=spec, good="fine")  # ("x", "fine")
    assert (bad.verdict, bad.defect_class) == (Verdict.NG, "x")
    assert bad.defect_score == pytest.approx(0.81 / 0.82, abs=1e-6)
    assert bad.score is not None and bad.score[1] == pytest.approx(0.01 / 0.82, abs=1e-6)


# words


def test_each_verdict_says_its_rule() -> None:
    assert _judged(0.875, 0.125).reason == "defect score 0.125 < 0.250"
    assert _judged(0.5, 0.5).reason == "x: defect score 0.500 in [0.250, 0.750)"
    assert _judged(0.25, 0.75).reason == "x: defect score 0.750 >= 0.750"
    assert _judged(0.0, 1.5).reason == "the model gave a score that is not a number in [0, 1]"
    hot = Prediction(np.array([1, 0], np.float32), np.full((1, 1, 2), np.inf, np.float32), 0)
    assert decide(hot, _spec(), ("g", "x"), "g").reason == "the model gave a map that is not finite"


def test_another_number_of_scores_says_what_came() -> None:
    with pytest.raises(QCError) as caught:
        _judged(0.5, 0.25, 0.25)
    assert caught.value.message == (
        "the prediction does not fit; expected 2 scores; found [0.5  0.25 0.25]"
    )
