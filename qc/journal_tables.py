"""The tables of the journal, defined once with SQLAlchemy Core for SQLite and PostgreSQL alike.

A line writes SQLite. A plant with many lines can hold the same tables in PostgreSQL, one schema of
the database for each line. Times and JSON are text in both, so that a row has one hash everywhere.
Lines read the statements for SQLite from `journal.sql`, which `python -m qc.journal_tables` prints.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Dialect,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.schema import CreateIndex, CreateTable

from qc.types import Verdict

_SEQ = BigInteger().with_variant(Integer, "sqlite")  # SQLite counts rows by INTEGER alone
_REAL: Double[float] = Double().with_variant(sqlite.REAL, "sqlite")


def _text(name: str, *, null: bool = False) -> Column[str]:
    return Column(name, Text, nullable=null)


def _table(name: str, tables: MetaData, *columns: Column[Any]) -> Table:
    """A table of chained rows: its own order (`seq`), its place in the chain, and its hash."""
    return Table(
        name,
        tables,
        Column("seq", _SEQ, primary_key=True, autoincrement=False),
        Column("link", _SEQ, nullable=False),
        *columns,
        Column("hash", LargeBinary, nullable=False),
    )


def journal_tables(schema: str | None = None) -> MetaData:
    """The tables and indexes of a journal.

    Args:
        schema: PostgreSQL schema that they stand in; None: the default one, as in SQLite.
    """
    tables = MetaData(schema=schema)
    inside = f"{schema}." if schema else ""
    Table("meta", tables, Column("key", Text, primary_key=True), _text("value"))
    _table(
        "bundles",
        tables,
        _text("bundle_id"),
        _text("manifest"),
        _text("runtime"),
        Column("ok_sample", _REAL),
        _text("opened_at"),
    )
    verdicts = ", ".join(f"'{verdict.value}'" for verdict in Verdict)
    inspections = _table(
        "inspections",
        tables,
        Column("inspection_id", Text, nullable=False, unique=True),
        _text("frame_id"),
        _text("source_id"),
        _text("part_id", null=True),
        _text("lot", null=True),
        _text("captured_at"),
        _text("journaled_at"),
        Column("verdict", Text, CheckConstraint(f"verdict IN ({verdicts})"), nullable=False),
        _text("reason"),
        _text("defect_class", null=True),
        Column("defect_score", _REAL),
        _text("scores", null=True),
        _text("bundle_id"),
        Column("bundle_seq", _SEQ, ForeignKey(f"{inside}bundles.seq")),
        _text("timings"),
        Column("sampled", Integer),
        _text("image_path", null=True),
        _text("image_sha256", null=True),
        Column("map", LargeBinary),
        Column("map_h", Integer),
        Column("map_w", Integer),
    )
    _table(
        "drops",
        tables,
        _text("source_id"),
        _text("frame_id"),
        _text("part_id", null=True),
        _text("lot", null=True),
        _text("cause"),
        _text("at"),
    )
    events = _table("events", tables, _text("kind"), _text("detail"), _text("at"))
    reviews = _table(
        "reviews",
        tables,
        Column(
            "inspection_id",
            Text,
            ForeignKey(f"{inside}inspections.inspection_id"),
            nullable=False,
        ),
        _text("reviewer"),
        _text("decision"),
        _text("defect_class", null=True),
        _text("note"),
        _text("at"),
        _text("role", null=True),
        _text("before", null=True),
        _text("mask_sha256", null=True),
        Column("blind", Integer),
    )
    c = inspections.c
    for name in ("verdict", "lot", "part_id"):
        Index(f"inspections_{name}", c[name])
    # what the gallery filters by and the charts count, so that neither reads the wide rows
    facts = ("verdict", "defect_class", "source_id", "lot", "bundle_id", "sampled", "defect_score")
    Index("inspections_facts", c.captured_at, c.seq, *(c[name] for name in facts))
    kept = c.image_path.is_not(None)
    Index("inspections_kept", c.verdict, c.seq, sqlite_where=kept, postgresql_where=kept)
    Index("events_kind", events.c.kind)
    Index("reviews_of", reviews.c.inspection_id)
    return tables


def sqlite_statements() -> list[str]:
    """The statements that make an empty journal in SQLite."""
    tables = journal_tables()
    statements = _create(tables, sqlite.dialect())
    for table in tables.sorted_tables:
        for action in ("UPDATE", "DELETE"):
            statements.append(
                f"CREATE TRIGGER {table.name}_no_{action.lower()} BEFORE {action} ON {table.name} "
                "BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END"
            )
    return statements


def postgresql_statements(schema: str | None = None) -> list[str]:
    """The statements that make an empty journal in PostgreSQL.

    Args:
        schema: made by these statements too; None: the default one.
    """
    tables = journal_tables(schema)
    dialect = postgresql.dialect()  # type: ignore[no-untyped-call]
    inside = f"{dialect.identifier_preparer.quote(schema)}." if schema else ""
    function = f"{inside}journal_is_append_only()"
    return [
        *([f"CREATE SCHEMA {inside[:-1]}"] if schema else []),
        *_create(tables, dialect),
        f"CREATE FUNCTION {function} RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION 'the journal is append-only'; END $$",
        *(
            f"CREATE TRIGGER {table.name}_append_only BEFORE UPDATE OR DELETE OR TRUNCATE "
            f"ON {inside}{table.name} FOR EACH STATEMENT EXECUTE FUNCTION {function}"
            for table in tables.sorted_tables
        ),
    ]


def _create(tables: MetaData, dialect: Dialect) -> list[str]:
    made: list[str] = []
    for table in tables.sorted_tables:
        lines = str(CreateTable(table).compile(dialect=dialect)).strip().splitlines()
        made.append("\n".join(line.rstrip() for line in lines))
        for index in sorted(table.indexes, key=lambda i: str(i.name)):
            made.append(str(CreateIndex(index).compile(dialect=dialect)))
    return made


if __name__ == "__main__":
    print("\n\n".join(sqlite_statements()))  # noqa: T201
