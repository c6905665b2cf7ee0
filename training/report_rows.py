"""The tables and lists of a report, from a split as a model judged it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from qc import metrics
from qc.binomial import exact_interval
from qc.decide import groups_needed
from qc.types import Sample, Verdict
from training.audit import FEW_GROUPS
from training.judged import Judged
from training.split import SPLITS, group_of

LISTED = 20
"""Parts of each list that are shown."""

CONFIDENT = 0.9
"""From this probability on, a model that contradicts a label is confident."""

BINS = 10


def rate_of(happened: np.ndarray, groups: Sequence[str]) -> dict[str, Any] | None:
    """A share with its intervals; None of nothing.

    Args:
        happened: `(N,)` bool.
        groups: of the N parts.

    Returns:
        count, n, rate; parts: exact interval as if parts were independent; over_groups: by
        bootstrap over groups; low, high: the wider of both; groups: how many; groups_hit: in how
        many it happened, with their exact interval groups_ci.
    """
    n = len(happened)
    if n == 0:
        return None
    count = int(happened.sum())
    names = list(groups)
    parts = exact_interval(count, n) or (0.0, 1.0)
    over = metrics.share_interval(happened, names) or (0.0, 1.0)
    hit = len({g for g, yes in zip(names, happened, strict=True) if yes})
    total = len(set(names))
    return {
        "count": count,
        "n": n,
        "rate": count / n,
        "parts": parts,
        "over_groups": over,
        "low": min(parts[0], over[0]),
        "high": max(parts[1], over[1]),
        "groups": total,
        "groups_hit": hit,
        "groups_ci": exact_interval(hit, total),
    }


def flow(judged: Judged) -> list[dict[str, Any]]:
    """What becomes of 1,000 good and of 1,000 bad parts: kind, and a rate of each verdict."""
    rows = []
    for kind, among in (("good", ~judged.is_defect), ("bad", judged.is_defect)):
        groups = [g for g, yes in zip(judged.groups, among, strict=True) if yes]
        found = judged.verdicts[among]
        words = [Verdict.OK, Verdict.NG]
        if judged.decision is not None:
            words.insert(1, Verdict.REVIEW)
        if (found == str(Verdict.FAULT)).any():
            words.append(Verdict.FAULT)
        rates = {str(w): rate_of(found == str(w), groups) for w in words}
        rows.append({"kind": kind, "n": int(among.sum()), "rates": rates})
    return rows


def rates(judged: Judged) -> dict[str, Any]:
    """Rates of escape, overkill and review with their intervals; None where there is nothing."""
    by_kind = {row["kind"]: row["rates"] for row in flow(judged)}
    review = judged.verdicts == str(Verdict.REVIEW)
    return {
        "escape": by_kind["bad"]["OK"],
        "overkill": by_kind["good"]["NG"],
        "review": None if judged.decision is None else rate_of(review, judged.groups),
    }


def reliability_bins(judged: Judged, score: np.ndarray) -> list[dict[str, float]]:
    """Mean confidence, share that is right and count of each tenth of the confidence.

    Args:
        judged: the split.
        score: `(N, K)`, calibrated or not. Of several defects, "is this defect there" is asked of
            each.
    """
    if judged.several:
        there = np.delete(score, judged.good_index, axis=1).ravel()
        truth = np.delete(judged.truth, judged.good_index, axis=1).ravel()
        confidence, right = np.maximum(there, 1 - there), (there >= metrics.SHOWN) == truth
    else:
        confidence, right = score.max(axis=1), score.argmax(axis=1) == judged.images.labels
    which = np.minimum((confidence * BINS).astype(int), BINS - 1)
    return [
        {
            "confidence": float(confidence[which == b].mean()),
            "right": float(right[which == b].mean()),
            "n": int((which == b).sum()),
        }
        for b in range(BINS)
        if (which == b).any()
    ]


def calibration_error(judged: Judged, score: np.ndarray) -> float:
    """ECE of calibrated or other scores `(N, K)`."""
    if judged.several:
        return metrics.calibration_of_several(judged.truth, score, judged.good_index)
    return metrics.expected_calibration_error(score, judged.images.labels)


def mistakes(judged: Judged) -> list[int]:
    """Rows that were judged wrong, the worst first: bad parts passed, good ones rejected, and by
    how far the score was off; then wrong names of a defect."""
    bad, value = judged.is_defect, judged.value
    escaped = bad & (judged.verdicts == str(Verdict.OK))
    rejected = ~bad & (judged.verdicts == str(Verdict.NG))
    named = bad & (judged.verdicts == str(Verdict.NG)) & (judged.said != judged.truth).any(axis=1)
    off = np.where(bad, 1 - value, value) + 2.0 * (escaped | rejected)
    rows = np.flatnonzero(escaped | rejected | named)
    return [int(i) for i in rows[np.lexsort((rows, -off[rows]))]]


def doubtful(judged: Judged) -> list[int]:
    """Rows by the distance of their score to the nearest threshold, the closest first."""
    value, name = judged.value, [judged.classes[k] for k in judged.likely]
    if judged.decision is None:
        gap = np.abs(value - metrics.SHOWN)
    else:
        low = np.array([judged.decision.ok_below[n] for n in name])
        high = np.array([judged.decision.ng_above[n] for n in name])
        gap = np.minimum(np.abs(value - low), np.abs(value - high))
    rows = np.arange(len(value))
    return [int(i) for i in np.lexsort((rows, gap))]


def suspects(judged: Judged) -> list[int]:
    """Rows whose label the model contradicts with a probability of 0.9 or more, surest first."""
    against = np.where(judged.truth, 1 - judged.score, judged.score)
    if judged.several:
        against = np.delete(against, judged.good_index, axis=1)
        sure = against.max(axis=1)
    else:
        sure = np.where(judged.truth, 0.0, judged.score).max(axis=1)
    rows = np.flatnonzero(sure >= CONFIDENT)
    return [int(i) for i in rows[np.lexsort((rows, -sure[rows]))]]


def deal(samples: Sequence[Sample], classes: Sequence[str]) -> list[dict[str, Any]]:
    """Images and groups of each class in each split."""
    rows = []
    for name in classes:
        cells = []
        for split in SPLITS:
            held = [s for s in samples if s.split == split and name in s.labels]
            cells.append({"images": len(held), "groups": len({group_of(s) for s in held})})
        rows.append({"class": name, "cells": cells})
    return rows


def cannot_say(judged: Judged, figures: Mapping[str, Any], samples: Sequence[Sample]) -> list[str]:
    """What this evaluation does not show, in sentences.

    Args:
        judged: the split.
        figures: of `qc evaluate --json`.
        samples: of all splits.
    """
    found = []
    groups = Counter(
        name
        for name, _ in {(label, group_of(s)) for s in judged.images.samples for label in s.labels}
    )
    for name in judged.classes:
        if groups[name] == 0:
            found.append(f"{name}: {judged.split.upper()} has no such part; nothing is known of it")
    few = [f"{name} {groups[name]}" for name in judged.classes if 0 < groups[name] < FEW_GROUPS]
    if few:
        found.append(
            f"how other lots do: parts of few groups stand behind a class ({', '.join(few)} "
            "groups); another one may look different, and no interval can show what is not here"
        )
    if len(set(judged.groups)) == len(judged.images) > 1:
        found.append(
            "no two parts share a group: where several pictures show one piece or lot, the "
            "intervals are too narrow"
        )
    found += _of_thresholds(judged)
    if figures["localisation"]["n"] == 0:
        found.append("whether the map finds the defect: no mask, or no map, to compare")
    if judged.split != "test":
        found.append(
            f"how the model does on parts that nothing was set by: {judged.split.upper()} was used "
            "in training or to set the thresholds"
        )
    kinds = sum(s.split == judged.split for s in samples)
    share = float(judged.is_defect.mean())
    found.append(
        f"how many of the parts flagged on a line are bad: among these {kinds} parts {share:.0%} "
        "are bad, on a line usually far fewer; escape and overkill do not depend on that share, "
        "precision does"
    )
    found.append(
        "anything about defects, products, lamps or cameras that are not in the data; labels are "
        "taken to be right but for those listed as suspected"
    )
    return found


def _of_thresholds(judged: Judged) -> list[str]:
    decision = judged.decision
    if decision is None:
        return [
            "escape, overkill and review at thresholds: a run has none. A part counts as passed "
            "where good is the likeliest class; export the run, and evaluate the bundle"
        ]
    if decision.promised:
        return []
    bound = decision.escape_bound
    confidence = 0.95 if bound is None else bound.confidence
    need = groups_needed(decision.max_escape, confidence) if decision.max_escape > 0 else None
    words = (
        "the thresholds were set without a confidence"
        if bound is None
        else ("the confidence asked for the thresholds is not reached")
    )
    more = (
        ""
        if need is None
        else (
            f"; {decision.max_escape:.1%} escape with {confidence:.0%} confidence needs {need} "
            "groups with bad parts, none of which escapes"
        )
    )
    return [f"a promise about parts nobody has seen: {words}{more}"]
