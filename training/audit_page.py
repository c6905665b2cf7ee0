"""The audit as one HTML file with the pictures of what was found; it needs nothing from outside."""

from __future__ import annotations

import base64
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from qc.errors import DataError
from qc.imageio import read_sample
from qc.quiet import quiet_stderr
from qc.types import Image, Sample
from training.audit import leakage_sentence
from training.html import fill_page
from training.regions import mask_of
from training.split import group_of

SIDE = 168
"""Longer side of a picture on the page, pixels."""

MOST = 24
"""Findings of one kind that are shown with their pictures; the rest is counted."""

_SECTIONS = (
    ("cross_split", "The same piece or picture in two splits"),
    ("label_conflicts", "One picture under two labels"),
    ("exact_duplicates", "The same pixels under several names"),
    ("near_duplicates", "Nearly the same picture in several groups"),
)


def write_page(path: Path, name: str, found: Mapping[str, Any], samples: Sequence[Sample]) -> None:
    """Write the page.

    Args:
        path: the HTML file.
        name: of the dataset, for the title.
        found: what `training.audit.audit` gave.
        samples: the dataset.

    Raises:
        FaultError: the file cannot be written.
    """
    by_id = {s.sample_id: s for s in samples}

    def figure(row: str | Mapping[str, str]) -> dict[str, str]:
        sample_id = row if isinstance(row, str) else row["path"]
        sample = by_id.get(sample_id)
        words = [] if sample is None else [", ".join(sample.labels)]
        if sample is not None and group_of(sample) != sample_id:
            words.append(f"group {group_of(sample)}")
        if not isinstance(row, str):
            words.append(row["split"])
        return {"id": sample_id, "words": " · ".join(words), "source": _picture(sample)}

    clusters = [
        {
            "title": title,
            "count": len(found[key]),
            "rows": [
                {"figures": [figure(r) for r in cluster[:6]], "more": len(cluster[6:])}
                for cluster in found[key][:MOST]
            ],
        }
        for key, title in _SECTIONS
    ]
    listed = [
        {
            "title": title,
            "count": len(found[key]),
            "rows": [{**figure(r["path"]), "why": r["why"]} for r in found[key][:MOST]],
        }
        for key, title in (
            ("unreadable", "Images that cannot be read"),
            ("annotation_errors", "Annotations that are wrong"),
        )
    ]
    groups: defaultdict[str, set[str]] = defaultdict(set)
    for sample in samples:
        for label in sample.labels:
            groups[label].add(group_of(sample))
    classes = [(c, n, len(groups[c]), n / len(samples)) for c, n in found["classes"].items()]
    fill_page(
        path,
        "audit.html",
        name=name,
        found=found,
        leakage=leakage_sentence(found),
        classes=classes,
        clusters=clusters,
        listed=listed,
        most=MOST,
    )


def _picture(sample: Sample | None) -> str:
    """A small JPEG as a data address, the mask outlined; empty where there is no picture."""
    if sample is None:
        return ""
    try:
        with quiet_stderr():  # a damaged picture is listed; its decoder need not say so again
            image = read_sample(sample)
    except DataError:
        return ""
    mask = None
    with suppress(DataError):  # the page says so beside the picture
        mask = mask_of(sample, image.shape[:2])
    factor = SIDE / max(image.shape[:2])
    size = (max(1, round(image.shape[1] * factor)), max(1, round(image.shape[0] * factor)))
    small: Image = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
    if mask is not None:
        outlined = cv2.resize(mask.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST)
        outlines, _ = cv2.findContours(outlined, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
        cv2.drawContours(small, outlines, -1, (255, 60, 60), 1)
    done, data = cv2.imencode(".jpg", small[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 85])
    return f"data:image/jpeg;base64,{base64.b64encode(data).decode()}" if done else ""
