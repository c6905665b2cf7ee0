"""The tables of a new journal, and an old journal brought to this version, in one transaction.

Version 1 had neither chain nor events. Its rows are kept as they are and chained in the order of
their tables: bundles, inspections, drops, reviews; how they lay between each other then is not
known. The chain vouches for them from the migration on, not for what was before.
"""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

from qc.journal_chain import Chain
from qc.journal_schema import FORMAT, SCHEMA_VERSION, stamp
from qc.types import utc_now

_TABLES = Path(__file__).with_name("journal.sql")
"""What `qc.journal_tables` says for SQLite, written down: the line needs no SQLAlchemy."""

_OLD = ("bundles", "inspections", "drops", "reviews")


def create(connection: sqlite3.Connection) -> None:
    """Make the tables of an empty journal; inside a transaction of the caller's."""
    for statement in _TABLES.read_text(encoding="utf-8").split("\n\n"):
        connection.execute(statement)
    facts = [("format", FORMAT), ("schema_version", str(SCHEMA_VERSION))]
    connection.executemany("INSERT INTO meta VALUES (?, ?)", facts)


def migrate(connection: sqlite3.Connection) -> None:
    """Bring version 1 to this version; inside a transaction of the caller's.

    The file grows to about twice its size for the time of it; its rows keep their numbers.
    """
    query = "SELECT type, name FROM sqlite_master WHERE type IN ('index', 'trigger') AND sql <> ''"
    for kind, name in connection.execute(query).fetchall():
        connection.execute(f'DROP {kind} "{name}"')
    for table in _OLD:
        connection.execute(f"ALTER TABLE {table} RENAME TO old_{table}")
    connection.execute("DROP TABLE meta")
    create(connection)
    chain = Chain(connection)
    chain.find_end()
    counts: dict[str, int] = {}
    missing = 0
    for table in _OLD:
        found = connection.execute(f"SELECT * FROM old_{table} ORDER BY seq")
        names = [column[0] for column in found.description]
        last = 0
        for values in found:
            row = dict(zip(names, values, strict=True))
            last = row.pop("seq")
            counts[table] = chain.append(table, row)
        missing += last - counts.get(table, 0)
    for table in reversed(_OLD):
        connection.execute(f"DROP TABLE old_{table}")
    detail = {"from": 1, "to": SCHEMA_VERSION, "rows": counts, "numbers_missing": missing}
    event = {"kind": "migrated", "detail": json.dumps(detail), "at": stamp(utc_now())}
    chain.append("events", event)
