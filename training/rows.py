"""The rows of a training batch: what a sample becomes when it is drawn, and the target of its map.

The target of the map, `(h, w, K)`: 1 where the mask lies in the channel of a labelled defect, 0
where a good part or another place shows nothing, -1 where nothing is known (no mask; the good
channel). Where regions tell several defects of a part apart, each channel has its own mask; a mask
file has no class and counts for all of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from qc.recipe import AugmentTable
from training import shared
from training.images import Images
from training.variants import Variants

UNKNOWN = -1.0


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


class Rows:
    """Batches that are filled row by row; any number of threads may fill rows of their own.

    Pickled for another process of this program (`training/makers.py`), it fills the same memory.

    Args:
        images: decoded TRAIN samples.
        good: index of the good class.
        table: what augmentation may do.
        balance: 0 pastes defects as they are, 1 pastes every class equally often.
        map_shape: `(h, w, K)`.
        batch_size: rows of a batch.
        batches: how many there are at a time.

    Raises:
        DataError: defects are to be pasted and none can be.
    """

    def __init__(
        self,
        images: Images,
        good: int,
        table: AugmentTable,
        balance: float,
        *,
        map_shape: tuple[int, int, int],
        batch_size: int,
        batches: int,
    ) -> None:
        self.variants = Variants(images, good, table, balance)
        several = (batches, batch_size)
        self.pixels = shared.empty((*several, *images.pixels.shape[1:]))
        self.scores = shared.empty((*several, map_shape[2]), np.float32)
        self.maps = shared.empty((*several, *map_shape), np.float32)

    def fill(self, batch: int, first: int, drawn: Iterable[tuple[int, int]]) -> None:
        """Fill rows of a batch.

        Args:
            batch: which one.
            first: row of the first sample.
            drawn: sample and seed of each row.
        """
        for row, (index, seed) in enumerate(drawn, start=first):
            made = self.variants.draw(index, seed)
            self.pixels[batch, row] = made.image
            self.scores[batch, row] = 0.0
            self.scores[batch, row, list(made.labels)] = 1.0
            self.maps[batch, row] = map_target(
                made.mask, made.labels, made.has_mask, self.variants.good, self.maps.shape[2:]
            )


def with_places(images: Images) -> Images:
    """The same samples in memory that other processes see, as far as that is possible."""
    layers = images.layers
    if any(shared.place_of(layer) is None for layer in layers.values()):
        layers = dict(zip(layers, shared.with_place(np.stack([*layers.values()])), strict=True))
    return replace(
        images,
        pixels=shared.with_place(images.pixels),
        masks=shared.with_place(images.masks),
        layers=layers,
    )
