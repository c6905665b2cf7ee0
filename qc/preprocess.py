"""From a decoded picture to the uint8 tensor the model takes: the only geometry code there is.

Training, export and the edge all call `apply`, so a picture becomes the same bytes everywhere.
"""

from __future__ import annotations

from typing import Literal

import cv2
import numpy as np
from pydantic import BaseModel, ConfigDict, Field, PositiveInt

from qc.errors import DataError
from qc.types import Image


class PreprocessSpec(BaseModel):
    """Geometry of the model input, sealed in the bundle.

    Args:
        size_hw: height and width of the model input in pixels.
        fit: "stretch" scales both axes to `size_hw`, so a point of the map belongs to the same
            fraction of the picture's height and width.
        colour: "rgb", or "grey": the luma in all three channels.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    size_hw: tuple[PositiveInt, PositiveInt] = Field(
        description="height and width of the model input, pixels"
    )
    fit: Literal["stretch"] = "stretch"
    colour: Literal["rgb", "grey"] = "rgb"


def apply(spec: PreprocessSpec, image: Image) -> Image:
    """Bring a picture to the model's size and colour.

    Args:
        spec: the geometry.
        image: RGB `(H, W, 3)` uint8.

    Returns:
        RGB `(h, w, 3)` uint8, C-contiguous.

    Raises:
        DataError: the picture is not `(H, W, 3)` uint8.
    """
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or image.size == 0:
        raise DataError(
            "the picture cannot be preprocessed",
            expected="(H, W, 3) uint8",
            found=f"{image.shape} {image.dtype}",
        )
    if spec.colour == "grey":
        image = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)  # type: ignore[assignment]
    height, width = spec.size_hw
    if image.shape[:2] != (height, width):
        shrinking = image.shape[0] >= height and image.shape[1] >= width
        method = cv2.INTER_AREA if shrinking else cv2.INTER_LINEAR
        image = cv2.resize(image, (width, height), interpolation=method)  # type: ignore[assignment]
    return np.ascontiguousarray(image, dtype=np.uint8)


def apply_to_mask(spec: PreprocessSpec, mask: np.ndarray) -> np.ndarray:
    """Bring a defect mask `(H, W)` bool to the model's size, keeping the smallest defect.

    A pixel of the result is set where any pixel of the mask falls into it.
    """
    height, width = spec.size_hw
    ys, xs = np.nonzero(mask)
    small = np.zeros((height, width), np.uint8)
    small[ys * height // mask.shape[0], xs * width // mask.shape[1]] = 255
    if mask.shape[0] < height or mask.shape[1] < width:
        grown = cv2.resize(
            mask.astype(np.uint8) * 255, (width, height), interpolation=cv2.INTER_NEAREST
        )
        small = np.maximum(small, grown)
    return small > 0
