"""What makes a file a journal: its format, its version, and how times are stored.

A reader judges a file by this before it trusts it. The tables are defined in `qc.journal_tables`.
"""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime
from pathlib import Path

from qc.errors import DataError

FORMAT = "attention-qc journal"
SCHEMA_VERSION = 3
BUSY_S = 10.0
"""How long a connection waits for another writer (a line, a station) before it gives up."""


def moment_of(text: object) -> datetime:
    """A time as the journal holds it, with its zone; raises ValueError."""
    if isinstance(text, str) and (found := datetime.fromisoformat(text)).utcoffset() is not None:
        return found
    raise ValueError(f"no time with a zone: {text!r}")


def stamp(moment: datetime) -> str:
    """A time as it is stored: UTC, always with microseconds, so that text order is time order."""
    if moment.tzinfo is not UTC:
        moment = moment.astimezone(UTC)
    return moment.isoformat(timespec="microseconds")


def is_blank(connection: sqlite3.Connection) -> bool:
    """Whether an opened file holds nothing yet: new, or left by a disk that was full."""
    try:
        (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except sqlite3.DatabaseError:
        return False  # `read_version` says why
    return bool(tables == 0)


def read_version(connection: sqlite3.Connection, path: Path) -> int:
    """The schema version of an opened journal, from 1 to `SCHEMA_VERSION`.

    Raises:
        DataError: it is not a journal, or one of a version that this program does not know.
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
    version = str(found.get("schema_version"))
    if version not in [str(n) for n in range(1, SCHEMA_VERSION + 1)]:
        raise DataError(
            "the journal has another schema; a newer program may have written it",
            where=path,
            expected=f"version {SCHEMA_VERSION}",
            found=f"version {version}",
        )
    return int(version)


def check_schema(connection: sqlite3.Connection, path: Path) -> None:
    """Judge an opened database that is to be read as it is.

    Raises:
        DataError: it is not a journal, or one of another schema.
    """
    version = read_version(connection, path)
    if version != SCHEMA_VERSION:
        raise DataError(
            "the journal has an older schema: `qc journal migrate` or a line brings it up to date",
            where=path,
            expected=f"version {SCHEMA_VERSION}",
            found=f"version {version}",
        )
