"""Drawn parts whose defects are painted over in plain colours, so that a small model learns them.

A model of a few thousand weights then tells them apart at 64 pixels after seconds of training. Its
figures mean nothing beyond the tests.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from qc.imageio import read_image, write_png
from training.datasets.drawn import draw_dataset

PAINT = {"scratch": (255, 0, 0), "hole": (0, 0, 0), "stain": (0, 160, 0), "crack": (0, 0, 255)}


def draw_painted(folder: Path, *, lots: int = 10, parts_per_lot: int = 32) -> Path:
    """Draw parts of 64 pixels, half of them with a defect, with masks and `groups.csv`."""
    draw_dataset(
        folder, seed=3, lots=lots, parts_per_lot=parts_per_lot, defect_share=0.5, size_hw=(64, 64)
    )
    wider = np.ones((9, 9), np.uint8)
    for mask_file in sorted(folder.glob("*/*_mask.png")):
        file = mask_file.with_name(mask_file.name.replace("_mask", ""))
        mask = np.asarray(cv2.dilate(read_image(mask_file)[..., 0], wider), np.uint8)
        image = read_image(file)
        image[mask > 127] = PAINT[file.parent.name]
        write_png(file, image)
        write_png(mask_file, mask)
    return folder
