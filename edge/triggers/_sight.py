"""What a trigger looks at: the frame, grey and small, so that looking costs a millisecond."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from qc.types import Image

SIDE = 160
"""Pixels of the longer side of what a trigger looks at."""

Sight = NDArray[np.float32]
"""A grey picture `(h, w)`, 0 to 255."""


def sight(image: Image) -> Sight:
    """A frame as triggers see it: grey, its longer side at most 160 pixels, and smoothed.

    Args:
        image: RGB `(H, W, 3)` uint8.
    """
    height, width = image.shape[:2]
    scale = min(1.0, SIDE / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    grey = cv2.GaussianBlur(cv2.cvtColor(small, cv2.COLOR_RGB2GRAY), (5, 5), 0)
    return np.asarray(grey, dtype=np.float32)


class Stillness:
    """How long nothing has moved.

    Args:
        threshold: grey levels by which a pixel must differ from the frame before.
        min_area: share of the picture that must differ to be a movement.
    """

    def __init__(self, threshold: float, min_area: float) -> None:
        self.threshold = threshold
        self.min_area = min_area
        self._before: Sight | None = None
        self._moved_ns: int | None = None

    def still_s(self, seen: Sight, monotonic_ns: int) -> float:
        """Seconds without a movement up to this frame; 0 for one that differs from the last."""
        before, self._before = self._before, seen
        moved = before is None or before.shape != seen.shape
        if before is not None and not moved:
            moved = bool(np.mean(np.abs(seen - before) > self.threshold) >= self.min_area)
        if moved or self._moved_ns is None:
            self._moved_ns = monotonic_ns
        return (monotonic_ns - self._moved_ns) / 1e9
