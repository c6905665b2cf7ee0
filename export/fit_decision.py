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

A severity with a rate of its own is bounded in the same way over its own defects. All share the
thresholds, so the lowest that any of the rates asks for holds for every one of them. Where costs
are given, `ok_below` and `ng_above` are the cheapest pair that keeps within these rates.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from qc import metrics
from qc.decide import DecisionSpec, EscapeBound
from qc.errors import GateError
from qc.recipe import CostTable, DecisionTable
from qc.types import Verdict

_NEVER = 1.01
"""A threshold no score reaches."""

_JUDGED = (Verdict.OK, Verdict.REVIEW, Verdict.NG)


@dataclass(frozen=True)
class Parts:
    """What thresholds are set on: N parts of VAL.

    Args:
        value: `(N,)` defect scores in [0, 1], calibrated.
        severity: `(N,)` of the defect; "good" of a good part.
        groups: `(N,)` names.
    """

    value: np.ndarray
    severity: np.ndarray
    groups: Sequence[str]

    @property
    def bad(self) -> np.ndarray:
        """`(N,)` bool."""
        return self.severity != "good"


def fit_decision(parts: Parts, defects: Sequence[str], table: DecisionTable) -> DecisionSpec:
    """Set the thresholds of every defect class.

    Args:
        parts: VAL, as the quantised model sees it.
        defects: names of the defect classes; all share one pair of thresholds.
        table: the rates asked for, the confidence and the costs.

    Raises:
        GateError: VAL lacks defects, good parts or defects of a severity that has a rate of its
            own, so no threshold means anything.
    """
    bad, fine = np.sort(parts.value[parts.bad]), np.sort(parts.value[~parts.bad])
    if len(bad) == 0 or len(fine) == 0:
        raise GateError(
            "thresholds cannot be set",
            where="VAL",
            expected="good parts and defects",
            found=f"{len(fine)} good, {len(bad)} defects",
        )
    steps = np.array(_between(parts.value))
    limit = _highest(parts, parts.bad, steps, table.max_escape, table.confidence)
    for severity, rate in table.severity_escape.items():
        rows = parts.severity == severity
        if not rows.any():
            raise GateError(
                f"no threshold can be set for {severity} defects",
                where="VAL",
                expected=f"defects whose data.severity is {severity}",
                found="none",
            )
        limit = min(limit, _highest(parts, rows, steps, rate, table.confidence))
    rejected = len(fine) - np.searchsorted(fine, steps)
    high_enough = rejected <= table.max_overkill * len(fine)
    if table.costs is None:
        low, high = limit, float(steps[(steps >= limit) & high_enough].min())
    else:
        low, high = _cheapest(bad, fine, steps, steps <= limit, high_enough, table.costs)
    low, high = round(low, 6), round(high, 6)
    bounds = {}
    if table.confidence is not None:
        rows_of = {s: parts.severity == s for s in table.severity_escape} | {"": parts.bad}
        bounds = {s: _bound(parts, rows, low, table.confidence) for s, rows in rows_of.items()}
    return DecisionSpec(
        ok_below=dict.fromkeys(defects, low),
        ng_above=dict.fromkeys(defects, high),
        max_escape=table.max_escape,
        max_overkill=table.max_overkill,
        escape_bound=bounds.pop("", None),
        severity_escape={str(s): rate for s, rate in table.severity_escape.items()},
        severity_bound={str(s): bound for s, bound in bounds.items()},
    )


def _highest(
    parts: Parts, rows: np.ndarray, steps: np.ndarray, rate: float, confidence: float | None
) -> float:
    """The highest step below which no more of these bad parts score than the rate allows."""
    if confidence is None:
        lowest = np.sort(parts.value[rows])
        allowed = rate * len(lowest)
    else:
        lowest = _lowest_of_groups(parts.value, rows, parts.groups)
        allowed = _allowed(len(lowest), rate, confidence)
    return float(steps[np.searchsorted(lowest, steps) <= allowed].max())


def _bound(parts: Parts, rows: np.ndarray, low: float, confidence: float) -> EscapeBound:
    lowest = _lowest_of_groups(parts.value, rows, parts.groups)
    escaped, n = int(np.searchsorted(lowest, low)), len(lowest)
    bound = metrics.upper_bound(escaped, n, confidence)
    return EscapeBound(confidence=confidence, bound=bound, escaped=escaped, groups=n)


def _cheapest(
    bad: np.ndarray,
    fine: np.ndarray,
    steps: np.ndarray,
    low_legal: np.ndarray,
    high_legal: np.ndarray,
    costs: CostTable,
) -> tuple[float, float]:
    """The pair of steps with the lowest expected cost of a part; the highest of equal ones."""
    below_bad = np.searchsorted(bad, steps) / len(bad)
    below_fine = np.searchsorted(fine, steps) / len(fine)
    share, rest = costs.defect_rate, 1 - costs.defect_rate
    # a part between the thresholds is reviewed: under `high`, less what is under `low`
    of_low = share * below_bad * (costs.escape - costs.review) - rest * below_fine * costs.review
    of_high = rest * (1 - below_fine) * costs.overkill
    of_high = of_high + (share * below_bad + rest * below_fine) * costs.review
    total = np.where(low_legal, of_low, np.inf)[:, None] + np.where(high_legal, of_high, np.inf)
    total[np.tril_indices(len(steps), -1)] = np.inf  # ok_below never above ng_above
    rows, columns = np.nonzero(total <= total.min() + 1e-12)
    row, column = max(zip(rows, columns, strict=True))
    return float(steps[row]), float(steps[column])


def expected_cost(
    judged: Sequence[Verdict], is_defect: np.ndarray, costs: CostTable
) -> dict[str, float]:
    """What 1,000 parts of the line cost by these verdicts, in all and by kind."""
    found = np.array([str(v) for v in judged])
    bad, fine = (found[rows] for rows in (is_defect, ~is_defect))
    share, rest = costs.defect_rate, 1 - costs.defect_rate
    reviewed = share * (bad == Verdict.REVIEW).mean() + rest * (fine == Verdict.REVIEW).mean()
    kinds = {
        "escape": 1000 * share * float((bad == Verdict.OK).mean()) * costs.escape,
        "overkill": 1000 * rest * float((fine == Verdict.NG).mean()) * costs.overkill,
        "review": 1000 * float(reviewed) * costs.review,
    }
    return {"total": round(sum(kinds.values()), 2)} | {k: round(v, 2) for k, v in kinds.items()}


def _lowest_of_groups(value: np.ndarray, rows: np.ndarray, groups: Sequence[str]) -> np.ndarray:
    """The lowest score of a bad part of each group that has one of these, sorted."""
    names, group = np.unique(np.asarray(groups)[rows], return_inverse=True)
    lowest = np.full(len(names), np.inf)
    np.minimum.at(lowest, group, value[rows])
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
