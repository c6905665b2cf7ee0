"""What training sees of one sample: now and then with a defect pasted in, then augmented."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any

import numpy as np

from qc.recipe import AugmentTable
from training.augment import Augmentation
from training.copy_paste import Defects, Pasted
from training.images import Images


@dataclass(frozen=True)
class Variant:
    """One augmented sample.

    Args:
        image: `(H, W, 3)` uint8.
        mask: `(H, W)` uint8, 255 on the defect; or `(H, W, K)`, 255 on that of each class.
        labels: indices of the classes; those of the defect where one was pasted.
        has_mask: whether the mask is known.
        source: index of the sample whose defect was pasted, or None.
        applied: what was done, in words.
    """

    image: np.ndarray
    mask: np.ndarray
    labels: tuple[int, ...]
    has_mask: bool
    source: int | None
    applied: tuple[str, ...]


class Variants:
    """Draws augmented samples; any number of threads may ask at once.

    Args:
        images: decoded TRAIN samples; pasted defects come from them alone.
        good: index of the good class.
        table: what augmentation may do.
        balance: 0 pastes defects as they are, 1 pastes every class equally often.

    Raises:
        DataError: defects are to be pasted and none can be.
    """

    def __init__(
        self, images: Images, good: int, table: AugmentTable, balance: float = 0.0
    ) -> None:
        self.images, self.good, self.table = images, good, table
        self.defects = Defects(images, good, table, balance) if table.copy_paste else None
        self._channels = 1 if images.colour == "grey" else 3
        self._own = threading.local()

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_own": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, _own=threading.local())

    def draw(self, index: int, seed: int, source: int | None = None) -> Variant:
        """One sample, augmented; the same seed gives the same.

        Args:
            index: of the sample.
            seed: at least 0.
            source: sample whose defect a good part is given, where the recipe has any pasted; None:
                now and then one that the seed draws.
        """
        images = self.images
        # of a grey picture one channel does: the three are equal, before and after
        image, labels = images.pixels[index][..., : self._channels], images.classes_of(index)
        mask, known = images.layers.get(index, images.masks[index]), bool(images.has_mask[index])
        pasted = None
        if labels == (self.good,):
            mask, known = np.zeros_like(mask), True
            pasted = self._pasted(image, np.random.default_rng([seed, 1]), source)
        if pasted is not None:
            image, mask, labels = pasted.image, pasted.mask, images.classes_of(pasted.source)
        changed = self._augmentation()(image, mask, seed, known=known)
        source = None if pasted is None else pasted.source
        drawn = changed.image
        if self._channels == 1:
            drawn = np.broadcast_to(drawn, images.pixels[index].shape)
        return Variant(drawn, changed.mask, labels, known, source, changed.applied)

    def _pasted(
        self, image: np.ndarray, rng: np.random.Generator, source: int | None
    ) -> Pasted | None:
        if self.defects is None:
            return None
        if source is not None:
            return self.defects.paste(image, source, rng)
        return self.defects.draw(image, rng) if rng.random() < self.table.copy_paste else None

    def _augmentation(self) -> Augmentation:
        """This thread's own: the library keeps the random state in the transforms."""
        if not hasattr(self._own, "augmentation"):
            self._own.augmentation = Augmentation(self.table, self.images.colour)
        found: Augmentation = self._own.augmentation
        return found
