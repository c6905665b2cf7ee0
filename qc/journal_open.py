"""Opening a journal to write it: the lock, the tables of a new one, the migration of an old one."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

from qc.console import load
from qc.errors import DataError, FaultError, QCError
from qc.journal_images import Durability
from qc.journal_schema import BUSY_S, SCHEMA_VERSION, is_blank, read_version
from qc.lock import take_lock


def open_journal(path: Path, durability: Durability) -> tuple[sqlite3.Connection, int]:
    """Open a journal as its one writer; a new one is made, an older one is migrated in place.

    Args:
        path: the journal file.
        durability: "full" waits for the disk at each commit, "normal" at checkpoints.

    Returns:
        A connection in autocommit, for any one thread, and the file that holds the lock.

    Raises:
        DataError: the path is something else than a journal, or one of a newer schema.
        FaultError: it cannot be opened or written, or another line writes it.
    """
    if path.is_dir():
        raise DataError("the path is not a journal", where=path, found="a folder")
    connection = lock = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(
            path, timeout=BUSY_S, isolation_level=None, check_same_thread=False
        )
        if not is_blank(connection):
            read_version(connection, path)  # nothing is put beside a file that is no journal
        lock = take_lock(path)
        _prepare(connection, path, durability)
        return connection, lock
    except (sqlite3.Error, OSError, QCError) as error:
        if connection is not None:
            connection.close()
        if lock is not None:
            os.close(lock)
        if isinstance(error, QCError):
            raise
        raise FaultError(
            "the journal cannot be opened",
            where=path,
            expected="a file that can be written",
            found=error,
        ) from error


def _prepare(connection: sqlite3.Connection, path: Path, durability: Durability) -> None:
    (mode,) = connection.execute("PRAGMA journal_mode=WAL").fetchone()
    if mode != "wal":
        raise FaultError(
            "the disk cannot hold a journal",
            where=path,
            expected="write-ahead logging",
            found=mode,
        )
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("BEGIN IMMEDIATE")
    if is_blank(connection):
        load("edge", "qc.journal_migrate:create")(connection)
    elif (version := read_version(connection, path)) != SCHEMA_VERSION:
        load("edge", "qc.journal_migrate:migrate")(connection, version)
    connection.execute("COMMIT")
    connection.execute(f"PRAGMA synchronous={durability.upper()}")
