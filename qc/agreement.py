"""How far people, and the model, agree on the same parts: an attribute measurement-system analysis.

J. Cohen, "A coefficient of agreement for nominal scales", Educational and Psychological
Measurement 20, 1960; J. L. Fleiss, "Measuring nominal scale agreement among many raters",
Psychological Bulletin 76, 1971. Miss and false-alarm rates as in the Automotive Industry Action
Group's "Measurement Systems Analysis", 4th edition, with exact intervals.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qc.binomial import rate

MODEL = "model"
_Z = 1.959964
"""Of a two-sided 95 % interval."""


@dataclass(frozen=True, slots=True)
class Judged:
    """One person's decision on one part.

    Args:
        part: the inspection.
        person: who.
        defect: whether it was found NG.
        blind: whether the person could not see what others, or the model, had said.
    """

    part: str
    person: str
    defect: bool
    blind: bool = False


def cohen_kappa(table: NDArray[Any]) -> dict[str, float | None]:
    """Cohen's kappa of two raters.

    Args:
        table: `(K, K)` how many parts (or which share) the first put into the row's category, and
            the second into the column's.

    Returns:
        observed and expected agreement and kappa; kappa is None where it is not defined: all of
        both are in one category, or there is no part.
    """
    total = float(table.sum())
    if total == 0:
        return {"observed": None, "expected": None, "kappa": None}
    shares = table / total
    observed = float(np.trace(shares))
    expected = float(shares.sum(axis=1) @ shares.sum(axis=0))
    return _kappa(observed, expected)


def cohen_interval(kappa: Mapping[str, float | None], n: int) -> tuple[float, float] | None:
    """Approximate 95 % interval of Cohen's kappa (equation 7 of the paper), for n parts."""
    observed, expected, value = kappa["observed"], kappa["expected"], kappa["kappa"]
    if observed is None or expected is None or value is None:
        return None
    error = math.sqrt(observed * (1 - observed) / n) / (1 - expected)
    return max(-1.0, value - _Z * error), min(1.0, value + _Z * error)


def fleiss_kappa(counts: NDArray[Any]) -> dict[str, float | None]:
    """Fleiss' kappa of many raters.

    Args:
        counts: `(N, K)` how many raters put each part into each category. Where parts have
            different numbers of raters, each pair of ratings counts the same; parts with fewer than
            two say nothing and are left out.

    Returns:
        As `cohen_kappa`.
    """
    kept = counts[counts.sum(axis=1) >= 2]
    if len(kept) == 0:
        return {"observed": None, "expected": None, "kappa": None}
    raters = kept.sum(axis=1)
    observed = float((kept * (kept - 1)).sum() / (raters * (raters - 1)).sum())
    shares = kept.sum(axis=0) / kept.sum()
    return _kappa(observed, float(shares @ shares))


def _kappa(observed: float, expected: float) -> dict[str, float | None]:
    value = None if expected >= 1 else (observed - expected) / (1 - expected)
    return {"observed": observed, "expected": expected, "kappa": value}


def agreement(
    judged: Sequence[Judged], verdicts: Mapping[str, str], *, blind: bool = False
) -> dict[str, Any]:
    """Everything of the agreement page.

    Of each person the last decision on a part counts. The reference of a part is what most people
    decided, or where they are split, what was decided last.

    Args:
        judged: decisions, the oldest first.
        verdicts: part -> the model's verdict.
        blind: count only decisions made without sight of another's: the first on a part, and
            those that are marked blind.

    Returns:
        parts with a decision, parts that two or more people judged (`twice`); pairs: each two
        people with their parts, table and Cohen's kappa; fleiss: over all people, where more than
        two; raters: each person, over the parts of two or more, and the model, over all parts
        with a verdict of OK or NG: miss and false_alarm as count, n, rate, low, high.
    """
    parts: dict[str, dict[str, bool]] = defaultdict(dict)
    for one in judged:
        if blind and parts[one.part] and not one.blind:
            continue
        parts[one.part].pop(one.person, None)  # the last decision stands last
        parts[one.part][one.person] = one.defect
    twice = {part: said for part, said in parts.items() if len(said) > 1}
    people = sorted({person for said in twice.values() for person in said})
    truth = {part: _reference(list(said.values())) for part, said in parts.items()}
    counts = np.array([[sum(s.values()), len(s) - sum(s.values())] for s in twice.values()])
    model = {p: v == "NG" for p, v in verdicts.items() if p in truth and v in ("OK", "NG")}
    raters = [
        _rater(name, {part: said[name] for part, said in twice.items() if name in said}, truth)
        for name in people
    ]
    if model:
        raters.append(_rater(MODEL, model, truth) | {"is_model": True})
    return {
        "parts": len(parts),
        "twice": len(twice),
        "people": people,
        "blind": blind,
        "pairs": [pair for two in combinations(people, 2) if (pair := _pair(*two, twice))["n"]],
        "fleiss": fleiss_kappa(counts) if len(people) > 2 else None,
        "raters": raters,
    }


def _reference(said: list[bool]) -> bool:
    votes = Counter(said)
    return said[-1] if votes[True] == votes[False] else votes[True] > votes[False]


def _pair(first: str, second: str, parts: Mapping[str, Mapping[str, bool]]) -> dict[str, Any]:
    table = np.zeros((2, 2), int)
    for said in parts.values():
        if first in said and second in said:
            table[0 if said[first] else 1, 0 if said[second] else 1] += 1
    n = int(table.sum())
    kappa = cohen_kappa(table)
    low, high = cohen_interval(kappa, n) or (None, None)
    return {"first": first, "second": second, "n": n, "table": table.tolist()} | {
        **kappa,
        "low": low,
        "high": high,
    }


def _rater(name: str, said: Mapping[str, bool], truth: Mapping[str, bool]) -> dict[str, Any]:
    bad = [part for part in said if truth[part]]
    fine = [part for part in said if not truth[part]]
    return {
        "name": name,
        "is_model": False,
        "n": len(said),
        "miss": rate(sum(not said[part] for part in bad), len(bad)),
        "false_alarm": rate(sum(said[part] for part in fine), len(fine)),
    }


def mcnemar(first_only: int, second_only: int) -> float:
    """Exact two-sided p of McNemar's test: the binomial test of the pairs that differ.

    Q. McNemar, "Note on the sampling error of the difference between correlated proportions or
    percentages", Psychometrika 12, 1947.

    Args:
        first_only: pairs in which only the first was right.
        second_only: pairs in which only the second was.
    """
    n, least = first_only + second_only, min(first_only, second_only)
    tail = sum(math.comb(n, k) for k in range(least + 1))
    return min(1.0, float(2 * tail / 2**n))
