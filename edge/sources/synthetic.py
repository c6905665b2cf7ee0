"""Drawn parts at a pace, with faults on demand: for tests, the benchmark and a first try.

Not a camera: it says nothing of how good a model is. The pictures are drawn once, before the first
frame, so that giving one costs next to nothing.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from types import TracebackType
from typing import Self

import cv2
import numpy as np
from pydantic import Field

from edge.sources._frames import Framer
from qc.errors import FaultError
from qc.tables import Table
from qc.types import Frame, Image

POOL = 16
"""Pictures that are drawn; they are given again and again."""


class Options(Table):
    """Keys of this source in a line file; see `Source`."""

    rate_hz: float | None = Field(default=None, gt=0)
    count: int | None = Field(default=None, ge=0)
    size_hw: tuple[int, int] = Field(default=(300, 300))
    seed: int = Field(default=0, ge=0)
    hang_after: int | None = Field(default=None, ge=0)
    hang_s: float = Field(default=10.0, gt=0)
    garbage_every: int | None = Field(default=None, ge=1)
    resize_after: int | None = Field(default=None, ge=0)
    close_after: int | None = Field(default=None, ge=0)


class Source:
    """Drawn parts, `part-1`, `part-2` and so on; a context manager that yields frames.

    Args:
        rate_hz: frames a second, like a camera; None: as fast as they are taken, like a file.
        count: frames until it ends; None: without end.
        size_hw: height and width in pixels.
        seed: of what is drawn.
        hang_after: after so many frames the next one does not come for `hang_s` seconds.
        hang_s: seconds of that.
        garbage_every: each n-th frame is garbage.
        resize_after: after so many frames they have half the size.
        close_after: after so many frames it fails, as a camera whose cable is pulled.
        source_id: the name of this source in the journal.
    """

    is_live = False
    expects_frames = False

    def __init__(
        self,
        *,
        rate_hz: float | None = None,
        count: int | None = None,
        size_hw: tuple[int, int] = (300, 300),
        seed: int = 0,
        hang_after: int | None = None,
        hang_s: float = 10.0,
        garbage_every: int | None = None,
        resize_after: int | None = None,
        close_after: int | None = None,
        source_id: str = "synthetic",
    ) -> None:
        self.rate_hz, self.count = rate_hz, count
        self.hang_after, self.hang_s = hang_after, hang_s
        self.garbage_every = garbage_every
        self.resize_after, self.close_after = resize_after, close_after
        self.source_id = source_id
        self.is_live = self.expects_frames = rate_hz is not None
        self.has_end = count is not None
        self.pictures = draw(size_hw, seed)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Nothing is held open."""

    def __iter__(self) -> Iterator[Frame]:
        framer = Framer(self.source_id, f"source '{self.source_id}'")
        start, number = time.monotonic(), 0
        while self.count is None or number < self.count:
            if number == self.close_after:
                raise FaultError("the source was closed", where=framer.where)
            if number == self.hang_after:
                time.sleep(self.hang_s)
            if self.rate_hz is not None:
                time.sleep(max(0.0, start + number / self.rate_hz - time.monotonic()))
            picture = self.pictures[number % POOL]
            if self.resize_after is not None and number >= self.resize_after:
                picture = picture[::2, ::2]
            number += 1
            garbage = self.garbage_every is not None and number % self.garbage_every == 0
            yield framer.frame(None if garbage else picture, part_id=f"part-{number}")


def draw(size_hw: tuple[int, int], seed: int) -> list[Image]:
    """Brushed round parts on a dark belt, each fourth with a scratch; BGR `(H, W, 3)` uint8."""
    height, width = size_hw
    rng = np.random.default_rng(seed)
    pictures = []
    for number in range(POOL):
        image = rng.normal(45, 4, (height, width, 1)).repeat(3, axis=2).clip(0, 255)
        image = np.ascontiguousarray(image, dtype=np.uint8)
        centre, radius = (width // 2, height // 2), max(1, min(height, width) * 2 // 5)
        grey = int(rng.integers(150, 190))
        cv2.circle(image, centre, radius, (grey, grey, grey), cv2.FILLED)
        if number % 4 == 3:
            ends = rng.integers(-radius // 2, radius // 2 + 1, (2, 2)) + centre
            cv2.line(image, ends[0].tolist(), ends[1].tolist(), (30, 30, 30), 2, cv2.LINE_AA)
        pictures.append(image)
    return pictures
