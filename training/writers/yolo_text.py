"""Writes YOLO: `data.yaml`, `images/...`, and a text file for each image in `labels/...`.

A box is five numbers, an outline a polygon, and a mask the polygons of its outer contours. A good
image has an empty file. A class without a place is a box of no size in the corner, `3 0 0 0 0`: it
says the class, and no place is made up for it. Classes are numbered in the order of their names.

Source: the Ultralytics dataset format, docs.ultralytics.com/datasets.
"""

from __future__ import annotations

import json
from pathlib import PurePosixPath

from qc.types import Region
from training.datasets._annotated import GOOD
from training.writers._job import Job
from training.writers._marks import Marks, edges_of, good_class, marks_of, note_good, outlines
from training.writers._names import in_images_folder

_BARE = (
    "{n} line(s) say a class without a place, by a box of no size: other programs may not take them"
)
_HOLES = "{n} mask(s) have holes: the polygons fill them"
_BOTH = "boxes and polygons stand side by side; some programs then read the boxes alone"
_SPLITS = "splits are in the paths, as images/train, and in data.yaml; reading takes none from them"
_NO_SPLIT = "data.yaml names no train and val folder: no split is known (--split)"


def write(job: Job) -> None:
    """Write the samples of a job.

    Raises:
        UsageError: which class is good is not known.
        DataError: a class name that cannot be kept, or an image or mask that cannot be read.
        FaultError, OSError: the folder cannot be written.
    """
    good = good_class(job.samples, job.good)
    note_good(job, good)
    job.notes[_SPLITS if job.has_splits else _NO_SPLIT] = 1
    job.paths = in_images_folder(job.samples, job.has_splits)
    lines: dict[PurePosixPath, list[tuple[str, str]]] = {}
    for sample, path, size_hw in job.images():
        marks = marks_of(job, sample, size_hw, good)
        job.labels[path.as_posix()] = marks.labels
        lines[path] = _lines(job, marks, size_hw)
    if job.boxes and job.polygons:
        job.notes[_BOTH] = 1
    names = sorted({label for marked in lines.values() for label, _ in marked}) or [GOOD]
    numbers = {name: number for number, name in enumerate(names)}
    for path, marked in lines.items():
        file = job.root / "labels" / path.relative_to("images").with_suffix(".txt")
        file.parent.mkdir(parents=True, exist_ok=True)
        text = "".join(f"{numbers[label]} {shape}\n" for label, shape in marked)
        file.write_text(text, encoding="utf-8", newline="")
    splits = [s for s in ("train", "val", "test") if any(i.split == s for i in job.samples)]
    rows = [f"{s}: images/{s}" for s in splits if job.has_splits]
    rows += ["names:", *(f"  {i}: {json.dumps(n, ensure_ascii=False)}" for n, i in numbers.items())]
    text = "\n".join(rows) + "\n"
    (job.root / "data.yaml").write_text(text, encoding="utf-8", newline="")


def _lines(job: Job, marks: Marks, size_hw: tuple[int, int]) -> list[tuple[str, str]]:
    """Class and numbers of each line of an image."""
    lines: list[tuple[str, str]] = []
    for region in marks.regions:
        lines.append((region.label, _numbers(region, size_hw)))
        job.boxes += region.is_box
        job.polygons += not region.is_box
    for label, mask in marks.masks:
        polygons, has_holes = outlines(mask)
        regions = [Region(label, points, is_box=False) for points in polygons]
        lines += [(label, _numbers(region, size_hw)) for region in regions]
        job.polygons += len(polygons)
        job.notes["{n} mask(s) became polygons"] += 1
        job.notes[_HOLES] += has_holes
    for label in marks.bare:
        lines.append((label, "0 0 0 0"))
        job.notes[_BARE] += 1
    return lines


def _numbers(region: Region, size_hw: tuple[int, int]) -> str:
    """A box or a polygon in fractions of its image."""
    height, width = size_hw
    if region.is_box:
        left, top, right, bottom = edges_of(region)
        pixels = [(left + right) / 2, (top + bottom) / 2, right - left, bottom - top]
    else:
        pixels = [n for point in region.points for n in point]
    shares = (n / (height if i % 2 else width) for i, n in enumerate(pixels))
    return " ".join(_decimal(n) for n in shares)


def _decimal(number: float) -> str:
    """Ten places: a millionth of a pixel, whatever the image."""
    return f"{number:.10f}".rstrip("0").rstrip(".") or "0"
