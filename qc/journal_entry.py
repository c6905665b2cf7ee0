"""One inspection as a row of the journal."""

from __future__ import annotations

import json
import math
from functools import lru_cache

from qc.journal_images import KeptImage
from qc.journal_schema import stamp
from qc.manifest import Manifest
from qc.types import Inspection, utc_now


def inspection_row(
    entry: Inspection, manifest: Manifest, sampled: bool | None, kept: KeptImage | None
) -> dict[str, object]:
    """The columns of an inspection; `bundle_seq` is added by who knows it.

    Args:
        entry: what was judged.
        manifest: of the bundle that judged.
        sampled: of an OK part, whether chance drew its picture.
        kept: its picture on the disk.

    Raises:
        ValueError: the defect class is none of the bundle, or there are more scores than classes.
    """
    blob, height, width = _evidence(entry, manifest)
    score = None if entry.defect_score is None else float(entry.defect_score)
    return {
        "inspection_id": entry.inspection_id,
        "frame_id": entry.frame_id,
        "source_id": entry.source_id,
        "part_id": entry.part_id,
        "lot": entry.lot,
        "captured_at": stamp(entry.captured_at),
        "journaled_at": stamp(utc_now()),
        "verdict": entry.verdict.value,
        "reason": entry.reason,
        "defect_class": entry.defect_class,
        "defect_score": None if score is None or math.isnan(score) else score,
        "scores": _scores(entry, manifest),
        "bundle_id": entry.bundle_id,
        "timings": json.dumps(dict(entry.timings_ms)),
        "sampled": None if sampled is None else int(sampled),
        "image_path": None if kept is None else kept.path,
        "image_sha256": None if kept is None else kept.sha256,
        "map": blob,
        "map_h": height,
        "map_w": width,
    }


def _scores(entry: Inspection, manifest: Manifest) -> str | None:
    """Class -> score as JSON; NULL where a score is not finite, as the reason then says."""
    if entry.prediction is None:
        return None
    values = entry.prediction.score.tolist()
    if not all(map(math.isfinite, values)):
        return None
    named = zip(_names(manifest.class_names), values, strict=True)
    return f"{{{', '.join(f'{name}: {value!r}' for name, value in named)}}}"


@lru_cache(8)
def _names(names: tuple[str, ...]) -> tuple[str, ...]:
    """Class names as JSON: they stand in each row, and are the same in most."""
    return tuple(json.dumps(name) for name in names)


def _evidence(entry: Inspection, manifest: Manifest) -> tuple[bytes | None, int | None, int | None]:
    if entry.prediction is None or entry.prediction.attention is None:
        return None, None, None
    if entry.defect_class is None:
        return None, None, None
    index = manifest.class_names.index(entry.defect_class)
    evidence = entry.prediction.attention[..., index].astype("<f4")
    return evidence.tobytes(), evidence.shape[0], evidence.shape[1]
