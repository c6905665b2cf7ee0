"""Images to batches: each epoch draws them anew and changes them, in threads beside the training.

The target of the map, `(h, w, K)`: 1 where the mask lies in the channel of a labelled defect, 0
where a good part or another place shows nothing, -1 where nothing is known (no mask; the good
channel). Where regions tell several defects of a part apart, each channel has its own mask; a mask
file has no class and counts for all of them.

While a step runs, threads make the pictures of the next batches. `tf.data` would not: where
TensorFlow is told to be repeatable, it prefetches nothing that comes from Python. Each picture has
its own seed, so neither the number of threads nor their order changes anything in it.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import keras
import numpy as np

from qc.recipe import AugmentTable
from training.images import Images, Progress, class_weights, load_images
from training.variants import Variant, Variants

__all__ = ["UNKNOWN", "Batches", "Images", "Progress", "load_images", "map_target"]

UNKNOWN = -1.0

AHEAD = 2
"""Batches that are made while one is used."""

Picture = tuple[Variant, np.ndarray]
"""A sample as it was drawn, and the target of its map."""


def map_target(
    mask: np.ndarray,
    labels: Sequence[int],
    has_mask: bool,
    good: int,
    shape: tuple[int, int, int],
) -> np.ndarray:
    """Target of the map for one sample.

    Args:
        mask: `(H, W)` uint8, or `(H, W, K)` with a mask for each class.
        labels: indices of the sample's classes.
        has_mask: whether the mask is known.
        good: index of the good class.
        shape: `(h, w, K)` of the map; H and W are multiples of h and w.

    Returns:
        `(h, w, K)` float32 of 1, 0 and UNKNOWN.
    """
    rows, columns = shape[:2]
    target = np.zeros(shape, np.float32)
    for label in (k for k in labels if k != good):
        if has_mask:
            own = mask if mask.ndim == 2 else mask[:, :, label]
            cells = own.reshape(rows, own.shape[0] // rows, columns, own.shape[1] // columns)
            # one after the other: both at once take four times as long
            target[:, :, label] = cells.max(axis=1).max(axis=2) > 127
        else:
            target[:, :, label] = UNKNOWN
    target[:, :, good] = UNKNOWN
    return target


def mixed(
    images: np.ndarray, scores: np.ndarray, alpha: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Each picture of a batch mixed with another one, and its labels alike.

    Zhang, Cisse, Dauphin, Lopez-Paz: "mixup: beyond empirical risk minimization", ICLR 2018.

    Args:
        images: `(B, H, W, 3)` uint8.
        scores: `(B, K)` float32.
        alpha: of the beta distribution that the shares are drawn from.
        rng: draws shares and partners.
    """
    share = rng.beta(alpha, alpha, len(images)).astype(np.float32)
    other = rng.permutation(len(images))
    weight = share[:, None, None, None]
    blend = weight * images + (1 - weight) * images[other]
    labels = share[:, None] * scores + (1 - share[:, None]) * scores[other]
    return np.rint(blend).astype(np.uint8), labels


class Batches(keras.utils.PyDataset):
    """Augmented training batches: each epoch draws as many images as there are.

    Args:
        images: decoded TRAIN samples.
        good: index of the good class.
        map_shape: `(h, w, K)`.
        batch_size: images in a batch.
        balance: 0 draws as they are, 1 draws every class equally often; a part with several defects
            is drawn as one of the rarest of them.
        table: what augmentation may do.
        seed: of the draw and the augmentation.
        epoch: number of the first epoch, so that a resumed run goes on as it would have.
        mixup: alpha of mixup, 0: none. The maps of a mixed batch are those of the first picture.
        threads: that make the pictures; None: one for each core, four at most.
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
        mixup: float = 0.0,
        threads: int | None = None,
    ) -> None:
        super().__init__(workers=1)
        self.images, self.good, self.map_shape = images, good, map_shape
        self.batch_size, self.seed, self.epoch, self.mixup = batch_size, seed, epoch, mixup
        weight = class_weights(images.truth(map_shape[2]), balance)
        self.probability = weight / weight.sum()
        self.variants = Variants(images, good, table, balance)
        self._pool = ThreadPoolExecutor(threads or min(os.cpu_count() or 1, 4), "batches")
        self._making: dict[int, list[Future[Picture]]] = {}
        self._lock = threading.Lock()
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
        drawn = [picture.result() for picture in self._take(index)]
        images = np.stack([variant.image for variant, _ in drawn])
        scores = np.zeros((len(drawn), self.map_shape[2]), np.float32)
        for row, (variant, _) in zip(scores, drawn, strict=True):
            row[list(variant.labels)] = 1.0
        if self.mixup:
            rng = np.random.default_rng([self.seed, self.epoch, index])
            images, scores = mixed(images, scores, self.mixup, rng)
        return images, {
            "score": scores,
            "attention": np.stack([target for _, target in drawn]),
        }

    def _take(self, index: int) -> list[Future[Picture]]:
        """The pictures of a batch; those of the next ones are begun."""
        with self._lock:
            wanted = range(index, min(index + 1 + AHEAD, len(self)))
            for other in self._making.keys() - set(wanted):
                self._drop(other)
            for i in wanted:
                if i not in self._making:
                    at = slice(i * self.batch_size, (i + 1) * self.batch_size)
                    pairs = zip(self.chosen[at], self.seeds[at], strict=True)
                    self._making[i] = [self._pool.submit(self._one, *pair) for pair in pairs]
            return self._making.pop(index)

    def _drop(self, index: int) -> None:
        for picture in self._making.pop(index):
            picture.cancel()

    def _one(self, index: int, seed: int) -> Picture:
        drawn = self.variants.draw(index, int(seed))
        target = map_target(drawn.mask, drawn.labels, drawn.has_mask, self.good, self.map_shape)
        return drawn, target

    def on_epoch_end(self) -> None:
        with self._lock:
            for index in list(self._making):
                self._drop(index)
            self.epoch += 1
            self._draw()
