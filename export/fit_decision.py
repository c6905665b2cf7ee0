"""Thresholds from the int8 model's own defect scores on VAL, set by the rates that were asked for.

`ok_below` is the highest threshold at which no more than `max_escape` of the bad parts score below
it; `ng_above` is the lowest, not under it, at which no more than `max_overkill` of the good parts
score on or above it. Between the two a person decides.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from qc.decide import DecisionSpec
from qc.errors import GateError

_NEVER = 1.01
"""A threshold no score reaches."""


def fit_decision(
    defect_score: np.ndarray,
    is_defect: np.ndarray,
    *,
    defects: Sequence[str],
    max_escape: float,
    max_overkill: float,
) -> DecisionSpec:
    """Set the thresholds of every defect class.

    Args:
        defect_score: `(N,)` in [0, 1], of the int8 model on VAL.
        is_defect: `(N,)` bool.
        defects: names of the defect classes; in this version all share one pair of thresholds.
        max_escape, max_overkill: rates on VAL.

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
    ok_below = max(t for t in steps if np.searchsorted(bad, t) <= max_escape * len(bad))
    ng_above = min(
        t
        for t in steps
        if t >= ok_below and len(fine) - np.searchsorted(fine, t) <= max_overkill * len(fine)
    )
    low, high = round(float(ok_below), 6), round(float(ng_above), 6)
    return DecisionSpec(
        ok_below=dict.fromkeys(defects, low),
        ng_above=dict.fromkeys(defects, high),
        max_escape=max_escape,
        max_overkill=max_overkill,
    )


def _between(scores: np.ndarray) -> list[float]:
    """Thresholds that lie between the scores that occur, from 0 to one that is never reached."""
    found = np.unique(scores)
    return [0.0, *((found[1:] + found[:-1]) / 2).tolist(), _NEVER]
