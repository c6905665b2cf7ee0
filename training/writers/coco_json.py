"""Writes COCO: `images/...` and `annotations/instances.json`; `file_name` starts from the root.

A box is a `bbox`; an outline a polygon with its box; a mask its run lengths, uncompressed, so that
every pixel is kept. Each is an annotation of its own. A good image has none. A class without a
place is an annotation without `segmentation` and `bbox`: no place is made up for it.

Source: cocodataset.org/#format-data.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from qc.types import Region
from training.writers._job import Job
from training.writers._marks import (
    Marks,
    Mask,
    area_of,
    edges_of,
    good_class,
    marks_of,
    note_good,
    outlines,
)
from training.writers._names import in_images_folder

_BARE = (
    "{n} annotation(s) say a class without a place, by neither segmentation nor bbox: "
    "other programs may not take them"
)
_HOLES = "{n} mask(s) have holes: the file keeps them, reading it here fills them"


def write(job: Job) -> None:
    """Write the samples of a job.

    Raises:
        UsageError: which class is good is not known.
        DataError: a class name that cannot be kept, or an image or mask that cannot be read.
        FaultError, OSError: the folder cannot be written.
    """
    good = good_class(job.samples, job.good)
    note_good(job, good)
    if job.has_splits:
        job.notes["splits are in the paths, as images/train; reading COCO takes none from them"] = 1
    job.paths = in_images_folder(job.samples, job.has_splits)
    images: list[dict[str, Any]] = []
    marked: list[tuple[int, str, dict[str, Any]]] = []
    for sample, path, size_hw in job.images():
        marks = marks_of(job, sample, size_hw, good)
        job.labels[path.as_posix()] = marks.labels
        number, (height, width) = len(images) + 1, size_hw
        name = path.as_posix()
        images.append({"id": number, "file_name": name, "width": width, "height": height})
        marked += [(number, label, shape) for label, shape in _shapes(job, marks)]
    numbers = {n: i for i, n in enumerate(sorted({label for _, label, _ in marked}), 1)}
    annotations = [
        {"id": i, "image_id": image, "category_id": numbers[label], **shape, "iscrowd": 0}
        for i, (image, label, shape) in enumerate(marked, 1)
    ]
    content = {
        "info": {},
        "licenses": [],
        "images": images,
        "annotations": annotations,
        "categories": [{"id": i, "name": n, "supercategory": ""} for n, i in numbers.items()],
    }
    file = job.root / "annotations" / "instances.json"
    file.parent.mkdir()
    text = json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    file.write_text(text, encoding="utf-8", newline="")


def _shapes(job: Job, marks: Marks) -> list[tuple[str, dict[str, Any]]]:
    """Class and shape of each annotation of an image."""
    shapes: list[tuple[str, dict[str, Any]]] = []
    for region in marks.regions:
        shapes.append((region.label, _of_region(region)))
        job.boxes += region.is_box
        job.polygons += not region.is_box
    for label, mask in marks.masks:
        shapes.append((label, _of_mask(mask)))
        job.masks += 1
        job.notes[_HOLES] += outlines(mask)[1]
    for label in marks.bare:
        shapes.append((label, {"bbox": [], "segmentation": [], "area": 0}))
        job.notes[_BARE] += 1
    return shapes


def _of_region(region: Region) -> dict[str, Any]:
    left, top, right, bottom = edges_of(region)
    box = [left, top, right - left, bottom - top]
    outline = [] if region.is_box else [[n for point in region.points for n in point]]
    return {"bbox": box, "segmentation": outline, "area": area_of(region.points)}


def _of_mask(mask: Mask) -> dict[str, Any]:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    top, left = int(rows[0]), int(columns[0])
    box = [left, top, int(columns[-1]) + 1 - left, int(rows[-1]) + 1 - top]
    outline = {"size": list(mask.shape), "counts": run_lengths(mask)}
    return {"bbox": box, "segmentation": outline, "area": int(mask.sum())}


def run_lengths(mask: Mask) -> list[int]:
    """Lengths of the runs of 0 and 1 in turn, column by column, the first of 0.

    Args:
        mask: `(H, W)`.
    """
    flat = mask.ravel(order="F")
    ends = [*(np.flatnonzero(np.diff(flat)) + 1).tolist(), flat.size]
    starts = [0, *ends[:-1]]
    runs = [end - start for start, end in zip(starts, ends, strict=True)]
    return [0, *runs] if flat[0] else runs
