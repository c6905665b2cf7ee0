"""Fires once each time that a movement has come to rest: an indexing table, a robot that waits.

It does not know what came to rest. Where the place may be empty, `presence` with `when = "rests"`
is the right one.
"""

from __future__ import annotations

from pydantic import Field

from edge.triggers._sight import Stillness, sight
from qc.tables import Table
from qc.types import Frame


class Options(Table):
    """Keys of this trigger in a line file; see `Trigger`."""

    threshold: float = Field(default=15.0, gt=0, lt=255)
    min_area: float = Field(default=0.01, gt=0, le=1)
    still_s: float = Field(default=0.2, ge=0)


class Trigger:
    """Fires for the first frame that shows rest after a movement; what rests at first counts too.

    Args:
        threshold: grey levels (of 255) by which a pixel must differ from the frame before.
        min_area: share of the picture that must differ to be a movement.
        still_s: seconds without a movement that are rest.
    """

    def __init__(
        self, *, threshold: float = 15.0, min_area: float = 0.01, still_s: float = 0.2
    ) -> None:
        self.still_s = still_s
        self._stillness = Stillness(threshold, min_area)
        self._is_armed = True

    def fires(self, frame: Frame) -> bool:
        """Whether a part is judged by this frame."""
        if frame.image is None:
            return False
        still_s = self._stillness.still_s(sight(frame.image), frame.monotonic_ns)
        if still_s == 0:
            self._is_armed = True
            return False
        fires = self._is_armed and still_s >= self.still_s
        self._is_armed = self._is_armed and not fires
        return fires
