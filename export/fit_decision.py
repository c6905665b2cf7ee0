"""Thresholds from the int8 model's own defect scores on VAL, set by the rates that were asked for.

`ok_below` is the highest threshold at which no more than `max_escape` of the bad parts score below
it; `ng_above` is the lowest, not under it, at which no more than `max_overkill` of the good parts
score on or above it. Between the two a person decides.

With a confidence `ok_below` is lower: so many groups of VAL may escape that the exact upper bound
of the rate over groups is still `max_escape`. Pictures of one piece are alike, so a group counts
once, and escapes where any of its bad parts does. How many may is known before a score is seen: the
threshold is an order statistic of the groups' lowest scores, and the bound holds for it although it
was chosen on the same groups (Wilks, "Determination of sample sizes for setting tolerance limits",
Annals of Mathematical Statistics 1941). It does not hold for pieces of another kind, and VAL has
also chosen the epoch. Where VAL has too few groups, none may escape, and the bundle says what that
shows in place of a promise.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from qc import metrics
from qc.decide import DecisionSpec, EscapeBound
from qc.errors import GateError
from qc.types import Verdict

_NEVER = 1.01
"""A threshold no score reaches."""

_JUDGED = (Verdict.OK, Verdict.REVIEW, Verdict.NG)


def fit_decision(
    defect_score: np.ndarray,
    is_defect: np.ndarray,
    *,
    defects: Sequence[str],
    max_escape: float,
    max_overkill: float,
    groups: Sequence[str] = (),
    confidence: float | None = None,
) -> DecisionSpec:
    """Set the thresholds of every defect class.

    Args:
        defect_score: `(N,)` in [0, 1], of the int8 model on VAL.
        is_defect: `(N,)` bool.
        defects: names of the defect classes; in this version all share one pair of thresholds.
        max_escape, max_overkill: rates on VAL.
        groups: `(N,)` names, where a confidence is asked for.
        confidence: that `max_escape` is to hold with, or None: as a point on VAL.

    Raises:
        GateError: VAL lacks defects or good parts, so no threshold means anything.
    """
    bad = np.sort(defect_score[is_defect])
    fine = np.sort(defect_score[~is_defect])
    if len(bad) == 0 or len(fine) == 0:
        raise GateError(
            "thresholds cannot be set",
            where="VAL",
            expected="good parts and defects",
            found=f"{len(fine)} good, {len(bad)} defects",
        )
    steps = _between(defect_score)
    lowest, allowed = bad, max_escape * len(bad)
    if confidence is not None:
        lowest = _lowest_of_groups(defect_score, is_defect, groups)
        allowed = _allowed(len(lowest), max_escape, confidence)
    ok_below = max(t for t in steps if np.searchsorted(lowest, t) <= allowed)
    ng_above = min(
        t
        for t in steps
        if t >= ok_below and len(fine) - np.searchsorted(fine, t) <= max_overkill * len(fine)
    )
    low, high = round(float(ok_below), 6), round(float(ng_above), 6)
    found = None
    if confidence is not None:
        escaped, n = int(np.searchsorted(lowest, low)), len(lowest)
        bound = metrics.upper_bound(escaped, n, confidence)
        found = EscapeBound(confidence=confidence, bound=bound, escaped=escaped, groups=n)
    return DecisionSpec(
        ok_below=dict.fromkeys(defects, low),
        ng_above=dict.fromkeys(defects, high),
        max_escape=max_escape,
        max_overkill=max_overkill,
        escape_bound=found,
    )


def _lowest_of_groups(
    defect_score: np.ndarray, is_defect: np.ndarray, groups: Sequence[str]
) -> np.ndarray:
    """The lowest score of a bad part of each group that has one, sorted."""
    names, group = np.unique(np.asarray(groups)[is_defect], return_inverse=True)
    lowest = np.full(len(names), np.inf)
    np.minimum.at(lowest, group, defect_score[is_defect])
    return np.sort(lowest)


def _allowed(groups: int, max_escape: float, confidence: float) -> int:
    """How many groups may escape; 0 also where even none shows too little."""
    fits = [k for k in range(groups) if metrics.upper_bound(k, groups, confidence) <= max_escape]
    return max(fits, default=0)


def per_thousand(judged: Sequence[Verdict], is_defect: np.ndarray) -> dict[str, dict[str, int]]:
    """Of 1,000 good and of 1,000 bad parts like those of VAL, how many get which verdict."""
    found = np.array([str(v) for v in judged])
    return {
        kind: {str(v): round(1000 * float((found[rows] == v).mean())) for v in _JUDGED}
        for kind, rows in (("good", ~is_defect), ("bad", is_defect))
    }


def _between(scores: np.ndarray) -> list[float]:
    """Thresholds that lie between the scores that occur, from 0 to one that is never reached."""
    found = np.unique(scores)
    return [0.0, *((found[1:] + found[:-1]) / 2).tolist(), _NEVER]
