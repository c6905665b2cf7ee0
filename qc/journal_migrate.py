"""The tables of a new journal, and an old journal brought to this version, in one transaction.

Version 1 had neither chain nor events. Its rows are kept as they are and chained in the order of
their tables: bundles, inspections, drops, reviews; how they lay between each other then is not
known. The chain vouches for them from the migration on, not for what was before.

Version 2 lacked four columns of the reviews. They are added, NULL in its rows, whose hashes stay
valid: a hash leaves NULL out. Its index of the times becomes that of the gallery and the charts.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path

from qc.journal_chain import Chain
from qc.journal_reviews import ADDED
from qc.journal_rows import event_row
from qc.journal_schema import FORMAT, SCHEMA_VERSION

_TABLES = Path(__file__).with_name("journal.sql")
"""What `qc.journal_tables` says for SQLite, written down: the line needs no SQLAlchemy."""

_OLD = ("bundles", "inspections", "drops", "reviews")


def create(connection: sqlite3.Connection) -> None:
    """Make the tables of an empty journal; inside a transaction of the caller's."""
    for statement in _statements():
        connection.execute(statement)
    facts = [("format", FORMAT), ("schema_version", str(SCHEMA_VERSION))]
    connection.executemany("INSERT INTO meta VALUES (?, ?)", facts)


def _statements() -> list[str]:
    return _TABLES.read_text(encoding="utf-8").split("\n\n")


def migrate(connection: sqlite3.Connection, version: int) -> None:
    """Bring an older version to this one; inside a transaction of the caller's.

    Args:
        connection: to the journal.
        version: what it is now.
    """
    detail = _from_1(connection) if version == 1 else _from_2(connection)
    chain = Chain(connection)
    chain.find_end()
    row = {"from": version, "to": SCHEMA_VERSION, **detail}
    chain.append("events", event_row("migrated", row, Path()))


def _from_2(connection: sqlite3.Connection) -> dict[str, object]:
    """Add columns and change an index in place; what is to be said of it."""
    for name, kind in ADDED:
        connection.execute(f"ALTER TABLE reviews ADD COLUMN {name} {kind}")
    connection.execute("DROP TRIGGER meta_no_update")
    told = [str(SCHEMA_VERSION)]
    connection.execute("UPDATE meta SET value = ? WHERE key = 'schema_version'", told)
    connection.execute("DROP INDEX inspections_captured_at")
    new = ("CREATE TRIGGER meta_no_update ", "CREATE INDEX inspections_facts ")
    for statement in _statements():
        if statement.startswith(new):
            connection.execute(statement)
    return {}


def _from_1(connection: sqlite3.Connection) -> dict[str, object]:
    """Write all rows anew, chained; what is to be said of it.

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
    return {"rows": counts, "numbers_missing": missing}
