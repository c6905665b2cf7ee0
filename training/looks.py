"""One look at every picture of a dataset: all that an audit and a split keep of its pixels.

Each image is decoded once, by the reader that the line uses, on two threads. Kept are 10 kB of it:
a SHA-256 of the pixels, a 16 x 16 thumbnail, the outline of `training.likeness`, and what its mask
says.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from qc.errors import DataError
from qc.imageio import (
    MASK_THRESHOLD,
    complaint_in,
    read_image,
    read_mask_levels,
    read_sample,
)
from qc.quiet import quiet_stderr
from qc.types import Image, Sample
from training.likeness import alike, outline
from training.shortcuts import properties
from training.split import group_of

THUMBNAIL = 16
"""Side of the thumbnail, pixels: fine enough for the layout of a part, too coarse for its noise."""

MaskState = Literal["none", "drawn", "grey", "empty", "too dark", "wrong"]
"""Of a mask file: pixels above the threshold, of two values or of more (grey); none of them; none,
though some are not black; or not readable."""

MIN_SIDE = 8
"""Pixels that a picture must have on each side: a smaller one shows no part."""

_BATCH = 256

_Floats = NDArray[np.float32]
Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Look:
    """What is kept of one picture.

    Args:
        sample: whose picture it is.
        why: the picture cannot be read, or shows nothing; None: it can be used.
        digest: SHA-256 of size and pixels.
        thumbnail: `(256,)` float32, zero mean and unit length; all zero where it is one flat grey.
        outline: `(64, 64)` float16, of `training.likeness.outline`.
        properties: what could give the class away besides the part.
        mask: what the mask file says.
        mask_why: what is wrong with it, or None.
    """

    sample: Sample
    why: str | None
    digest: str
    thumbnail: _Floats
    outline: NDArray[np.float16]
    properties: dict[str, str]
    mask: MaskState
    mask_why: str | None


def look_at(samples: Sequence[Sample], progress: Progress | None = None) -> list[Look]:
    """One look at each picture; what cannot be read says why.

    Args:
        samples: the dataset.
        progress: called with (done, total) after each image.
    """
    found: list[Look] = []
    with quiet_stderr() as heard, ThreadPoolExecutor(2) as pool:
        for start in range(0, len(samples), _BATCH):
            for look in pool.map(_look, samples[start : start + _BATCH]):
                found.append(look)
                if progress is not None:
                    progress(len(found), len(samples))
    if complaint_in(heard.text) is not None:  # of one of them, and it does not say of which
        found = [_listened(look) for look in found]
    return found


def alike_pairs(looks: Sequence[Look]) -> list[tuple[int, int]]:
    """Pairs of rows whose pictures show the same thing, the same pixels among them.

    Args:
        looks: readable ones.
    """
    usable = np.flatnonzero([look.thumbnail.any() for look in looks])  # flat: like nothing
    if not len(usable):
        return []
    outlines = np.stack([looks[i].outline for i in usable])
    pairs = alike(outlines, numbers(group_of(looks[i].sample) for i in usable))
    found = {(int(usable[a]), int(usable[b])) for a, b in pairs}
    first: dict[str, int] = {}
    for row, look in enumerate(looks):
        earlier = first.setdefault(look.digest, row)
        if earlier != row:
            found.add((earlier, row))
    return sorted(found)


def refuse_unreadable(looks: Sequence[Look]) -> None:
    """Refuse pictures that cannot be read; raises DataError naming the first."""
    wrong = [look for look in looks if look.why is not None]
    if wrong:
        more = f" (and {len(wrong) - 1} more: qc data audit lists them)" if len(wrong) > 1 else ""
        raise DataError(f"{wrong[0].why}{more}", where=wrong[0].sample.image_path)


def numbers(values: Iterable[object]) -> NDArray[np.int64]:
    """Equal values get equal numbers."""
    seen: dict[object, int] = {}
    return np.array([seen.setdefault(v, len(seen)) for v in values], np.int64)


def _look(sample: Sample) -> Look:
    try:
        image = read_sample(sample)
        _refuse_tiny(image)
    except DataError as error:
        nothing = np.zeros(0, np.float32)
        return Look(
            sample, error.message, "", nothing, nothing.astype(np.float16), {}, "none", None
        )
    mask, why = _mask_state(sample, image)
    return Look(
        sample,
        None,
        hashlib.sha256(str(image.shape).encode() + image.tobytes()).hexdigest(),
        _thumbnail(image),
        outline(image),
        properties(sample, image),
        mask,
        why,
    )


def _refuse_tiny(image: Image) -> None:
    height, width = image.shape[:2]
    if min(height, width) < MIN_SIDE:
        raise DataError(
            "the picture is too small to show a part",
            expected=f"{MIN_SIDE} pixels or more on each side",
            found=f"{width} x {height}",
        )


def _listened(look: Look) -> Look:
    """A look that knows what the decoder prints of its picture."""
    if look.why is None and look.sample.source is None:
        try:
            read_image(look.sample.image_path, listen=True)
        except DataError as error:
            return replace(look, why=error.message)
    return look


def _mask_state(sample: Sample, image: Image) -> tuple[MaskState, str | None]:
    if sample.mask_path is None:
        return "none", None
    height, width = image.shape[:2]
    try:
        levels = read_mask_levels(sample.mask_path, (height, width))
    except DataError as error:
        return "wrong", str(error)
    counts = np.bincount(levels.ravel(), minlength=256)
    if not counts[MASK_THRESHOLD + 1 :].any():
        brightest = int(levels.max())
        if brightest == 0:
            return "empty", None
        why = f"no mask pixel is above {MASK_THRESHOLD}, so none counts as defect"
        return "too dark", f"{sample.mask_path}: {why}; expected 0 and 255, found 0 to {brightest}"
    return "grey" if np.count_nonzero(counts) > 2 else "drawn", None


def _thumbnail(image: Image) -> _Floats:
    grey = np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), np.float32)
    size = (THUMBNAIL, THUMBNAIL)
    small = np.asarray(cv2.resize(grey, size, interpolation=cv2.INTER_AREA), np.float32).ravel()
    small = small - small.mean()
    length = float(np.linalg.norm(small))
    return small / length if length > 1e-3 else np.zeros_like(small)
