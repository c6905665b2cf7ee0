"""The journal from some row on, as sinks read it; its last rows are read once for all of them."""

from __future__ import annotations

import threading
from bisect import bisect_right
from operator import attrgetter
from pathlib import Path

from edge.progress import Place
from qc.journal_read import Journal, Row

READ_ROWS = 128


class Tail:
    """Reads a journal while it grows; serves several threads.

    Args:
        journal: the file; it exists.

    Raises:
        DataError: there is no journal.
    """

    def __init__(self, journal: Path) -> None:
        self.journal = Journal(journal)
        self._last: list[Row] = []
        self._reading = threading.Lock()

    def after(self, seq: int) -> list[Row]:
        """The rows behind `seq` in their order, at most `READ_ROWS`."""
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
        with self.journal.connection() as connection:
            found = connection.execute("SELECT max(seq) FROM inspections").fetchone()[0]
        return int(found or 0)
