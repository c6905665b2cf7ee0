"""Fires once for each part that comes: told from the empty place by its difference.

The place is the region of the source. Where parts pass on a belt, each is followed, so that a
second one may be in view before the first has left. Where a part is laid down, it is judged at
rest, and the next one after the place was empty.

Limits, said plainly: parts that touch are one; what differs from the empty place and stays (a
stain, a camera that was pushed) is a part that stays; a belt that runs backwards is not followed. A
part must be seen at least once before `at` or at it: the slowest camera is one that shows each part
twice.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from pydantic import Field

from edge.triggers._belt import Belt, Box
from edge.triggers._sight import Sight, Stillness, sight
from qc.errors import DataError
from qc.imageio import read_image
from qc.tables import Table
from qc.types import Frame

ADAPT = 0.02
"""Share by which the empty place takes on what is seen of it in each frame: light drifts."""

Way = Literal["right", "left", "down", "up"]


class Options(Table):
    """Keys of this trigger in a line file; see `Trigger`."""

    when: Literal["passes", "rests"] = "passes"
    moves: Way = "right"
    at: float = Field(default=0.5, gt=0, lt=1)
    still_s: float = Field(default=0.2, ge=0)
    background: Path | None = None
    learn: int = Field(default=5, ge=1)
    threshold: float = Field(default=25.0, gt=0, lt=255)
    min_area: float = Field(default=0.02, gt=0, le=1)


class Trigger:
    """Fires once for each part.

    Args:
        when: "passes" fires when the part's middle has come to `at`; "rests" when it lies still.
        moves: which way parts pass.
        at: share of the way through the picture.
        still_s: seconds without a movement that are rest.
        background: picture of the empty place, as the region shows it; None: the first frames are.
        learn: frames at the start that show the empty place; none of them fires.
        threshold: grey levels (of 255) by which a pixel must differ from the empty place.
        min_area: share of the picture that a part covers at least.

    Raises:
        DataError: the picture of the empty place cannot be read.
    """

    def __init__(
        self,
        *,
        when: Literal["passes", "rests"] = "passes",
        moves: Way = "right",
        at: float = 0.5,
        still_s: float = 0.2,
        background: Path | None = None,
        learn: int = 5,
        threshold: float = 25.0,
        min_area: float = 0.02,
    ) -> None:
        self.when: Literal["passes", "rests"] = when
        self.moves: Way = moves
        self.still_s = still_s
        self.threshold, self.min_area = threshold, min_area
        self._empty: Sight | None = None if background is None else sight(read_image(background))
        self._to_learn = learn if background is None else 0
        self._learned = 0
        self._belt = Belt(at)
        self._stillness = Stillness(threshold, min_area / 4)
        self._is_armed = True

    def fires(self, frame: Frame) -> bool:
        """Whether a part is judged by this frame.

        Raises:
            DataError: the frame has another shape than the picture of the empty place.
            FaultError: a part passed and no frame showed it at `at`.
        """
        if frame.image is None:
            return False
        seen = sight(frame.image)
        if self._learned < self._to_learn:
            self._learn(seen)
            return False
        boxes = self._boxes(seen)
        if not boxes:
            self._adapt(seen)
        if self.when == "rests":
            return self._rests(seen, frame.monotonic_ns, bool(boxes))
        return self._belt.is_due(boxes)

    def _learn(self, seen: Sight) -> None:
        self._learned += 1
        if self._empty is None:
            self._empty = seen.copy()
        else:
            self._check_size(seen)
            self._empty += (seen - self._empty) / self._learned

    def _adapt(self, seen: Sight) -> None:
        assert self._empty is not None
        self._empty += ADAPT * (seen - self._empty)

    def _check_size(self, seen: Sight) -> None:
        assert self._empty is not None
        if seen.shape != self._empty.shape:
            raise DataError(
                "the frame has not the shape of the picture of the empty place",
                expected="{} x {} (height x width, made small)".format(*self._empty.shape),
                found="{} x {}".format(*seen.shape),
            )

    def _boxes(self, seen: Sight) -> list[Box]:
        """Hind and front edge, on its way, of each thing that is large enough."""
        assert self._empty is not None
        self._check_size(seen)
        differs = np.asarray(np.abs(seen - self._empty) > self.threshold, dtype=np.uint8)
        side = max(3, max(seen.shape) // 20)
        joined = cv2.morphologyEx(differs, cv2.MORPH_CLOSE, np.ones((side, side), np.uint8))
        _, _, stats, _ = cv2.connectedComponentsWithStats(joined)
        across = self.moves in ("right", "left")
        first, size = (
            (cv2.CC_STAT_LEFT, cv2.CC_STAT_WIDTH)
            if across
            else (cv2.CC_STAT_TOP, cv2.CC_STAT_HEIGHT)
        )
        length = seen.shape[1 if across else 0]
        boxes = []
        for row in stats[1:]:  # the first is what does not differ
            if row[cv2.CC_STAT_AREA] >= self.min_area * seen.size:
                low, high = row[first] / length, (row[first] + row[size]) / length
                forward = self.moves in ("right", "down")
                boxes.append(
                    (float(low), float(high)) if forward else (float(1 - high), float(1 - low))
                )
        return boxes

    def _rests(self, seen: Sight, monotonic_ns: int, there: bool) -> bool:
        still_s = self._stillness.still_s(seen, monotonic_ns)
        if not there:
            self._is_armed = True
            return False
        fires = self._is_armed and still_s > 0 and still_s >= self.still_s
        self._is_armed = self._is_armed and not fires
        return fires
