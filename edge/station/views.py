"""What a page of the station shows: journal rows as plain values, for templates and JSON alike.

Numbers that are not finite become None here: JSON has no NaN, and a person is told so in words.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.station.strings import STRINGS, Words
from qc.errors import DataError, FaultError, QCError
from qc.imageio import read_deep, read_image
from qc.journal import Journal, Row
from qc.manifest import Manifest
from qc.overlay import Level, contour, heat_rgba, scale_map
from qc.reviewed import TAKEN_BACK
from qc.types import Deep, Image, Review, Verdict

FLAGGED = (Verdict.NG, Verdict.REVIEW, Verdict.FAULT)
"""What a person is asked to look at."""

REVIEWED = {"waiting": False, "reviewed": True, "all": None}
"""Tab of the queue -> the journal's filter."""

Notice = Callable[[NDArray[np.uint8]], NDArray[np.uint8]]
"""What is drawn into every layer `(H, W, 4)` of a station for research."""

_THUMB_HW = (348, 464)

_GREY_16 = b"\x10\0"
"""Bits and colour of grey in 16 bit, as a PNG's header says them, at its byte 24."""


def part_href(inspection_id: str) -> str:
    """Address of a part's page; the id is quoted whole."""
    return f"/part/{quote(inspection_id, safe='')}"


def part_facts(journal: Journal, row: Row) -> dict[str, Any]:
    """One inspection as JSON values."""
    return {
        "inspection_id": row.inspection_id,
        "href": part_href(row.inspection_id),
        "name": row.part_id or f"frame {row.frame_id}",
        "part_id": row.part_id,
        "lot": row.lot,
        "frame_id": row.frame_id,
        "source_id": row.source_id,
        "captured_at": utc_text(row.captured_at),
        "local_time": _local(row.captured_at),
        "verdict": row.verdict.value,
        "reason": row.reason,
        "defect_class": row.defect_class,
        "defect_score": _finite(row.defect_score),
        "scores": None if row.scores is None else _finite_values(row.scores),
        "bundle_id": row.bundle_id,
        "timings_ms": _finite_values(row.timings_ms),
        "has_picture": picture_file(journal, row) is not None,
        "has_map": row.evidence is not None,
        "n_reviews": row.n_reviews,
        "n_decided": row.n_decided,
    }


def review_facts(review: Review) -> dict[str, Any]:
    """One review as JSON values."""
    return {
        "reviewer": review.reviewer,
        "decision": review.decision.value,
        "taken_back": review.decision is TAKEN_BACK,
        "defect_class": review.defect_class,
        "note": review.note,
        "mask_sha256": review.mask_sha256,
        "at": utc_text(review.at),
        "local_time": _local(review.at),
    }


def count_facts(journal: Journal) -> dict[str, Any]:
    """The journal's counts, and whether captured = ok + ng + review + fault + dropped."""
    counts = journal.counts()
    total = sum(counts[name] for name in ("ok", "ng", "review", "fault", "dropped"))
    return {**counts, "sum": total, "holds": counts["captured"] == total}


def manifest_of(journal: Journal, row: Row) -> Manifest | None:
    """Manifest of the bundle that judged, or None where the journal does not know it."""
    try:
        return journal.manifest(row.bundle_id)
    except DataError:
        return None  # the page says so; no scale, class or threshold is guessed


def map_facts(row: Row, manifest: Manifest | None) -> dict[str, Any]:
    """Whether the map can be shown, on which scale, or why not."""
    key = ""
    if row.evidence is None:
        key = "map.no_map"
    elif not np.isfinite(row.evidence).all():
        key = "map.not_finite"
    elif manifest is None:
        key = "map.no_scale"
    if key or manifest is None:
        return {"shown": False, "why": STRINGS[key][0], "key": key, "lo": None, "hi": None}
    lo, hi = manifest.overlay.lo, manifest.overlay.hi
    return {"shown": True, "why": "", "key": "", "lo": lo, "hi": hi}


def score_rows(row: Row, manifest: Manifest | None) -> list[dict[str, Any]]:
    """Each class with its score and its thresholds; a good class has none."""
    if row.scores is None:
        return []
    low = manifest.decision.ok_below if manifest else {}
    high = manifest.decision.ng_above if manifest else {}
    return [
        {
            "name": name,
            "value": _finite(value),
            "good": manifest is not None and name == manifest.good,
            "low": low.get(name),
            "high": high.get(name),
        }
        for name, value in row.scores.items()
    ]


def gauge_facts(row: Row, manifest: Manifest | None) -> dict[str, float] | None:
    """Defect score between its two thresholds, or None where something of it is missing."""
    score = _finite(row.defect_score)
    if manifest is None or score is None or row.defect_class not in manifest.decision.ok_below:
        return None
    spec = manifest.decision
    return {
        "score": score,
        "low": spec.ok_below[row.defect_class],
        "high": spec.ng_above[row.defect_class],
    }


def defect_classes(row: Row, manifest: Manifest | None) -> list[str]:
    """What a reviewer may name as the defect."""
    if manifest is not None:
        return [name for name in manifest.class_names if name != manifest.good]
    return [row.defect_class] if row.defect_class else []


def severities(manifest: Manifest | None) -> dict[str, str]:
    """Class -> how grave a defect it is."""
    return {known.name: known.severity for known in manifest.classes} if manifest else {}


def picture_file(journal: Journal, row: Row) -> Path | None:
    """The kept picture, only where it lies inside the journal's folder."""
    file = journal.image_file(row)
    if file is None:
        return None
    file, folder = file.resolve(), journal.path.resolve().parent
    return file if file.is_relative_to(folder) and file.is_file() else None


def read_picture(journal: Journal, row: Row) -> Image:
    """The kept picture, RGB.

    Raises:
        DataError: it was not kept, is missing, or is damaged.
    """
    file = picture_file(journal, row)
    if file is None:
        raise DataError("there is no picture of this part", where=row.inspection_id)
    return read_image(file)


def picture_png(journal: Journal, row: Row, *, thumb: bool = False) -> bytes:
    """The picture as PNG, whole or small.

    Raises:
        DataError: it was not kept, is missing, or is damaged.
    """
    image = read_picture(journal, row)
    factor = min(_THUMB_HW[0] / image.shape[0], _THUMB_HW[1] / image.shape[1])
    if thumb and factor < 1:
        size = (max(1, round(image.shape[1] * factor)), max(1, round(image.shape[0] * factor)))
        image = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
    return _png(image[..., ::-1])


def read_grey(journal: Journal, row: Row) -> Deep | None:
    """The kept picture of a part as grey `(H, W)` uint16; None where it has 8 bit or colours.

    Raises:
        DataError: it is damaged.
    """
    file = picture_file(journal, row)
    if file is None:
        return None
    with file.open("rb") as data:
        if data.read(26)[24:] != _GREY_16:
            return None
    return read_deep(file)[1]


def grey_facts(journal: Journal, row: Row) -> dict[str, int] | None:
    """The darkest and the brightest grey of a picture of 16 bit; None of any other."""
    try:
        deep = read_grey(journal, row)
    except (DataError, OSError):
        return None  # the page goes without; the picture's own address says what is wrong
    return None if deep is None else {"low": int(deep.min()), "high": int(deep.max())}


def grey_png(journal: Journal, row: Row, low: int, high: int) -> bytes:
    """A grey window of a picture of 16 bit as PNG: `low` and below black, `high` and above white.

    Raises:
        DataError: the kept picture has 8 bit or colours, or is damaged.
    """
    deep = read_grey(journal, row)
    if deep is None:
        where = row.inspection_id
        raise DataError("no picture of 16 bit was kept of this part", where=where)
    greys = np.arange(2**16, dtype=np.float32)
    shown = np.rint(np.clip((greys - low) / (high - low), 0, 1) * 255).astype(np.uint8)
    return _png(shown[deep])


def level_of(
    journal: Journal, row: Row, manifest: Manifest | None
) -> tuple[Level, tuple[int, int]]:
    """The map on the bundle's scale, and the picture's height and width.

    Raises:
        DataError: there is no map, or its scale is not known.
    """
    shown = map_facts(row, manifest)
    if row.evidence is None or manifest is None or not shown["shown"]:
        raise DataError(shown["why"], where=row.inspection_id)
    file = picture_file(journal, row)
    height, width = manifest.preprocess.size_hw
    if file is not None:
        height, width = read_image(file).shape[:2]
    return scale_map(row.evidence, manifest.overlay.lo, manifest.overlay.hi), (height, width)


def layer_png(level: Level, size_hw: tuple[int, int], notice: Notice | None = None) -> bytes:
    """A map as PNG with alpha, of so many pixels."""
    return _layer(heat_rgba(level, size_hw), notice)


def contour_png(level: Level, size_hw: tuple[int, int], notice: Notice | None = None) -> bytes:
    """The outline of what is hot as PNG with alpha: white with a dark edge."""
    rgba = np.zeros((*size_hw, 4), np.uint8)
    width = max(1, round(max(size_hw) / 600))
    outlines = contour(level, size_hw)
    cv2.drawContours(rgba, outlines, -1, (12, 12, 14, 255), 3 * width)
    cv2.drawContours(rgba, outlines, -1, (255, 255, 255, 255), width)
    return _layer(rgba, notice)


def mask_png(mask: NDArray[np.bool_]) -> bytes:
    """A mask `(H, W)` as PNG: white where the defect is, clear elsewhere."""
    rgba = np.repeat((mask.astype(np.uint8) * np.uint8(255))[..., None], 4, axis=2)
    return _layer(rgba, None)


def _layer(rgba: NDArray[np.uint8], notice: Notice | None) -> bytes:
    return _png((notice(rgba) if notice else rgba)[..., [2, 1, 0, 3]])


def scale_png() -> bytes:
    """The colours of the heat layer from lo to hi, as they lie over a picture."""
    ramp = np.arange(256, dtype=np.uint8).reshape(1, 256)
    return _png(heat_rgba(ramp, (1, 256))[..., [2, 1, 0, 3]])


def _png(bgr: NDArray[np.uint8]) -> bytes:
    ok, encoded = cv2.imencode(".png", np.ascontiguousarray(bgr), [cv2.IMWRITE_PNG_COMPRESSION, 1])
    if not ok:
        raise FaultError("PNG cannot be encoded", found=bgr.shape)
    return encoded.tobytes()


def saved_facts(journal: Journal, inspection_id: str | None) -> dict[str, str] | None:
    """What was saved last for an inspection; None where there is nothing to tell."""
    if not inspection_id:
        return None
    try:
        row = journal.get(inspection_id)
        review = journal.reviews(inspection_id)[-1]
    except (QCError, IndexError):
        return None  # an old or invented address; the review itself stands on the part's page
    kind = f" {review.defect_class}" if review.defect_class else ""
    return {
        "key": "taken_back" if review.decision is TAKEN_BACK else "saved",
        "name": row.part_id or row.frame_id,
        "decision": f"{review.decision}{kind}",
        "reviewer": review.reviewer,
        "undo": f"{part_href(inspection_id)}/undo",
    }


def saved_words(saved: dict[str, str] | None, t: Words) -> str:
    """The same in words."""
    return t(saved["key"], **{k: v for k, v in saved.items() if k != "key"}) if saved else ""


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _finite_values(values: Mapping[str, float]) -> dict[str, float | None]:
    return {name: _finite(value) for name, value in values.items()}


def utc_text(moment: datetime) -> str:
    """A time as pages and JSON say it: UTC, to the millisecond."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds")


def _local(moment: datetime) -> str:
    """The time as the clock on the wall shows it, where the station runs."""
    return moment.astimezone().strftime("%Y-%m-%d %H:%M:%S")
