"""Lots for `drawn`: the look of their metal, and their printed and machined marks.

What is the same for a whole lot (texture, marks, bores, edge) is painted once and kept; a part then
costs a few warps. All sizes are given for a picture whose shorter side is 256 pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

_METALS = (
    (1.0, 1.0, 1.0),
    (0.96, 1.0, 1.06),
    (0.96, 1.01, 1.0),
    (1.02, 1.0, 0.95),
    (1.07, 0.98, 0.78),
    (1.06, 0.96, 0.84),
)
_CAST_METALS = 4
_INKS = ((0.03, 0.03, 0.04), (0.04, 0.06, 0.16), (0.16, 0.04, 0.04), (0.05, 0.05, 0.05))
_MARKS = ("text", "logo", "ticks")
_SIDES = ("left", "right", "top", "bottom")
_CORNERS = ((0.17, 0.18), (0.8, 0.2), (0.2, 0.8), (0.8, 0.8), (0.5, 0.5))
_FONT = cv2.FONT_HERSHEY_SIMPLEX

MARGIN = 18
"""Pixels at 256 around the picture, so that a turned or moved part still fills it."""


@dataclass(frozen=True, slots=True)
class Lot:
    """How the parts of one lot look; places are shares of the picture's width and height.

    Args:
        name: such as `lot03`.
        texture: "brushed" or "cast".
        brush_deg: direction of the brushing.
        grain: contrast of the texture.
        tone: brightness of the bare metal, 0 to 1.
        tint: RGB gain of the metal.
        light_deg: where the light comes from; 0 is from the right, 90 from below.
        light_strength: how much brighter the lit side is.
        sheen: strength of the soft highlight.
        vignette: how much darker the corners are.
        noise: standard deviation of the sensor's noise at mid grey, 0 to 1.
        mark: "text", "logo" or "ticks".
        mark_xy: top left corner of the printed mark.
        mark_text: what is printed before the part's own number.
        ink: RGB of the print.
        bores: centre x, centre y and radius (pixels at 256) of each bore.
        ring_xy: centre of the punched ring.
        edge_side: the side with the machined edge.
        edge_at: distance of the edge from that side.
        edge_drop: brightness of what lies beyond the edge, against the metal.
        seed: of the lot's texture.
    """

    name: str
    texture: str
    brush_deg: float
    grain: float
    tone: float
    tint: tuple[float, float, float]
    light_deg: float
    light_strength: float
    sheen: float
    vignette: float
    noise: float
    mark: str
    mark_xy: tuple[float, float]
    mark_text: str
    ink: tuple[float, float, float]
    bores: tuple[tuple[float, float, float], ...]
    ring_xy: tuple[float, float]
    edge_side: str
    edge_at: float
    edge_drop: float
    seed: int


@dataclass(frozen=True, slots=True)
class Layers:
    """What a lot's parts share, `(H + 2 m, W + 2 m)` with a margin for the pose."""

    gain: Floats
    glint: Floats
    ink: NDArray[np.uint8]
    solid: NDArray[np.uint8]
    texture: Floats


def make_lot(seed: int, index: int) -> Lot:
    """The look of lot number `index` of a series; the same arguments give the same lot."""
    rng = np.random.default_rng([seed, 0, index])
    offset = int(np.random.default_rng([seed, 1]).integers(6))
    texture = ("brushed", "cast")[(index + offset) % 2]
    metals = len(_METALS) if texture == "brushed" else _CAST_METALS
    tint = np.array(_METALS[rng.integers(metals)]) * rng.uniform(0.98, 1.02, 3)
    corners = list(rng.permutation(len(_CORNERS) - 1))
    mark_corner = corners.pop()
    left = 0.1 if _CORNERS[mark_corner][0] < 0.5 else 0.48
    top = 0.1 if _CORNERS[mark_corner][1] < 0.5 else 0.62
    bores = tuple(
        (
            _CORNERS[k][0] + rng.uniform(-0.03, 0.03),
            _CORNERS[k][1] + rng.uniform(-0.03, 0.03),
            rng.uniform(9, 15),
        )
        for k in corners[: int(rng.integers(1, 3))]
    )
    return Lot(
        name=f"lot{index:02d}",
        texture=texture,
        brush_deg=float(rng.choice([0, 90, 0, 90, 35, 145]) + rng.uniform(-6, 6)),
        grain=float(rng.uniform(0.035, 0.07) if texture == "brushed" else rng.uniform(0.05, 0.09)),
        tone=float(rng.uniform(0.36, 0.62) if texture == "brushed" else rng.uniform(0.3, 0.52)),
        tint=(float(tint[0]), float(tint[1]), float(tint[2])),
        light_deg=float(rng.uniform(0, 360)),
        light_strength=float(rng.uniform(0.08, 0.24)),
        sheen=float(rng.uniform(0.08, 0.26)),
        vignette=float(rng.uniform(0.08, 0.25)),
        noise=float(rng.uniform(0.006, 0.013)),
        mark=_MARKS[(index // 2 + offset) % 3],
        mark_xy=(left + float(rng.uniform(0, 0.06)), top + float(rng.uniform(0, 0.08))),
        mark_text=f"{'ABCDEFHKMPRT'[rng.integers(12)]}{rng.integers(10, 99)}",
        ink=_INKS[rng.integers(len(_INKS))],
        bores=bores,
        ring_xy=_CORNERS[corners[2]],
        edge_side=_SIDES[rng.integers(4)],
        edge_at=float(rng.uniform(0.04, 0.1)),
        edge_drop=float(rng.choice([0.12, 0.25, 0.6]) * rng.uniform(0.9, 1.1)),
        seed=int(rng.integers(2**31)),
    )


@lru_cache(maxsize=16)
def lot_layers(lot: Lot, size_hw: tuple[int, int]) -> Layers:
    rng = np.random.default_rng(lot.seed)
    unit = min(size_hw) / 256
    margin = round(MARGIN * unit)
    height, width = (side + 2 * margin for side in size_hw)
    y, x = np.mgrid[:height, :width].astype(np.float32)
    x, y = (x - margin) / np.float32(unit), (y - margin) / np.float32(unit)
    across, down = size_hw[1] / unit, size_hw[0] / unit
    towards = np.deg2rad(lot.light_deg)
    light_xy = (float(np.cos(towards)), float(np.sin(towards)))
    gain, glint = np.ones_like(x), np.zeros_like(x)
    solid = np.full(x.shape, 255, np.uint8)
    for bore_x, bore_y, radius in lot.bores:
        _bore(gain, glint, solid, x - bore_x * across, y - bore_y * down, radius, light_xy)
    ring_x, ring_y = x - lot.ring_xy[0] * across, y - lot.ring_xy[1] * down
    _ring(gain, glint, ring_x, ring_y, float(rng.uniform(10, 17)), light_xy)
    _edge(gain, glint, solid, lot, x, y, (across, down), light_xy)
    ink = _printed(rng, lot, (height, width), unit)
    return Layers(gain, glint, ink, solid, _texture(rng, lot, round(2.1 * max(size_hw)), unit))


def _texture(rng: np.random.Generator, lot: Lot, side: int, unit: float) -> Floats:
    """Texture of mean 0 and deviation 1, twice the picture's side."""
    raw = rng.standard_normal((side, side), np.float32)
    if lot.texture == "brushed":
        total = np.zeros_like(raw)
        for length, share in ((121, 0.9), (41, 0.6), (9, 0.25)):
            length = max(3, round(length * unit)) | 1
            streaks = cv2.blur(raw, (length, 1)) * np.float32(np.sqrt(length) * share)
            total += streaks
            raw = np.roll(raw, side // 3, axis=0)
        wide = cv2.blur(raw, (max(3, round(161 * unit)), max(3, round(9 * unit))))
        total += wide / wide.std() * np.float32(0.5)
    else:
        rough = cv2.GaussianBlur(raw, (0, 0), max(0.6, 0.9 * unit))
        coarse = cv2.GaussianBlur(np.roll(raw, 17, axis=1), (0, 0), max(0.9, 2.4 * unit))
        hilly = rough / rough.std() + np.float32(0.8) * coarse / coarse.std()
        towards = np.deg2rad(lot.light_deg)
        total = -np.float32(np.cos(towards)) * cv2.Sobel(hilly, cv2.CV_32F, 1, 0)
        total -= np.float32(np.sin(towards)) * cv2.Sobel(hilly, cv2.CV_32F, 0, 1)
        grains = cv2.GaussianBlur(np.roll(raw, 9, axis=0), (0, 0), max(0.6, 1.2 * unit))
        mottle = cv2.GaussianBlur(np.roll(raw, 5, axis=0), (0, 0), 7 * unit)
        total = total / total.std() + np.float32(0.5) * mottle / mottle.std()
        total -= np.float32(1.3) * np.maximum(grains / grains.std() - np.float32(1.4), 0)
    return (total - total.mean()) / total.std()


def _bore(
    gain: Floats,
    glint: Floats,
    solid: NDArray[np.uint8],
    dx: Floats,
    dy: Floats,
    radius: float,
    light_xy: tuple[float, float],
) -> None:
    """A drilled hole with a chamfer; the wall that faces the light is lit."""
    distance = np.hypot(dx, dy)
    facing = (dx * light_xy[0] + dy * light_xy[1]) / (distance + 1e-3)
    inside = _step(radius - distance)
    chamfer = _step(radius + 3.5 - distance) - inside
    deep = 0.1 + 0.22 * np.clip(-facing, 0, 1) * np.clip(distance / radius, 0, 1) ** 2
    gain *= 1 - inside * (1 - deep)
    gain *= 1 - chamfer * (0.15 + 0.3 * np.clip(facing, 0, 1))
    glint += chamfer * np.clip(-facing, 0, 1) ** 2 * 0.4
    solid[distance < radius + 7] = 0


def _ring(
    gain: Floats,
    glint: Floats,
    dx: Floats,
    dy: Floats,
    radius: float,
    light_xy: tuple[float, float],
) -> None:
    """A punched ring: a dark groove with one lit flank and a centre prick."""
    distance = np.sqrt(dx * dx + dy * dy)
    gain *= 1 - 0.45 * np.exp(-(((distance - radius) / 1.3) ** 2))
    shifted = np.sqrt((dx + 1.6 * light_xy[0]) ** 2 + (dy + 1.6 * light_xy[1]) ** 2)
    glint += 0.1 * np.exp(-(((shifted - radius) / 1.1) ** 2))
    gain *= 1 - 0.6 * np.exp(-((distance / 1.8) ** 2))


def _edge(
    gain: Floats,
    glint: Floats,
    solid: NDArray[np.uint8],
    lot: Lot,
    x: Floats,
    y: Floats,
    size: tuple[float, float],
    light_xy: tuple[float, float],
) -> None:
    """A machined edge: a bevel that is bright or dark by the light, a groove, and a lower face."""
    horizontal = lot.edge_side in ("left", "right")
    length = size[0] if horizontal else size[1]
    place = x if horizontal else y
    far = lot.edge_side in ("right", "bottom")
    beyond = place - (1 - lot.edge_at) * length if far else lot.edge_at * length - place
    facing = (light_xy[0] if horizontal else light_xy[1]) * (1 if far else -1)
    gain *= 1 - _step(beyond - 2) * (1 - lot.edge_drop)
    gain *= 1 - 0.5 * np.exp(-(((beyond - 3.5) / 1.3) ** 2))
    bevel = np.exp(-((beyond / 1.7) ** 2))
    glint += np.float32(max(facing, 0.0) * 0.4) * bevel
    gain *= 1 - np.float32(max(-facing, 0.0) * 0.45) * bevel
    solid[beyond > -6] = 0


def _step(distance: NDArray[Any]) -> NDArray[Any]:
    """0 outside, 1 inside, one pixel soft."""
    return np.clip(distance / 1.6 + 0.5, 0, 1)


def _printed(
    rng: np.random.Generator, lot: Lot, shape: tuple[int, int], unit: float
) -> NDArray[np.uint8]:
    """The lot's printed mark, 255 where ink is full; the part's number is added later."""
    ink = np.zeros(shape, np.uint8)
    left, top = _mark_origin(lot, shape, unit)
    if lot.mark == "logo":
        radius = round(12 * unit)
        centre = (left + radius, top + radius)
        cv2.circle(ink, centre, radius, 255, max(1, round(2.4 * unit)), cv2.LINE_AA)
        points = np.array([[0, -0.75], [0.65, 0.4], [-0.65, 0.4]]) * radius + centre
        cv2.fillPoly(ink, [np.rint(points).astype(np.int32)], 255, cv2.LINE_AA)
    elif lot.mark == "ticks":
        at = float(left)
        while at < left + 84 * unit:
            bar = unit * rng.choice([1.5, 3.0, 4.5])
            right, bottom = round(at + bar) - 1, round(top + 24 * unit)
            cv2.rectangle(ink, (round(at), top), (max(right, round(at)), bottom), 255, cv2.FILLED)
            at += bar + unit * rng.choice([2.0, 3.5])
    else:
        size = 0.72 * unit
        thickness = max(1, round(2 * unit))
        place = (left, top + round(20 * unit))
        cv2.putText(ink, f"{lot.mark_text}-QC", place, _FONT, size, 255, thickness, cv2.LINE_AA)
    return ink


def _mark_origin(lot: Lot, shape: tuple[int, int], unit: float) -> tuple[int, int]:
    margin = round(MARGIN * unit)
    return (
        margin + round(lot.mark_xy[0] * (shape[1] - 2 * margin)),
        margin + round(lot.mark_xy[1] * (shape[0] - 2 * margin)),
    )


def numbered(
    rng: np.random.Generator, lot: Lot, ink: NDArray[np.uint8], unit: float
) -> NDArray[np.uint8]:
    """The mark with the part's own number under or beside it."""
    number = f"{rng.integers(10000):04d}"
    left, top = _mark_origin(lot, ink.shape[:2], unit)
    beside = lot.mark == "logo"
    place = (left + round((30 if beside else 0) * unit), top + round((18 if beside else 42) * unit))
    marked = ink.copy()
    text = number if lot.mark != "ticks" else f"{lot.mark_text} {number}"
    thickness = max(1, round(1.7 * unit))
    cv2.putText(marked, text, place, _FONT, 0.5 * unit, 255, thickness, cv2.LINE_AA)
    return marked
