"""What may happen to a part without changing what it is, to image and mask together.

Geometry comes first, then light, lens, sensor and file, as in a camera; the patch that hides a
place comes last (DeVries and Taylor, "Improved regularization of convolutional neural networks with
cutout", 2017). The mask follows the geometry. A change after which the label would lie is not used:
one that moves a defect out of the picture is drawn again, and a patch never covers a defect.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any, Literal

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # else its import asks the network

import albumentations as A
import cv2
import numpy as np

from qc.recipe import AugmentTable

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


class CutOut(A.ImageOnlyTransform):
    """Hides a square in the picture's mean colour, where it leaves the mask whole or not at all."""

    def __init__(self, share: float, p: float = 0.5) -> None:
        super().__init__(p=p)
        self.share = share

    def get_params_dependent_on_data(
        self, params: dict[str, Any], data: dict[str, Any]
    ) -> dict[str, Any]:
        """The patch as top, left and side, or None where no place was found."""
        mask, (height, width) = data.get("mask"), params["shape"][:2]
        largest = self.share * min(height, width)
        for _ in range(10):
            side = max(1, round(self.py_random.uniform(largest / 4, largest)))
            top = self.py_random.randint(0, height - side)
            left = self.py_random.randint(0, width - side)
            if mask is None or not mask[top : top + side, left : left + side].any():
                return {"patch": (top, left, side)}
        return {"patch": None}

    def apply(
        self, img: np.ndarray, patch: tuple[int, int, int] | None, **params: Any
    ) -> np.ndarray:
        """The picture with the patch."""
        if patch is None:
            return img
        top, left, side = patch
        hidden = img.copy()
        hidden[top : top + side, left : left + side] = np.rint(cv2.mean(img)[: img.shape[2]])
        return hidden


class UnevenLight(A.ImageOnlyTransform):
    """Light that falls off to one side, or around a spot, or grows so: smooth, within its bounds.

    The library's own (`Illumination`) makes 1.6 of 1 at a strength of 0.2, depending on the angle.
    """

    def __init__(self, strength: float, p: float = 0.5) -> None:
        super().__init__(p=p)
        self.strength = strength

    def get_params(self) -> dict[str, Any]:
        """Strength, direction, and the spot where there is one, as shares of height and width."""
        draw = self.py_random.uniform
        return {
            "strength": draw(0, self.strength) * self.py_random.choice((-1, 1)),
            "angle": draw(0, 2 * np.pi),
            "spot": (draw(0, 1), draw(0, 1)) if self.py_random.random() < 0.5 else None,
        }

    def apply(
        self,
        img: np.ndarray,
        strength: float,
        angle: float,
        spot: tuple[float, float] | None,
        **params: Any,
    ) -> np.ndarray:
        """The picture times 1 - strength to 1 + strength."""
        rows, columns = (np.linspace(0, 1, n, dtype=np.float32) for n in img.shape[:2])
        if spot is None:
            field = np.float32(np.sin(angle)) * rows[:, None] + np.float32(np.cos(angle)) * columns
        else:
            field = np.sqrt((rows[:, None] - spot[0]) ** 2 + (columns - spot[1]) ** 2)
        low, high = float(field.min()), float(field.max())
        slope = 2 * strength / (high - low)
        light = field * np.float32(slope) + np.float32(1 - strength - slope * low)
        everywhere = cv2.merge([light] * img.shape[2])
        return np.atleast_3d(cv2.multiply(img, everywhere, dtype=cv2.CV_8U))


def warped(
    img: np.ndarray, matrix: np.ndarray, size: tuple[int, int], *, border: int, flags: int
) -> np.ndarray:
    """A picture `(H, W, C)` moved by a matrix `(2, 3)`, to a width and a height.

    As `cv2.warpAffine`, which moves four channels twice as fast as three.
    """
    colour = img.shape[2] == 3
    wide = cv2.cvtColor(img, cv2.COLOR_RGB2RGBA) if colour else img
    moved = cv2.warpAffine(wide, matrix, size, flags=flags, borderMode=border)
    return np.atleast_3d(cv2.cvtColor(moved, cv2.COLOR_RGBA2RGB) if colour else moved)


class Affine(A.Affine):
    """The library's, which takes twice as long."""

    def apply(
        self, img: np.ndarray, matrix: np.ndarray, output_shape: tuple[int, int], **params: Any
    ) -> np.ndarray:
        """The picture moved by a matrix `(3, 3)`."""
        size = (output_shape[1], output_shape[0])
        return warped(img, matrix[:2], size, border=self.border_mode, flags=self.interpolation)


class QuarterTurn(A.RandomRotate90):
    """The library's, which takes four times as long for a picture."""

    def apply(self, img: np.ndarray, factor: int, **params: Any) -> np.ndarray:
        """The picture turned so many times, against the clock."""
        return np.atleast_3d(cv2.rotate(img, TURNS[factor])) if factor else img

    def apply_to_mask(self, mask: np.ndarray, factor: int, **params: Any) -> np.ndarray:
        """The mask turned alike, by the library: OpenCV turns 32 classes at most."""
        return np.asarray(super().apply(mask, factor, **params))


TURNS = {1: cv2.ROTATE_90_COUNTERCLOCKWISE, 2: cv2.ROTATE_180, 3: cv2.ROTATE_90_CLOCKWISE}
"""Quarter turns against the clock."""


class Defocus(A.Defocus):
    """The library's defocus without the weights of its kernel that change nothing.

    Its kernel has 17 x 17 weights for any radius up to 8, most of them nothing and some of them
    denormal, with which a processor is slow: at a radius of 3 this takes an eighth of the time.
    """

    def apply(self, img: np.ndarray, radius: int, alias_blur: float, **params: Any) -> np.ndarray:
        """The picture through the disc of a radius, in pixels."""
        across = np.arange(-max(8, radius), max(8, radius) + 1)
        disc = (across**2 + across[:, None] ** 2 <= radius**2).astype(np.float32)
        size = 3 if radius <= 8 else 5
        kernel = cv2.GaussianBlur(disc / disc.sum(), (size, size), sigmaX=alias_blur)
        kernel[kernel < _NO_WEIGHT] = 0
        used = np.flatnonzero(kernel.any(axis=0))
        kernel = kernel[used[0] : used[-1] + 1, used[0] : used[-1] + 1]
        return np.atleast_3d(cv2.filter2D(img, -1, kernel))


_NO_WEIGHT = 1e-6
"""A weight that moves no grey level: 361 of these change it by less than a tenth."""


class SensorNoise(A.ImageOnlyTransform):
    """Noise of a normal distribution, by bytes that each pick one of 256 equally likely values.

    The library's takes five times as long, and rounds down: half a grey level darker on the whole.
    """

    def __init__(self, largest: float, coloured: bool = True, p: float = 0.5) -> None:
        super().__init__(p=p)
        self.largest, self.coloured = largest, coloured

    def get_params_dependent_on_data(
        self, params: dict[str, Any], data: dict[str, Any]
    ) -> dict[str, Any]:
        """A byte for each value, or pixel of a grey camera, and the deviation in grey levels."""
        height, width, channels = params["shape"]
        shape = (height, width, channels if self.coloured else 1)
        drawn = self.random_generator.bytes(int(np.prod(shape)))
        return {
            "drawn": np.frombuffer(drawn, np.uint8).reshape(shape),
            "sigma": 255 * self.py_random.uniform(0, self.largest),
        }

    def apply(self, img: np.ndarray, drawn: np.ndarray, sigma: float, **params: Any) -> np.ndarray:
        """The picture with the noise."""
        noise = cv2.LUT(drawn, np.rint(sigma * _NORMAL).astype(np.int16))
        if drawn.shape[2] < img.shape[2]:
            noise = cv2.merge([noise] * img.shape[2])
        return np.atleast_3d(cv2.add(img, np.atleast_3d(noise), dtype=cv2.CV_8U))


_NORMAL = np.array([NormalDist().inv_cdf((i + 0.5) / 256) for i in range(256)])
"""The middles of 256 equally likely parts of the normal distribution."""


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
        # to both sides alike: else the picture would leave its mask
        yield A.MotionBlur((3, longest), allow_shifted=False, direction_range=(0, 0), p=_SELDOM)
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
    return np.array([cv2.countNonZero(layer) for layer in cv2.split(mask)])


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
