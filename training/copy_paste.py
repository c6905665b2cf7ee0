"""A defect of one part on a good part of the same set, with its mask, so that few defects go far.

After Ghiasi et al., "Simple copy-paste is a strong data augmentation method for instance
segmentation", 2021, with a soft rim and the light of the place: a hard seam would be learnt.
`cv2.seamlessClone` was tried on magnetic tiles and left out: it is three times slower, wipes out
defects at the border and blows up beside black. Where a defect runs out of the picture it stays at
that border: nobody has seen a chipped edge in the middle of a part.

Limits, said plainly: only masks that follow an outline are used, for a box would bring a rectangle
of the other part along; a place is chosen by how it looks, for nothing here knows where a part
ends; a defect that covers more than an eighth of the picture is not pasted, for its seam shows; nor
are several defects of one part whose regions tell them apart, for they would be moved as one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from qc.errors import DataError
from qc.recipe import AugmentTable
from training.augment_ways import TURNS, warped
from training.images import Images, class_weights

LARGEST = 1 / 8
"""Share of the picture that a pasted defect covers at most."""

_RIM = 1 / 64  # width of the soft rim, share of the side
_SOLID = 0.95  # weight from which a pixel belongs to the defect rather than to its surroundings
_PLACES = 8
_DARKEST, _BRIGHTEST = 0.5, 2.0  # how far the light of a place may be from that of the defect


@dataclass(frozen=True)
class Pasted:
    """A good part that has a defect now.

    Args:
        image: `(H, W, C)` uint8.
        mask: `(H, W)` uint8, 255 on the defect.
        source: index of the sample that the defect comes from.
    """

    image: np.ndarray
    mask: np.ndarray
    source: int


class Defects:
    """The defects of a set that can be pasted.

    Args:
        images: decoded TRAIN samples; no other split is ever given.
        good: index of the good class.
        table: how far the recipe lets a part be mirrored, turned and scaled; so far goes a defect.
        balance: 0 takes defects as they are, 1 takes every class equally often.

    Raises:
        DataError: no defect can be pasted.
    """

    def __init__(self, images: Images, good: int, table: AugmentTable, balance: float) -> None:
        self.images, self.table = images, table
        share = np.array([np.count_nonzero(mask) / mask.size for mask in images.masks])
        usable = images.outlined & (images.labels != good) & (share > 0) & (share <= LARGEST)
        usable[list(images.layers)] = False
        self.sources = np.flatnonzero(usable)
        if not len(self.sources):
            raise DataError(
                "no defect can be pasted: set copy_paste = 0, or give masks",
                where="train.augment.copy_paste",
                expected=f"a TRAIN defect whose mask, not a box, covers at most {LARGEST:.1%}",
                found=f"{np.count_nonzero(images.labels != good)} defects, none of them such",
            )
        self._truth = images.truth()
        weight = class_weights(self._truth[self.sources], balance)
        self.probability = weight / weight.sum()

    def of_class(self, label: int) -> np.ndarray:
        """Indices of the samples of a class whose defect can be pasted."""
        return self.sources[self._truth[self.sources, label]]

    def draw(self, image: np.ndarray, rng: np.random.Generator) -> Pasted:
        """Give a good part the defect of a sample drawn by `rng`."""
        return self.paste(image, int(rng.choice(self.sources, p=self.probability)), rng)

    def paste(self, image: np.ndarray, source: int, rng: np.random.Generator) -> Pasted:
        """Give a good part the defect of one sample.

        Args:
            image: `(H, W, 3)` uint8, unchanged; `(H, W, 1)` of a grey one.
            source: index of the sample.
            rng: decides how the defect is turned and where it lies.
        """
        pixels = self.images.pixels[source][..., : image.shape[2]]
        mask = self.images.masks[source]
        turned, where = _mirrored(pixels, mask, self.table, rng)
        rim = max(2, round(min(mask.shape) * _RIM))
        if not _border(where, rim).any():
            turned, where = _turned(turned, where, self.table, rng, rim)
        return Pasted(*_placed(image, turned, where, rng, rim), source)


def _mirrored(
    pixels: np.ndarray, mask: np.ndarray, table: AugmentTable, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    if table.flip_horizontal and rng.random() < 0.5:
        pixels, mask = cv2.flip(pixels, 1), cv2.flip(mask, 1)
    if table.flip_vertical and rng.random() < 0.5:
        pixels, mask = cv2.flip(pixels, 0), cv2.flip(mask, 0)
    quarters = int(rng.integers(4)) if table.quarter_turns else 0
    if quarters:
        pixels, mask = (cv2.rotate(picture, TURNS[quarters]) for picture in (pixels, mask))
    return np.ascontiguousarray(np.atleast_3d(pixels)), np.ascontiguousarray(mask)


def _turned(
    pixels: np.ndarray, mask: np.ndarray, table: AugmentTable, rng: np.random.Generator, rim: int
) -> tuple[np.ndarray, np.ndarray]:
    """Turned and scaled about the middle of the defect; as it was where it would not fit."""
    angle = rng.uniform(-table.rotate_deg, table.rotate_deg)
    factor = rng.uniform(1 - table.scale, 1 + table.scale)
    if angle == 0 and factor == 1:
        return pixels, mask
    left, top, width, height = cv2.boundingRect(mask)
    size = (mask.shape[1], mask.shape[0])
    turn = cv2.getRotationMatrix2D((left + width / 2, top + height / 2), angle, factor)
    where = cv2.warpAffine(mask, turn, size, flags=cv2.INTER_NEAREST)
    if _border(where, rim).any() or not where.any():
        return pixels, mask
    mirrored = cv2.BORDER_REFLECT_101
    turned = warped(pixels, turn, size, border=mirrored, flags=cv2.INTER_LINEAR)
    return turned, np.asarray(where)


def _border(mask: np.ndarray, rim: int) -> np.ndarray:
    """Whether the defect with its soft rim reaches the left, top, right and bottom border."""
    reach = 2 * rim
    ends = (mask[:, :reach], mask[:reach], mask[:, -reach:], mask[-reach:])
    return np.array([end.any() for end in ends])


def _placed(
    image: np.ndarray,
    pixels: np.ndarray,
    mask: np.ndarray,
    rng: np.random.Generator,
    rim: int,
) -> tuple[np.ndarray, np.ndarray]:
    """The defect where, of a few places, the picture looks most as it did around the defect."""
    around = (2 * rim,) * 4
    target = np.atleast_3d(cv2.copyMakeBorder(image, *around, cv2.BORDER_REPLICATE))
    left, top, wide, high = cv2.boundingRect(mask)
    patch = np.s_[top : top + high + 4 * rim, left : left + wide + 4 * rim]
    weight = _soft(cv2.copyMakeBorder(mask, *around, cv2.BORDER_REPLICATE)[patch], rim)
    defect = np.atleast_3d(cv2.copyMakeBorder(pixels, *around, cv2.BORDER_REPLICATE))[patch]
    ring = ((weight > 0) & (weight < _SOLID)).astype(np.uint8)
    shifts = _shifts(mask, rng, rim)
    places = [target[_moved(patch, dx, dy)] for dx, dy in shifts]
    (before, *there), (rough_before, *rough) = _light([defect, *places], ring)
    gains = (np.array(there) + 1) / (before + 1)
    roughness = (np.array(rough) + 4) / (rough_before + 4)
    unlike = np.abs(np.log(np.column_stack([gains, roughness]))).max(axis=1)
    best = int(unlike.argmin())
    place, light = _moved(patch, *shifts[best]), gains[best]
    lit = defect * np.clip(light, _DARKEST, _BRIGHTEST).astype(np.float32)
    share = weight[..., None]
    target[place] = np.clip(np.rint(share * lit + (1 - share) * target[place]), 0, 255)
    where = np.zeros_like(mask)
    inside = np.s_[top : top + high, left : left + wide]
    where[_moved(inside, *shifts[best])] = mask[inside]
    return np.ascontiguousarray(target[2 * rim : -2 * rim, 2 * rim : -2 * rim]), where


def _light(patches: Sequence[np.ndarray], ring: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean of each channel on the ring, `(N, C)`, and deviation of all together, `(N,)`."""
    found = np.array([cv2.meanStdDev(patch, mask=ring) for patch in patches])[..., 0]
    mean, deviation = found[:, 0], found[:, 1]
    return mean, np.sqrt(np.mean(deviation**2, axis=1) + np.var(mean, axis=1))


def _soft(mask: np.ndarray, rim: int) -> np.ndarray:
    """Weight of the defect `(H, W)` float32: 1 on the mask, falling to 0 over twice the rim."""
    size = (2 * rim + 1, 2 * rim + 1)
    wide = cv2.dilate(mask, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, size))
    level = wide.astype(np.float32) / 255
    soft = cv2.GaussianBlur(level, size, rim / 2, borderType=cv2.BORDER_REPLICATE)
    return np.asarray(np.where(mask > 0, 1, soft), np.float32)


def _shifts(mask: np.ndarray, rng: np.random.Generator, rim: int) -> list[tuple[int, int]]:
    """A few moves, right and down; a defect at a border stays at it, another stays off it."""
    left, top, wide, high = cv2.boundingRect(mask)
    at_left, at_top, at_right, at_bottom = _border(mask, rim)

    def moves(fixed: bool, start: int, length: int, room: int) -> np.ndarray:
        if fixed:
            return np.zeros(_PLACES, int)
        low, high = rim - start, room - rim - start - length
        return rng.integers(min(low, high), max(low, high) + 1, _PLACES)

    across = moves(at_left or at_right, left, wide, mask.shape[1])
    down = moves(at_top or at_bottom, top, high, mask.shape[0])
    return list(zip(across.tolist(), down.tolist(), strict=True))


def _moved(place: tuple[slice, slice], dx: int, dy: int) -> tuple[slice, slice]:
    rows, columns = place
    return (
        slice(rows.start + dy, rows.stop + dy),
        slice(columns.start + dx, columns.stop + dx),
    )
