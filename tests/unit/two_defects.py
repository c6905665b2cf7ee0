"""Drawn parts that may have two defects, with a box or a polygon for each, as a COCO set.

One state draws the same part with any defect, so the pixels that one defect changed can be laid
over the picture with the other.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from qc.imageio import write_png
from training.datasets.drawn import draw_part, make_lot

DEFECTS = ("hole", "scratch", "stain")
PAINT = {"hole": (0, 0, 0), "scratch": (255, 0, 0), "stain": (0, 160, 0)}
PAIRS = (("hole", "scratch"), ("scratch", "stain"), ("hole", "stain"))


def draw_two_defects(
    out: Path,
    *,
    seed: int,
    lots: int,
    parts_per_lot: int,
    size_hw: tuple[int, int] = (64, 64),
    paint: bool = False,
    boxes: bool = False,
) -> Path:
    """Write a set in which half of the parts are good, a quarter has one defect, a quarter two.

    Args:
        out: a folder that does not exist yet.
        seed, lots, parts_per_lot, size_hw: as of drawn parts.
        paint: a plain colour for each class, so that a very small model learns them.
        boxes: boxes in place of polygons.
    """
    images: list[dict[str, Any]] = []
    marks: list[dict[str, Any]] = []
    (out / "images").mkdir(parents=True)
    for k in range(lots):
        lot = make_lot(seed, k)
        for number in range(parts_per_lot):
            picture, masks = _part(seed, k, number, lot, size_hw, paint)
            name = f"{lot.name}_{number:03d}.png"
            write_png(out / "images" / name, picture)
            row = {"id": len(images) + 1, "file_name": name}
            images.append({**row, "height": size_hw[0], "width": size_hw[1]})
            for kind, mask in masks.items():
                for region in _regions(mask, boxes):
                    own = {"id": len(marks) + 1, "image_id": row["id"], "iscrowd": 0}
                    marks.append({**own, "category_id": 1 + DEFECTS.index(kind), **region})
    kinds = [{"id": 1 + i, "name": kind} for i, kind in enumerate(DEFECTS)]
    (out / "annotations.json").write_text(
        json.dumps({"images": images, "annotations": marks, "categories": kinds})
    )
    rows = [f"images/{i['file_name']},{str(i['file_name']).split('_')[0]}" for i in images]
    (out / "groups.csv").write_text("path,group\n" + "\n".join(rows) + "\n")
    return out


def _part(
    seed: int, k: int, number: int, lot: Any, size_hw: tuple[int, int], paint: bool
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """The picture, and the mask of each defect that is still seen in it."""
    kinds: tuple[str, ...] = ()
    if number % 4 == 1:
        kinds = (DEFECTS[(number // 4 + k) % 3],)
    elif number % 4 == 3:
        kinds = PAIRS[(number // 4 + k) % 3]
    picture, _ = draw_part(np.random.default_rng([seed, k, number]), "good", lot, size_hw)
    masks: dict[str, np.ndarray] = {}
    for kind in kinds:
        other, mask = draw_part(np.random.default_rng([seed, k, number]), kind, lot, size_hw)
        if paint:
            mask = cv2.dilate(mask.astype(np.uint8), np.ones((7, 7), np.uint8)) > 0
            other[mask] = PAINT[kind]
        picture = np.where(mask[..., None], other, picture)
        masks = {name: before & ~mask for name, before in masks.items()} | {kind: mask}
    return picture, {kind: mask for kind, mask in masks.items() if mask.any()}


def _regions(mask: np.ndarray, boxes: bool) -> list[dict[str, Any]]:
    contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    found = []
    for contour in contours:
        x, y, width, height = cv2.boundingRect(contour)
        box = {"bbox": [x, y, width, height], "area": width * height}
        corners = (contour[:, 0] + 0.5).ravel().tolist()  # of pixel centres, not of edges
        polygon = not boxes and len(contour) >= 3 and cv2.contourArea(contour) > 0
        found.append({**box, "segmentation": [corners]} if polygon else box)
    return found
