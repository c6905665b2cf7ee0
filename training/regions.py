"""Where a sample's defect lies: its mask file, or its boxes and polygons filled."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from qc import imageio
from qc.types import Sample

_SUBPIXEL = 4


def mask_of(
    sample: Sample, shape_hw: tuple[int, int], label: str | None = None
) -> NDArray[np.bool_] | None:
    """Where the defect lies: the mask file, or the regions filled; None where neither is known.

    Args:
        sample: with `mask_path`, `regions` or neither.
        shape_hw: of the decoded image.
        label: fill the regions of this class only; a mask file has no class.

    Returns:
        `(H, W)` bool.

    Raises:
        DataError: the mask is not readable or has another size.
    """
    if sample.mask_path is not None:
        return imageio.read_mask(sample.mask_path, shape_hw)
    if not sample.regions:
        return None
    mask = np.zeros(shape_hw, np.uint8)
    for region in (r for r in sample.regions if label in (None, r.label)):
        corners = np.array(region.points)
        if region.is_box:
            left, top = np.maximum(np.rint(corners.min(axis=0)).astype(int), 0)
            right, bottom = np.rint(corners.max(axis=0)).astype(int)
            mask[top : max(bottom, 0), left : max(right, 0)] = 1
        else:  # pixels that the outline touches count
            at_centres = np.rint((corners - 0.5) * 2**_SUBPIXEL).astype(np.int32)
            cv2.fillPoly(mask, [at_centres], 1, shift=_SUBPIXEL)
    return mask.astype(bool)
