"""What an annotation file says of an image: its boxes, outlines and masks, class by class.

COCO and YOLO say "good" by saying nothing. So the class that means it must be known, and a class
that has no place in an image needs a mark of its own that says the class alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from qc import imageio
from qc.errors import DataError, UsageError, nearest
from qc.types import Region, Sample
from training.datasets._annotated import GOOD, checked_region
from training.writers._job import Job

Mask = NDArray[np.bool_]

_SPECK = 0.02  # pixels; gives a line of pixels an area and moves no pixel of its mask

CUT = "{n} box(es) or outline(s) reached outside their image and were cut to it"
LOST = "{n} box(es) or outline(s) lay outside their image or had no area and are left out"
UNOWNED = (
    "{n} mask(s) are left out: their image has several classes, and a mask does not say whose it is"
)
OVERRULED = "{n} box(es) or outline(s) are left out: the mask of their image says the place"


@dataclass(frozen=True)
class Marks:
    """What is to be written of one image.

    Args:
        regions: boxes and outlines, inside the image and with an area.
        masks: class and mask `(H, W)` bool, at least one pixel true.
        bare: classes without a place.
    """

    regions: tuple[Region, ...]
    masks: tuple[tuple[str, Mask], ...]
    bare: tuple[str, ...]

    @property
    def labels(self) -> tuple[str, ...]:
        """The classes as they will be read."""
        found = {r.label for r in self.regions} | {label for label, _ in self.masks}
        return tuple(sorted(found | set(self.bare))) or (GOOD,)


def good_class(samples: Sequence[Sample], said: str | None) -> str | None:
    """The class that is written by writing nothing, None where there is none.

    Args:
        samples: of the whole dataset.
        said: what the user said; "" for none, None for not said.

    Raises:
        UsageError: not said where it must be, or not a class, or a second one besides "good".
        DataError: a class name that the formats cannot keep.
    """
    classes = {label for s in samples for label in s.labels}
    for name in sorted(classes):
        if not name.isprintable() or name != name.strip() or not name:
            expected = "printable characters, no blank at its ends"
            raise DataError("class name cannot be written", where=repr(name), expected=expected)
    if said:
        if said not in classes:
            near = nearest(said, classes)
            hint = f"; did you mean '{near}'?" if near else ""
            what = f"the dataset has no class '{said}'{hint}"
            raise UsageError(what, where="--good", expected=", ".join(sorted(classes)))
        if said != GOOD and GOOD in classes:
            what = f"classes '{said}' and '{GOOD}' would become one: both are read as '{GOOD}'"
            raise UsageError(what, where="--good")
        return said
    if said is not None:
        return None
    if GOOD in classes:
        return GOOD
    nowhere = classes - _placed(samples)
    if nowhere:
        raise UsageError(
            "which class means that nothing is there? The format says it by no annotation",
            where="--good",
            expected="--good CLASS, or --good '' where none does",
            found=f"no place in any image of: {', '.join(sorted(nowhere))}",
        )
    return None


def _placed(samples: Sequence[Sample]) -> set[str]:
    """Classes with a place in at least one image; a mask without a pixel is none."""
    placed = {region.label for s in samples for region in s.regions}
    for sample in samples:
        if sample.mask_path is None or len(sample.labels) > 1 or sample.labels[0] in placed:
            continue
        if imageio.read_image(sample.mask_path).max() > imageio.MASK_THRESHOLD:
            placed.add(sample.labels[0])
    return placed


def marks_of(job: Job, sample: Sample, size_hw: tuple[int, int], good: str | None) -> Marks:
    """What is to be written of an image; what cannot be is counted in the job's notes.

    Args:
        size_hw: of the decoded image.
        good: as `good_class` found it.

    Raises:
        DataError: the mask is not readable or has another size.
    """
    regions, masks = sample.regions, []
    if sample.mask_path is not None and len(sample.labels) > 1:
        job.notes[UNOWNED] += 1
    elif sample.mask_path is not None:
        mask = imageio.read_mask(sample.mask_path, size_hw)
        masks = [(sample.labels[0], mask)] if mask.any() else []
        if regions:
            job.notes[OVERRULED] += len(regions)
        regions = ()
    inside = tuple(r for r in (_inside(job, region, size_hw) for region in regions) if r)
    placed = {r.label for r in inside} | {label for label, _ in masks}
    bare = tuple(sorted({*sample.labels, *(r.label for r in regions)} - placed))
    if bare == (good,) and not placed:
        bare = ()
    return Marks(inside, tuple(masks), bare)


def note_good(job: Job, good: str | None) -> None:
    """Say where a class will be read under another name."""
    if good not in (None, GOOD):
        job.notes[f"class '{good}' is written as no annotation and read back as '{GOOD}'"] = 1


def outlines(mask: Mask) -> tuple[list[tuple[tuple[float, float], ...]], bool]:
    """Outer contours of a mask, through the centres of its border pixels, and whether it has holes.

    Args:
        mask: `(H, W)`.

    Returns:
        Polygons `(x, y)` in pixels, each with an area, and whether filling them fills holes.
    """
    pixels = mask.astype(np.uint8)
    contours, _ = cv2.findContours(pixels, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    _, tree = cv2.findContours(pixels, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    found = [tuple((float(x) + 0.5, float(y) + 0.5) for x, y in c[:, 0]) for c in contours]
    return [_with_area(points) for points in found], bool((tree[0, :, 3] >= 0).any())


def area_of(points: Sequence[tuple[float, float]]) -> float:
    """Area inside a closed polygon."""
    x, y = np.array(points, np.float64).T
    return float(abs(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1)))) / 2


def edges_of(region: Region) -> tuple[float, float, float, float]:
    """Left, top, right and bottom of a region."""
    (left, top), (right, bottom) = np.min(region.points, axis=0), np.max(region.points, axis=0)
    return float(left), float(top), float(right), float(bottom)


def _inside(job: Job, region: Region, size_hw: tuple[int, int]) -> Region | None:
    """The region cut to its image; a line of pixels gets an area, which layouts ask for."""
    height, width = size_hw
    left, top, right, bottom = edges_of(region)
    corners = [(left, top), (right, bottom)] if region.is_box else list(region.points)
    if not region.is_box and area_of(corners) == 0:
        region = replace(region, points=_with_area(region.points))
        corners = list(region.points)
    kept, why = checked_region(region.label, corners, region.is_box, (width, height))
    if why is not None:
        job.notes[LOST if kept is None else CUT] += 1
    return kept


def _with_area(points: tuple[tuple[float, float], ...]) -> tuple[tuple[float, float], ...]:
    """The polygon, with a triangle of a fiftieth of a pixel where it is a line or a point."""
    if area_of(points) > 0:
        return points
    x, y = points[0]
    return (points[0], (x + _SPECK, y), (x, y + _SPECK), *points)
