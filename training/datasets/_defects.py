"""The four defects of `drawn`: scratch, hole, stain and crack, each painted on a good scene.

A defect scales the light that the metal already returns, so it lies in the picture's shading. All
sizes are given for a picture whose shorter side is 256 pixels.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from training.datasets._lot import Floats
from training.datasets._surface import Scene

Path = NDArray[np.float64]

_STAINS = (
    (0.50, 0.42, 0.32),
    (0.74, 0.50, 0.34),
    (0.48, 0.54, 0.70),
    (0.52, 0.52, 0.52),
    (0.60, 0.52, 0.62),
)
_SHIFT = 4


def paint(
    rng: np.random.Generator, kind: str, scene: Scene, unit: float, contrast: float
) -> Floats:
    """The scene with one defect.

    Args:
        rng: every choice comes from it.
        kind: "scratch", "hole", "stain" or "crack".
        scene: the good part; it is not changed.
        unit: shorter side over 256.
        contrast: 1 is the usual strength.

    Returns:
        Linear RGB `(H, W, 3)` float32.
    """
    return _PAINTERS[kind](rng, scene, unit, contrast)


def _scratch(rng: np.random.Generator, scene: Scene, unit: float, contrast: float) -> Floats:
    """A thin, slightly curved line; its flanks take and lose light."""
    steps = 30
    length = rng.uniform(0.28, 0.6) * 256 * unit
    bend = rng.normal(0, 0.5) / steps
    headings = rng.uniform(0, 2 * np.pi) + bend * np.arange(steps) + rng.normal(0, 0.02, steps)
    path = _placed(rng, scene, _walk(headings, np.full(steps, length / steps)))
    along = np.linspace(0, 1, len(path))
    weights = np.minimum(1, 5 * along) * np.minimum(1, 3 * (1 - along))
    weights *= 0.8 + 0.2 * np.sin(2 * np.pi * (rng.uniform(0.8, 2.5) * along + rng.random()))
    widths = np.full(len(path), rng.uniform(1.3, 2.7) * unit)
    line = _softened(_stroke(_blank(scene), path, weights, widths), unit)
    flank = _moved(line, scene, -1.6 * unit)
    image = scene.image.copy()
    if rng.random() < 0.6:
        image *= 1 - _deep(flank, 0.3 * contrast)
        image += line[..., None] * np.float32(rng.uniform(0.24, 0.42) * contrast)
    else:
        image *= 1 - _deep(line, rng.uniform(0.5, 0.75) * contrast)
        image += flank[..., None] * np.float32(0.1 * contrast)
    return image


def _crack(rng: np.random.Generator, scene: Scene, unit: float, contrast: float) -> Floats:
    """A dark jagged line that thins out and branches."""
    steps = int(rng.integers(11, 22))
    heading = rng.uniform(0, 2 * np.pi)
    trunk = _placed(rng, scene, _jagged(rng, heading, steps, unit))
    canvas = _blank(scene)
    width = rng.uniform(1.5, 2.5) * unit
    along = np.linspace(0, 1, steps + 1)
    weights = np.interp(along, (0, 0.15, 1), (0.6, 1, 0.75))
    _stroke(canvas, trunk, weights, width * np.interp(along, (0, 0.25, 1), (0.4, 1, 0.3)))
    for _ in range(int(rng.integers(1, 4))):
        start = int(rng.integers(2, steps - 1))
        turn = rng.choice([-1, 1]) * rng.uniform(0.5, 1.1)
        count = max(3, round((steps - start) * rng.uniform(0.4, 0.8)))
        branch = _jagged(rng, heading + turn, count, unit) + trunk[start]
        _stroke(
            canvas,
            branch,
            np.linspace(0.9, 0.5, count + 1),
            np.linspace(width * 0.6, 0.5, count + 1),
        )
    line = _softened(canvas, 0.8 * unit)
    image = scene.image * (1 - _deep(line, rng.uniform(0.6, 0.88) * contrast))
    image += _moved(line, scene, -1.5 * unit)[..., None] * np.float32(0.06)
    return image


def _hole(rng: np.random.Generator, scene: Scene, unit: float, contrast: float) -> Floats:
    """A small pit of uneven outline; the wall that faces the light and the rim are lit."""
    centre = _spot(rng, scene, 0.08)
    radius = rng.uniform(4.0, 8.5) * unit
    y, x = np.ogrid[: scene.solid.shape[0], : scene.solid.shape[1]]
    dx, dy = (x - centre[0]).astype(np.float32), (y - centre[1]).astype(np.float32)
    angle = np.arctan2(dy, dx)
    first, second = rng.uniform(0, 2 * np.pi, 2)
    uneven = 1 + rng.uniform(0.05, 0.2) * np.cos(2 * angle + np.float32(first))
    uneven += rng.uniform(0.02, 0.12) * np.cos(3 * angle + np.float32(second))
    distance = np.sqrt(dx * dx + dy * dy) / np.float32(radius) / uneven
    facing = np.cos(angle - np.float32(np.arctan2(scene.light_xy[1], scene.light_xy[0])))
    edge = np.float32(max(radius, 1.0) / 1.4)
    pit = np.clip((1 - distance) * edge + 0.5, 0, 1)
    rim = np.exp(-(((distance - 1.2) / 0.22) ** 2))
    lit_wall = np.clip(-facing, 0, 1) * np.clip(distance, 0, 1) ** 2 * 0.3
    dark = min(0.95, rng.uniform(0.7, 0.9) * contrast)
    image = scene.image * (1 - pit * np.float32(dark) * (1 - lit_wall))[..., None]
    image *= 1 - (rim * np.clip(facing, 0, 1))[..., None] * np.float32(0.25)
    shine = np.float32(rng.uniform(0.14, 0.3) * contrast)
    image += (rim * np.clip(-facing, 0, 1))[..., None] * shine
    return image


def _stain(rng: np.random.Generator, scene: Scene, unit: float, contrast: float) -> Floats:
    """A soft-edged patch that darkens and colours the metal, often with a darker drying edge."""
    height, width = scene.solid.shape
    centre = _spot(rng, scene, 0.12)
    radius = rng.uniform(15, 36) * unit
    turn, squeeze = rng.uniform(0, np.pi), rng.uniform(0.55, 1.0)
    y, x = np.ogrid[:height, :width]
    dx, dy = (x - centre[0]).astype(np.float32), (y - centre[1]).astype(np.float32)
    along = dx * np.float32(np.cos(turn)) + dy * np.float32(np.sin(turn))
    across = (dy * np.float32(np.cos(turn)) - dx * np.float32(np.sin(turn))) / np.float32(squeeze)
    distance = np.sqrt(along * along + across * across) / np.float32(radius)
    cells = rng.standard_normal((18, 18), np.float32)
    cloud = cv2.resize(cells, (width, height), interpolation=cv2.INTER_CUBIC)
    depth = 1 - distance + np.float32(0.22) * cloud
    body = np.clip(depth / np.float32(rng.uniform(0.35, 0.75)), 0, 1)
    body = body * body * (3 - 2 * body)
    drying = np.exp(-(((body - 0.45) / 0.22) ** 2)) * (body > 0.02)
    strength = rng.uniform(0.7, 1.0) * contrast
    colour = np.array(_STAINS[rng.integers(len(_STAINS))], np.float32)
    film = body * (np.float32(0.85) + np.float32(0.12) * cloud)
    film += drying * np.float32(rng.choice([0.0, 0.25, 0.4]))
    gain = 1 - film[..., None] * (1 - colour) * np.float32(strength)
    return scene.image * np.clip(gain, 0.1, 1.1)


_PAINTERS = {"scratch": _scratch, "hole": _hole, "stain": _stain, "crack": _crack}


def _spot(rng: np.random.Generator, scene: Scene, border: float) -> NDArray[np.float64]:
    """A point (x, y) on bare metal, `border` of the side away from the picture's edge."""
    height, width = scene.solid.shape
    for _ in range(50):
        spot = rng.uniform(border, 1 - border, 2) * (width, height)
        if scene.solid[int(spot[1]), int(spot[0])]:
            return spot
    return np.array([width / 2, height / 2])


def _walk(headings: NDArray[np.float64], lengths: NDArray[np.float64]) -> Path:
    moves = np.stack([np.cos(headings), np.sin(headings)], axis=1) * lengths[:, None]
    return np.concatenate([np.zeros((1, 2)), np.cumsum(moves, axis=0)])


def _jagged(rng: np.random.Generator, heading: float, steps: int, unit: float) -> Path:
    turns = heading + np.cumsum(rng.normal(0, 0.12, steps)) + rng.normal(0, 0.5, steps)
    return _walk(turns, rng.uniform(4, 9, steps) * unit)


def _placed(rng: np.random.Generator, scene: Scene, path: Path) -> Path:
    """The path with its middle on bare metal."""
    return path - path.mean(axis=0) + _spot(rng, scene, 0.25)


def _blank(scene: Scene) -> NDArray[np.uint8]:
    return np.zeros(scene.solid.shape, np.uint8)


def _stroke(
    canvas: NDArray[np.uint8],
    path: Path,
    weights: NDArray[np.float64],
    widths: NDArray[np.float64],
) -> NDArray[np.uint8]:
    """Paint a line of varying weight (0 to 1) and width (pixels) into `canvas`."""
    points = np.rint(path * 2**_SHIFT).astype(int).tolist()
    for k in range(len(points) - 1):
        weight = float(weights[k]) * 255
        thickness = max(1, round(float(widths[k])))
        cv2.line(canvas, points[k], points[k + 1], weight, thickness, cv2.LINE_AA, _SHIFT)
    return canvas


def _softened(canvas: NDArray[np.uint8], unit: float) -> Floats:
    line = canvas.astype(np.float32) / 255
    return np.asarray(cv2.GaussianBlur(line, (0, 0), 0.35 + 0.25 * unit), np.float32)


def _moved(line: Floats, scene: Scene, distance: float) -> Floats:
    """The line moved by so many pixels towards the light."""
    matrix = np.array(
        [[1, 0, distance * scene.light_xy[0]], [0, 1, distance * scene.light_xy[1]]], np.float64
    )
    return np.asarray(cv2.warpAffine(line, matrix, line.shape[1::-1]), np.float32)


def _deep(line: Floats, share: float) -> Floats:
    return np.clip(line * np.float32(share), 0, 0.95)[..., None]
