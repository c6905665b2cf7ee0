"""One good metal part for `drawn`: a lot's layers in a pose of its own, lit, seen and digitised."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from training.datasets._lot import MARGIN, Floats, Lot, lot_layers, numbered


@dataclass(frozen=True, slots=True)
class Scene:
    """One good part before the lens and the sensor.

    Args:
        image: linear RGB `(H, W, 3)` float32, 1 is white.
        solid: `(H, W)` bool, where there is metal that can have a defect.
        light_xy: unit vector towards the light in the picture.
        exposure: gain of the camera for this part.
    """

    image: Floats
    solid: NDArray[np.bool_]
    light_xy: tuple[float, float]
    exposure: float


def good_scene(rng: np.random.Generator, lot: Lot, size_hw: tuple[int, int]) -> Scene:
    """Draw one good part: the lot's layers in a pose of its own, lit."""
    height, width = size_hw
    unit = min(size_hw) / 256
    layers = lot_layers(lot, size_hw)
    pose = _pose(rng, size_hw, unit)
    gain, glint = (_warped(layer, pose, size_hw) for layer in (layers.gain, layers.glint))
    ink = _warped(numbered(rng, lot, layers.ink, unit), pose, size_hw).astype(np.float32)
    grain = _grain(rng, lot, layers.texture, size_hw)
    x, y = _grid(size_hw)
    towards = np.deg2rad(lot.light_deg + rng.uniform(-8, 8))
    light_x, light_y = float(np.cos(towards)), float(np.sin(towards))
    strength = lot.light_strength * rng.uniform(0.7, 1.3)
    light = 1 + strength * (light_x * x + light_y * y)
    light += lot.sheen * rng.uniform(0.6, 1.4) * _sheen(rng, lot, x, y, (light_x, light_y))
    light *= 1 - lot.vignette * (x * x + y * y) / 2
    metal = lot.tone * rng.uniform(0.94, 1.06) * gain * (1 + grain) + glint
    metal *= light
    ink *= np.float32(rng.uniform(0.78, 0.95) / 255) * (1 + 1.5 * np.minimum(grain, 0))
    image = np.empty((height, width, 3), np.float32)
    for channel in range(3):
        printed = lot.ink[channel] * light
        bare = metal * lot.tint[channel]
        image[..., channel] = bare + ink * (printed - bare)
    solid = _warped(layers.solid, pose, size_hw) > 200
    return Scene(image, solid, (light_x, light_y), float(np.exp(rng.normal(0, 0.07))))


def through_lens(scene: Floats, exposure: float) -> Floats:
    """What falls on the sensor: exposed, a little unsharp, clipped to 0..1."""
    return np.clip(cv2.GaussianBlur(scene * np.float32(exposure), (3, 3), 0.5), 0, 1)


def on_sensor(rng: np.random.Generator, sharp: Floats, noise: float) -> NDArray[np.uint8]:
    """Shot and read noise, then 8 bit."""
    spread = noise * np.sqrt(0.35 + 1.3 * sharp)
    noisy = sharp + spread * rng.standard_normal(sharp.shape, np.float32)
    return (np.clip(noisy, 0, 1) * 255 + 0.5).astype(np.uint8)


@lru_cache(maxsize=8)
def _grid(size_hw: tuple[int, int]) -> tuple[Floats, Floats]:
    """x and y from -1 to 1 over the picture."""
    height, width = size_hw
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j].astype(np.float32)
    return x, y


def _sheen(
    rng: np.random.Generator, lot: Lot, x: Floats, y: Floats, light_xy: tuple[float, float]
) -> Floats:
    """A soft highlight: a band across the brushing, or a broad spot on a cast face."""
    at = rng.normal(0.15, 0.15)
    if lot.texture == "brushed":
        along = np.deg2rad(lot.brush_deg)
        distance = x * np.float32(np.cos(along)) + y * np.float32(np.sin(along)) - np.float32(at)
        return np.exp(-((distance / np.float32(0.45)) ** 2))
    dx, dy = x - np.float32(at + 0.3 * light_xy[0]), y - np.float32(0.3 * light_xy[1])
    return np.exp(-(dx * dx + dy * dy) / np.float32(0.5))


def _pose(rng: np.random.Generator, size_hw: tuple[int, int], unit: float) -> NDArray[np.float64]:
    height, width = size_hw
    margin = round(MARGIN * unit)
    centre = (width / 2 + margin, height / 2 + margin)
    turned = cv2.getRotationMatrix2D(centre, rng.uniform(-2.5, 2.5), rng.uniform(0.985, 1.015))
    pose = np.asarray(turned, np.float64)
    pose[:, 2] += rng.uniform(-4, 4, 2) * unit - margin
    return pose


def _warped(layer: np.ndarray, pose: np.ndarray, size_hw: tuple[int, int]) -> np.ndarray:
    return cv2.warpAffine(
        layer, pose, size_hw[::-1], flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )


def _grain(rng: np.random.Generator, lot: Lot, texture: Floats, size_hw: tuple[int, int]) -> Floats:
    """A piece of the lot's texture that no other part has, turned along the brushing."""
    height, width = size_hw
    side = texture.shape[0]
    turn = lot.brush_deg + rng.normal(0, 0.8) if lot.texture == "brushed" else 0.0
    turned = cv2.getRotationMatrix2D((side / 2, side / 2), -turn, 1.0)
    matrix = np.asarray(turned, np.float64)
    free = (side - 1.45 * max(size_hw)) / 2
    matrix[:, 2] += np.array([width, height]) / 2 - side / 2 + rng.uniform(-free, free, 2)
    piece = cv2.warpAffine(
        texture, matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT
    )
    return piece * np.float32(lot.grain * rng.uniform(0.85, 1.15))
