"""A toy model whose score is how much of a white square is still to be seen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from unit.toy_line import unsealed

from edge.occlusion import CELLS
from qc.types import Image, Prediction

SIDE = 48
CELL = SIDE // CELLS


def manifest(**changes: Any) -> Any:
    """Of a model of 48 x 48 pixels: a cell is 4 pixels wide."""
    tensor = {"name": "image", "shape": (1, SIDE, SIDE, 3), "dtype": "uint8"}
    values = {"preprocess": {"size_hw": (SIDE, SIDE)}, "input": tensor, "attention": None}
    return unsealed(**(values | changes))


@dataclass
class Seen:
    """Scratch scores by what `judge` makes of the share of white pixels still to be seen."""

    white: float
    judge: Callable[[float], float] = field(default=lambda share: share)
    runtime: str = "toy"
    passes: int = 0

    def predict(self, image: Image) -> Prediction:
        assert image.shape == (SIDE, SIDE, 3) and image.dtype == np.uint8
        self.passes += 1
        value = self.judge(float((image[..., 0] == 255).sum()) / self.white)
        return Prediction(np.array([1 - value, value, 0.0], np.float32), None, 1)


def part(top: int, left: int, side: int) -> Image:
    """Grey with a white square; all in cells."""
    image = np.full((SIDE, SIDE, 3), 90, np.uint8)
    image[top * CELL : (top + side) * CELL, left * CELL : (left + side) * CELL] = 255
    return image
