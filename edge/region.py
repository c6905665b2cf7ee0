"""The region of interest: the polygon of a frame that is judged; what is outside is grey.

A crop to the box around the polygon keeps every pixel of the part at its size; the fixed grey
outside of it is the same in every frame, so nothing that passes by there can move a score.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from qc.errors import DataError
from qc.types import Deep, Image

GREY = 114
"""What a pixel outside of the polygon becomes, in each channel."""

Polygon = Sequence[tuple[float, float]]


class Region:
    """A polygon of a frame.

    Args:
        polygon: its corners (x, y) in pixels of the frame, at least 3; x from 0 to the width and y
            from 0 to the height.

    Raises:
        DataError: fewer than 3 corners, a corner that is no number, or a polygon without area.
    """

    def __init__(self, polygon: Polygon) -> None:
        self.polygon = tuple((float(x), float(y)) for x, y in polygon)
        corners = np.array(self.polygon, np.float64)
        if len(corners) < 3 or not np.isfinite(corners).all():
            raise DataError(
                "the region is no polygon", expected="3 or more corners (x, y)", found=self.polygon
            )
        if cv2.contourArea(corners.astype(np.float32)) == 0:
            raise DataError("the region has no area", expected="a polygon", found=self.polygon)
        left, top = np.floor(corners.min(axis=0)).astype(int).tolist()
        right, bottom = np.ceil(corners.max(axis=0)).astype(int).tolist()
        self.box = (left, top, right, bottom)
        self._masks: tuple[Image, Image] | None = None

    def apply(self, image: Image) -> Image:
        """The box around the polygon, with grey outside of the polygon.

        Args:
            image: RGB `(H, W, 3)` uint8; it is not changed.

        Raises:
            DataError: a corner lies outside of the frame.
        """
        left, top, right, bottom = self._within(image.shape)
        keep, grey = self._drawn()
        cut = cv2.bitwise_and(image[top:bottom, left:right], keep)
        return np.asarray(cv2.bitwise_or(cut, grey), dtype=np.uint8)

    def apply_deep(self, deep: Deep) -> Deep:
        """As `apply`, of grey `(H, W)` uint16: the outside becomes what is read as that grey.

        Raises:
            DataError: a corner lies outside of the frame.
        """
        left, top, right, bottom = self._within(deep.shape)
        inside = self._drawn()[0][..., 0] > 0
        return np.where(inside, deep[top:bottom, left:right], np.uint16(GREY * 257))

    def _drawn(self) -> tuple[Image, Image]:
        """What is kept of the box, and what is grey: drawn once."""
        if self._masks is None:
            inside = np.repeat(_inside(self.polygon, self.box)[..., None], 3, axis=2)
            self._masks = (
                np.where(inside, np.uint8(255), np.uint8(0)),
                np.where(inside, np.uint8(0), np.uint8(GREY)),
            )
        return self._masks

    def _within(self, shape: tuple[int, ...]) -> tuple[int, int, int, int]:
        """The box, where it lies inside of a frame of that shape."""
        height, width = shape[:2]
        left, top, right, bottom = self.box
        if left < 0 or top < 0 or right > width or bottom > height:
            corners = ", ".join(f"({x:g}, {y:g})" for x, y in self.polygon)
            raise DataError(
                "the region does not lie inside the frame",
                expected=f"corners within {width} x {height} (width x height)",
                found=corners,
            )
        return self.box


def _inside(polygon: Polygon, box: tuple[int, int, int, int]) -> NDArray[np.bool_]:
    """Which pixels of the box have their centre in the polygon, `(H, W)`: the even-odd rule."""
    left, top, right, bottom = box
    x = np.arange(left, right)[None, :] + 0.5
    y = np.arange(top, bottom)[:, None] + 0.5
    inside = np.zeros((bottom - top, right - left), np.bool_)
    for (x1, y1), (x2, y2) in zip(polygon, (*polygon[1:], polygon[0]), strict=True):
        if y1 != y2:
            crosses = (y1 > y) != (y2 > y)
            inside ^= crosses & (x < (x2 - x1) * (y - y1) / (y2 - y1) + x1)
    return inside
