"""Eight parts that a fake model judged by their brightness, for the tests of the report."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from qc.decide import DecisionSpec, EscapeBound
from qc.types import Sample
from training.evaluate import Outputs
from training.images import Images
from training.judged import Judged

CLASSES = ("good", "crack", "dent", "dust")
SCORES = (0.05, 0.1, 0.3, 0.9, 0.05, 0.22, 0.6, 0.99)
"""Defect score of each part; the first four are good."""

LABELS = (0, 0, 0, 0, 1, 1, 1, 2)


def by_brightness(pixels: np.ndarray) -> Outputs:
    """The darker, the worse, and then always a crack; the map is hot at the top left."""
    value = 1 - pixels[:, 0, 0, 0].astype(np.float32) / 255
    score = np.stack([1 - value, value, 0 * value, 0 * value], axis=1)
    maps = np.zeros((len(pixels), 4, 4, 4), np.float32)
    maps[:, 0, 0, 1] = 10 * value
    return Outputs(score, maps)


def judged_parts(
    *, decision: bool = True, bound: EscapeBound | None = None, times: int = 1, groups: int = 4
) -> Judged:
    """The parts, in four groups; OK below 0.2, NG from 0.58.

    Args:
        decision: whether there are thresholds.
        bound: what they promise.
        times: how often the eight parts come.
        groups: how many there are.
    """
    n = 8 * times
    samples = tuple(
        Sample(f"{i}.png", Path(f"{i}.png"), (CLASSES[LABELS[i % 8]],), group=f"g{i % groups}")
        for i in range(n)
    )
    samples = tuple(replace(s, split="test") for s in samples)
    bright = np.rint(255 * (1 - np.tile(SCORES, times))).astype(np.uint8)
    pixels = np.broadcast_to(bright[:, None, None, None], (n, 16, 16, 3)).copy()
    labels = np.tile(LABELS, times)
    masks = np.zeros((n, 16, 16), np.uint8)
    masks[labels > 0, :3, :3] = 255
    known = np.ones(n, bool)
    images = Images(samples, pixels, labels, masks, known, known)
    limits = {"ok_below": 0.2, "ng_above": 0.58}
    spec = DecisionSpec(
        **{k: dict.fromkeys(CLASSES[1:], v) for k, v in limits.items()},
        max_escape=0.05,
        max_overkill=0.05,
        escape_bound=bound,
    )
    return Judged(
        images,
        by_brightness(pixels),
        "test",
        CLASSES,
        "good",
        "multiclass",
        spec if decision else None,
        (0.0, 10.0),
        by_brightness,
        lambda seed: None,
    )
