"""Samples to arrays: decoded once, at the model's size and colour, and kept in memory as uint8."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from qc import imageio, preprocess
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
        labels: `(N,)` index of the class; of several, the first in the order of the classes. It
            serves where one class is enough: good or not, and what is pasted.
        masks: `(N, H, W)` uint8, 255 on the defect, whichever it is.
        has_mask: `(N,)` bool: the mask is known (a good part's is known to be empty). Where regions
            show only some of a part's defects, it is not.
        outlined: `(N,)` bool: the mask follows a defect's outline; a filled box does not.
        colour: "rgb", or "grey": the three channels are equal.
        several: the classes of the samples that have more than one, by row.
        layers: `(H, W, K)` uint8, the mask of each class, by row: of samples with several classes
            whose regions say which is where. Any other mask is that of all classes of its sample.
    """

    samples: tuple[Sample, ...]
    pixels: np.ndarray
    labels: np.ndarray
    masks: np.ndarray
    has_mask: np.ndarray
    outlined: np.ndarray
    colour: Literal["rgb", "grey"] = "rgb"
    several: Mapping[int, tuple[int, ...]] = field(default_factory=dict)
    layers: Mapping[int, np.ndarray] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.samples)

    def classes_of(self, row: int) -> tuple[int, ...]:
        """Indices of the classes of a sample."""
        return self.several.get(row) or (int(self.labels[row]),)

    def truth(self, classes: int | None = None) -> np.ndarray:
        """Which classes each sample has: `(N, K)` bool; K is given, or as many as occur."""
        if classes is None:
            classes = 1 + max(self.labels.max(), *map(max, self.several.values()), 0)
        found = np.zeros((len(self), classes), bool)
        found[np.arange(len(self)), self.labels] = True
        for row, several in self.several.items():
            found[row, list(several)] = True
        return found

    def mask_of_class(self, row: int, label: int) -> np.ndarray:
        """Where a class lies, `(H, W)` uint8; any defect where that is not told apart."""
        if row in self.layers and self.layers[row][:, :, label].any():
            return np.asarray(self.layers[row][:, :, label])
        return np.asarray(self.masks[row])


def class_weights(truth: np.ndarray, balance: float) -> np.ndarray:
    """How often each sample is to be drawn `(N,)`, against the others.

    Args:
        truth: `(N, K)` bool, which classes each sample has.
        balance: 0 draws samples as they are, 1 draws classes equally often. A sample with several
            classes is drawn as one of the rarest of them.
    """
    rarity = np.maximum(truth.sum(axis=0), 1).astype(float) ** -balance
    return np.asarray(np.where(truth, rarity, 0.0).max(axis=1))


def load_images(
    samples: Sequence[Sample],
    classes: Sequence[str],
    good: str,
    spec: PreprocessSpec,
    progress: Progress | None = None,
    *,
    empty: Callable[..., np.ndarray] = np.empty,
) -> Images:
    """Decode and preprocess samples.

    Args:
        samples: with labels as the task wants them (training/task.py).
        classes: names in the order of the scores.
        good: the class of good parts.
        spec: the geometry.
        progress: told of samples done.
        empty: makes the arrays of the pictures, of a shape and a type.

    Raises:
        DataError: an image or mask is not readable.
    """
    names = list(classes)
    indices = [tuple(sorted({names.index(label) for label in s.labels})) for s in samples]
    layers: dict[int, np.ndarray] = {}
    height, width = spec.size_hw
    pixels = empty((len(samples), height, width, 3), np.uint8)
    masks = empty((len(samples), height, width), np.uint8)
    has_mask = np.zeros(len(samples), bool)
    outlined = np.zeros(len(samples), bool)

    def load(i: int) -> None:
        sample = samples[i]
        image = imageio.read_sample(sample)
        pixels[i] = preprocess.apply(spec, image)
        has_mask[i] = sample.labels[0] == good
        mask = mask_of(sample, image.shape[:2])
        masks[i] = 0
        if mask is not None:
            has_mask[i] = sample.labels[0] == good or bool(mask.any())
            masks[i] = preprocess.apply_to_mask(spec, mask) * np.uint8(255)
            drawn = sample.mask_path is not None or not any(r.is_box for r in sample.regions)
            outlined[i] = drawn and masks[i].any()
            if len(indices[i]) > 1 and sample.mask_path is None:
                own = np.zeros((height, width, len(names)), np.uint8)
                for k in indices[i]:
                    where = mask_of(sample, image.shape[:2], names[k])
                    own[:, :, k] = preprocess.apply_to_mask(spec, np.asarray(where)) * np.uint8(255)
                has_mask[i] = own.any(axis=(0, 1))[list(indices[i])].all()
                layers[i] = own

    with ThreadPoolExecutor(2) as pool:
        for done, _ in enumerate(pool.map(load, range(len(samples))), start=1):
            if progress is not None:
                progress(done, len(samples))
    labels = np.array([found[0] for found in indices])
    several = {i: found for i, found in enumerate(indices) if len(found) > 1}
    layers = {i: layers[i] for i in sorted(layers) if has_mask[i]}
    return Images(
        tuple(samples), pixels, labels, masks, has_mask, outlined, spec.colour, several, layers
    )
