"""The journal from some row on, as sinks read it; its last rows are read once for all of them."""

from __future__ import annotations

import sqlite3
import sys
import threading
from bisect import bisect_right
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager
from operator import attrgetter
from pathlib import Path

from edge.progress import Place, Progress
from qc.journal_read import Journal, Row
from qc.manifest import Manifest
from qc.types import Verdict

READ_ROWS = 128


class Tail:
    """Reads a journal while it grows; serves several threads.

    Args:
        journal: the file; it exists.

    Raises:
        DataError: there is no journal.
    """

    def __init__(self, journal: Path) -> None:
        self.journal = _Followed(journal)
        self._last: list[Row] = []
        self._reading = threading.Lock()

    def after(self, seq: int, verdicts: Collection[Verdict] | None = None) -> list[Row]:
        """The rows behind `seq` in their order, at most `READ_ROWS`; of these verdicts, or all."""
        if verdicts is not None:
            return self.journal.after(seq, READ_ROWS, verdicts)
        with self._reading:
            last = self._last
            if last and last[0].seq - 1 <= seq < last[-1].seq:
                return last[bisect_right(last, seq, key=attrgetter("seq")) :]
            found = self.journal.after(seq, READ_ROWS)
            if 0 < len(found) < READ_ROWS:  # a sink that is far behind is alone there
                self._last = found
            return found

    def at(self, seq: int) -> Place:
        """The place of one row; that of the beginning where there is no such row."""
        rows = self.journal.after(seq - 1, 1) if seq else []
        return Place(rows[0].seq, rows[0].inspection_id) if rows else Place(0, "")

    def end(self) -> int:
        """The position of the last row; 0 where there is none."""
        return self.last().seq

    def last(self) -> Place:
        """The place of the last row; that of the beginning where there is none."""
        query = "SELECT seq, inspection_id FROM inspections ORDER BY seq DESC LIMIT 1"
        with self.journal.connection() as connection:
            found = connection.execute(query).fetchone()
        return Place(0, "") if found is None else Place(int(found[0]), str(found[1]))

    def let_go(self) -> None:
        """Hold the file open no longer, so that who writes it can close it as the last."""
        self.journal.let_go()


def begin(progress: Progress, sink_id: str, tail: Tail, from_start: bool) -> Place:
    """Where a sink goes on; a place that the journal does not know is not trusted."""
    known, end = progress.place(sink_id), tail.end()
    if known is not None and known.seq <= end and known == tail.at(known.seq):
        return known
    if known is None:
        place = Place(0, "") if from_start else tail.at(end)
    elif known.seq > end:  # a power cut took the journal's last rows: they are written anew
        place = tail.at(end)
    else:  # another journal of the same name
        place = Place(0, "")
    progress.keep(sink_id, place)
    return place


class _Followed(Journal):
    """A journal that is read many times a second: its connection stays open, manifests are kept."""

    def __init__(self, path: Path) -> None:
        self._lock = threading.RLock()
        self._holding = False
        self._held: ExitStack | None = None
        self._connection: sqlite3.Connection
        self._manifests: dict[str, Manifest] = {}
        super().__init__(path)
        self._holding = True

    @contextmanager
    def connection(self, mode: str = "ro") -> Iterator[sqlite3.Connection]:
        """As `Journal.connection`; one thread at a time reads."""
        with self._lock:
            if mode != "ro" or not self._holding:
                with super().connection(mode) as connection:
                    yield connection
                return
            if self._held is None:
                self._held = ExitStack()
                self._connection = self._held.enter_context(super().connection(mode))
            try:
                yield self._connection
            except BaseException:
                held, self._held = self._held, None
                held.__exit__(*sys.exc_info())  # says what went wrong in the journal's words
                raise

    def manifest(self, bundle_id: str) -> Manifest:
        """As `Journal.manifest`; what a bundle says of itself never changes."""
        if bundle_id not in self._manifests:
            self._manifests[bundle_id] = super().manifest(bundle_id)
        return self._manifests[bundle_id]

    def let_go(self) -> None:
        """Close the connection; each later reading opens its own."""
        with self._lock:
            self._holding = False
            if self._held is not None:
                self._held.close()
                self._held = None
