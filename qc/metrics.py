"""Figures of a model on a split: escape, overkill, AUROC, intervals, calibration, localisation.

scipy and scikit-learn (the `train` extra) are imported where they are used: the edge needs neither.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from qc.binomial import CONFIDENCE, exact_interval

Floats = NDArray[np.floating[Any]]
Bools = NDArray[np.bool_]

BOOTSTRAPS = 1000
SHOWN = 0.5
"""A defect is said to be there from this score on, where a part may have several."""

AUPRO_MAX_FPR = 0.3
"""Bergmann et al., "MVTec AD", CVPR 2019: the per-region overlap is averaged up to this rate."""


def rate_with_interval(count: int, n: int) -> tuple[float | None, tuple[float, float] | None]:
    """A proportion and its exact 95 % interval (Clopper and Pearson, 1934); None of nothing."""
    return (count / n if n else None), exact_interval(count, n, CONFIDENCE)


def upper_bound(count: int, n: int, confidence: float) -> float:
    """Exact one-sided upper bound of a proportion (Clopper and Pearson, 1934).

    Args:
        count: of n, at least 1.
        confidence: that the proportion is not above the bound.
    """
    if count >= n:
        return 1.0
    from scipy.stats import beta

    return float(beta.ppf(confidence, count + 1, n - count))


def auroc(is_defect: Bools, score: Floats) -> float | None:
    """Area under the ROC curve of good against defect; None where one of both is missing."""
    if is_defect.all() or not is_defect.any():
        return None
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score(is_defect, score))


def auroc_draws(is_defect: Bools, score: Floats, groups: Sequence[str], seed: int = 0) -> Floats:
    """The AUROC of each bootstrap over groups; NaN where a draw lacks good parts or defects.

    The same groups and seed give the same draws: two models can be compared pair by pair.
    """
    names, group = np.unique(np.asarray(groups), return_inverse=True)
    levels, level = np.unique(score, return_inverse=True)
    # how many defects and good parts each group has at each level of the score
    bad, fine = (np.zeros((len(names), len(levels))) for _ in range(2))
    np.add.at(bad, (group[is_defect], level[is_defect]), 1)
    np.add.at(fine, (group[~is_defect], level[~is_defect]), 1)
    drawn = group_draws(len(names), seed)
    bad, fine = drawn @ bad, drawn @ fine
    pairs = bad.sum(axis=1) * fine.sum(axis=1)
    below = np.cumsum(fine, axis=1) - fine / 2  # a tie counts half
    area = np.full(BOOTSTRAPS, np.nan)
    np.divide((bad * below).sum(axis=1), pairs, out=area, where=pairs > 0)
    return area


def group_draws(groups: int, seed: int = 0) -> NDArray[np.int64]:
    """How often each group is drawn in each bootstrap, `(BOOTSTRAPS, groups)`."""
    rng = np.random.default_rng(seed)
    return rng.multinomial(groups, np.full(groups, 1 / groups), BOOTSTRAPS)


def interval_of(draws: Floats) -> tuple[float, float] | None:
    """The middle 95 % of the draws that are numbers; None where there is none."""
    draws = draws[~np.isnan(draws)]
    if len(draws) == 0:
        return None
    low, high = np.quantile(draws, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(low), float(high)


def auroc_interval(
    is_defect: Bools, score: Floats, groups: Sequence[str], seed: int = 0
) -> tuple[float, float] | None:
    """95 % interval of the AUROC by bootstrap over groups, since images of a group are alike."""
    return interval_of(auroc_draws(is_defect, score, groups, seed))


def mean_interval(
    values: Floats, groups: Sequence[str], seed: int = 0
) -> tuple[float, float] | None:
    """95 % interval of a mean by bootstrap over groups; None with fewer than two groups."""
    names, group = np.unique(np.asarray(groups), return_inverse=True)
    if len(names) < 2:
        return None
    total, count = np.bincount(group, values), np.bincount(group)
    drawn = group_draws(len(names), seed)
    return interval_of((drawn @ total) / (drawn @ count))


def share_interval(
    found: Bools, groups: Sequence[str], seed: int = 0
) -> tuple[float, float] | None:
    """95 % interval of a share by bootstrap over groups.

    Where all or none is found, every draw is the same and would say "certain": then it is the exact
    interval of as many draws as there are groups.
    """
    if found.all() or not found.any():
        n = len(set(groups))
        return rate_with_interval(n if found.any() else 0, n)[1]
    return mean_interval(found.astype(float), groups, seed)


def average_precision(is_defect: Bools, score: Floats) -> float | None:
    """Area under the precision-recall curve; None where there is no defect."""
    if not is_defect.any():
        return None
    from sklearn.metrics import average_precision_score

    return float(average_precision_score(is_defect, score))


def expected_calibration_error(score: Floats, labels: NDArray[Any], bins: int = 15) -> float:
    """Mean gap between confidence and accuracy (Guo et al., ICML 2017), in equal-width bins.

    Args:
        score: `(N, K)`.
        labels: `(N,)` index of the true class.
        bins: number of bins of the confidence.
    """
    confidence = score.max(axis=1)
    correct = score.argmax(axis=1) == labels
    which = np.minimum((confidence * bins).astype(int), bins - 1)
    total = 0.0
    for b in range(bins):
        inside = which == b
        if inside.any():
            gap = abs(confidence[inside].mean() - correct[inside].mean())
            total += float(gap) * float(inside.mean())
    return total


def classification(score: Floats, labels: NDArray[Any], classes: Sequence[str]) -> dict[str, Any]:
    """Accuracy, macro-F1 over the classes that occur, and confusion[true][predicted]."""
    from sklearn.metrics import confusion_matrix, f1_score

    found = score.argmax(axis=1)
    indices = list(range(len(classes)))
    present = sorted(set(labels.tolist()))
    matrix = confusion_matrix(labels, found, labels=indices)
    return {
        "accuracy": float((found == labels).mean()),
        "macro_f1": float(
            f1_score(labels, found, labels=present, average="macro", zero_division=0)
        ),
        "confusion": {
            classes[i]: {classes[j]: int(matrix[i, j]) for j in indices} for i in indices
        },
    }


def labels_said(score: Floats, good: int, several: bool) -> Bools:
    """The classes a model gives each part.

    Args:
        score: `(N, K)`.
        good: index of the good class.
        several: each defect from a score of 0.5 on, good where there is none; else the class with
            the highest score.

    Returns:
        `(N, K)` bool.
    """
    if not several:
        return np.asarray(np.arange(score.shape[1]) == score.argmax(axis=1)[:, None])
    found = score >= SHOWN
    found[:, good] = False
    found[:, good] = ~found.any(axis=1)
    return np.asarray(found)


def of_each_class(
    truth: Bools, said: Bools, score: Floats, classes: Sequence[str]
) -> dict[str, dict[str, Any]]:
    """Each class against all others.

    Args:
        truth: `(N, K)`, the classes that each part has.
        said: `(N, K)`, those that the model gives it.
        score: `(N, K)`.
        classes: their names.

    Returns:
        By name: n, parts of the class; f1 of `said`; auroc and average_precision of its score. All
        but n are None where they are not defined: the class, or any other part, does not occur.
    """
    found = {}
    for k, name in enumerate(classes):
        n, right = int(truth[:, k].sum()), int((truth[:, k] & said[:, k]).sum())
        found[name] = {
            "auroc": auroc(truth[:, k], score[:, k]),
            "average_precision": average_precision(truth[:, k], score[:, k]),
            "f1": 2 * right / (n + int(said[:, k].sum())) if n else None,
            "n": n,
        }
    return found


def mean_average_precision(each: Mapping[str, Mapping[str, Any]], good: str) -> float | None:
    """Mean over the defect classes that occur, of what `of_each_class` found; None without any."""
    found = [row["average_precision"] for name, row in each.items() if name != good and row["n"]]
    return float(np.mean(found)) if found else None


def several_labels(truth: Bools, said: Bools) -> dict[str, Any]:
    """`classification` where a part may have several defects.

    Args:
        truth, said: `(N, K)`, the classes that a part has and those that the model gives it.

    Returns:
        accuracy: share of parts whose classes are all right and none too many ("subset accuracy",
        "exact match"); macro_f1 over the classes that occur; confusion: None, since a part has no
        one class to be taken for another.
    """
    both = truth & said
    n = truth.sum(axis=0)
    f1 = 2 * both.sum(axis=0)[n > 0] / (n + said.sum(axis=0))[n > 0]
    return {
        "accuracy": float((truth == said).all(axis=1).mean()),
        "macro_f1": float(f1.mean()),
        "confusion": None,
    }


def calibration_of_several(truth: Bools, score: Floats, good: int) -> float:
    """`expected_calibration_error` of the question "is this defect there", over all defects."""
    there = np.delete(score, good, axis=1).ravel()
    labels = np.delete(truth, good, axis=1).ravel().astype(int)
    return expected_calibration_error(np.stack([1 - there, there], axis=1), labels)


def latency_percentiles(milliseconds: Sequence[float]) -> tuple[float | None, float | None]:
    """Median and 99th percentile, ms; None of nothing."""
    if not milliseconds:
        return None, None
    p50, p99 = np.percentile(milliseconds, [50, 99])
    return float(p50), float(p99)


LOCALISATION = (
    "pointing",
    "pointing_ci",
    "pointing_chance",
    "pointing_centre",
    "energy_in_mask",
    "energy_in_pixels",
    "mask_area",
    "pixel_ap",
    "aupro",
)


def points_at(maps: Floats, masks: Bools) -> Bools:
    """Whether the hottest cell of each map touches its mask, `(N,)`; shapes as `localisation`."""
    n, rows, columns = maps.shape
    cells = masks.reshape(n, rows, masks.shape[1] // rows, columns, masks.shape[2] // columns)
    touched = cells.any(axis=(2, 4)).reshape(n, -1)
    return np.asarray(touched[np.arange(n), maps.reshape(n, -1).argmax(axis=1)])


def localisation(maps: Floats, masks: Bools, groups: Sequence[str] | None = None) -> dict[str, Any]:
    """How well maps find the defects.

    The pointing game (Zhang et al., "Top-down Neural Attention by Excitation Backprop", IJCV 2018)
    is won where the hottest cell touches the mask. The paper allows 15 pixels around the mask; here
    the cell, `H / h` pixels wide, is all the tolerance. The energy in the mask is that of Wang et
    al., "Score-CAM", CVPR workshops 2020.

    Args:
        maps: `(N, h, w)` evidence of the defect.
        masks: `(N, H, W)` bool, H and W multiples of h and w; empty for a good part.
        groups: of each sample, for the interval; None: each is one of its own.

    Returns:
        pointing: share of defects whose hottest cell touches the mask; pointing_ci: its interval by
        bootstrap over groups; pointing_chance: the same for a random cell; pointing_centre: the
        same for the cell at the image's centre, the mean of all that meet there;
        energy_in_mask: share of the positive evidence in cells that touch the mask, of a flat map
        pointing_chance; energy_in_pixels: the same of the pixels in the mask, of a flat map
        mask_area; mask_area: share of a defect's image under its mask; pixel_ap: average
        precision over all pixels; aupro: per-region overlap up to 30 % false positives; n: defects
        with a mask. All but n are None where there is none.
    """
    with_defect: Bools = np.asarray(masks.any(axis=(1, 2)))
    found = int(with_defect.sum())
    if found == 0:
        return {**dict.fromkeys(LOCALISATION), "n": 0}
    n, rows, columns = maps.shape
    cells = masks.reshape(n, rows, masks.shape[1] // rows, columns, masks.shape[2] // columns)
    covered = np.asarray(cells.mean(axis=(2, 4)))[with_defect]
    touched = covered > 0
    evidence = maps[with_defect]
    hit = points_at(evidence, masks[with_defect])
    names = np.arange(n).astype(str) if groups is None else np.asarray(groups)
    centre = touched[:, (rows - 1) // 2 : rows // 2 + 1, (columns - 1) // 2 : columns // 2 + 1]
    positive = np.maximum(evidence, 0)
    large = _enlarge(maps, masks.shape[1:])
    return {
        "pointing": float(hit.mean()),
        "pointing_ci": share_interval(hit, names[with_defect].tolist()),
        "pointing_chance": float(touched.mean()),
        "pointing_centre": float(centre.mean()),
        "energy_in_mask": _share_inside(positive, touched),
        "energy_in_pixels": _share_inside(positive, covered),
        "mask_area": float(covered.mean()),
        "pixel_ap": average_precision(masks.ravel(), large.ravel()),
        "aupro": _aupro(large, masks),
        "n": found,
    }


def _share_inside(positive: Floats, inside: NDArray[Any]) -> float:
    """Mean share of the evidence that is inside; 0 of a map without any."""
    total = positive.sum(axis=(1, 2))
    part = (positive * inside).sum(axis=(1, 2))
    return float(np.divide(part, total, out=np.zeros_like(total), where=total > 0).mean())


def _enlarge(maps: Floats, size_hw: tuple[int, ...]) -> Floats:
    size = (size_hw[1], size_hw[0])
    return np.stack([cv2.resize(m.astype(np.float32), size) for m in maps])


def _aupro(maps: Floats, masks: Bools, steps: int = 200) -> float | None:
    regions: list[Floats] = []
    for found, mask in zip(maps, masks, strict=True):
        count, index = cv2.connectedComponents(mask.astype(np.uint8))
        regions += [np.sort(found[index == i]) for i in range(1, count)]
    background = np.sort(maps[~masks])
    if len(background) == 0:
        return None
    known = np.quantile(background, np.linspace(1 - AUPRO_MAX_FPR, 1, steps))[::-1]
    thresholds = [np.nextafter(background[-1], np.inf), *known]
    above = [1 - np.searchsorted(background, t, side="left") / len(background) for t in thresholds]
    covered = [
        np.mean([1 - np.searchsorted(r, t, side="left") / len(r) for r in regions])
        for t in thresholds
    ]
    # from nothing found to everything found; equal values are a straight line between their ends
    rate, overlap = np.array([0.0, *above, 1.0]), np.array([0.0, *covered, 1.0])
    end = np.interp(AUPRO_MAX_FPR, rate, overlap)
    kept = rate < AUPRO_MAX_FPR
    rate, overlap = np.append(rate[kept], AUPRO_MAX_FPR), np.append(overlap[kept], end)
    return float(np.trapezoid(overlap, rate) / AUPRO_MAX_FPR)
