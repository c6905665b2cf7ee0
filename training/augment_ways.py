"""Single changes of a picture: the library's where they are quick, else what they do in less time.

Beside each stands what it replaces; `tests/unit/test_augment_ways.py` compares the two.
"""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import Any

import albumentations as A
import cv2
import numpy as np
from albumentations.augmentations.geometric.functional import (
    center,
    create_affine_transformation_matrix,
)


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
        rows, columns = (np.arange(n, dtype=np.float32) / (n - 1) for n in img.shape[:2])
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

    def get_params_dependent_on_data(
        self, params: dict[str, Any], data: dict[str, Any]
    ) -> dict[str, Any]:
        """The picture's matrix, drawn as the library does; boxes, which need another, are none."""
        shape = params["shape"][:2]
        translate, shear = self._get_translate_params(shape), self._get_shear_params()
        scale = self._get_scale(self.scale, self.keep_ratio, self.balanced_scale, self.py_random)
        rotate = self.py_random.uniform(*self.rotate)
        matrix = create_affine_transformation_matrix(translate, shear, scale, rotate, center(shape))
        return {"matrix": matrix, "output_shape": shape}

    def apply(
        self, img: np.ndarray, matrix: np.ndarray, output_shape: tuple[int, int], **params: Any
    ) -> np.ndarray:
        """The picture moved by a matrix `(3, 3)`."""
        size = (output_shape[1], output_shape[0])
        return warped(img, matrix[:2], size, border=self.border_mode, flags=self.interpolation)

    def apply_to_mask(
        self, mask: np.ndarray, matrix: np.ndarray, output_shape: tuple[int, int], **params: Any
    ) -> np.ndarray:
        """The mask moved alike; one of several classes by the library: OpenCV moves 4 at most."""
        if mask.ndim == 3:
            return np.asarray(super().apply_to_mask(mask, matrix, output_shape, **params))
        size, flags = (output_shape[1], output_shape[0]), self.mask_interpolation
        moved = cv2.warpAffine(mask, matrix[:2], size, flags=flags, borderMode=self.border_mode)
        return np.asarray(moved)


class QuarterTurn(A.RandomRotate90):
    """The library's, which takes four times as long for a picture."""

    def apply(self, img: np.ndarray, factor: int, **params: Any) -> np.ndarray:
        """The picture turned so many times, against the clock."""
        return np.atleast_3d(cv2.rotate(img, TURNS[factor])) if factor else img

    def apply_to_mask(self, mask: np.ndarray, factor: int, **params: Any) -> np.ndarray:
        """The mask turned alike; one of several classes by the library: OpenCV turns 32 at most."""
        if mask.ndim == 3:
            return np.asarray(super().apply(mask, factor, **params))
        return np.asarray(cv2.rotate(mask, TURNS[factor])) if factor else mask


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


class MotionBlur(A.MotionBlur):
    """The library's, to both sides alike: else the picture would leave its mask.

    Its kernel is made in a fifth of the library's time.
    """

    def get_params(self) -> dict[str, Any]:
        """A kernel of 1 on the cells of a line and 0 beside it, divided by their number."""
        shortest, longest = self.blur_limit
        size = self.py_random.randrange(shortest, longest + 1, 2)
        return {"kernel": _line(size, self.py_random.uniform(*self.angle_range))}


def _line(size: int, angle_deg: float) -> np.ndarray:
    along = np.arange(size) - size // 2
    angle = math.radians(angle_deg)
    cells = np.rint([math.sin(angle) * along, math.cos(angle) * along]).astype(int) + size // 2
    kernel = np.zeros((size, size), np.float32)
    kernel[cells[0], cells[1]] = 1
    return kernel / kernel.sum()


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
