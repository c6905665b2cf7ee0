"""Whether the map tells what the score rests on, and whether it depends on what was learnt.

Deletion and insertion (Petsiuk, Das and Saenko, "RISE", BMVC 2018): cells of the map are taken out
of the picture, the hottest first, and the area under the defect score is small where the map is
right; put back, the hottest first, it is large. Both stand beside the same in a random order.

What is taken out gives way to the same place of the good part that looks most alike, with soft
edges (in place of something plausible: Chang et al., "Explaining Image Classifiers by
Counterfactual Generation", ICLR 2019). Blur or a mean colour, as in RISE, will not do here: a
patch on a surface is itself a defect, and the score rises with every cell that is taken out.

Weight randomisation (Adebayo et al., "Sanity Checks for Saliency Maps", NeurIPS 2018): a map that
stays as it was when the weights are random shows the picture, not what the model learnt.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import cv2
import numpy as np

from qc import metrics
from qc.decide import defect_scores
from training.evaluate import likely_defects
from training.images import Images, Progress
from training.judged import Run
from training.split import group_of

SAMPLE = 64
"""Defects that are looked at, at most: a minute has to do."""

STEPS = 16
"""Parts in which the cells are taken out or put back; 17 points of each curve."""

THUMBNAIL = 16
"""Pixels a side at which pictures are compared to find the good part that looks most alike."""

RANDOMISED = 5
"""Draws of random weights: with one, a map may be alike by luck."""

FIGURES = (
    "deletion",
    "deletion_random",
    "deletion_gap_ci",
    "insertion",
    "insertion_random",
    "insertion_gap_ci",
    "score_whole",
    "score_removed",
    "randomised_similarity",
)


def faithfulness(
    images: Images,
    good: int,
    run: Run,
    randomise: Callable[[int], Run | None],
    *,
    several: bool = False,
    seed: int = 0,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """The `faithfulness` object of `qc evaluate --json`.

    The map is that of the likeliest defect class, the score that of any defect; where a part may
    have several, that of the same one, for another one may stay in the picture. Cells are taken
    out whole; equal ones come in a random order, so that a flat map is a random order.

    Args:
        images: the decoded split.
        good: index of the good class.
        run: the model.
        randomise: the same model with random weights by a seed, or None where it cannot be done.
        several: a part may have several defects, each with a score of its own.
        seed: of the sample and the random orders.
        progress: told of pictures done.

    Returns:
        deletion, insertion: area under the defect score over the share of cells taken out, put
        back; deletion_random, insertion_random: the same in a random order; deletion_gap_ci,
        insertion_gap_ci: 95 % interval, by bootstrap over groups, of by how much the map does
        better than the random order; score_whole, score_removed: mean defect score of the whole
        pictures, and with every cell taken out (a
        curve lies between them); randomised_similarity: rank correlation of the map
        with that under random weights, None where those cannot be had; n: defects looked at. All
        but n are None without a defect, a good part or a map.
    """
    rng = np.random.default_rng(seed)
    defects, fine = (np.flatnonzero(images.labels != good), images.pixels[images.labels == good])
    if len(defects) > SAMPLE:
        defects = np.sort(rng.choice(defects, SAMPLE, replace=False))
    pixels = images.pixels[defects]
    before = run(pixels) if len(defects) and len(fine) else None
    if before is None or before.attention is None:
        return {**dict.fromkeys(FIGURES), "n": 0}
    likely = likely_defects(before.score, good)
    maps = before.attention[np.arange(len(likely)), :, :, likely]
    curves = []
    for i, (image, sound) in enumerate(zip(pixels, most_alike(pixels, fine), strict=True)):
        shown = int(likely[i]) if several else None
        curves.append(_areas(image, fine[sound], maps[i], partial(_score, run, good, shown), rng))
        if progress is not None:
            progress(i + 1, len(pixels) + RANDOMISED)
    by_map, by_chance = np.array([c[0] for c in curves]), np.array([c[1] for c in curves])
    gap = (by_chance - by_map) * (1, -1)  # a good map deletes early and inserts early
    groups = [group_of(images.samples[i]) for i in defects]
    similar = []
    for number in range(RANDOMISED):
        other = randomise(number)
        if other is None:
            break
        after = other(pixels).attention
        if after is not None:
            similar.append(map_similarity(maps, after[np.arange(len(likely)), :, :, likely]))
        if progress is not None:
            progress(len(pixels) + number + 1, len(pixels) + RANDOMISED)
    values = {
        "deletion": float(by_map[:, 0].mean()),
        "deletion_random": float(by_chance[:, 0].mean()),
        "deletion_gap_ci": metrics.mean_interval(gap[:, 0], groups),
        "insertion": float(by_map[:, 1].mean()),
        "insertion_random": float(by_chance[:, 1].mean()),
        "insertion_gap_ci": metrics.mean_interval(gap[:, 1], groups),
        "score_whole": float(np.mean([c[2] for c in curves])),
        "score_removed": float(np.mean([c[3] for c in curves])),
        "randomised_similarity": float(np.mean(similar)) if similar else None,
    }
    return {**values, "n": len(defects)}


def _score(run: Run, good: int, shown: int | None, pictures: np.ndarray) -> np.ndarray:
    """Score `(N,)` of any defect, or of one."""
    score = run(pictures).score
    return defect_scores(score, good) if shown is None else score[:, shown]


def _areas(
    image: np.ndarray,
    sound: np.ndarray,
    evidence: np.ndarray,
    score_of: Callable[[np.ndarray], np.ndarray],
    rng: np.random.Generator,
) -> tuple[tuple[float, float], tuple[float, float], float, float]:
    """Areas of deletion and insertion, by the map and by chance; the score whole and removed."""
    cells = evidence.size
    counts = np.unique(np.rint(np.linspace(0, cells, STEPS + 1)).astype(int))
    pictures = [image, sound]
    for rank in (hottest_first(evidence, rng), rng.permutation(cells).reshape(evidence.shape)):
        first = [rank < k for k in counts[1:-1]]
        pictures += [mixed(image, sound, cut) for cut in first]
        pictures += [mixed(sound, image, cut) for cut in first]
    score = score_of(np.stack(pictures)).astype(float)
    whole, nothing, rest = score[0], score[1], score[2:].reshape(2, 2, len(counts) - 2)
    share = counts / cells
    areas = [
        (
            float(np.trapezoid([whole, *deletion, nothing], share)),
            float(np.trapezoid([nothing, *insertion, whole], share)),
        )
        for deletion, insertion in rest
    ]
    return areas[0], areas[1], float(whole), float(nothing)


def most_alike(pixels: np.ndarray, fine: np.ndarray) -> np.ndarray:
    """Index of the good picture most like each of `pixels`, by their thumbnails."""

    def thumbnails(pictures: np.ndarray) -> np.ndarray:
        size = (THUMBNAIL, THUMBNAIL)
        return np.stack([cv2.resize(p, size, interpolation=cv2.INTER_AREA) for p in pictures])

    known = thumbnails(fine).astype(np.float32)
    return np.array([np.abs(known - t).mean(axis=(1, 2, 3)).argmin() for t in thumbnails(pixels)])


def mixed(picture: np.ndarray, other: np.ndarray, cells: np.ndarray) -> np.ndarray:
    """The picture with some cells `(h, w)` from another; in between it is linear, without seams."""
    height, width = picture.shape[:2]
    share = cv2.resize(cells.astype(np.float32), (width, height))[..., np.newaxis]
    return np.rint(picture + share * (other.astype(np.float32) - picture)).astype(np.uint8)


def hottest_first(evidence: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Rank of each cell `(h, w)`, 0 the hottest; equal cells in a random order."""
    flat = evidence.ravel()
    rank = np.empty(len(flat), int)
    rank[np.lexsort((rng.permutation(len(flat)), -flat))] = np.arange(len(flat))
    return rank.reshape(evidence.shape)


def map_similarity(before: np.ndarray, after: np.ndarray) -> float:
    """Mean rank correlation (Spearman) of two stacks of maps `(N, h, w)`.

    A flat map has no order: it is like another flat one (1) and unlike any other (0). A number that
    is none, which random weights may give, counts as 0.
    """
    from scipy.stats import rankdata

    found = []
    for pair in zip(before, after, strict=True):
        a, b = (rankdata(np.nan_to_num(m)) - (m.size + 1) / 2 for m in pair)
        length = float(np.sqrt((a @ a) * (b @ b)))
        both_flat = not a.any() and not b.any()
        found.append(float(a @ b) / length if length > 0 else float(both_flat))
    return float(np.mean(found))
