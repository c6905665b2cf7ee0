"""The values that flow between the packages: frozen, and checked when they are made.

Images are channel-last RGB uint8. Times of records are UTC, durations come from the monotonic
clock.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from qc.errors import QCError

Image = NDArray[np.uint8]
"""An RGB image `(H, W, 3)`, uint8."""

Deep = NDArray[np.uint16]
"""A grey image `(H, W)`, uint16, of a source with more than 8 bits."""

FloatArray = NDArray[np.float32]

Task = Literal["multiclass", "binary", "multilabel"]
"""What a model is asked: one class of several; good or not; any number of defects at once."""


class Verdict(StrEnum):
    """What the line says of a part. FAULT means: no trustworthy measurement; it is never OK."""

    OK = "OK"
    NG = "NG"
    REVIEW = "REVIEW"
    FAULT = "FAULT"


def _check(condition: bool, what: str, expected: object, found: object) -> None:
    if not condition:
        raise QCError(f"{what} is not valid", expected=expected, found=found)


def _check_image(image: Image, what: str) -> None:
    # every frame passes here: nothing is put into words before something is wrong
    if (
        isinstance(image, np.ndarray)
        and image.dtype == np.uint8
        and image.ndim == 3
        and image.shape[2] == 3
        and image.size > 0
    ):
        return
    _check(isinstance(image, np.ndarray), what, "a numpy array", type(image).__name__)
    _check(False, what, "(H, W, 3) uint8", f"{image.shape} {image.dtype}")


def _check_utc(moment: datetime, what: str) -> None:
    _check(moment.utcoffset() is not None, what, "a time with its zone (UTC)", moment)


def utc_now() -> datetime:
    """The present moment, aware of its zone."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Region:
    """Where a labelled thing lies in an image, as its annotation says.

    Args:
        label: the class.
        points: corners (x, y) of a closed polygon, pixels of the decoded image; four for a box.
        is_box: the annotation is a box: the thing fills it only in part.
    """

    label: str
    points: tuple[tuple[float, float], ...]
    is_box: bool

    def __post_init__(self) -> None:
        _check(len(self.points) >= 3, f"points of {self.label}", "at least 3", len(self.points))


class PixelSource(Protocol):
    """Where a picture comes from that is not a whole image file: a frame, or a row of an array."""

    def read(self) -> Image:
        """The picture, RGB `(H, W, 3)` uint8; raises DataError where it cannot be read."""
        ...


@dataclass(frozen=True, slots=True)
class Sample:
    """One labelled image of a dataset.

    Args:
        sample_id: unique in its dataset; the path relative to the dataset's root.
        image_path: the file that holds the image.
        labels: class names, at least one.
        mask_path: the defect mask (255 where the defect is), or None where none was drawn.
        regions: boxes and polygons; where there is no mask, they are filled to make one.
        group: the physical piece or lot; samples of one group never stand in two splits.
        split: "train", "val", "test", or None before splitting.
        source: reads the picture where the file is more than one image; None: it is an image file.
    """

    sample_id: str
    image_path: Path
    labels: tuple[str, ...]
    mask_path: Path | None = None
    regions: tuple[Region, ...] = ()
    group: str = ""
    split: str | None = None
    source: PixelSource | None = None

    def __post_init__(self) -> None:
        _check(bool(self.sample_id), "Sample.sample_id", "a name", repr(self.sample_id))
        _check(bool(self.labels), f"labels of {self.sample_id}", "at least one class", self.labels)
        _check(
            self.split in (None, "train", "val", "test"),
            f"split of {self.sample_id}",
            "train, val, test or None",
            self.split,
        )


@dataclass(frozen=True, slots=True)
class Frame:
    """One captured picture of a part, or the proof that a capture failed.

    Args:
        image: RGB `(H, W, 3)` uint8, or None where the capture failed; then `fault` says why.
        frame_id: unique within its source.
        source_id: the camera or folder it came from.
        captured_at: UTC.
        monotonic_ns: monotonic clock at capture, for durations.
        part_id: the part, where the trigger or file name tells.
        lot: the lot, where known.
        fault: why there is no trustworthy image, or None.
        deep: what `image` was made of, where the source is grey of 16 bit: not judged, but kept.
    """

    image: Image | None
    frame_id: str
    source_id: str
    captured_at: datetime
    monotonic_ns: int
    part_id: str | None = None
    lot: str | None = None
    fault: str | None = None
    deep: Deep | None = None

    def __post_init__(self) -> None:
        _check_utc(self.captured_at, "Frame.captured_at")
        if self.image is None:
            _check(bool(self.fault), f"frame {self.frame_id}", "an image or a fault", "neither")
        else:
            _check(self.fault is None, f"frame {self.frame_id}", "an image or a fault", "both")
            _check_image(self.image, f"image of frame {self.frame_id}")
            if self.deep is not None:
                what = f"deep image of frame {self.frame_id}"
                expected = f"{self.image.shape[:2]} uint16"
                fits = self.deep.dtype == np.uint16 and self.deep.shape == self.image.shape[:2]
                _check(fits, what, expected, f"{self.deep.shape} {self.deep.dtype}")


@dataclass(frozen=True, slots=True)
class Prediction:
    """The numbers of one pass through the model, without opinion.

    Args:
        score: `(K,)` float32, one per class, in the order of the bundle's classes.
        attention: class evidence `(h, w, K)` float32, or None: the model has no map.
        infer_ns: duration of the pass in nanoseconds.
    """

    score: FloatArray
    attention: FloatArray | None
    infer_ns: int

    def __post_init__(self) -> None:
        _check(self.score.ndim == 1, "Prediction.score", "shape (K,)", self.score.shape)
        attention, classes = self.attention, len(self.score)
        if attention is not None and (attention.ndim != 3 or attention.shape[2] != classes):
            expected = f"shape (h, w, {classes})"
            _check(False, "Prediction.attention", expected, attention.shape)


@dataclass(frozen=True, slots=True)
class Inspection:
    """One judged frame, as it is journaled.

    Args:
        inspection_id: unique everywhere.
        frame_id, source_id, captured_at, part_id, lot: from the frame.
        verdict: OK, NG, REVIEW or FAULT.
        reason: the rule that led to the verdict, in words.
        defect_class: most likely defect class, or None where nothing was measured.
        defect_score: what the thresholds were compared with, in [0, 1], or None.
        prediction: the model's numbers, or None where there was no trustworthy measurement.
        bundle_id: the bundle that judged.
        timings_ms: durations by name: "infer", "total".
        image: the frame's image, kept in memory until it is written where it must be kept.
        deep: the frame's, which is written in place of the image where there is one.
    """

    inspection_id: str
    frame_id: str
    source_id: str
    captured_at: datetime
    verdict: Verdict
    reason: str
    bundle_id: str
    part_id: str | None = None
    lot: str | None = None
    defect_class: str | None = None
    defect_score: float | None = None
    prediction: Prediction | None = None
    timings_ms: Mapping[str, float] = field(default_factory=dict)
    image: Image | None = None
    deep: Deep | None = None

    def __post_init__(self) -> None:
        _check(bool(self.inspection_id), "Inspection.inspection_id", "a name", "nothing")
        _check_utc(self.captured_at, "Inspection.captured_at")
        if self.verdict is not Verdict.FAULT and self.prediction is None:
            what = f"inspection {self.inspection_id}"
            _check(False, what, "a prediction behind every verdict but FAULT", self.verdict)


@dataclass(frozen=True, slots=True)
class Review:
    """A person's decision on an inspection: always a new row, never an update.

    Args:
        inspection_id: what was reviewed.
        reviewer: who.
        decision: OK or NG; REVIEW takes the reviewer's last one back, and the part waits again.
        defect_class: class of the defect where the decision is NG.
        note: free words.
        at: UTC.
        role: of the reviewer at that moment; None: not known.
        before: what was decided before: the last decision, or the verdict where there was none;
            found by the journal.
        mask_sha256: SHA-256 of the mask file that was drawn, hexadecimal; None: no mask.
        blind: the reviewer was not shown the decisions before.
    """

    inspection_id: str
    reviewer: str
    decision: Verdict
    defect_class: str | None = None
    note: str = ""
    at: datetime = field(default_factory=utc_now)
    role: str | None = None
    before: Verdict | None = None
    mask_sha256: str | None = None
    blind: bool = False

    def __post_init__(self) -> None:
        _check_utc(self.at, "Review.at")
        _check(bool(self.reviewer.strip()), "Review.reviewer", "a name", repr(self.reviewer))
        known = self.decision in (Verdict.OK, Verdict.NG, Verdict.REVIEW)
        _check(known, "Review.decision", "OK, NG or REVIEW", self.decision)
