"""What may happen to a part without changing what it is, to image and mask together.

Geometry comes first, then light, lens, sensor and file, as in a camera; the patch that hides a
place comes last (DeVries and Taylor, "Improved regularization of convolutional neural networks with
cutout", 2017). The mask follows the geometry. A change after which the label would lie is not used:
one that moves a defect out of the picture is drawn again, and a patch never covers a defect.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import albumentations as A
import cv2
import numpy as np

from qc.recipe import AugmentTable
from training.augment_ways import (
    Affine,
    CutOut,
    Defocus,
    MotionBlur,
    QuarterTurn,
    SensorNoise,
    UnevenLight,
)

KEPT = 0.25
"""Share of a defect's pixels that must stay in the picture; a change of size may take more."""

_TRIES = 4
_OFTEN, _SELDOM = 0.8, 0.3


@dataclass(frozen=True)
class Changed:
    """A picture as training sees it.

    Args:
        image: `(H, W, C)` uint8.
        mask: `(H, W)` uint8, 255 on the defect; `(H, W, K)` where that was given.
        applied: what was done, in words.
    """

    image: np.ndarray
    mask: np.ndarray
    applied: tuple[str, ...]


def make_augmentation(table: AugmentTable, colour: Literal["rgb", "grey"] = "rgb") -> A.Compose:
    """The recipe's augmentation for an image `(H, W, C)` uint8 and its mask `(H, W)` uint8.

    Args:
        table: what may happen.
        colour: of the pictures; the noise of a grey camera has no colour.
    """
    return A.Compose(
        [*_geometry(table), *_light(table), *_camera(table, colour)], save_applied_params=True
    )


def _geometry(table: AugmentTable) -> Iterator[A.BasicTransform]:
    if table.flip_horizontal:
        yield A.HorizontalFlip(p=0.5)
    if table.flip_vertical:
        yield A.VerticalFlip(p=0.5)
    if table.quarter_turns:
        yield QuarterTurn(p=1.0)  # by nothing too
    if table.rotate_deg or table.shift or table.scale:
        yield Affine(
            rotate=(-table.rotate_deg, table.rotate_deg),
            translate_percent=(-table.shift, table.shift),
            scale=(1 - table.scale, 1 + table.scale),
            border_mode=cv2.BORDER_REFLECT_101,
            p=_OFTEN,
        )


def _light(table: AugmentTable) -> Iterator[A.BasicTransform]:
    if table.uneven_light:
        yield UnevenLight(table.uneven_light, p=_SELDOM)
    if table.brightness or table.contrast:
        yield A.RandomBrightnessContrast(table.brightness, table.contrast, p=_OFTEN)
    if table.gamma:
        yield A.RandomGamma((100 / (1 + table.gamma), 100 * (1 + table.gamma)), p=_SELDOM)


def _camera(table: AugmentTable, colour: str) -> Iterator[A.BasicTransform]:
    if table.defocus:
        yield Defocus(radius=(1, table.defocus), p=_SELDOM)
    if table.motion_blur:
        longest = table.motion_blur - 1 + table.motion_blur % 2  # a kernel has a middle
        yield MotionBlur((3, longest), p=_SELDOM)
    if table.noise:
        yield SensorNoise(table.noise, coloured=colour == "rgb", p=_SELDOM)
    if table.jpeg:
        yield A.ImageCompression("jpeg", (100 - table.jpeg, 100), p=_SELDOM)
    if table.cut_out:
        yield CutOut(table.cut_out, p=_SELDOM)


class Augmentation:
    """The recipe's augmentation; not to be used by two threads at once.

    Args:
        table: what may happen.
        colour: of the pictures.
    """

    def __init__(self, table: AugmentTable, colour: Literal["rgb", "grey"] = "rgb") -> None:
        self.steps = make_augmentation(table, colour)
        self.kept = KEPT * (1 - table.scale) ** 2

    def __call__(
        self, image: np.ndarray, mask: np.ndarray, seed: int, *, known: bool = True
    ) -> Changed:
        """Change a picture and its mask alike; the same seed gives the same change.

        A defect of which too little stays in the picture is changed otherwise, by the next draw of
        the same seed; where that does not help a few times, picture and mask stay as they are.

        Args:
            image: `(H, W, C)` uint8; of a grey picture one channel is enough, and takes less time.
            mask: `(H, W)` uint8, 255 on the defect; all 0 for a good part. Or `(H, W, K)`, a mask
                for each class: enough of each must stay.
            seed: at least 0.
            known: the mask says where the defect is; if not, no place may be hidden, and whether
                the defect stays in the picture cannot be known.
        """
        avoided = mask if known else np.full_like(mask, 255)
        defects = _pixels(avoided)
        if not defects.any():  # nothing to move or to avoid, which takes less time
            avoided = None
        least = np.where(defects, np.maximum(self.kept * defects, 1), 0)
        for attempt in range(_TRIES):
            _seed(self.steps.transforms, seed * _TRIES + attempt)
            changed = self.steps(image=image, mask=avoided)
            where = mask if avoided is None or not known else changed["mask"]
            if not known or (_pixels(where) >= least).all():
                return Changed(
                    changed["image"], where, tuple(_words(changed["applied_transforms"]))
                )
        return Changed(image, mask, ())


def _pixels(mask: np.ndarray) -> np.ndarray:
    """How many pixels the mask of each class has: `(K,)`, or `(1,)` of a mask without classes."""
    layers = (mask,) if mask.ndim == 2 else cv2.split(mask)
    return np.array([cv2.countNonZero(layer) for layer in layers])


def _seed(steps: Sequence[Any], seed: int) -> None:
    """Give the steps one stream to draw from, each after the one before.

    `Compose.set_random_seed` gives each a stream of its own, all of them the same: two mirrorings
    at one half would then happen together or not at all. It also takes a tenth of a small
    picture's time.
    """
    state = np.random.default_rng(seed), random.Random(seed)
    for step in steps:
        step.set_random_state(*state)


def _words(applied: list[tuple[str, dict[str, Any]]]) -> Iterator[str]:
    for name, params in applied:
        word = _WORDS[name](params)
        if word:
            yield word


_WORDS: dict[str, Any] = {
    "HorizontalFlip": lambda _: "mirrored",
    "VerticalFlip": lambda _: "upside down",
    "QuarterTurn": lambda p: f"turned {90 * p['factor']}" if p["factor"] else "",
    "Affine": lambda _: "moved",
    "UnevenLight": lambda _: "uneven light",
    "RandomBrightnessContrast": lambda _: "exposure",
    "RandomGamma": lambda p: f"gamma {p['gamma']:.2f}",
    "Defocus": lambda p: f"defocus {p['radius']}",
    "MotionBlur": lambda p: f"motion {p['kernel'].shape[0]}",
    "SensorNoise": lambda _: "noise",
    "ImageCompression": lambda p: f"JPEG {p['quality']}",
    "CutOut": lambda p: "cut-out" if p["patch"] else "",
}
