"""Parts as pictures for a page: as the model saw them, the mask outlined, and with its heat."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np

from qc import metrics
from qc.overlay import contour, heat_rgba, scale_map
from training.judged import Judged

SIDE = 168
"""Longer side of a picture on the page, pixels."""

OPACITY = 0.6
SHOWN = 6
"""Maps on the defect, and beside it, that are shown."""


def jpeg_address(picture: np.ndarray, quality: int = 85) -> str:
    """An RGB picture `(H, W, 3)` uint8 as a JPEG in a data address."""
    _, data = cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    return f"data:image/jpeg;base64,{base64.b64encode(data.tobytes()).decode()}"


def small(picture: np.ndarray, side: int = SIDE) -> np.ndarray:
    """The picture or mask with its longer side at most `side`; a smaller one stays as it is."""
    height, width = picture.shape[:2]
    factor = min(1.0, side / max(height, width))
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)


def figure(judged: Judged, row: int) -> dict[str, Any]:
    """One part: id, group, label, said, verdict, value, and its pictures plain and heat."""
    pixels = small(judged.images.pixels[row])
    plain = pixels.copy()
    mask = np.where(small(judged.images.masks[row]) > 127, 255, 0).astype(np.uint8)
    outlines, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    cv2.drawContours(plain, outlines, -1, (255, 40, 40), 1)
    return {
        "id": judged.images.samples[row].sample_id,
        "group": judged.groups[row],
        "label": judged.names(judged.truth[row]),
        "said": judged.names(judged.said[row]),
        "verdict": str(judged.verdicts[row]),
        "value": float(judged.value[row]),
        "plain": jpeg_address(plain),
        "heat": _heat(judged, row, pixels),
    }


def figures(judged: Judged, rows: Sequence[int]) -> list[dict[str, Any]]:
    """`figure` of each row."""
    return [figure(judged, row) for row in rows]


def _heat(judged: Judged, row: int, pixels: np.ndarray) -> str | None:
    """The picture with the likeliest defect's heat; None without a map."""
    if judged.outputs.attention is None:
        return None
    evidence = judged.outputs.attention[row, :, :, judged.likely[row]]
    level = scale_map(evidence.astype(np.float32), *judged.overlay)
    size_hw = (pixels.shape[0], pixels.shape[1])
    heat = heat_rgba(level, size_hw)
    share = OPACITY * heat[..., 3:].astype(np.float32) / 255
    warm = np.rint(pixels * (1 - share) + heat[..., :3] * share).astype(np.uint8)
    cv2.polylines(warm, contour(level, size_hw), True, (255, 255, 255), 1)
    return jpeg_address(warm)


def pointed(judged: Judged) -> tuple[list[int], list[int]]:
    """Rows of defects whose map points at them, and of those it misses: a few of each, by turns of
    the classes."""
    known = judged.images.has_mask & judged.images.masks.any(axis=(1, 2))
    rows = np.flatnonzero(known & judged.is_defect)
    if judged.outputs.attention is None or len(rows) == 0:
        return [], []
    likely = judged.likely[rows]
    masks = np.stack(
        [judged.images.mask_of_class(int(i), int(k)) for i, k in zip(rows, likely, strict=True)]
    )
    hit = metrics.points_at(judged.outputs.attention[rows, :, :, likely], masks > 127)
    return _by_turns(judged, rows[hit]), _by_turns(judged, rows[~hit])


def _by_turns(judged: Judged, rows: np.ndarray) -> list[int]:
    labels = judged.images.labels[rows]
    turn = np.array([(labels[:i] == label).sum() for i, label in enumerate(labels)], int)
    return [int(i) for i in rows[np.lexsort((rows, turn))][:SHOWN]]
