"""The append-only inspection journal: one SQLite file, one writer thread.

An inspection counts when it stands here: images first, then the rows of a batch in one commit, then
whatever follows (`on_written`). A journal that cannot write is a fault that stops the line.

What a crash of the program takes: what was not committed, whatever the durability. What a power cut
takes: with "full" no row that was told on, for each commit waits for the disk, but pictures of the
last moments, `UNSYNCED` at most, which the disk takes after their rows; with "normal" also the rows
since the last checkpoint of the write-ahead log (some megabytes, seconds to minutes of a line) and
the pictures of that time. Neither corrupts the file. Reviews are always "full".

Limits, said plainly: the triggers forbid UPDATE and DELETE; they and the hash chain guard against
mistakes, not against somebody who owns the file. Write-ahead logging needs a local disk, not a
network drive.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from qc.errors import DataError, FaultError, QCError
from qc.journal_chain import Chain
from qc.journal_entry import inspection_row
from qc.journal_images import Durability, ImageKeeper
from qc.journal_open import open_journal
from qc.journal_read import Event, Filter, Journal, Row
from qc.journal_retention import Retention
from qc.journal_rows import event_row
from qc.journal_schema import stamp
from qc.linefile import KeepTable
from qc.manifest import Manifest
from qc.types import Inspection, utc_now

__all__ = ["Durability", "Event", "Filter", "Journal", "JournalWriter", "Row"]

BATCH = 256
QUEUE = 256
QUEUE_BYTES = 32_000_000
"""Pictures that may wait, in bytes; at least one waits whatever its size."""


@dataclass(frozen=True, slots=True)
class _Entry:
    """A row of a table other than the inspections, as it waits to be written."""

    table: str
    row: dict[str, object]
    written: threading.Event = field(default_factory=threading.Event)


@dataclass(frozen=True, slots=True)
class _Bundle:
    manifest: Manifest
    row: dict[str, object]


_Waiting = Inspection | _Entry | _Bundle


class JournalWriter:
    """Writes inspections, drops and events; a context manager.

    Args:
        path: the journal file, made where it is missing, migrated where it is older.
        manifest: of the bundle that judges; journaled at once.
        runtime: what runs the model; journaled at once.
        keep: which pictures are kept beside the journal, and for how long.
        durability: "full": what was told on survives a power cut; "normal": faster, see above.
        on_written: called in the writer thread after the commit, once per inspection.
        on_failed: called in the writer thread when the journal has failed.

    Raises:
        DataError: the path is something else than a journal, or one of a newer schema.
        FaultError: it cannot be opened or written, or another line writes it.
    """

    def __init__(
        self,
        path: Path,
        manifest: Manifest,
        runtime: str,
        *,
        keep: KeepTable | None = None,
        durability: Durability = "full",
        on_written: Callable[[Inspection], None] | None = None,
        on_failed: Callable[[], None] | None = None,
    ) -> None:
        self.path = Path(path)
        self.keep = keep or KeepTable()
        self.durability = durability
        self.on_written = on_written
        self.on_failed = on_failed
        self._queue: deque[_Waiting] = deque()
        self._changed = threading.Condition()
        self._bytes = 0
        self._written = 0
        self._closing = False
        self._failure: FaultError | None = None
        self._manifests: dict[str, Manifest] = {}
        self._manifest = manifest
        self._bundle_seqs: dict[str, int] = {}
        self._bundle_seq = 0
        self._connection, self._lock = open_journal(self.path, durability)
        self._chain = Chain(self._connection)
        self._pending: list[_Entry] = []
        self._retention = Retention(self.path, self.keep, self._remember)
        self._keeper = ImageKeeper(
            self.path, self.keep, durability, self._images_changed, self._retention.add
        )
        try:
            self._write([self._bundle(manifest, runtime)])
        except (sqlite3.Error, QCError) as error:
            self._release()
            raise FaultError(
                "the journal cannot be opened",
                where=self.path,
                expected="a file that can be written",
                found=error,
            ) from error
        self._thread = threading.Thread(target=self._work, name="journal", daemon=True)
        self._thread.start()
        self._retention.start(self._keeper.token)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def images_why(self) -> str:
        """Why pictures are not kept, in words; "" where they are."""
        return self._keeper.why

    def put(self, inspection: Inspection) -> None:
        """Hand over an inspection; waits while the queue is full.

        Raises:
            DataError: the inspection's id cannot name a file.
            FaultError: the journal has failed or is closed.
        """
        name = inspection.inspection_id
        if name in ("", ".", "..") or "/" in name or "\\" in name or "\0" in name:
            raise DataError(
                "inspection_id cannot name a file", where=self.path, expected="no /", found=name
            )
        self._put(inspection)

    def drop(
        self,
        source_id: str,
        frame_id: str,
        cause: str,
        *,
        part_id: str | None = None,
        lot: str | None = None,
    ) -> None:
        """Journal a frame that was captured and never inspected.

        Raises:
            FaultError: the journal has failed or is closed.
        """
        row: dict[str, object] = {"source_id": source_id, "frame_id": frame_id, "part_id": part_id}
        row |= {"lot": lot, "cause": cause, "at": stamp(utc_now())}
        self._put(_Entry("drops", row))

    def event(self, kind: str, detail: Mapping[str, Any]) -> None:
        """Journal what happened to the line: start, stop, swap, a source lost or found.

        Args:
            kind: what, in a word or two.
            detail: more of it, as JSON holds it.

        Raises:
            DataError: the detail is nothing that JSON holds.
            FaultError: the journal has failed or is closed.
        """
        self._put(self._event(kind, detail))

    def use(self, manifest: Manifest, runtime: str) -> None:
        """Journal that another bundle judges from here on; in order with `put`.

        Raises:
            FaultError: the journal has failed or is closed.
        """
        self._put(self._bundle(manifest, runtime))

    def close(self, timeout_s: float = 30.0) -> None:
        """Write what is queued and close; closing again changes nothing.

        Args:
            timeout_s: how long to wait while nothing is written.

        Raises:
            FaultError: the journal failed now or before, or did not finish in time.
        """
        self._retention.stop()
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        before = -1
        while self._thread.is_alive() and self._written != before:
            before = self._written
            self._thread.join(timeout_s)
        self._retention.join(timeout_s)
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

    def _put(self, entry: _Waiting) -> None:
        mine = threading.current_thread() is self._thread  # would wait for itself
        with self._changed:
            while self._is_full() and not mine and self._failure is None and not self._closing:
                self._changed.wait()
            if self._failure is not None:
                raise self._failure
            if self._closing:
                raise FaultError("the journal is closed", where=self.path)
            self._queue.append(entry)
            self._bytes += _bytes_of(entry)
            self._changed.notify_all()

    def _is_full(self) -> bool:
        return len(self._queue) >= QUEUE or self._bytes >= QUEUE_BYTES

    def _event(self, kind: str, detail: Mapping[str, Any]) -> _Entry:
        return _Entry("events", event_row(kind, detail, self.path))

    def _bundle(self, manifest: Manifest, runtime: str) -> _Bundle:
        row: dict[str, object] = {
            "bundle_id": manifest.bundle_id,
            "manifest": manifest.model_dump_json(),
            "runtime": runtime,
            "ok_sample": float(self.keep.ok_sample),
            "opened_at": stamp(utc_now()),
        }
        return _Bundle(manifest, row)

    def _remember(self, kind: str, detail: Mapping[str, Any]) -> threading.Event:
        """Journal an event; what is given back is set when it is on the disk."""
        entry = self._event(kind, detail)
        self._put(entry)
        return entry.written

    def _images_changed(self, why: str) -> None:
        kind = "images not kept" if why else "images kept again"
        self._pending.append(self._event(kind, {"why": why} if why else {}))

    def _release(self) -> None:
        try:
            self._keeper.close()
            self._connection.close()
        finally:
            os.close(self._lock)

    def _work(self) -> None:
        try:
            while batch := self._take():
                self._write(batch)
                self._let_go(batch)
            self._keeper.close()
            self._write([])  # what its end brought to light
        except BaseException as error:  # noqa: BLE001 - handed to every later put() and close()
            self._fail(error)
        finally:
            try:
                self._release()
            except (sqlite3.Error, OSError) as error:
                self._fail(error)

    def _fail(self, error: BaseException) -> None:
        found = error.message if isinstance(error, QCError) else error
        failure = FaultError("the journal cannot be written", where=self.path, found=found)
        failure.__cause__ = error
        with self._changed:
            self._failure = self._failure or failure
            self._changed.notify_all()
        if self.on_failed is not None:
            self.on_failed()

    def _take(self) -> list[_Waiting]:
        """What is queued, at most a batch; waits for the first entry; empty at the end."""
        with self._changed:
            while not self._queue and not self._closing:
                self._changed.wait()
            batch = [self._queue.popleft() for _ in range(min(BATCH, len(self._queue)))]
            self._changed.notify_all()
            return batch

    def _let_go(self, batch: list[_Waiting]) -> None:
        """Count the pictures of a batch no longer: only now nothing holds them."""
        with self._changed:
            self._bytes -= sum(_bytes_of(entry) for entry in batch)
            self._changed.notify_all()

    def _write(self, batch: list[_Waiting]) -> None:
        """Images, then rows; where one entry fails, those before it are still committed."""
        ready: list[tuple[_Waiting, dict[str, object]]] = []
        failure: Exception | None = None
        try:
            self._keeper.look_again()
            for entry in batch:
                row = self._row(entry)
                ready += [(event, event.row) for event in self._pending]
                self._pending.clear()
                ready.append((entry, row))
        except (QCError, ValueError, TypeError) as error:
            failure = error
        ready += [(event, event.row) for event in self._pending]
        self._pending.clear()
        written: list[_Waiting] = []
        self._chain.begin()
        try:
            for entry, row in ready:
                self._append(entry, row)
                written.append(entry)
        except (sqlite3.Error, ValueError, TypeError) as error:
            failure = error
        if self._connection.in_transaction:
            self._connection.execute("COMMIT")
            for entry in written:
                if isinstance(entry, _Entry):
                    entry.written.set()
                elif self.on_written is not None and isinstance(entry, Inspection):
                    self.on_written(entry)
                self._written += 1
        self._keeper.settle()
        if failure is not None:
            raise failure

    def _row(self, entry: _Waiting) -> dict[str, object]:
        """Columns of one entry; its image has its name when this returns."""
        if isinstance(entry, Inspection):
            manifest = self._manifests.get(entry.bundle_id, self._manifest)
            sampled = self._keeper.sampled(entry)
            kept = None if sampled is False else self._keeper.store(entry)
            return inspection_row(entry, manifest, sampled, kept)
        if isinstance(entry, _Bundle):
            self._manifest = self._manifests[entry.manifest.bundle_id] = entry.manifest
        return entry.row

    def _append(self, entry: _Waiting, row: dict[str, object]) -> None:
        if isinstance(entry, Inspection):
            row["bundle_seq"] = self._bundle_seqs.get(entry.bundle_id, self._bundle_seq)
            self._chain.append("inspections", row)
        elif isinstance(entry, _Bundle):
            self._bundle_seq = self._chain.append("bundles", row)
            self._bundle_seqs[entry.manifest.bundle_id] = self._bundle_seq
        else:
            self._chain.append(entry.table, row)


def _bytes_of(entry: _Waiting) -> int:
    if not isinstance(entry, Inspection):
        return 0
    return sum(pixels.nbytes for pixels in (entry.image, entry.deep) if pixels is not None)
