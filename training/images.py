"""Samples to arrays: decoded once, at the model's size and colour, and kept in memory as uint8."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal

import numpy as np

from qc import imageio, preprocess
from qc.errors import DataError
from qc.preprocess import PreprocessSpec
from qc.types import Sample
from training.regions import mask_of

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Images:
    """Decoded samples.

    Args:
        samples: N samples.
        pixels: `(N, H, W, 3)` uint8, preprocessed.
        labels: `(N,)` index of the class.
        masks: `(N, H, W)` uint8, 255 on the defect.
        has_mask: `(N,)` bool: the mask is known (a good part's is known to be empty).
        outlined: `(N,)` bool: the mask follows a defect's outline; a filled box does not.
        colour: "rgb", or "grey": the three channels are equal.
    """

    samples: tuple[Sample, ...]
    pixels: np.ndarray
    labels: np.ndarray
    masks: np.ndarray
    has_mask: np.ndarray
    outlined: np.ndarray
    colour: Literal["rgb", "grey"] = "rgb"

    def __len__(self) -> int:
        return len(self.samples)


def load_images(
    samples: Sequence[Sample],
    classes: Sequence[str],
    good: str,
    spec: PreprocessSpec,
    progress: Progress | None = None,
) -> Images:
    """Decode and preprocess samples.

    Raises:
        DataError: an image or mask is not readable, or a sample has several labels.
    """
    several = [s for s in samples if len(s.labels) != 1]
    if several:
        raise DataError(
            "a sample must have one class", where=several[0].sample_id, found=several[0].labels
        )
    height, width = spec.size_hw
    pixels = np.empty((len(samples), height, width, 3), np.uint8)
    masks = np.zeros((len(samples), height, width), np.uint8)
    has_mask = np.zeros(len(samples), bool)
    outlined = np.zeros(len(samples), bool)

    def load(i: int) -> None:
        sample = samples[i]
        image = imageio.read_sample(sample)
        pixels[i] = preprocess.apply(spec, image)
        has_mask[i] = sample.labels[0] == good
        mask = mask_of(sample, image.shape[:2])
        if mask is not None:
            has_mask[i] = sample.labels[0] == good or bool(mask.any())
            masks[i] = preprocess.apply_to_mask(spec, mask) * np.uint8(255)
            drawn = sample.mask_path is not None or not any(r.is_box for r in sample.regions)
            outlined[i] = drawn and masks[i].any()

    with ThreadPoolExecutor(2) as pool:
        for done, _ in enumerate(pool.map(load, range(len(samples))), start=1):
            if progress is not None:
                progress(done, len(samples))
    labels = np.array([list(classes).index(s.labels[0]) for s in samples])
    return Images(tuple(samples), pixels, labels, masks, has_mask, outlined, spec.colour)
