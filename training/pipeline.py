"""Samples to batches: images are decoded once, kept at the model's size, and changed each epoch.

The target of the map, `(h, w, K)`: 1 where the mask lies in the channel of the labelled defect, 0
where a good part or another place shows nothing, -1 where nothing is known (no mask; the good
channel).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import keras
import numpy as np

from qc import imageio, preprocess
from qc.errors import DataError
from qc.preprocess import PreprocessSpec
from qc.recipe import AugmentTable
from qc.types import Sample
from training.augment import augment, make_augmentation
from training.regions import mask_of

UNKNOWN = -1.0

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
    """

    samples: tuple[Sample, ...]
    pixels: np.ndarray
    labels: np.ndarray
    masks: np.ndarray
    has_mask: np.ndarray

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

    def load(i: int) -> None:
        sample = samples[i]
        image = imageio.read_sample(sample)
        pixels[i] = preprocess.apply(spec, image)
        has_mask[i] = sample.labels[0] == good
        mask = mask_of(sample, image.shape[:2])
        if mask is not None:
            has_mask[i] = sample.labels[0] == good or bool(mask.any())
            masks[i] = preprocess.apply_to_mask(spec, mask) * np.uint8(255)

    with ThreadPoolExecutor(2) as pool:
        for done, _ in enumerate(pool.map(load, range(len(samples))), start=1):
            if progress is not None:
                progress(done, len(samples))
    labels = np.array([list(classes).index(s.labels[0]) for s in samples])
    return Images(tuple(samples), pixels, labels, masks, has_mask)


def map_target(
    mask: np.ndarray, label: int, has_mask: bool, good: int, shape: tuple[int, int, int]
) -> np.ndarray:
    """Target of the map for one sample.

    Args:
        mask: `(H, W)` uint8.
        label: index of the sample's class.
        has_mask: whether the mask is known.
        good: index of the good class.
        shape: `(h, w, K)` of the map; H and W are multiples of h and w.

    Returns:
        `(h, w, K)` float32 of 1, 0 and UNKNOWN.
    """
    rows, columns = shape[:2]
    target = np.zeros(shape, np.float32)
    if label != good:
        if has_mask:
            cells = mask.reshape(rows, mask.shape[0] // rows, columns, mask.shape[1] // columns)
            target[:, :, label] = cells.max(axis=(1, 3)) > 127
        else:
            target[:, :, label] = UNKNOWN
    target[:, :, good] = UNKNOWN
    return target


class Batches(keras.utils.PyDataset):
    """Augmented training batches: each epoch draws as many images as there are.

    Args:
        images: decoded TRAIN samples.
        good: index of the good class.
        map_shape: `(h, w, K)`.
        batch_size: images in a batch.
        balance: 0 draws as they are, 1 draws every class equally often.
        table: what augmentation may do.
        seed: of the draw and the augmentation.
        epoch: number of the first epoch, so that a resumed run goes on as it would have.
    """

    def __init__(
        self,
        images: Images,
        *,
        good: int,
        map_shape: tuple[int, int, int],
        batch_size: int,
        balance: float,
        table: AugmentTable,
        seed: int,
        epoch: int = 0,
    ) -> None:
        super().__init__(workers=1)
        self.images, self.good, self.map_shape = images, good, map_shape
        self.batch_size, self.seed, self.epoch = batch_size, seed, epoch
        counts = np.bincount(images.labels, minlength=map_shape[2]).astype(float)
        weight = (counts[images.labels] ** -balance) * 1.0
        self.probability = weight / weight.sum()
        self.augmentation = make_augmentation(table)
        self._draw()

    def _draw(self) -> None:
        rng = np.random.default_rng([self.seed, self.epoch])
        # stratified: one draw in each of N equal slices of probability
        n = len(self.images)
        order = rng.permutation(n)
        edges = np.cumsum(self.probability[order])
        points = (np.arange(n) + rng.random(n)) / n
        chosen = order[np.minimum(np.searchsorted(edges, points), n - 1)]
        self.chosen = rng.permutation(chosen)
        self.seeds = rng.integers(0, 2**31, n)

    def __len__(self) -> int:
        return max(len(self.images) // self.batch_size, 1)

    def __getitem__(self, index: int) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        at = slice(index * self.batch_size, (index + 1) * self.batch_size)
        pixels, scores, maps = [], [], []
        for i, seed in zip(self.chosen[at], self.seeds[at], strict=True):
            image, mask = augment(
                self.augmentation, self.images.pixels[i], self.images.masks[i], int(seed)
            )
            label = int(self.images.labels[i])
            known = bool(self.images.has_mask[i])
            pixels.append(image)
            scores.append(np.eye(self.map_shape[2], dtype=np.float32)[label])
            maps.append(map_target(mask, label, known, self.good, self.map_shape))
        return (
            np.stack(pixels).astype(np.float32),
            {"score": np.stack(scores), "attention": np.stack(maps)},
        )

    def on_epoch_end(self) -> None:
        self.epoch += 1
        self._draw()
