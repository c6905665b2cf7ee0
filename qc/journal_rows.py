"""What the journal gives back: inspections, bundles and events as values."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from qc.errors import DataError
from qc.journal_query import IN_FORCE
from qc.journal_schema import moment_of, stamp
from qc.manifest import Manifest
from qc.types import FloatArray, Verdict, utc_now

_PLAIN = (
    "seq, inspection_id, frame_id, source_id, part_id, lot, captured_at, verdict, reason, "
    "defect_class, defect_score, scores, bundle_id, bundle_seq, timings, sampled, image_path, "
    "image_sha256, (SELECT runtime FROM bundles b WHERE b.seq = i.bundle_seq) runtime, "
    "(SELECT count(*) FROM reviews r WHERE r.inspection_id = i.inspection_id) n_reviews, "
    "(SELECT count(*) FROM reviews r WHERE r.inspection_id = i.inspection_id "
    f"AND {IN_FORCE.format(r='r')}) n_decided, "
)
COLUMNS = _PLAIN + "map, map_h, map_w"
"""What `row_of` needs, of `inspections i`."""

COLUMNS_WITHOUT_MAP = _PLAIN + "NULL map, NULL map_h, NULL map_w"


@dataclass(frozen=True, slots=True)
class Row:
    """One journaled inspection.

    Args:
        seq: position in the journal, from 1.
        scores: class -> score, or None where nothing trustworthy was measured.
        timings_ms: durations by name.
        image_path: relative to the journal's folder, or None where the image was not kept.
        evidence: `(h, w)` float32 evidence of `defect_class`, or None: no map, or not asked for.
        n_reviews: how many reviews stand in the journal, those that take one back among them.
        n_decided: how many people decided, and have not taken it back.
        bundle_seq: which row of the bundles was in force: manifest, thresholds, runtime. None in
            rows from before version 2 of the journal, like the following.
        runtime: what ran the model.
        image_sha256: of the kept file.
        sampled: of an OK part, whether chance drew its picture to be kept; None of the others.
    """

    seq: int
    inspection_id: str
    frame_id: str
    source_id: str
    part_id: str | None
    lot: str | None
    captured_at: datetime
    verdict: Verdict
    reason: str
    defect_class: str | None
    defect_score: float | None
    scores: dict[str, float] | None
    bundle_id: str
    timings_ms: dict[str, float]
    image_path: str | None
    evidence: FloatArray | None = field(compare=False, repr=False)
    n_reviews: int
    n_decided: int
    bundle_seq: int | None = None
    runtime: str | None = None
    image_sha256: str | None = None
    sampled: bool | None = None


@dataclass(frozen=True, slots=True)
class JournaledBundle:
    """What judged from some moment on.

    Args:
        seq: what `Row.bundle_seq` refers to.
        ok_sample: share of the OK parts whose picture was to be kept; None before version 2.
        opened_at: UTC.
    """

    seq: int
    bundle_id: str
    manifest: Manifest
    runtime: str
    ok_sample: float | None
    opened_at: datetime


@dataclass(frozen=True, slots=True)
class Event:
    """What happened to the line: start, stop, swap, rollback, a source lost and found.

    Args:
        seq: position among the events, from 1.
        kind: what, in a word or two.
        detail: more of it.
        at: UTC.
    """

    seq: int
    kind: str
    detail: dict[str, Any]
    at: datetime

    @property
    def detail_text(self) -> str:
        """The detail for a person, as JSON on one line."""
        return json.dumps(self.detail, ensure_ascii=False, sort_keys=True)


def _table(text: Any) -> dict[str, Any]:
    """A table as JSON; raises ValueError, TypeError or RecursionError."""
    found = json.loads(text)
    if isinstance(found, dict):
        return found
    raise ValueError(f"no table: {text[:40]!r}")


def invalid(what: str, path: Path, error: Exception) -> DataError:
    """The error of what was written into a journal past its triggers, or is damaged."""
    return DataError(f"{what} of the journal is not valid", where=path, found=error)


def row_of(found: sqlite3.Row, path: Path) -> Row:
    """The inspection in a row of `COLUMNS`.

    Raises:
        DataError: it is not valid.
    """
    try:
        evidence = None
        if found["map"] is not None:
            evidence = np.frombuffer(found["map"], "<f4").astype(np.float32)
            evidence = evidence.reshape(found["map_h"], found["map_w"])
        return Row(
            seq=found["seq"],
            inspection_id=found["inspection_id"],
            frame_id=found["frame_id"],
            source_id=found["source_id"],
            part_id=found["part_id"],
            lot=found["lot"],
            captured_at=moment_of(found["captured_at"]),
            verdict=Verdict(found["verdict"]),
            reason=found["reason"],
            defect_class=found["defect_class"],
            defect_score=found["defect_score"],
            scores=None if found["scores"] is None else _table(found["scores"]),
            bundle_id=found["bundle_id"],
            timings_ms=_table(found["timings"]),
            image_path=found["image_path"],
            evidence=evidence,
            n_reviews=found["n_reviews"],
            n_decided=found["n_decided"],
            bundle_seq=found["bundle_seq"],
            runtime=found["runtime"],
            image_sha256=found["image_sha256"],
            sampled=None if found["sampled"] is None else bool(found["sampled"]),
        )
    except (ValueError, TypeError, RecursionError) as error:
        raise invalid(f"row {found['seq']}", path, error) from error


def event_of(found: sqlite3.Row, path: Path) -> Event:
    """The event in a row of `events`.

    Raises:
        DataError: it is not valid.
    """
    try:
        return Event(found["seq"], found["kind"], _table(found["detail"]), moment_of(found["at"]))
    except (ValueError, TypeError, RecursionError) as error:
        raise invalid(f"event {found['seq']}", path, error) from error


def event_row(kind: str, detail: Mapping[str, Any], path: Path) -> dict[str, object]:
    """The columns of an event of this moment.

    Raises:
        DataError: the detail is nothing that JSON holds.
    """
    try:
        text = json.dumps(dict(detail), allow_nan=False, sort_keys=True)
    except (TypeError, ValueError) as error:
        raise DataError(
            f"the detail of event '{kind}' cannot be journaled",
            where=path,
            expected="what JSON holds",
            found=error,
        ) from error
    return {"kind": kind, "detail": text, "at": stamp(utc_now())}
