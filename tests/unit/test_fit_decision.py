"""Thresholds from VAL: by hand, at their limits, and held by the function that judges."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from export.fit_decision import Parts, expected_cost, fit_decision, per_thousand
from qc.decide import DecisionSpec, decide, groups_needed
from qc.errors import GateError
from qc.metrics import upper_bound
from qc.recipe import CostTable, DecisionTable
from qc.types import Prediction, Verdict


def parts(value: np.ndarray, is_defect: np.ndarray, groups: Sequence[str] = ()) -> Parts:
    """Parts of VAL, each bad one a major defect; each a group of its own where none is given."""
    names = groups or [str(i) for i in range(len(value))]
    return Parts(value, np.where(is_defect, "major", "good"), names)


FINE = (0.05, 0.1, 0.3, 0.4)
BAD = (0.2, 0.6, 0.8, 0.9)


def _fit(
    fine: tuple[float, ...], bad: tuple[float, ...], escape: float, overkill: float
) -> tuple[float, float]:
    score = np.array([*fine, *bad], np.float32)
    is_defect = np.array([False] * len(fine) + [True] * len(bad))
    shuffled = np.random.default_rng(0).permutation(len(score))
    found = fit_decision(
        parts(score[shuffled], is_defect[shuffled]),
        ["hole", "crack"],
        DecisionTable(max_escape=escape, max_overkill=overkill),
    )
    assert set(found.ok_below) == set(found.ng_above) == {"hole", "crack"}
    assert len(set(found.ok_below.values())) == len(set(found.ng_above.values())) == 1
    assert (found.max_escape, found.max_overkill) == (escape, overkill)
    return found.ok_below["hole"], found.ng_above["crack"]


@pytest.mark.parametrize(
    ("escape", "overkill", "expected"),
    [
        (0.0, 0.0, (0.15, 0.5)),  # below .15 no bad part; from .5 on no good one
        (0.24, 0.24, (0.15, 0.5)),  # a quarter is one part of four: less than that is none
        (0.0, 0.25, (0.15, 0.35)),  # one good part, .4, may be rejected
        (0.0, 0.5, (0.15, 0.15)),  # .3 and .4 may: nothing is left to review
        (0.0, 0.9, (0.15, 0.15)),  # .1 may too, but ng_above is never under ok_below
        (0.25, 0.0, (0.5, 0.5)),  # .2 may escape
        (0.25, 0.9, (0.5, 0.5)),
        (0.5, 0.0, (0.7, 0.7)),
    ],
)
def test_thresholds_by_hand(escape: float, overkill: float, expected: tuple[float, float]) -> None:
    assert _fit(FINE, BAD, escape, overkill) == pytest.approx(expected, abs=1e-6)


def test_kinds_that_do_not_overlap_need_no_review() -> None:
    assert _fit((0.1, 0.2), (0.8, 0.9), 0.0, 0.0) == pytest.approx((0.5, 0.5))


def test_kinds_the_wrong_way_round_are_all_reviewed() -> None:
    """No bad part may pass and no good one be rejected: OK is below 0, NG is never reached."""
    low, high = _fit((0.8, 0.9), (0.1, 0.2), 0.0, 0.0)
    assert low == 0.0 and high > 0.9


@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
def test_one_score_for_all_is_no_ground_for_a_verdict(value: float) -> None:
    low, high = _fit((value,) * 3, (value,) * 3, 0.1, 0.1)
    assert low == 0.0 and high > 1.0


def test_a_score_shared_by_good_and_bad_is_reviewed() -> None:
    low, high = _fit((0.1, 0.5), (0.5, 0.9), 0.0, 0.0)
    assert (low, high) == pytest.approx((0.3, 0.7))
    assert low <= 0.5 < high


@pytest.mark.parametrize(
    ("fine", "bad", "found"),
    [((), (0.5,), "0 good, 1 defects"), ((0.5, 0.6), (), "2 good, 0 defects")],
)
def test_one_kind_alone_sets_no_threshold(
    fine: tuple[float, ...], bad: tuple[float, ...], found: str
) -> None:
    with pytest.raises(GateError, match=f"VAL: thresholds cannot be set.*found {found}") as caught:
        _fit(fine, bad, 0.1, 0.1)
    assert caught.value.exit_code == 1


@pytest.mark.parametrize("seed", range(12))
def test_the_rates_hold_for_the_function_that_judges(seed: int) -> None:
    """Scores in steps of 1/256, as int8 gives them; and no threshold further out would hold."""
    rng = np.random.default_rng(seed)
    fine = np.clip(rng.normal(80, 50, 60).round(), 0, 256) / 256
    bad = np.clip(rng.normal(170, 50, 40).round(), 0, 256) / 256
    escape, overkill = rng.choice([0.0, 0.02, 0.05, 0.1, 0.3], 2)
    value = np.concatenate([fine, bad]).astype(np.float32)
    is_defect = np.arange(100) >= 60
    table = DecisionTable(max_escape=escape, max_overkill=overkill)
    spec = fit_decision(parts(value, is_defect), ["hole"], table)
    found = np.array(
        [
            decide(
                Prediction(np.array([1 - v, v]), None, 0), spec, ["good", "hole"], "good"
            ).verdict
            for v in value
        ]
    )
    escaped = (found[is_defect] == Verdict.OK).mean()
    rejected = (found[~is_defect] == Verdict.NG).mean()
    assert escaped <= escape and rejected <= overkill
    low, high = spec.ok_below["hole"], spec.ng_above["hole"]
    above = np.unique(value[value >= low])
    assert (bad <= above[0]).mean() > escape, "one more score could have been OK"
    if high > low:
        below = np.unique(value[value < high])
        assert (fine >= below[-1]).mean() > overkill, "one more score could have been NG"


def _bounded(groups: int, escape: float, confidence: float = 0.95, parts: int = 2) -> DecisionSpec:
    """Each group has bad parts that score i / groups and more; the good parts score 0."""
    lowest = (np.arange(groups) + 1) / (groups + 1)
    bad = np.concatenate([lowest + 0.0001 * part for part in range(parts)])
    names = [f"piece{i}" for i in range(groups)] * parts
    severity = np.array(["major"] * len(bad) + ["good"])
    table = DecisionTable(max_escape=escape, max_overkill=0.0, confidence=confidence)
    val = Parts(np.array([*bad, 0.0]), severity, [*names, "fine"])
    return fit_decision(val, ["hole"], table)


def test_what_the_textbook_says_is_needed() -> None:
    """0 of 59 bounds a rate at 5 % with 95 % confidence, 0 of 299 at 1 %."""
    assert groups_needed(0.05, 0.95) == 59 and groups_needed(0.01, 0.95) == 299
    assert upper_bound(0, 59, 0.95) <= 0.05 < upper_bound(0, 58, 0.95)
    assert upper_bound(0, 299, 0.95) <= 0.01 < upper_bound(0, 298, 0.95)
    assert upper_bound(1, 93, 0.95) <= 0.05 < upper_bound(1, 92, 0.95)
    assert upper_bound(3, 3, 0.95) == 1.0


@pytest.mark.parametrize(("groups", "escaped"), [(59, 0), (92, 0), (93, 1), (124, 2)])
def test_as_many_groups_escape_as_the_bound_allows(groups: int, escaped: int) -> None:
    found = _bounded(groups, 0.05)
    assert found.promised and found.escape_bound is not None
    assert (found.escape_bound.escaped, found.escape_bound.groups) == (escaped, groups)
    assert found.escape_bound.bound == pytest.approx(upper_bound(escaped, groups, 0.95))
    lowest = (np.arange(groups) + 1) / (groups + 1)
    assert (lowest < found.ok_below["hole"]).sum() == escaped
    assert f"({escaped} of {groups} groups" in found.escape_words


def test_too_few_groups_are_no_promise_and_none_escapes() -> None:
    found = _bounded(58, 0.05, parts=5)  # more pictures of the same pieces change nothing
    assert not found.promised and found.escape_bound is not None
    assert found.escape_bound.escaped == 0 and found.escape_bound.groups == 58
    assert found.ok_below["hole"] < 1 / 59
    assert found.escape_words == (
        "5.0% escape is not promised: 0 of 58 groups with defects escape on VAL shows at most "
        "5.0% escape with 95% confidence; 5.0% needs 59 groups"
    ).replace("at most 5.0%", f"at most {upper_bound(0, 58, 0.95):.1%}")


def test_the_promise_holds_for_pieces_that_were_not_seen() -> None:
    """Drawn anew 400 times, the true escape rate is above what was asked in about one of twenty."""
    rng = np.random.default_rng(0)
    broken = 0
    for _ in range(400):
        bad = rng.random(100)  # the true escape rate of a threshold is the threshold
        names = [str(i) for i in range(101)]
        val = parts(np.array([*bad, 0.0]), np.array([True] * 100 + [False]), names)
        table = DecisionTable(max_escape=0.05, max_overkill=0.0, confidence=0.95)
        found = fit_decision(val, ["hole"], table)
        broken += found.ok_below["hole"] > 0.05
    assert 0 < broken < 400 * 0.08  # 5 % and three standard deviations


def test_without_a_confidence_nothing_is_promised() -> None:
    val = parts(np.array([0.1, 0.9]), np.array([False, True]))
    found = fit_decision(val, ["hole"], DecisionTable(max_escape=0.05, max_overkill=0.0))
    assert found.escape_bound is None and not found.promised
    assert "as a point" in found.escape_words


SEVERE = Parts(
    np.array([0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7]),
    np.array(["good", "good", "minor", "minor", "critical", "minor", "critical", "minor"]),
    list("abcdefgh"),
)


def test_a_severity_with_a_rate_of_its_own_lowers_the_threshold() -> None:
    """Half of the six may escape: .2, .3, .4; but no critical one, which .4 is, may."""
    table = DecisionTable(max_escape=0.5, max_overkill=0.0)
    assert fit_decision(SEVERE, ["hole"], table).ok_below["hole"] == pytest.approx(0.45)
    strict = table.model_copy(update={"severity_escape": {"critical": 0.0}})
    found = fit_decision(SEVERE, ["hole"], strict)
    assert found.ok_below["hole"] == pytest.approx(0.35)
    assert found.severity_escape == {"critical": 0.0} and "critical" in found.escape_words
    lax = table.model_copy(update={"severity_escape": {"critical": 0.9}})
    assert fit_decision(SEVERE, ["hole"], lax).ok_below["hole"] == pytest.approx(0.45)


def test_each_severity_has_a_bound_of_its_own() -> None:
    table = DecisionTable(max_escape=0.9, confidence=0.9, severity_escape={"critical": 0.7})
    found = fit_decision(SEVERE, ["hole"], table)
    bound = found.severity_bound["critical"]
    assert (bound.escaped, bound.groups) == (0, 2)
    assert bound.bound == pytest.approx(upper_bound(0, 2, 0.9))  # 1 - 0.1 ** (1 / 2) = 0.684
    assert found.promised and found.ok_below["hole"] == pytest.approx(0.35)
    narrow = table.model_copy(update={"severity_escape": {"critical": 0.6}})
    missed = fit_decision(SEVERE, ["hole"], narrow)
    assert not missed.promised
    assert "60.0% escape is not promised: 0 of 2 groups with critical defects" in (
        missed.escape_words
    )


def test_a_severity_that_val_lacks_is_refused() -> None:
    table = DecisionTable(severity_escape={"major": 0.1})
    with pytest.raises(GateError, match="no threshold can be set for major defects"):
        fit_decision(SEVERE, ["hole"], table)


def test_the_cheapest_thresholds_by_hand() -> None:
    """Of four good parts (.05 .1 .3 .4) and four bad ones (.2 .6 .8 .9), one of five is bad.

    Free review: everything doubtful is reviewed, so the widest band wins. Dear review: a single
    threshold, where an escape (0.2 / 4 x 100 = 5) is weighed against an overkill (0.8 / 4 x 10, so
    2): at .15 two good parts are rejected and none escapes, 4; at .5 one bad part escapes, 5.
    """
    value, is_defect = np.array([*FINE, *BAD]), np.array([False] * 4 + [True] * 4)
    val = parts(value, is_defect)

    def cheapest(review: float, **rates: float) -> tuple[float, float]:
        costs = CostTable(escape=100, overkill=10, review=review, defect_rate=0.2)
        table = DecisionTable(**({"max_escape": 0.9, "max_overkill": 0.9} | rates), costs=costs)
        found = fit_decision(val, ["hole"], table)
        return found.ok_below["hole"], found.ng_above["hole"]

    low, high = cheapest(review=0.0)
    assert low <= 0.15 + 1e-9 and high >= 0.5 - 1e-9
    assert cheapest(review=1000.0) == pytest.approx((0.15, 0.15))
    assert cheapest(review=1000.0, max_overkill=0.0) == pytest.approx((0.5, 0.5))
    # rates come first: nothing may escape and no good part be rejected, whatever review costs
    assert cheapest(review=1000.0, max_escape=0.0, max_overkill=0.0) == pytest.approx((0.15, 0.5))


def test_what_a_thousand_parts_cost() -> None:
    judged = [Verdict.OK, Verdict.REVIEW, Verdict.NG, Verdict.OK, Verdict.NG]
    is_defect = np.array([False, False, False, True, True])
    costs = CostTable(escape=100, overkill=10, review=1, defect_rate=0.1)
    assert expected_cost(judged, is_defect, costs) == {
        "total": 8300.0,
        "escape": 5000.0,  # half of 100 bad parts
        "overkill": 3000.0,  # a third of 900 good ones
        "review": 300.0,
    }


def test_verdicts_of_a_thousand() -> None:
    judged = [Verdict.OK, Verdict.OK, Verdict.REVIEW, Verdict.NG, Verdict.OK, Verdict.NG]
    found = per_thousand(judged, np.array([False, False, False, True, True, True]))
    assert found == {
        "good": {"OK": 667, "REVIEW": 333, "NG": 0},
        "bad": {"OK": 333, "REVIEW": 0, "NG": 667},
    }
