"""The live picture of each source as JPEG: drawn when it is asked for, once for all who watch."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import cv2
import numpy as np

from edge.inspect import overlay_of
from qc.errors import QCError
from qc.types import Image, Inspection

if TYPE_CHECKING:
    from edge.live import Watched

LONGEST = 960
"""Pixels of the longer side of a live picture; a larger frame is shrunk before it is drawn on."""

QUALITY = 80


@dataclass(frozen=True, slots=True)
class Picture:
    """One live picture, and the inspection it shows."""

    inspection_id: str
    jpeg: bytes


class Pictures:
    """The last picture of each source; owned by the thread that serves."""

    def __init__(self, line: Watched) -> None:
        self.line = line
        self.drawn = 0
        self._last: dict[str, Picture] = {}

    def picture(self, source_id: str) -> Picture | None:
        """What the source showed last; None before its first picture.

        A frame without an image (a FAULT) leaves the picture before it; the page says the fault.
        """
        known = self._last.get(source_id)
        inspection = self.line.latest(source_id)
        if inspection is None or inspection.image is None:
            return known
        if known is not None and known.inspection_id == inspection.inspection_id:
            return known
        jpeg = self._draw(inspection, inspection.image)
        if jpeg is None:
            return known
        self.drawn += 1
        self._last[source_id] = Picture(inspection.inspection_id, jpeg)
        return self._last[source_id]

    def _draw(self, inspection: Inspection, image: Image) -> bytes | None:
        manifest = self.line.bundle.manifest
        if inspection.bundle_id != manifest.bundle_id:  # a swap came between: its map has no scale
            inspection = replace(inspection, defect_class=None)
        try:
            overlay = overlay_of(replace(inspection, image=_shrunk(image)), manifest)
        except QCError:
            return None
        if overlay is None:
            return None
        bgr = cv2.cvtColor(overlay, cv2.COLOR_RGB2BGR)
        ok, encoded = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
        return encoded.tobytes() if ok else None


def _shrunk(image: Image) -> Image:
    height, width = image.shape[:2]
    share = LONGEST / max(height, width)
    if share >= 1:
        return image
    size = (max(1, round(width * share)), max(1, round(height * share)))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
