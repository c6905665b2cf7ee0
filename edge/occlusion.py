"""Where a model's score rests, by hiding: for a model that has no map of its own.

A grey patch hides a part of the picture, and the model is asked again; where the defect's score
falls, the model had looked. Zeiler and Fergus, "Visualizing and Understanding Convolutional
Networks", ECCV 2014 (arXiv 1311.2901). The patch grows until hiding it costs the score something:
a small one cannot hide a large defect, and a large one shows a small defect coarsely.

It takes up to 458 passes of the model, so it is drawn for a person who asks, not on the line. A
grey patch is a thing that the model may never have seen, and two defects hide each other: where
one is left, the score stays. What is drawn from it is called an occlusion map, never the model's
own.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from edge.owner import Owner
from qc.decide import calibrated, defect_scores
from qc.errors import FaultError, QCError
from qc.manifest import Manifest
from qc.overlay import Level, scale_map
from qc.preprocess import apply
from qc.replay import Predictor
from qc.types import FloatArray, Image

CELLS = 12
"""Cells of the map on each side."""

PATCHES = ((2, 1), (4, 1), (6, 2))
"""Side of the patch and distance of one from the next, in cells; the next pair where the one before
shows nothing."""

SCALE = (0.0, 0.5)
"""Drops of the score drawn as coldest and hottest, the same for every bundle and picture."""

_SHOWN = 0.25
"""A drop from which on a place is outlined; a larger patch is not tried then."""


def occlusion_map(
    predictor: Predictor, manifest: Manifest, image: Image, defect_class: str
) -> FloatArray:
    """How far the score of a defect falls when a patch of the picture's mean colour hides a place.

    Args:
        predictor: runs the model of the bundle.
        manifest: of the bundle.
        image: the part, RGB `(H, W, 3)` uint8, as it was captured.
        defect_class: whose score.

    Returns:
        `(h, w)` float32, mean drop of the calibrated score over the patches that cover a cell;
        negative where hiding raises it. h and w are 12, or the input's side where that is less.
        Of the sides of a patch it is the smallest that shows something, or that shows most.

    Raises:
        QCError: no such class, or not a picture.
        FaultError: the runtime failed, or gave a score that is not finite.
    """
    names = list(manifest.class_names)
    if defect_class not in names or defect_class == manifest.good:
        legal = ", ".join(name for name in names if name != manifest.good)
        raise QCError("no defect class has this name", expected=legal, found=repr(defect_class))
    pixels = apply(manifest.preprocess, image)
    index, good = names.index(defect_class), names.index(manifest.good)

    def score(picture: Image) -> float:
        found = calibrated(predictor.predict(picture).score, manifest.decision, good)
        return float(found[index])

    whole = score(pixels)
    best: FloatArray | None = None
    for side, step in PATCHES:
        found = whole - _hidden(pixels, side, step, score)
        if not np.isfinite(found).all():
            raise FaultError("the model gave a score that is not finite", found=predictor.runtime)
        if best is None or found.max() > best.max():
            best = found
        if found.max() >= _SHOWN:
            break
    assert best is not None
    return best


def _hidden(pixels: Image, side: int, step: int, score: Callable[[Image], float]) -> FloatArray:
    """Mean score `(h, w)` over the patches of so many cells that cover each cell."""
    rows, columns = (min(CELLS, length) for length in pixels.shape[:2])
    tops = np.linspace(0, pixels.shape[0], rows + 1).astype(int)
    lefts = np.linspace(0, pixels.shape[1], columns + 1).astype(int)
    grey = np.rint(pixels.mean(axis=(0, 1))).astype(np.uint8)
    total, patches = np.zeros((rows, columns)), np.zeros((rows, columns))
    for row in range(step - side, rows, step):
        for column in range(step - side, columns, step):
            top, bottom = max(row, 0), min(row + side, rows)
            left, right = max(column, 0), min(column + side, columns)
            picture = pixels.copy()
            picture[tops[top] : tops[bottom], lefts[left] : lefts[right]] = grey
            total[top:bottom, left:right] += score(picture)
            patches[top:bottom, left:right] += 1
    return np.asarray(total / patches, np.float32)


_PATIENCE_S = 120.0


class Occluder:
    """Draws occlusion maps with one bundle's model, one at a time, for whoever asks.

    The model is made and run by a thread of its own: any thread may ask.

    Args:
        manifest: of the bundle.
        make: makes its predictor.

    Raises:
        QCError: what `make` raises.
    """

    def __init__(self, manifest: Manifest, make: Callable[[], Predictor]) -> None:
        self.bundle_id = manifest.bundle_id
        self._manifest = manifest
        self._owner = Owner("occlusion", _PATIENCE_S, "the occlusion map takes too long")
        self._predictor = self._owner.make(make)

    def level(self, image: Image, defect_class: str, defect_score: float) -> Level:
        """The occlusion map of a part that was judged before, on `SCALE`.

        Args:
            image: the part as it was kept, RGB `(H, W, 3)` uint8.
            defect_class: whose score.
            defect_score: what was measured then: another one would be of another picture.

        Raises:
            QCError: no such class.
            FaultError: the model gives another score now, or does not come to an end in time.
        """
        return self._owner.ask(partial(self._level, image, defect_class, defect_score))

    def _level(self, image: Image, defect_class: str, defect_score: float) -> Level:
        manifest = self._manifest
        score = self._predictor.predict(apply(manifest.preprocess, image)).score
        good = manifest.class_names.index(manifest.good)
        now = float(defect_scores(calibrated(score, manifest.decision, good), good))
        if not abs(now - defect_score) <= manifest.replay_tolerance:
            raise FaultError(
                "the picture that was kept does not give the score that was measured",
                expected=f"{defect_score:.3f}",
                found=f"{now:.3f}",
            )
        return scale_map(occlusion_map(self._predictor, manifest, image, defect_class), *SCALE)
