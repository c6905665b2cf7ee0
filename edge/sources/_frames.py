"""From what a driver hands over to frames: colour order, ids, time and garbage.

Every source that does not read image files goes through it, so that all of them mean the same.
"""

from __future__ import annotations

import time
from datetime import datetime, timedelta

import cv2
import numpy as np

from qc.errors import FaultError
from qc.types import Frame, Image, utc_now

GARBAGE_S = 1.0
"""A source that gives nothing but garbage for so long has failed."""


class Framer:
    """Makes the frames of one session of a source, from its opening to its closing.

    Args:
        source_id: the name of the source in the journal.
        where: the device, file or address that an error names.
    """

    def __init__(self, source_id: str, where: object) -> None:
        self.source_id = source_id
        self.where = where
        self.count = 0
        self._garbage_ns: int | None = None

    def frame(
        self,
        bgr: object,
        *,
        monotonic_ns: int | None = None,
        part_id: str | None = None,
        lot: str | None = None,
    ) -> Frame:
        """The next frame; garbage becomes a frame with its fault.

        Args:
            bgr: what the driver gave; good is `(H, W, 3)` uint8, blue first.
            monotonic_ns: monotonic clock at the capture; None: now.
            part_id, lot: where known.

        Raises:
            FaultError: nothing but garbage came for a second.
        """
        now_ns = time.monotonic_ns()
        taken_ns = now_ns if monotonic_ns is None else monotonic_ns
        at = utc_now() - timedelta(microseconds=(now_ns - taken_ns) / 1000)
        image, fault = _rgb(bgr)
        if image is not None:
            self._garbage_ns = None
        else:
            self._garbage_ns = self._garbage_ns or now_ns
            if now_ns - self._garbage_ns > GARBAGE_S * 1e9:
                raise FaultError(f"{fault}, for more than {GARBAGE_S:g} s", where=self.where)
        self.count += 1
        return Frame(
            image=image,
            frame_id=frame_id(at, self.count),
            source_id=self.source_id,
            captured_at=at,
            monotonic_ns=taken_ns,
            part_id=part_id,
            lot=lot,
            fault=fault,
        )

    def fault(self, why: str, *, part_id: str | None = None) -> Frame:
        """The next frame, which could not be had."""
        self.count += 1
        at = utc_now()
        return Frame(
            image=None,
            frame_id=frame_id(at, self.count),
            source_id=self.source_id,
            captured_at=at,
            monotonic_ns=time.monotonic_ns(),
            part_id=part_id,
            fault=why,
        )


def frame_id(at: datetime, number: int) -> str:
    """An id that no other session of the source gives: the time, and the number within it."""
    return f"{at:%Y%m%dT%H%M%S.%f}-{number}"


def _rgb(bgr: object) -> tuple[Image | None, str | None]:
    if not isinstance(bgr, np.ndarray):
        return None, "garbage instead of a picture: nothing"
    if bgr.dtype != np.uint8 or bgr.ndim != 3 or bgr.shape[2] != 3 or bgr.size == 0:
        return None, f"garbage instead of a picture: {bgr.dtype} {bgr.shape}"
    return np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), dtype=np.uint8), None
