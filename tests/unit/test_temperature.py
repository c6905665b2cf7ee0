"""The temperature: found again where it is known, and what it does to scores, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from export.temperature import fit_temperature, negative_log_likelihood, tempered
from qc.decide import DecisionSpec, calibrated, decide
from qc.types import Prediction, Verdict


def _softmax(logits: np.ndarray) -> np.ndarray:
    power = np.exp(logits - logits.max(axis=1, keepdims=True))
    return (power / power.sum(axis=1, keepdims=True)).astype(np.float32)


@pytest.mark.parametrize("true", [0.5, 1.0, 2.0])
def test_the_temperature_that_made_the_scores_is_found(true: float) -> None:
    """Labels are drawn by softmax(z); the model says softmax(z / true), so 1 / true mends it."""
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 1.5, (20_000, 3))
    p = _softmax(logits)
    label = (p.cumsum(axis=1) > rng.random((len(p), 1))).argmax(axis=1)
    found = fit_temperature(_softmax(logits / true), np.eye(3, dtype=bool)[label], 0, False)
    assert found == pytest.approx(1 / true, rel=0.05)


def test_independent_probabilities_have_a_temperature_too() -> None:
    rng = np.random.default_rng(1)
    logits = rng.normal(0, 1.5, (20_000, 2))
    truth = rng.random(logits.shape) < 1 / (1 + np.exp(-logits))
    said = 1 / (1 + np.exp(-logits / 2))
    score = np.column_stack([1 - said.max(axis=1), said]).astype(np.float32)
    truth = np.column_stack([~truth.any(axis=1), truth])
    assert fit_temperature(score, truth, 0, True) == pytest.approx(0.5, rel=0.1)


def test_it_stays_in_its_range_where_val_is_told_apart_without_an_error() -> None:
    score = np.array([[0.9, 0.1], [0.2, 0.8]] * 20, np.float32)
    truth = np.array([[True, False], [False, True]] * 20)
    assert fit_temperature(score, truth, 0, False) == pytest.approx(0.3, abs=0.002)


def test_scores_by_hand() -> None:
    """At temperature 1/2 a probability is squared: .8 and .2 become .64 / .68 and .04 / .68."""
    found = tempered(np.array([[0.8, 0.2]], np.float32), 0.5, 0, False)
    assert found[0] == pytest.approx([0.64 / 0.68, 0.04 / 0.68], abs=1e-6)
    # independent: .6 and .5 each against its own rest, and good is what the greatest leaves
    each = tempered(np.array([[0.4, 0.6, 0.5]], np.float32), 0.5, 0, True)
    assert each[0] == pytest.approx([0.16 / 0.52, 0.36 / 0.52, 0.5], abs=1e-6)


def test_a_stored_nought_stays_finite_and_the_order_stays() -> None:
    score = np.array([[0.99, 0.01, 0.0], [0.9, 0.06, 0.04], [0.5, 0.3, 0.2]], np.float32)
    for temperature in (0.3, 3.0):
        found = tempered(score, temperature, 0, False)
        assert np.isfinite(found).all() and found.sum(axis=1) == pytest.approx(1)
        assert (np.diff(found[:, 0]) < 0).all()


def test_one_changes_nothing_and_costs_nothing() -> None:
    score = np.array([[0.25, 0.75]], np.float32)
    assert tempered(score, 1.0, 0, False) is score
    assert negative_log_likelihood(score, np.array([[False, True]])) == pytest.approx(
        -np.log(0.75), abs=1e-6
    )


def test_a_verdict_is_of_the_calibrated_score() -> None:
    """0.4 is OK below 0.5, but calibrated at temperature 2 it is .632 / 1.407 = 0.449."""
    thresholds = {"ok_below": {"hole": 0.42}, "ng_above": {"hole": 0.9}}
    plain = DecisionSpec(**thresholds, max_escape=0, max_overkill=0)
    warm = plain.model_copy(update={"temperature": 2.0})
    seen = Prediction(np.array([0.6, 0.4], np.float32), None, 0)
    assert decide(seen, plain, ["good", "hole"], "good").verdict is Verdict.OK
    found = decide(seen, warm, ["good", "hole"], "good")
    assert found.verdict is Verdict.REVIEW
    assert found.defect_score == pytest.approx(0.4495, abs=1e-3)
    assert found.score == pytest.approx(calibrated(seen.score, warm, 0))


@pytest.mark.parametrize("independent", [False, True])
def test_one_part_is_judged_by_the_same_bits_as_a_whole_split(independent: bool) -> None:
    """Thresholds are set on arrays of scores and applied to one row at a time."""
    score = np.random.default_rng(0).random((200, 4), np.float32)
    score[0] = [0, 0, 0, 1]
    spec = DecisionSpec(
        ok_below={"a": 0.2, "b": 0.2, "c": 0.2},
        ng_above={"a": 0.8, "b": 0.8, "c": 0.8},
        max_escape=0.1,
        max_overkill=0.1,
        temperature=0.3,
        independent=independent,
    )
    whole = calibrated(score, spec, 1)
    assert whole.dtype == np.float32
    for row, one in zip(whole, score, strict=True):
        assert np.array_equal(row, calibrated(one, spec, 1))
