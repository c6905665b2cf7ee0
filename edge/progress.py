"""How far each sink is, and what it could never take: one small SQLite file beside the journal.

It holds nothing that the journal does not hold. Where a power cut takes its last moments, or it is
removed, messages are told twice and none is lost.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from pathlib import Path

from qc.errors import FaultError
from qc.journal_schema import BUSY_S, stamp
from qc.types import utc_now

_SCHEMA = """
CREATE TABLE IF NOT EXISTS progress
    (sink_id TEXT PRIMARY KEY, seq INTEGER NOT NULL, inspection_id TEXT NOT NULL, at TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS put_aside
    (n INTEGER PRIMARY KEY, sink_id TEXT NOT NULL, seq INTEGER NOT NULL,
    inspection_id TEXT NOT NULL, why TEXT NOT NULL, at TEXT NOT NULL);
"""


@dataclass(frozen=True, slots=True)
class Place:
    """The last message that a sink took: its position in the journal (0: none) and its id."""

    seq: int
    inspection_id: str


@dataclass(frozen=True, slots=True)
class PutAside:
    """A message that a sink could not take, and why."""

    sink_id: str
    seq: int
    inspection_id: str
    why: str


def progress_file(journal: Path) -> Path:
    """Where the progress of a journal's sinks is kept."""
    return journal.with_name(journal.name + ".sinks.db")


class Progress:
    """One connection to the file; several may be open at a time, each used by one thread at once.

    Raises:
        FaultError: it cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._connection = sqlite3.connect(
                path, timeout=BUSY_S, isolation_level=None, check_same_thread=False
            )
            self._connection.execute("PRAGMA journal_mode=WAL")
            self._connection.execute("PRAGMA synchronous=NORMAL")
            self._connection.executescript(_SCHEMA)
        except sqlite3.Error as error:
            raise self._failure("opened", error) from error

    def place(self, sink_id: str) -> Place | None:
        """How far a sink is; None where it is new."""
        try:
            found = self._connection.execute(
                "SELECT seq, inspection_id FROM progress WHERE sink_id = ?", [sink_id]
            ).fetchone()
        except sqlite3.Error as error:
            raise self._failure("read", error) from error
        return None if found is None else Place(*found)

    def put_aside(self, sink_id: str) -> list[PutAside]:
        """What a sink could not take, the oldest first."""
        try:
            found = self._connection.execute(
                "SELECT sink_id, seq, inspection_id, why FROM put_aside "
                "WHERE sink_id = ? ORDER BY n",
                [sink_id],
            ).fetchall()
        except sqlite3.Error as error:
            raise self._failure("read", error) from error
        return [PutAside(*row) for row in found]

    def keep(self, sink_id: str, place: Place, aside: Sequence[PutAside] = ()) -> None:
        """Record how far a sink is, and what was put aside on the way, both or neither.

        Raises:
            FaultError: it cannot be written; it may be tried again.
        """
        now = stamp(utc_now())
        connection = self._connection
        try:
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany(
                "INSERT INTO put_aside (sink_id, seq, inspection_id, why, at) "
                "VALUES (?, ?, ?, ?, ?)",
                [(*astuple(item), now) for item in aside],
            )
            connection.execute(
                "INSERT OR REPLACE INTO progress VALUES (?, ?, ?, ?)",
                [sink_id, *astuple(place), now],
            )
            connection.execute("COMMIT")
        except sqlite3.Error as error:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise self._failure("written", error) from error

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def _failure(self, done: str, error: sqlite3.Error) -> FaultError:
        return FaultError(
            f"the progress of the sinks cannot be {done}", where=self.path, found=error
        )
