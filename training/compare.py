"""`qc compare`: two models on the same parts, pair by pair.

Each figure's difference has its interval by a bootstrap over groups in which both models meet the
same draws, so that what is hard for both cancels out. McNemar's exact test asks whether one is
right more often where only one of them is; it takes parts to be independent, the bootstrap does
not.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from qc import metrics
from qc.agreement import mcnemar
from qc.errors import DataError
from qc.types import Verdict
from training.html import fill_page
from training.judged import Judged
from training.report_pictures import figure

SHOWN = 60
"""Flips that are shown as pictures."""


def compared(first: tuple[str, Judged], second: tuple[str, Judged]) -> dict[str, Any]:
    """The keys of `qc compare --json`.

    Args:
        first, second: name, and the same split as each judged it.

    Returns:
        names: of A and B; thresholds: whether each has some; split, n, groups; differences: of
        auroc, accuracy, escape, overkill and review, each with a, b, difference (B - A), interval
        (95 %, paired bootstrap over groups; None with one group) and beyond_chance (the interval
        leaves out 0); all None where there is nothing to count. mcnemar: only_a, only_b (parts
        that only one gives the right classes), p (exact, two-sided). flips: parts with another
        verdict, the gravest first, each with sample_id, group, label, a, b (verdicts), score_a,
        score_b. A run's verdict is OK or NG by its likeliest class, a bundle's is by its
        thresholds.

    Raises:
        DataError: they did not judge the same parts with the same labels.
    """
    a, b = first[1], second[1]
    _require_same(a, b)
    bad = a.is_defect
    everyone = np.ones(len(bad), bool)
    marks = [("accuracy", everyone, _right(a), _right(b))]
    for name, word, among in (
        ("escape", Verdict.OK, bad),
        ("overkill", Verdict.NG, ~bad),
        ("review", Verdict.REVIEW, everyone),
    ):
        marks.append((name, among, a.verdicts == str(word), b.verdicts == str(word)))
    differences = {"auroc": _auroc(a, b)}
    for name, among, of_a, of_b in marks:
        differences[name] = _rate(of_a[among], of_b[among], np.asarray(a.groups)[among].tolist())
    only_a = int((_right(a) & ~_right(b)).sum())
    only_b = int((_right(b) & ~_right(a)).sum())
    return {
        "names": [first[0], second[0]],
        "thresholds": [m.decision is not None for m in (a, b)],
        "split": a.split,
        "n": len(bad),
        "groups": len(set(a.groups)),
        "differences": differences,
        "mcnemar": {"only_a": only_a, "only_b": only_b, "p": mcnemar(only_a, only_b)},
        "flips": [_flip(a, b, row) for row in flips(a, b)],
    }


def flips(a: Judged, b: Judged) -> list[int]:
    """Rows with another verdict: from OK to NG or back first, then by how far the score moved."""
    rows = np.flatnonzero(a.verdicts != b.verdicts)
    review = str(Verdict.REVIEW)
    mild = (a.verdicts == review) | (b.verdicts == review)
    moved = np.abs(a.value - b.value)
    return [int(i) for i in rows[np.lexsort((rows, -moved[rows], mild[rows]))]]


def write_comparison(path: Path, found: dict[str, Any], a: Judged, b: Judged) -> None:
    """Write the page.

    Args:
        path: the HTML file.
        found: of `compared`.
        a, b: the split as each judged it.

    Raises:
        FaultError: the file cannot be written.
    """
    rows = flips(a, b)[:SHOWN]
    fill_page(path, "compare.html", found=found, pairs=[(figure(a, i), figure(b, i)) for i in rows])


def _require_same(a: Judged, b: Judged) -> None:
    """Refuse two models that judged other parts, or parts labelled otherwise."""
    parts = [
        [(s.sample_id, m.names(t)) for s, t in zip(m.images.samples, m.truth, strict=True)]
        for m in (a, b)
    ]
    if a.good == b.good and parts[0] == parts[1]:
        return
    other = sorted(set(parts[0]) ^ set(parts[1]))
    raise DataError(
        f"the two did not judge the same parts of {a.split.upper()}",
        expected="runs of one split with the same labels",
        found=f"{len(other)} parts that differ" + (f", such as {other[0][0]}" if other else ""),
    )


def _right(judged: Judged) -> np.ndarray:
    """`(N,)` bool: exactly the right classes."""
    return np.asarray((judged.said == judged.truth).all(axis=1))


def _auroc(a: Judged, b: Judged) -> dict[str, Any]:
    values = [metrics.auroc(m.is_defect, m.value) for m in (a, b)]
    draws = [metrics.auroc_draws(m.is_defect, m.value, m.groups) for m in (a, b)]
    return _row(values[0], values[1], draws[1] - draws[0], len(set(a.groups)))


def _rate(of_a: np.ndarray, of_b: np.ndarray, groups: list[str]) -> dict[str, Any]:
    if len(of_a) == 0:
        return _row(None, None, np.zeros(0), 0)
    names, group = np.unique(np.asarray(groups), return_inverse=True)
    moved = np.bincount(group, of_b.astype(float) - of_a)
    drawn = metrics.group_draws(len(names))
    draws = (drawn @ moved) / (drawn @ np.bincount(group))
    return _row(float(of_a.mean()), float(of_b.mean()), draws, len(names))


def _row(a: float | None, b: float | None, draws: np.ndarray, groups: int) -> dict[str, Any]:
    if a is None or b is None:
        return dict.fromkeys(("a", "b", "difference", "interval", "beyond_chance"))
    interval = metrics.interval_of(draws) if groups > 1 else None
    beyond = interval is not None and not interval[0] <= 0 <= interval[1]
    return {"a": a, "b": b, "difference": b - a, "interval": interval, "beyond_chance": beyond}


def _flip(a: Judged, b: Judged, row: int) -> dict[str, Any]:
    return {
        "sample_id": a.images.samples[row].sample_id,
        "group": a.groups[row],
        "label": a.names(a.truth[row]),
        "a": str(a.verdicts[row]),
        "b": str(b.verdicts[row]),
        "score_a": float(a.value[row]),
        "score_b": float(b.value[row]),
    }
