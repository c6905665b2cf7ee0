"""The append-only inspection journal: one SQLite file, one writer thread.

An inspection counts when it stands here: images first, then the rows of a batch in one commit, then
whatever follows (`on_written`). A journal that cannot write is a fault that stops the line.

Limits, said plainly: the triggers forbid UPDATE and DELETE; they guard against mistakes, not
against somebody who owns the file. Write-ahead logging needs a local disk, not a network drive.
"""

from __future__ import annotations

import json
import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from qc.errors import DataError, FaultError, QCError
from qc.imageio import write_png
from qc.journal_read import (
    BUSY_S,
    FORMAT,
    SCHEMA_VERSION,
    Journal,
    Row,
    check_schema,
    is_blank,
    schema,
    stamp,
)
from qc.manifest import Manifest
from qc.types import Inspection, Verdict, utc_now

__all__ = ["Journal", "JournalWriter", "Row"]

BATCH = 64
QUEUE = 64


@dataclass(frozen=True, slots=True)
class _Drop:
    source_id: str
    frame_id: str
    cause: str
    at: datetime


class JournalWriter:
    """Writes inspections and drops; a context manager.

    Args:
        path: the journal file, made where it is missing.
        manifest: of the bundle that judges; journaled at once.
        runtime: what runs the model; journaled at once.
        keep_images: verdicts whose frame is kept as PNG beside the journal.
        on_written: called in the writer thread after the commit, once per inspection.
        on_failed: called in the writer thread when the journal has failed.

    Raises:
        DataError: the path is something else than a journal, or one of another schema.
        FaultError: it cannot be opened or written.
    """

    def __init__(
        self,
        path: Path,
        manifest: Manifest,
        runtime: str,
        *,
        keep_images: Iterable[Verdict] = frozenset({Verdict.NG, Verdict.REVIEW, Verdict.FAULT}),
        on_written: Callable[[Inspection], None] | None = None,
        on_failed: Callable[[], None] | None = None,
    ) -> None:
        self.path = Path(path)
        self.manifest = manifest
        self.runtime = runtime
        self.keep_images = frozenset(keep_images)
        self.on_written = on_written
        self.on_failed = on_failed
        self._queue: deque[Inspection | _Drop] = deque()
        self._changed = threading.Condition()
        self._written = 0
        self._closing = False
        self._failure: FaultError | None = None
        self._connection = self._open()
        self._thread = threading.Thread(target=self._work, name="journal", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def put(self, inspection: Inspection) -> None:
        """Hand over an inspection; waits while the queue is full.

        Raises:
            DataError: the inspection's id cannot name a file.
            FaultError: the journal has failed or is closed.
        """
        name = inspection.inspection_id
        if Path(name).name != name or "\\" in name or "\0" in name:
            raise DataError(
                "inspection_id cannot name a file", where=self.path, expected="no /", found=name
            )
        self._put(inspection)

    def drop(self, source_id: str, frame_id: str, cause: str) -> None:
        """Journal a frame that was captured and never inspected.

        Raises:
            FaultError: the journal has failed or is closed.
        """
        self._put(_Drop(source_id, frame_id, cause, utc_now()))

    def close(self, timeout_s: float = 30.0) -> None:
        """Write what is queued and close; closing again changes nothing.

        Args:
            timeout_s: how long to wait while nothing is written.

        Raises:
            FaultError: the journal failed now or before, or did not finish in time.
        """
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        before = -1
        while self._thread.is_alive() and self._written != before:
            before = self._written
            self._thread.join(timeout_s)
        with self._changed:
            if self._failure is not None:
                raise self._failure
            if self._thread.is_alive():
                raise FaultError(
                    "the journal did not finish",
                    where=self.path,
                    expected=f"an entry written within {timeout_s:g} s",
                    found=f"{len(self._queue)} entries waiting",
                )

    def _put(self, entry: Inspection | _Drop) -> None:
        with self._changed:
            while len(self._queue) >= QUEUE and self._failure is None and not self._closing:
                self._changed.wait()
            if self._failure is not None:
                raise self._failure
            if self._closing:
                raise FaultError("the journal is closed", where=self.path)
            self._queue.append(entry)
            self._changed.notify_all()

    def _open(self) -> sqlite3.Connection:
        if self.path.is_dir():
            raise DataError("the path is not a journal", where=self.path, found="a folder")
        connection = None
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            connection = sqlite3.connect(
                self.path, timeout=BUSY_S, isolation_level=None, check_same_thread=False
            )
            new = is_blank(connection)
            if not new:
                check_schema(connection, self.path)
            (mode,) = connection.execute("PRAGMA journal_mode=WAL").fetchone()
            if mode != "wal":
                raise FaultError(
                    "the disk cannot hold a journal",
                    where=self.path,
                    expected="write-ahead logging",
                    found=mode,
                )
            connection.execute("PRAGMA synchronous=FULL")
            connection.execute("BEGIN IMMEDIATE")
            if new:
                for statement in schema():
                    connection.execute(statement)
                facts = [("format", FORMAT), ("schema_version", str(SCHEMA_VERSION))]
                connection.executemany("INSERT INTO meta VALUES (?, ?)", facts)
            connection.execute(
                "INSERT INTO bundles (bundle_id, manifest, runtime, opened_at) VALUES (?, ?, ?, ?)",
                [
                    self.manifest.bundle_id,
                    self.manifest.model_dump_json(),
                    self.runtime,
                    stamp(utc_now()),
                ],
            )
            connection.execute("COMMIT")
            return connection
        except (sqlite3.Error, OSError, QCError) as error:
            if connection is not None:
                connection.close()
            if isinstance(error, QCError):
                raise
            raise FaultError(
                "the journal cannot be opened",
                where=self.path,
                expected="a file that can be written",
                found=error,
            ) from error

    def _work(self) -> None:
        try:
            while batch := self._take():
                self._write(batch)
        except Exception as error:  # noqa: BLE001 - handed to every later put() and close()
            self._fail(error)
        finally:
            try:
                self._connection.close()
            except sqlite3.Error as error:
                self._fail(error)

    def _fail(self, error: Exception) -> None:
        found = error.message if isinstance(error, QCError) else error
        failure = FaultError("the journal cannot be written", where=self.path, found=found)
        failure.__cause__ = error
        with self._changed:
            self._failure = self._failure or failure
            self._changed.notify_all()
        if self.on_failed is not None:
            self.on_failed()

    def _take(self) -> list[Inspection | _Drop]:
        """What is queued, at most a batch; waits for the first entry; empty at the end."""
        with self._changed:
            while not self._queue and not self._closing:
                self._changed.wait()
            batch = [self._queue.popleft() for _ in range(min(BATCH, len(self._queue)))]
            self._changed.notify_all()
            return batch

    def _write(self, batch: list[Inspection | _Drop]) -> None:
        """Images, then rows; where one entry fails, those before it are still committed."""
        ready: list[tuple[Inspection | _Drop, str, dict[str, object]]] = []
        failure: Exception | None = None
        try:
            for entry in batch:
                ready.append((entry, *self._row(entry)))
        except (QCError, ValueError, TypeError) as error:
            failure = error
        written: list[Inspection | _Drop] = []
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            for entry, table, row in ready:
                marks = ", ".join("?" * len(row))
                self._connection.execute(
                    f"INSERT INTO {table} ({', '.join(row)}) VALUES ({marks})", [*row.values()]
                )
                written.append(entry)
        except sqlite3.Error as error:
            failure = error
        if self._connection.in_transaction:
            self._connection.execute("COMMIT")
            for entry in written:
                if self.on_written is not None and isinstance(entry, Inspection):
                    self.on_written(entry)
                self._written += 1
        if failure is not None:
            raise failure

    def _keep_image(self, entry: Inspection) -> str | None:
        if entry.image is None or entry.verdict not in self.keep_images:
            return None
        day = entry.captured_at.astimezone(UTC).date().isoformat()
        file = self.path.parent / f"{self.path.stem}-images" / day / f"{entry.inspection_id}.png"
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise FaultError("the image cannot be kept", where=file, found=error) from error
        write_png(file, entry.image)
        return file.relative_to(self.path.parent).as_posix()

    def _row(self, entry: Inspection | _Drop) -> tuple[str, dict[str, object]]:
        """Table and columns of one entry; the image is on the disk when this returns."""
        if isinstance(entry, _Drop):
            return "drops", {**asdict(entry), "at": stamp(entry.at)}
        blob, height, width = self._evidence(entry)
        return "inspections", {
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
            "defect_score": entry.defect_score,
            "scores": self._scores(entry),
            "bundle_id": entry.bundle_id,
            "timings": json.dumps(dict(entry.timings_ms)),
            "image_path": self._keep_image(entry),
            "map": blob,
            "map_h": height,
            "map_w": width,
        }

    def _scores(self, entry: Inspection) -> str | None:
        """Class -> score as JSON; NULL where a score is not finite, as the reason then says."""
        if entry.prediction is None or not np.isfinite(entry.prediction.score).all():
            return None
        values = (float(p) for p in entry.prediction.score)
        return json.dumps(dict(zip(self.manifest.class_names, values, strict=True)))

    def _evidence(self, entry: Inspection) -> tuple[bytes | None, int | None, int | None]:
        if entry.prediction is None or entry.prediction.attention is None:
            return None, None, None
        if entry.defect_class is None:
            return None, None, None
        index = self.manifest.class_names.index(entry.defect_class)
        evidence = entry.prediction.attention[..., index].astype("<f4")
        return evidence.tobytes(), evidence.shape[0], evidence.shape[1]
