"""The quality policy, with thresholds and scores that are exact in binary."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from qc.decide import DecisionSpec, decide, defect_scores
from qc.errors import QCError
from qc.types import Prediction, Verdict

CLASSES = ("hole", "good", "scratch")
SPEC = DecisionSpec(
    ok_below={"hole": 0.25, "scratch": 0.5},
    ng_above={"hole": 0.75, "scratch": 0.875},
    max_escape=0.01,
    max_overkill=0.05,
)


def _prediction(hole: float, good: float, scratch: float, **more: object) -> Prediction:
    attention = more.get("attention")
    return Prediction(np.array([hole, good, scratch], np.float32), attention, 0)  # type: ignore[arg-type]


def _verdict(hole: float, good: float, scratch: float) -> Verdict:
    return decide(_prediction(hole, good, scratch), SPEC, CLASSES, "good").verdict


@pytest.mark.parametrize(
    ("defect", "hole", "scratch"),
    [
        # defect score, verdict with the hole's thresholds, verdict with the scratch's
        (0.0, Verdict.OK, Verdict.OK),
        (0.25 - 1 / 64, Verdict.OK, Verdict.OK),
        (0.25, Verdict.REVIEW, Verdict.OK),  # ok_below itself is not OK
        (0.5 - 1 / 64, Verdict.REVIEW, Verdict.OK),
        (0.5, Verdict.REVIEW, Verdict.REVIEW),
        (0.75 - 1 / 64, Verdict.REVIEW, Verdict.REVIEW),
        (0.75, Verdict.NG, Verdict.REVIEW),  # ng_above itself is NG
        (0.875, Verdict.NG, Verdict.NG),
        (1.0, Verdict.NG, Verdict.NG),
    ],
)
def test_each_class_has_its_own_thresholds(defect: float, hole: Verdict, scratch: Verdict) -> None:
    rest = 1 - defect
    assert _verdict(defect * 0.75, rest, defect * 0.25) is hole
    assert _verdict(defect * 0.25, rest, defect * 0.75) is scratch or defect == 0


def test_the_defect_score_is_that_of_all_defects_together() -> None:
    # hole 0.375 alone would be REVIEW by 0.75; together 0.75 is NG
    decision = decide(_prediction(0.375, 0.25, 0.375), SPEC, CLASSES, "good")
    assert (decision.verdict, decision.defect_class) == (Verdict.NG, "hole")
    assert decision.defect_score == 0.75
    assert "0.750" in decision.reason and "hole" in decision.reason


def test_the_good_class_never_names_the_defect() -> None:
    decision = decide(_prediction(0.0, 0.875, 0.125), SPEC, CLASSES, "good")
    assert (decision.verdict, decision.defect_class) == (Verdict.OK, "scratch")
    assert decision.defect_score == 0.125


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf, -0.01, 1.01])
@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_score_that_is_no_probability_is_a_fault(wrong: float, place: int) -> None:
    scores = [0.0, 1.0, 0.0]
    scores[place] = wrong
    decision = decide(_prediction(*scores), SPEC, CLASSES, "good")
    assert decision.verdict is Verdict.FAULT
    assert decision.defect_class is None and decision.defect_score is None


def test_a_map_that_is_not_finite_is_a_fault() -> None:
    attention = np.zeros((2, 2, 3), np.float32)
    prediction = _prediction(0.0, 1.0, 0.0, attention=attention)
    assert decide(prediction, SPEC, CLASSES, "good").verdict is Verdict.OK
    attention[1, 0, 2] = np.nan
    assert decide(prediction, SPEC, CLASSES, "good").verdict is Verdict.FAULT


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("value", [1e30, -1e30])
def test_a_large_map_is_no_fault_though_its_square_overflows(value: float) -> None:
    attention = np.full((2, 2, 3), value, np.float32)
    prediction = _prediction(0.0, 1.0, 0.0, attention=attention)
    assert decide(prediction, SPEC, CLASSES, "good").verdict is Verdict.OK
    for wrong in (np.inf, -np.inf, np.nan):
        attention[0, 1, 0] = wrong
        assert decide(prediction, SPEC, CLASSES, "good").verdict is Verdict.FAULT


@pytest.mark.parametrize("count", [0, 1, 2, 4])
def test_another_number_of_scores_is_an_error(count: int) -> None:
    prediction = Prediction(np.zeros(count, np.float32), None, 0)
    with pytest.raises(QCError, match="expected 3 scores"):
        decide(prediction, SPEC, CLASSES, "good")


def test_equal_thresholds_leave_no_review() -> None:
    spec = DecisionSpec(ok_below={"x": 0.5}, ng_above={"x": 0.5}, max_escape=0, max_overkill=0)
    verdicts = [
        decide(Prediction(np.array([1 - p, p], np.float32), None, 0), spec, ("g", "x"), "g").verdict
        for p in (0.0, 0.4921875, 0.5, 1.0)
    ]
    assert verdicts == [Verdict.OK, Verdict.OK, Verdict.NG, Verdict.NG]


def test_ng_above_past_one_rejects_nothing_without_a_person() -> None:
    spec = DecisionSpec(ok_below={"x": 0.5}, ng_above={"x": 1.01}, max_escape=0, max_overkill=0)
    prediction = Prediction(np.array([0.0, 1.0], np.float32), None, 0)
    assert decide(prediction, spec, ("g", "x"), "g").verdict is Verdict.REVIEW


def test_defect_scores_of_rows() -> None:
    rows = np.array([[0.25, 0.75], [1.0, 0.0]], np.float32)
    assert defect_scores(rows, 1).tolist() == [0.25, 1.0]
    assert defect_scores(rows, 0).tolist() == [0.75, 0.0]


@pytest.mark.parametrize(
    ("low", "high"),
    [
        ({"x": 0.6}, {"x": 0.5}),
        ({"x": -0.1}, {"x": 0.5}),
        ({"x": 0.1}, {"x": 1.5}),
        ({"x": 0.1}, {"y": 0.5}),
        ({"x": 0.1, "y": 0.1}, {"x": 0.5}),
        ({"x": float("nan")}, {"x": 0.5}),
        ({"x": 0.1}, {"x": float("nan")}),
        ({}, {}),
    ],
)
def test_thresholds_that_make_no_sense_are_refused(
    low: dict[str, float], high: dict[str, float]
) -> None:
    with pytest.raises(ValidationError):
        DecisionSpec(ok_below=low, ng_above=high, max_escape=0.1, max_overkill=0.1)
