"""The hash chain of the journal: each row carries the hash of its content and of the row before.

One chain runs over all tables, not one for each: a single hash, the head, then stands for all that
was journaled, and a row taken off the end of one table is missed as soon as any other row follows.
`link` is the place of a row in the chain, `seq` its place in its own table; both count from 1
without a gap. A line and a station write at the same time: each appends inside BEGIN IMMEDIATE and
looks first whether the other has moved the end of the chain.

The hash is SHA-256 of the hash before, and of table, link and all columns that are not NULL as JSON
with sorted keys (a blob by its own SHA-256). A column that a later version adds is NULL in old rows
and leaves their hashes as they are.

Limit: who owns the file can write a whole new chain. The head, noted elsewhere, finds that, and
finds rows cut off the end, which nothing in the file itself can show.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from hashlib import sha256

TABLES = ("bundles", "inspections", "drops", "events", "reviews")
"""The chained tables."""

START = bytes(32)
"""What stands for the hash before the first row."""

_JSON = json.JSONEncoder(sort_keys=True, ensure_ascii=False, separators=(",", ":"))


def row_hash(before: bytes, table: str, row: Mapping[str, object]) -> bytes:
    """The hash of a row.

    Args:
        before: hash of the row before it in the chain, `START` for the first.
        table: where it stands.
        row: its columns, as SQLite gives them back; `hash` itself is left out.
    """
    content = {
        name: sha256(value).hexdigest() if isinstance(value, bytes) else value
        for name, value in row.items()
        if value is not None and name != "hash"
    }
    text = _JSON.encode([table, content])
    return sha256(before + text.encode("utf-8", "surrogatepass")).digest()


class Chain:
    """The end of the chain, as one connection appends to it.

    Args:
        connection: of sqlite3, in autocommit; owned by the thread that appends.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._version: int | None = None
        self._link = 0
        self._head = START
        self._seqs: dict[str, int] = {}
        self._inserts: dict[tuple[str, ...], str] = {}

    def begin(self) -> None:
        """Begin a transaction that may append, and find the end of the chain where it has moved."""
        self._connection.execute("BEGIN IMMEDIATE")
        (version,) = self._connection.execute("PRAGMA data_version").fetchone()
        if version != self._version:
            self.find_end()
            self._version = version

    def find_end(self) -> None:
        """Read the end of the chain from the tables; inside a transaction."""
        self._link, self._head = 0, START
        for table in TABLES:
            query = f"SELECT seq, link, hash FROM {table} ORDER BY seq DESC LIMIT 1"
            seq, link, found = self._connection.execute(query).fetchone() or (0, 0, START)
            self._seqs[table] = seq
            if link > self._link:
                self._link, self._head = link, found

    def append(self, table: str, row: Mapping[str, object]) -> int:
        """Append a row; its seq. Where SQLite refuses it, the chain stays as it was.

        Args:
            table: one of `TABLES`.
            row: its columns without seq, link and hash; numbers of real columns are floats.
        """
        seq, link = self._seqs[table] + 1, self._link + 1
        full = {"seq": seq, "link": link, **row}
        digest = row_hash(self._head, table, full)
        key = (table, *row)
        insert = self._inserts.get(key)
        if insert is None:
            marks = ", ".join("?" * (len(full) + 1))
            insert = f"INSERT INTO {table} ({', '.join(full)}, hash) VALUES ({marks})"
            self._inserts[key] = insert
        self._connection.execute(insert, [*full.values(), digest])
        self._seqs[table], self._link, self._head = seq, link, digest
        return seq
