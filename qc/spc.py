"""Statistical process control: p-chart, Western Electric rules, Pareto and drift, pure functions.

Western Electric Company, "Statistical Quality Control Handbook", 1956, for the rules; D. C.
Montgomery, "Introduction to Statistical Quality Control", for the p-chart with a varying number of
parts; N. Siddiqi, "Credit Risk Scorecards", 2006, for the population stability index.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

RULES = {
    1: "one point beyond 3 sigma",
    2: "two of three points in a row beyond 2 sigma, on one side",
    3: "four of five points in a row beyond 1 sigma, on one side",
    4: "eight points in a row on one side of the centre",
}

_WINDOWS = {1: (1, 1, 3.0), 2: (3, 2, 2.0), 3: (5, 4, 1.0), 4: (8, 8, 0.0)}
"""Rule -> points looked at, how many of them must lie out, and beyond how many sigma."""

PSI_SOME, PSI_MUCH = 0.1, 0.25
"""From here on a distribution is usually said to have moved a little, and much."""

_ROUNDING = 1e-9
_LEAST_SHARE = 1e-4
"""An empty bin counts as this share: its logarithm would be infinite."""


@dataclass(frozen=True, slots=True)
class Point:
    """One subgroup of a p-chart.

    Args:
        label: what it is a subgroup of: a day, a shift, a lot.
        count, n: defective parts, and all.
        low, high: control limits at this n, within [0, 1].
        rules: numbers of the Western Electric rules that it completes.
    """

    label: str
    count: int
    n: int
    low: float
    high: float
    rules: tuple[int, ...]

    @property
    def rate(self) -> float:
        """Share of defective parts."""
        return self.count / self.n


def western_electric(z: Sequence[float]) -> list[tuple[int, ...]]:
    """The rules that each point completes.

    Args:
        z: distance of each point from the centre line, in sigma of that point.

    Returns:
        For each point the numbers of the rules (see `RULES`) that it completes: it lies out itself,
        and so do enough of the points before it, on its side.
    """
    marks = []
    for end in range(len(z)):
        side = math.copysign(1.0, z[end])
        found = []
        for rule, (window, least, sigma) in _WINDOWS.items():
            last = z[max(0, end + 1 - window) : end + 1]
            out = [value * side > sigma + _ROUNDING for value in last]
            if out[-1] and sum(out) >= least:
                found.append(rule)
        marks.append(tuple(found))
    return marks


def p_chart(groups: Sequence[tuple[str, int, int]]) -> tuple[float | None, list[Point]]:
    """Centre line and points with 3-sigma limits.

    Args:
        groups: label, defective parts and all parts of each subgroup, in order of time; those
            without parts are left out.

    Returns:
        The mean share (None where there is no part), and the points.
    """
    kept = [group for group in groups if group[2] > 0]
    total = sum(n for _, _, n in kept)
    if total == 0:
        return None, []
    centre = sum(count for _, count, _ in kept) / total
    sigmas = [math.sqrt(centre * (1 - centre) / n) for _, _, n in kept]
    z = [
        (count / n - centre) / sigma if sigma > 0 else 0.0
        for (_, count, n), sigma in zip(kept, sigmas, strict=True)
    ]
    marks = western_electric(z)
    points = [
        Point(name, count, n, max(0.0, centre - 3 * s), min(1.0, centre + 3 * s), rules)
        for (name, count, n), s, rules in zip(kept, sigmas, marks, strict=True)
    ]
    return centre, points


def pareto(counts: Mapping[str, int]) -> list[dict[str, Any]]:
    """Kinds from the most frequent to the rarest: name, count, share, cumulative share."""
    total, running, rows = sum(counts.values()), 0, []
    for name, count in sorted(counts.items(), key=lambda item: (-item[1], item[0])):
        if count:
            running += count
            rows.append(
                {"name": name, "count": count, "share": count / total, "sum": running / total}
            )
    return rows


def histogram_quantiles(bins: NDArray[np.int64], shares: Sequence[float]) -> list[float]:
    """Quantiles of values in [0, 1] from their counts in bins of equal width.

    Args:
        bins: `(B,)` counts, at least one value in all.
        shares: which quantiles, in (0, 1).

    Returns:
        The middle of the bin that each falls into: right to half a bin.
    """
    running = np.cumsum(bins)
    places = np.searchsorted(running, np.asarray(shares) * running[-1], side="left")
    return [float((place + 0.5) / len(bins)) for place in places]


def stability_index(reference: NDArray[np.int64], now: NDArray[np.int64], parts: int = 10) -> float:
    """Population stability index of `now` against `reference`: the sum of (a - e) ln(a / e).

    Args:
        reference, now: `(B,)` counts in the same bins, at least one value in each.
        parts: the bins are joined to so many of about equal share of the reference.
    """
    running = np.cumsum(reference) / reference.sum()
    edges = np.searchsorted(running, np.arange(1, parts) / parts, side="left")
    part = np.searchsorted(edges, np.arange(len(reference)), side="left")
    joined = [np.bincount(part, bins, parts)[np.unique(part)] for bins in (reference, now)]
    expected, actual = (np.maximum(n / n.sum(), _LEAST_SHARE) for n in joined)
    return float(((actual - expected) * np.log(actual / expected)).sum())
