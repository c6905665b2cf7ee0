"""The file of the people: one small SQLite file beside the journal, readable by its owner alone.

It stands outside of the journal, which is append-only and may be shown to anybody: a password that
was changed, a session that ended and a token that was revoked must be gone (decision 0014).
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from qc.errors import DataError, FaultError
from qc.journal_schema import BUSY_S

FORMAT = "attention-qc people 1"

_SCHEMA = """
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS people
    (folded TEXT PRIMARY KEY, name TEXT NOT NULL, hash TEXT NOT NULL, role TEXT NOT NULL,
    language TEXT, disabled INTEGER NOT NULL DEFAULT 0, made_at TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS sessions
    (hash BLOB PRIMARY KEY, folded TEXT NOT NULL REFERENCES people ON DELETE CASCADE,
    made_at TEXT NOT NULL, seen_at TEXT NOT NULL, address TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS tokens
    (n INTEGER PRIMARY KEY, hash BLOB NOT NULL UNIQUE, label TEXT NOT NULL, role TEXT NOT NULL,
    made_by TEXT NOT NULL, made_at TEXT NOT NULL, revoked_at TEXT);
CREATE TABLE IF NOT EXISTS failures
    (who TEXT PRIMARY KEY, n INTEGER NOT NULL, last_at TEXT NOT NULL, until TEXT NOT NULL);
"""


def people_file(journal: Path) -> Path:
    """Where the people of a journal's station are kept."""
    return journal.with_name(journal.name + ".people.db")


class PeopleFile:
    """Opens the file; each use has a short connection of its own, so threads may share this.

    Args:
        path: the file.
        make: make it where it is missing.

    Raises:
        DataError: it is missing, something else, or other people of this machine can read it.
        FaultError: it cannot be opened.
    """

    def __init__(self, path: Path, *, make: bool = False) -> None:
        self.path = path
        if make and not path.exists():
            self._make()
        if not path.is_file():
            raise DataError("there is no file of people", where=path, expected="a file")
        if os.name == "posix" and path.stat().st_mode & 0o077:
            raise DataError(
                "others on this machine can read the file of people",
                where=path,
                expected="mode 0600 (chmod 600)",
                found=f"{path.stat().st_mode & 0o777:04o}",
            )
        with self.connection() as connection:
            found = connection.execute("SELECT value FROM meta WHERE key = 'format'").fetchone()
        if found is None or found[0] != FORMAT:
            raise DataError("this is no file of people", where=path, expected=FORMAT)

    @contextmanager
    def connection(self, *, write: bool = False) -> Iterator[sqlite3.Connection]:
        """A connection of one's own; with `write` one transaction, undone on an error.

        Raises:
            FaultError: the file cannot be used.
        """
        uri = f"{self.path.absolute().as_uri()}?mode=rw"
        connection = None
        try:
            connection = sqlite3.connect(uri, uri=True, timeout=BUSY_S, isolation_level=None)
            connection.row_factory = sqlite3.Row
            connection.execute("PRAGMA foreign_keys=ON")
            if write:
                connection.execute("BEGIN IMMEDIATE")
            yield connection
            if write:
                connection.execute("COMMIT")
        except sqlite3.DatabaseError as error:
            done = "written" if write else "read"
            raise FaultError(
                f"the file of people cannot be {done}", where=self.path, found=error
            ) from error
        finally:
            if connection is not None:
                connection.close()  # a transaction that is open is undone

    def _make(self) -> None:
        """Made for the owner alone from its first moment, and complete or not at all."""
        fresh = self.path.with_name(f".{self.path.name}.{os.getpid()}")
        try:
            os.close(os.open(fresh, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
            connection = sqlite3.connect(fresh, isolation_level=None)
            try:
                connection.executescript(_SCHEMA)
                connection.execute("INSERT INTO meta VALUES ('format', ?)", [FORMAT])
            finally:
                connection.close()
            fresh.rename(self.path)
        except (OSError, sqlite3.Error) as error:
            with suppress(OSError):
                fresh.unlink()
            raise FaultError(
                "the file of people cannot be made", where=self.path, found=error
            ) from error
