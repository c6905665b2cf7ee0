"""The read side of the journal, and the one thing a person may add to it: a review.

The schema stands here because a reader must be able to judge a file before it trusts it. Every call
opens its own short connection, so one `Journal` serves several threads, also while a line writes.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from pydantic import ValidationError

from qc.errors import DataError, FaultError
from qc.manifest import Manifest
from qc.types import FloatArray, Review, Verdict

FORMAT = "attention-qc journal"
SCHEMA_VERSION = 1
BUSY_S = 10.0
"""How long a connection waits for another writer (a line, a station) before it gives up."""

_TABLES = {
    "meta": "key TEXT PRIMARY KEY, value TEXT NOT NULL",
    "bundles": "seq INTEGER PRIMARY KEY, bundle_id TEXT NOT NULL, manifest TEXT NOT NULL, "
    "runtime TEXT NOT NULL, opened_at TEXT NOT NULL",
    "inspections": "seq INTEGER PRIMARY KEY, inspection_id TEXT NOT NULL UNIQUE, "
    "frame_id TEXT NOT NULL, source_id TEXT NOT NULL, part_id TEXT, lot TEXT, "
    "captured_at TEXT NOT NULL, journaled_at TEXT NOT NULL, verdict TEXT NOT NULL "
    "CHECK (verdict IN ('OK', 'NG', 'REVIEW', 'FAULT')), reason TEXT NOT NULL, "
    "defect_class TEXT, defect_score REAL, scores TEXT, bundle_id TEXT NOT NULL, "
    "timings TEXT NOT NULL, image_path TEXT, map BLOB, map_h INTEGER, map_w INTEGER",
    "drops": "seq INTEGER PRIMARY KEY, source_id TEXT NOT NULL, frame_id TEXT NOT NULL, "
    "cause TEXT NOT NULL, at TEXT NOT NULL",
    "reviews": "seq INTEGER PRIMARY KEY, "
    "inspection_id TEXT NOT NULL REFERENCES inspections(inspection_id), "
    "reviewer TEXT NOT NULL, decision TEXT NOT NULL, defect_class TEXT, note TEXT NOT NULL, "
    "at TEXT NOT NULL",
}
_INDEXES = ("inspections_verdict ON inspections(verdict)", "reviews_of ON reviews(inspection_id)")
_COLUMNS = (
    "seq, inspection_id, frame_id, source_id, part_id, lot, captured_at, verdict, reason, "
    "defect_class, defect_score, scores, bundle_id, timings, image_path, map, map_h, map_w, "
    "(SELECT count(*) FROM reviews r WHERE r.inspection_id = i.inspection_id) n_reviews"
)


def schema() -> list[str]:
    """The statements that make an empty journal: tables, indexes, and the append-only triggers."""
    statements = [f"CREATE TABLE {name} ({columns})" for name, columns in _TABLES.items()]
    statements += [f"CREATE INDEX {index}" for index in _INDEXES]
    for name in _TABLES:
        for action in ("UPDATE", "DELETE"):
            statements.append(
                f"CREATE TRIGGER {name}_no_{action.lower()} BEFORE {action} ON {name} "
                "BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END"
            )
    return statements


def is_blank(connection: sqlite3.Connection) -> bool:
    """Whether an opened file holds nothing yet: new, or left by a disk that was full."""
    try:
        (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except sqlite3.DatabaseError:
        return False  # `check_schema` says why
    return bool(tables == 0)


def check_schema(connection: sqlite3.Connection, path: Path) -> None:
    """Judge an opened database.

    Raises:
        DataError: it is not a journal, or one of another schema.
    """
    try:
        found = dict(connection.execute("SELECT key, value FROM meta").fetchall())
    except (sqlite3.DatabaseError, ValueError) as error:
        if "no such" not in str(error) and "not a database" not in str(error):
            raise
        raise DataError(
            "the file is not a journal", where=path, expected=f"an {FORMAT}", found=error
        ) from error
    if found.get("format") != FORMAT:
        raise DataError("the file is not a journal", where=path, expected=f"an {FORMAT}")
    if found.get("schema_version") != str(SCHEMA_VERSION):
        raise DataError(
            "the journal has another schema",
            where=path,
            expected=f"version {SCHEMA_VERSION}",
            found=f"version {found.get('schema_version')}",
        )


def stamp(moment: datetime) -> str:
    """A time as it is stored: UTC, always with microseconds, so that text order is time order."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds")


@dataclass(frozen=True, slots=True)
class Row:
    """One journaled inspection.

    Args:
        seq: position in the journal, from 1.
        scores: class -> score, or None where nothing trustworthy was measured.
        timings_ms: durations by name.
        image_path: relative to the journal's folder, or None where the image was not kept.
        evidence: `(h, w)` float32 evidence of `defect_class`, or None: no map.
        n_reviews: how many reviews stand in the journal.
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


class Journal:
    """Reads a journal and adds reviews to it.

    Args:
        path: the journal file.

    Raises:
        DataError: missing, not a journal, or of another schema.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        if not self.path.is_file():
            found = "a folder" if self.path.is_dir() else "nothing"
            raise DataError("there is no journal", where=path, expected="a file", found=found)
        with self._connection() as connection:
            check_schema(connection, self.path)

    @contextmanager
    def _connection(self, mode: str = "ro") -> Iterator[sqlite3.Connection]:
        uri = f"{self.path.absolute().as_uri()}?mode={mode}"
        if mode == "ro" and self._cannot_change():
            uri += "&immutable=1"
        connection = None
        try:
            connection = sqlite3.connect(uri, uri=True, timeout=BUSY_S, isolation_level=None)
            connection.row_factory = sqlite3.Row
            yield connection
        except sqlite3.DatabaseError as error:
            if mode == "ro" and not isinstance(error, sqlite3.OperationalError):
                raise DataError("the journal is damaged", where=self.path, found=error) from error
            done = "read" if mode == "ro" else "written"
            raise FaultError(
                f"the journal cannot be {done}", where=self.path, found=error
            ) from error
        finally:
            if connection is not None:
                connection.close()

    def _cannot_change(self) -> bool:
        """A closed journal on a read-only disk; SQLite could not make its lock files there."""
        folder = self.path.absolute().parent
        return not os.access(folder, os.W_OK) and not Path(f"{self.path}-wal").exists()

    def counts(self) -> dict[str, int]:
        """How many frames were captured, and what became of them.

        Returns:
            captured, ok, ng, review, fault, dropped; captured is the sum of the other five.
        """
        with self._connection() as connection:
            connection.execute("BEGIN")
            verdicts = dict(
                connection.execute("SELECT verdict, count(*) FROM inspections GROUP BY verdict")
            )
            (dropped,) = connection.execute("SELECT count(*) FROM drops").fetchone()
        parts = {v.value.lower(): int(verdicts.get(v.value, 0)) for v in Verdict}
        parts["dropped"] = int(dropped)
        return {"captured": sum(parts.values()), **parts}

    def drops(self) -> dict[str, int]:
        """How many frames were dropped, by cause."""
        with self._connection() as connection:
            found = connection.execute("SELECT cause, count(*) FROM drops GROUP BY cause")
            return {str(cause): int(n) for cause, n in found}

    def rows(
        self,
        *,
        verdicts: Sequence[Verdict] | None = None,
        reviewed: bool | None = None,
        limit: int = 50,
        offset: int = 0,
        newest_first: bool = True,
    ) -> list[Row]:
        """Inspections in the order of the journal.

        Args:
            verdicts: only these, or None for all.
            reviewed: only those with (True) or without (False) a review, or None for both.
            limit: how many at most.
            offset: how many to pass over.
            newest_first: the last journaled comes first.
        """
        where, values = _filter(verdicts, reviewed)
        order = "DESC" if newest_first else "ASC"
        query = f"SELECT {_COLUMNS} FROM inspections i{where} ORDER BY seq {order} LIMIT ? OFFSET ?"
        with self._connection() as connection:
            found = connection.execute(query, [*values, max(limit, 0), max(offset, 0)]).fetchall()
        return [self._row(row) for row in found]

    def count(self, verdicts: Sequence[Verdict] | None = None, reviewed: bool | None = None) -> int:
        """How many inspections `rows` would give without a limit."""
        where, values = _filter(verdicts, reviewed)
        with self._connection() as connection:
            query = f"SELECT count(*) FROM inspections i{where}"
            return int(connection.execute(query, values).fetchone()[0])

    def get(self, inspection_id: str) -> Row:
        """One inspection.

        Raises:
            DataError: the journal has no such inspection.
        """
        with self._connection() as connection:
            query = f"SELECT {_COLUMNS} FROM inspections i WHERE inspection_id = ?"
            found = connection.execute(query, [inspection_id]).fetchone()
        if found is None:
            raise self._unknown(inspection_id)
        return self._row(found)

    def reviews(self, inspection_id: str) -> list[Review]:
        """The reviews of one inspection, the oldest first."""
        with self._connection() as connection:
            found = connection.execute(
                "SELECT inspection_id, reviewer, decision, defect_class, note, at "
                "FROM reviews WHERE inspection_id = ? ORDER BY seq",
                [inspection_id],
            ).fetchall()
        return [
            Review(i, r, Verdict(d), c, n, datetime.fromisoformat(a)) for i, r, d, c, n, a in found
        ]

    def add_review(self, review: Review) -> None:
        """Append a review.

        Raises:
            DataError: the journal has no such inspection.
            FaultError: it cannot be written.
        """
        with self._connection("rw") as connection:
            connection.execute("PRAGMA synchronous=FULL")
            cursor = connection.execute(
                "INSERT INTO reviews (inspection_id, reviewer, decision, defect_class, note, at) "
                "SELECT inspection_id, ?, ?, ?, ?, ? FROM inspections WHERE inspection_id = ?",
                [
                    review.reviewer,
                    review.decision.value,
                    review.defect_class,
                    review.note,
                    stamp(review.at),
                    review.inspection_id,
                ],
            )
            if cursor.rowcount != 1:
                raise self._unknown(review.inspection_id)

    def manifest(self, bundle_id: str) -> Manifest:
        """What the bundle that judged said of itself.

        Raises:
            DataError: the journal knows no such bundle.
        """
        with self._connection() as connection:
            found = connection.execute(
                "SELECT manifest FROM bundles WHERE bundle_id = ? ORDER BY seq DESC", [bundle_id]
            ).fetchone()
        if found is None:
            raise DataError("the journal knows no such bundle", where=self.path, found=bundle_id)
        try:
            return Manifest.model_validate_json(found[0])
        except ValidationError as error:
            raise DataError(
                f"the manifest of bundle {bundle_id} is not valid", where=self.path, found=error
            ) from error

    def image_file(self, row: Row) -> Path | None:
        """The kept image of an inspection, or None where it was not kept or is gone."""
        if row.image_path is None:
            return None
        folder = self.path.absolute().parent
        file = (folder / row.image_path).resolve()
        return file if file.is_relative_to(folder.resolve()) and file.is_file() else None

    def _unknown(self, inspection_id: str) -> DataError:
        return DataError("the journal has no such inspection", where=self.path, found=inspection_id)

    def _row(self, found: sqlite3.Row) -> Row:
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
                captured_at=datetime.fromisoformat(found["captured_at"]),
                verdict=Verdict(found["verdict"]),
                reason=found["reason"],
                defect_class=found["defect_class"],
                defect_score=found["defect_score"],
                scores=None if found["scores"] is None else json.loads(found["scores"]),
                bundle_id=found["bundle_id"],
                timings_ms=json.loads(found["timings"]),
                image_path=found["image_path"],
                evidence=evidence,
                n_reviews=found["n_reviews"],
            )
        except (ValueError, TypeError) as error:
            raise DataError(
                f"row {found['seq']} of the journal is not valid", where=self.path, found=error
            ) from error


def _filter(verdicts: Sequence[Verdict] | None, reviewed: bool | None) -> tuple[str, list[str]]:
    conditions, values = [], []
    if verdicts is not None:
        conditions.append(f"verdict IN ({', '.join('?' * len(verdicts))})")
        values += [v.value for v in verdicts]
    if reviewed is not None:
        word = "EXISTS" if reviewed else "NOT EXISTS"
        conditions.append(
            f"{word} (SELECT 1 FROM reviews r WHERE r.inspection_id = i.inspection_id)"
        )
    return (" WHERE " + " AND ".join(conditions) if conditions else ""), values
