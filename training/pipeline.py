"""Images to batches: each epoch draws them anew and changes them, beside the training.

While a step runs, the pictures of the next batches are made (`training/makers.py`). `tf.data` would
not: where TensorFlow is told to be repeatable, it prefetches nothing that comes from Python. Each
picture has its own seed, so neither who makes it nor the order changes anything in it.
"""

from __future__ import annotations

import threading
from concurrent.futures import Future, wait

import keras
import numpy as np

from qc.recipe import AugmentTable
from training.images import Images, Progress, class_weights, load_images
from training.makers import Makers
from training.rows import Rows, with_places

__all__ = ["Batches", "Images", "Progress", "load_images"]

AHEAD = 2
"""Batches that are made while one is used."""

TOGETHER = 4
"""Pictures that are asked for at once."""


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
        processes: that make the pictures beside the training; 0: its threads do.
        threads: that make them then; None: one for each core, four at most.
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
        processes: int = 0,
        threads: int | None = None,
    ) -> None:
        super().__init__(workers=1)
        self.images = with_places(images) if processes else images
        self.map_shape = map_shape
        self.batch_size, self.seed, self.epoch, self.mixup = batch_size, seed, epoch, mixup
        weight = class_weights(images.truth(map_shape[2]), balance)
        self.probability = weight / weight.sum()
        self.rows = Rows(
            self.images,
            good,
            table,
            balance,
            map_shape=map_shape,
            batch_size=batch_size,
            batches=1 + AHEAD,
        )
        self.makers = Makers(self.rows, processes, threads)
        self._free = list(range(1 + AHEAD))
        self._making: dict[int, tuple[int, list[Future[None]]]] = {}
        self._lock = threading.Lock()
        self.failed: Exception | None = None
        """Why a batch could not be made: TensorFlow raises an error of its own in its place."""
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
        with self._lock:
            self._begin(range(index, min(index + 1 + AHEAD, len(self))))
            slot, filling = self._making[index]
            try:
                for some in filling:
                    some.result()
                rows = slice(len(self.chosen[self._of(index)]))
                images = self.rows.pixels[slot, rows].copy()
                scores = self.rows.scores[slot, rows].copy()
                maps = self.rows.maps[slot, rows].copy()
            except Exception as error:
                self.failed = error
                raise
            finally:
                self._drop(index)
        if self.mixup:
            rng = np.random.default_rng([self.seed, self.epoch, index])
            images, scores = mixed(images, scores, self.mixup, rng)
        return images, {"score": scores, "attention": maps}

    def _of(self, index: int) -> slice:
        """Where the draw of the epoch has a batch."""
        return slice(index * self.batch_size, (index + 1) * self.batch_size)

    def _begin(self, wanted: range) -> None:
        """Have batches made that are not yet, and no others."""
        for other in self._making.keys() - set(wanted):
            self._drop(other)
        for index in wanted:
            if index not in self._making:
                at = self._of(index)
                drawn = list(zip(self.chosen[at].tolist(), self.seeds[at].tolist(), strict=True))
                slot = self._free.pop()
                filling = [
                    self.makers.submit(slot, first, drawn[first : first + TOGETHER])
                    for first in range(0, len(drawn), TOGETHER)
                ]
                self._making[index] = slot, filling

    def _drop(self, index: int) -> None:
        """Its rows may be filled with others, once nobody fills them any more."""
        slot, filling = self._making.pop(index)
        wait([some for some in filling if not some.cancel()])
        self._free.append(slot)

    def close(self) -> None:
        """No batch is made after this."""
        self.makers.close()

    def on_epoch_end(self) -> None:
        with self._lock:
            for index in list(self._making):
                self._drop(index)
            self.epoch += 1
            self._draw()
