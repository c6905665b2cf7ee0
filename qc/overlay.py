"""The picture a person judges by: heat where the model looked, and a caption below; all pure.

The scale of the heat is fixed by the bundle (`lo`, `hi`) and never taken from the frame: the same
evidence has the same colour on every part. The picture is covered by nothing but heat and outline.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from qc.errors import QCError
from qc.types import FloatArray, Image, Verdict

Level = NDArray[np.uint8]
"""A map on the bundle's scale `(h, w)`, uint8: 0 coldest, 255 hottest."""

MapKind = Literal["model", "occlusion"]
"""Whose heat it is: the model's own, or what hiding places showed (`edge.occlusion`)."""

MIN_WIDTH = 360
"""Pixels the canvas is wide at least: below it the caption is not legible."""

COLOURS = {
    Verdict.OK: (46, 160, 67),
    Verdict.REVIEW: (245, 176, 32),
    Verdict.NG: (212, 42, 42),
    Verdict.FAULT: (190, 60, 190),
}
"""RGB of each verdict."""

CLEAR_BELOW = 32
"""Levels up to this one are not painted, so that cold areas stay clear."""

_MEANING: dict[MapKind, str] = {"model": "where the model looked", "occlusion": "occlusion map"}
_FONT = cv2.FONT_HERSHEY_SIMPLEX
_BAND, _TEXT, _FAINT, _DARK = (24, 26, 30), (238, 240, 242), (168, 174, 182), (12, 12, 14)
_MAX_ENLARGED = 2400
_PAD = 10
_CAP_HEIGHT = 20
_ROWS = 32


def scale_map(evidence: FloatArray, lo: float, hi: float) -> Level:
    """Bring one class's evidence to the bundle's fixed scale.

    Args:
        evidence: `(h, w)`, any float.
        lo: evidence shown as 0; less is clipped.
        hi: evidence shown as 255; more is clipped.

    Returns:
        `(h, w)` uint8, rounded to the nearest level.

    Raises:
        QCError: not `(h, w)`, not finite, or not lo < hi.
    """
    if evidence.ndim != 2 or evidence.size == 0:
        raise QCError("the map has a wrong shape", expected="(h, w)", found=evidence.shape)
    if not (math.isfinite(lo) and math.isfinite(hi) and lo < hi):
        raise QCError("the overlay range is wrong", expected="finite lo < hi", found=(lo, hi))
    bad = int(np.count_nonzero(~np.isfinite(evidence)))
    if bad:
        raise QCError("the map is not finite", expected="numbers", found=f"{bad} NaN or infinite")
    share = (evidence.astype(np.float64) - lo) / (hi - lo)
    return np.rint(np.clip(share, 0.0, 1.0) * 255.0).astype(np.uint8)


def heat_rgba(level: Level, size_hw: tuple[int, int]) -> NDArray[np.uint8]:
    """Heat as a layer to lay over the picture.

    Args:
        level: `(h, w)` uint8 from `scale_map`.
        size_hw: height and width of the picture in pixels.

    Returns:
        RGBA `(H, W, 4)` uint8, alpha not premultiplied: 0 up to level 32, then in proportion up to
        255 at level 255.
    """
    rgba = np.column_stack([_colour_map(), _alphas()])
    return np.asarray(rgba[_enlarged(level, size_hw)], np.uint8)


def contour(
    level: Level, size_hw: tuple[int, int], threshold: int = 128
) -> list[NDArray[np.int32]]:
    """Outlines of what is at least `threshold` hot.

    Args:
        level: `(h, w)` uint8 from `scale_map`.
        size_hw: height and width of the picture in pixels.
        threshold: level from 1 to 255.

    Returns:
        Closed outlines `(n, 2)`, columns x and y, in pixels of the picture; holes have theirs too.
    """
    if not 1 <= threshold <= 255:
        raise QCError("the contour threshold is wrong", expected="1 to 255", found=threshold)
    hot = (_enlarged(level, size_hw) >= threshold).astype(np.uint8)
    found, _ = cv2.findContours(hot, cv2.RETR_LIST, cv2.CHAIN_APPROX_SIMPLE)
    return [np.asarray(outline, np.int32).reshape(-1, 2) for outline in found]


def occlusion_words(level: Level) -> str:
    """What an occlusion map is called, and that it shows nothing where it does not."""
    is_flat = level.max() < 2 * CLEAR_BELOW
    found = "hiding a place changes little" if is_flat else "score lost where hidden"
    return f"occlusion map: {found}"


def draw_overlay(
    image: Image,
    level: Level | None,
    *,
    verdict: Verdict | str,
    defect_class: str | None,
    score: float | None,
    part_id: str | None,
    opacity: float = 0.5,
    note: str = "",
    kind: MapKind = "model",
) -> Image:
    """The picture with heat and outline, and below it a band that says what was decided.

    A picture narrower than 360 pixels is enlarged by a whole factor, each pixel repeated. The font
    has ASCII only: any other character of a text is shown as `?`. Texts that are too long lose
    their middle.

    Args:
        image: RGB `(H, W, 3)` uint8.
        level: `(h, w)` uint8 from `scale_map`, or None: the model has no map, and the band says so.
        verdict: OK, NG, REVIEW or FAULT.
        defect_class: most likely defect class, or None where nothing was measured.
        score: defect score in [0, 1], or None where nothing was measured.
        part_id: the part, or None where it is not known.
        opacity: share of the heat where it is hottest, 0 to 1.
        note: one more line, such as the reason of the verdict.
        kind: of the heat; an occlusion map is named on a line of its own and beside its scale.

    Returns:
        RGB uint8, the picture at the top left and the band under it.

    Raises:
        QCError: not a picture, an unknown verdict, or a number outside [0, 1].
    """
    _check_picture(image)
    word = _verdict(verdict)
    for name, value in (("opacity", opacity), ("score", score)):
        if value is not None and not 0.0 <= value <= 1.0:
            raise QCError(f"the overlay's {name} is wrong", expected="0 to 1", found=value)
    factor = _factor(image.shape[0], image.shape[1])
    height, width = image.shape[0] * factor, image.shape[1] * factor
    picture = image
    if factor > 1:
        enlarged = cv2.resize(image, (width, height), interpolation=cv2.INTER_NEAREST)
        picture = np.asarray(enlarged, np.uint8)
    canvas_width = max(width, MIN_WIDTH)
    unit = max(1.0, canvas_width / 900)
    if level is not None:
        picture = _heated(picture, level, opacity, max(1, round(unit)))
    texts = [_ascii(part_id) if part_id else "part not identified"]
    if note:
        texts.append(_ascii(note))
    measured = f"{_ascii(defect_class) if defect_class else 'not measured'}"
    if score is not None:
        measured += f"   defect score {score:.3f}"
    of_hiding = level is not None and kind == "occlusion"
    band = _Band(canvas_width, unit, rows=2 + len(texts) + of_hiding)
    band.verdict(word, measured)
    for text in texts:
        band.line(text)
    if level is not None and kind == "occlusion":
        band.line(occlusion_words(level), _TEXT)
    band.scale(word, _MEANING[kind] if level is not None else None)
    canvas = np.empty((height + len(band.pixels), canvas_width, 3), np.uint8)
    canvas[:height, :width] = picture
    canvas[:height, width:] = _BAND
    canvas[height:] = band.pixels
    return canvas


def _check_picture(image: Image) -> None:
    shape_fits = image.ndim == 3 and image.shape[2] == 3 and image.size > 0
    if image.dtype != np.uint8 or not shape_fits:
        raise QCError(
            "no overlay can be drawn on this",
            expected="(H, W, 3) uint8",
            found=f"{image.shape} {image.dtype}",
        )


def _verdict(verdict: Verdict | str) -> Verdict:
    try:
        return Verdict(verdict)
    except ValueError:
        legal = ", ".join(Verdict)
        raise QCError("unknown verdict", expected=legal, found=repr(verdict)) from None


def _factor(height: int, width: int) -> int:
    """How often each pixel is repeated: enough for the caption, but no endless strip."""
    return max(1, min(math.ceil(MIN_WIDTH / width), _MAX_ENLARGED // height))


def _colour_map() -> NDArray[np.uint8]:
    """RGB of each level `(256, 3)`: viridis, which the colour-blind read too, dark to bright."""
    levels = np.arange(256, dtype=np.uint8).reshape(256, 1)
    return np.asarray(cv2.applyColorMap(levels, cv2.COLORMAP_VIRIDIS)[:, 0, ::-1], np.uint8)


def _enlarged(level: Level, size_hw: tuple[int, int]) -> Level:
    """The map at the picture's size, linear between cell centres: no ringing, no new extremes."""
    if level.dtype != np.uint8 or level.ndim != 2 or level.size == 0:
        found = f"{level.shape} {level.dtype}"
        raise QCError("the level map is wrong", expected="(h, w) uint8", found=found)
    height, width = size_hw
    if height < 1 or width < 1:
        raise QCError("the overlay's size is wrong", expected="at least 1x1", found=size_hw)
    shrinking = height <= level.shape[0] and width <= level.shape[1]
    method = cv2.INTER_AREA if shrinking else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(level, (width, height), interpolation=method), np.uint8)


def _heated(picture: Image, level: Level, opacity: float, thickness: int) -> Image:
    """Heat blended over the picture, and the outline: white with a dark edge."""
    size_hw = (picture.shape[0], picture.shape[1])
    enlarged = _enlarged(level, size_hw)
    colours = _colour_map().astype(np.float32).reshape(1, 256, 3)
    alphas = (_alphas().astype(np.float32) * np.float32(opacity / 255)).repeat(3)
    mixed = picture.copy()
    warm = np.flatnonzero((enlarged > CLEAR_BELOW).any(axis=1))  # other rows stay as they are
    first, end = (int(warm[0]), int(warm[-1]) + 1) if len(warm) else (0, 0)
    for top in range(first, end, _ROWS):  # few rows at a time stay in the processor's cache
        rows = slice(top, min(top + _ROWS, end))
        levels = cv2.merge([enlarged[rows]] * 3)
        under = picture[rows].astype(np.float32)
        change = cv2.multiply(
            cv2.subtract(cv2.LUT(levels, colours), under),
            cv2.LUT(levels, alphas.reshape(1, 256, 3)),
        )
        mixed[rows] = np.rint(cv2.add(under, change))
    outlines = contour(level, size_hw)
    cv2.drawContours(mixed, outlines, -1, _DARK, 3 * thickness, cv2.LINE_AA)
    cv2.drawContours(mixed, outlines, -1, (255, 255, 255), thickness, cv2.LINE_AA)
    return mixed


def _alphas() -> NDArray[np.uint8]:
    """Opacity of each level `(256,)`: 0 up to `CLEAR_BELOW`, then in proportion up to 255."""
    shown = np.maximum(np.arange(256) - CLEAR_BELOW, 0) * (255 / (255 - CLEAR_BELOW))
    return np.rint(shown).astype(np.uint8)


def _ascii(text: str) -> str:
    return "".join(c if " " <= c <= "~" else "?" for c in text)


def _text_width(text: str, size: float, weight: int) -> int:
    return int(cv2.getTextSize(text, _FONT, size, weight)[0][0])


def _fitted(text: str, width: int, size: float, weight: int) -> str:
    """The text, or its two ends with `...` between them where it is wider than `width` pixels."""
    if _text_width(text, size, weight) <= width:
        return text
    for kept in range(len(text) - 1, 1, -1):
        tail = kept // 2
        shorter = text[: kept - tail] + "..." + text[len(text) - tail :]
        if _text_width(shorter, size, weight) <= width:
            return shorter
    return "..."


class _Band:
    """The caption under a picture, filled row by row."""

    def __init__(self, width: int, unit: float, rows: int) -> None:
        self.width = width
        self.unit = unit
        self.row = self._px(26)
        self.pad = self._px(_PAD)
        self.top = self._px(8)
        self.pixels = np.full((rows * self.row + self._px(16), width, 3), _BAND, np.uint8)

    def _px(self, size: float) -> int:
        return max(1, round(size * self.unit))

    def verdict(self, word: Verdict, measured: str) -> None:
        """The verdict on a chip of its colour, and beside it what was measured."""
        colour = COLOURS[word]
        chip_width = self._width(word, 0.6, 2) + 2 * self._px(8)
        middle, half = self.top + self.row // 2, self._px(11)
        corner, opposite = (self.pad, middle - half), (self.pad + chip_width, middle + half)
        cv2.rectangle(self.pixels, corner, opposite, colour, cv2.FILLED)
        ink = _DARK if word is Verdict.REVIEW else (255, 255, 255)
        self._put(word, self.pad + self._px(8), 0.6, ink, weight=2)
        self._put(measured, self.pad + chip_width + self._px(10), 0.5, _TEXT)
        self.top += self.row

    def line(self, text: str, colour: Sequence[int] = _FAINT) -> None:
        """One line of text."""
        self._put(text, self.pad, 0.45, colour)
        self.top += self.row

    def scale(self, word: Verdict, meaning: str | None) -> None:
        """The colour bar with its meaning, or why there is no map."""
        if meaning is None:
            measured = word is not Verdict.FAULT
            why = "this model does not show where it looked" if measured else "nothing was measured"
            self._put(f"no map: {why}", self.pad, 0.45, _FAINT)
            return
        self._put("low", self.pad, 0.4, _FAINT)
        left = self.pad + self._width("low", 0.4, 1) + self._px(6)
        right = left + self._px(100)
        middle = self.top + self.row // 2
        bar = _colour_map()[np.linspace(0, 255, right - left).astype(np.intp)]
        self.pixels[middle - self._px(5) : middle + self._px(5), left:right] = bar
        self._put("high", right + self._px(6), 0.4, _FAINT)
        after = right + self._px(6) + self._width("high", 0.4, 1) + self._px(12)
        self._put(meaning, after, 0.45, _TEXT)

    def _width(self, text: str, size: float, weight: int) -> int:
        return _text_width(text, size * self.unit, self._px(weight))

    def _put(
        self, text: str, left: int, size: float, colour: Sequence[int], *, weight: int = 1
    ) -> None:
        scale, thickness = size * self.unit, self._px(weight)
        fitted = _fitted(text, self.width - self.pad - left, scale, thickness)
        baseline = self.top + (self.row + round(_CAP_HEIGHT * scale)) // 2
        cv2.putText(
            self.pixels, fitted, (left, baseline), _FONT, scale, colour, thickness, cv2.LINE_AA
        )
