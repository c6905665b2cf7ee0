"""The exact interval of a proportion, with numpy alone: the edge has no scipy.

C. J. Clopper and E. S. Pearson, "The use of confidence or fiducial limits illustrated in the case
of the binomial", Biometrika 26, 1934. The binomial tail is summed and its root found by bisection.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

CONFIDENCE = 0.95
_HALVINGS = 60
"""From a width of 1 to below the spacing of doubles."""


def exact_interval(
    count: int, n: int, confidence: float = CONFIDENCE
) -> tuple[float, float] | None:
    """Two-sided exact interval of a proportion; None of nothing.

    Args:
        count: of n.
        n: how many were looked at.
        confidence: that the interval holds the proportion, at least.

    Raises:
        ValueError: count is not from 0 to n.
    """
    if not 0 <= count <= n:
        raise ValueError(f"a count from 0 to {n} is expected, not {count}")
    if n == 0:
        return None
    tail = (1 - confidence) / 2
    # the more parts are bad the more are found: count or more below, count or fewer above
    low = 0.0 if count == 0 else 1 - _upper(n - count, n, tail)
    high = 1.0 if count == n else _upper(count, n, tail)
    return low, high


def _upper(count: int, n: int, tail: float) -> float:
    """The proportion under which `count` or fewer of n are found with probability `tail`."""
    found = np.arange(count + 1)
    step: NDArray[np.float64] = np.log(np.arange(n, n - count, -1) / found[1:])
    ways = np.concatenate([[0.0], np.cumsum(step)])
    low, high = 0.0, 1.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        logs = ways + found * np.log(middle) + (n - found) * np.log1p(-middle)
        if float(np.exp(logs).sum()) > tail:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def rate(count: int, n: int) -> dict[str, float | int | None]:
    """A proportion as JSON values: count, n, rate, and the ends of its exact 95 % interval."""
    interval = exact_interval(count, n)
    low, high = interval or (None, None)
    return {"count": count, "n": n, "rate": count / n if n else None, "low": low, "high": high}
