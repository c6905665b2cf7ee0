"""Search over a large journal: pages of it by keyset, and counts for charts.

The newest come first, by the time that they carry. A page is found from the last row of the page
before it, never by an offset. All conditions but the part are columns of one index, which is walked
in order and stops at the end of the page; where a part, a lot or the reviews name few inspections,
it starts from those.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from qc.agreement import Judged
from qc.errors import DataError
from qc.journal_query import STANDING, Filter
from qc.journal_read import Journal
from qc.journal_rows import COLUMNS_WITHOUT_MAP, Row, invalid, row_of
from qc.journal_schema import moment_of, stamp
from qc.reviewed import TAKEN_BACK, person
from qc.types import Verdict

FEW = 2000
"""Up to so many inspections of a part or a lot, or with such reviews, are sorted, not walked to."""

SLOT_S = 600
"""Seconds that a count of `cells` covers: all time zones lie at a multiple of it, or of half."""

SCORE_BINS = 1000
_FACTS = "inspections i INDEXED BY inspections_facts"


@dataclass(frozen=True, slots=True)
class Page:
    """Some of the inspections that were asked for, the newest first.

    Args:
        rows: without maps.
        newer, older: whether there are more on either side; go on from the first or last row.
    """

    rows: list[Row]
    newer: bool
    older: bool


@dataclass(frozen=True, slots=True)
class Cell:
    """How many inspections are alike in all of this, within ten minutes.

    Args:
        at: begin of the ten minutes, UTC.
        n: how many.
    """

    at: datetime
    source_id: str
    lot: str | None
    verdict: Verdict
    defect_class: str | None
    n: int


@dataclass(frozen=True, slots=True)
class Settled:
    """An inspection that has a review, and the decision that stands.

    Args:
        inspection_id, at, source_id, lot, verdict, defect_class, sampled: of the inspection.
        decision: OK or NG, of the last review.
        found: the defect class of that review.
    """

    inspection_id: str
    at: datetime
    source_id: str
    lot: str | None
    verdict: Verdict
    defect_class: str | None
    sampled: bool
    decision: Verdict
    found: str | None


def search(
    journal: Journal,
    wanted: Filter,
    limit: int,
    *,
    after: int | None = None,
    before: int | None = None,
) -> Page:
    """One page, the newest first.

    Args:
        journal: what is searched.
        wanted: which; `after_seq` is not used.
        limit: how many at most.
        after: number of the inspection that the page begins behind: older ones.
        before: number of the inspection that it ends before: newer ones.

    Raises:
        DataError: there is no inspection of that number.
    """
    if wanted.part_id is not None:
        wanted = replace(wanted, part_id=journal.part_asked(wanted.part_id))
    with journal.connection() as connection:
        conditions, values, source = _plan(connection, wanted)
        order, place = "DESC", after
        if before is not None:
            order, place = "ASC", before
        if place is not None:
            at = connection.execute(
                "SELECT captured_at FROM inspections WHERE seq = ?", [place]
            ).fetchone()
            if at is None:
                raise DataError(
                    "the journal has no such inspection", where=journal.path, found=place
                )
            conditions.append(f"(i.captured_at, i.seq) {'<' if order == 'DESC' else '>'} (?, ?)")
            values += [at[0], place]
        where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
        found = connection.execute(
            f"SELECT seq FROM {source}{where} "
            f"ORDER BY i.captured_at {order}, i.seq {order} LIMIT ?",
            [*values, limit + 1],
        ).fetchall()
        more = len(found) > limit
        numbers = [row[0] for row in found[:limit]]
        marks = ", ".join("?" * len(numbers))
        rows = connection.execute(
            f"SELECT {COLUMNS_WITHOUT_MAP} FROM inspections i WHERE seq IN ({marks})", numbers
        ).fetchall()
    by_seq = {row["seq"]: journal.shown(row_of(row, journal.path)) for row in rows}
    kept = [by_seq[number] for number in numbers]
    if before is not None:
        return Page(kept[::-1], more, True)
    return Page(kept, after is not None, more)


def cells(journal: Journal, wanted: Filter) -> list[Cell]:
    """Counts of inspections, for charts.

    Args:
        journal: what is counted.
        wanted: which; the charts use times, source, lot and bundle.

    Raises:
        DataError: a row is not valid.
    """
    with journal.connection() as connection:
        conditions, values, source = _plan(connection, wanted)
        where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
        found = connection.execute(
            "SELECT substr(i.captured_at, 1, 15) at, source_id, lot, verdict, defect_class, "
            f"count(*) FROM {source}{where} GROUP BY 1, 2, 3, 4, 5",
            values,
        ).fetchall()
    try:
        return [
            Cell(_slot(at), source_id, lot, Verdict(verdict), name, n)
            for at, source_id, lot, verdict, name, n in found
        ]
    except ValueError as error:
        raise invalid("a row", journal.path, error) from error


def scores_by_day(journal: Journal, wanted: Filter) -> dict[str, NDArray[np.int64]]:
    """Counts of the defect scores of each day (UTC), `(1000,)` bins from 0 to 1."""
    with journal.connection() as connection:
        conditions, values, source = _plan(connection, wanted)
        conditions.append("defect_score BETWEEN 0 AND 1")
        found = connection.execute(
            f"SELECT substr(i.captured_at, 1, 10) day, "
            f"min(CAST(defect_score * {SCORE_BINS} AS INTEGER), {SCORE_BINS - 1}) bin, count(*) "
            f"FROM {source} WHERE {' AND '.join(conditions)} GROUP BY 1, 2 ORDER BY 1",
            values,
        ).fetchall()
    days: dict[str, NDArray[np.int64]] = {}
    for day, place, n in found:
        days.setdefault(day, np.zeros(SCORE_BINS, np.int64))[place] = n
    return days


def settled(journal: Journal, wanted: Filter) -> list[Settled]:
    """The inspections that have a review, with the decision that stands, in order of review.

    Raises:
        DataError: a row is not valid.
    """

    def one(row: sqlite3.Row) -> Settled:
        seq, i, at, s, lot, v, c, sampled, d, defect = row
        try:
            moment, verdict, decision = moment_of(at), Verdict(v), Verdict(d)
        except ValueError as error:
            raise invalid(f"row {seq}", journal.path, error) from error
        return Settled(i, moment, s, lot, verdict, c, sampled == 1, decision, defect)

    conditions, values = _conditions(replace(wanted, reviewed=None), "")
    query = (
        "SELECT i.seq, i.inspection_id, i.captured_at, i.source_id, i.lot, i.verdict, "
        "i.defect_class, i.sampled, r.decision, r.defect_class FROM reviews r "
        "CROSS JOIN inspections i ON i.inspection_id = r.inspection_id "
        f"WHERE r.seq IN ({STANDING}) {''.join(f' AND {text}' for text in conditions)} "
        "ORDER BY r.seq"
    )
    with journal.connection() as connection:
        return [one(row) for row in connection.execute(query, values).fetchall()]


def judged(journal: Journal, wanted: Filter) -> tuple[list[Judged], dict[str, str]]:
    """The decisions of each person, the oldest first, and the verdicts they were about."""
    conditions, values = _conditions(replace(wanted, reviewed=None), "")
    query = (
        "SELECT r.inspection_id, r.reviewer, r.decision, r.blind, i.verdict FROM reviews r "
        "CROSS JOIN inspections i ON i.inspection_id = r.inspection_id "
        f"WHERE 1 {''.join(f' AND {text}' for text in conditions)} ORDER BY r.seq"
    )
    with journal.connection() as connection:
        found = connection.execute(query, values).fetchall()
    said: dict[tuple[str, str], Judged | None] = {}
    names: dict[str, str] = {}
    for part, reviewer, decision, blind, _ in found:
        who = names.setdefault(person(reviewer), reviewer)
        said.pop((part, who), None)  # the last of each person stands, in the order of the last
        one = Judged(part, who, decision == Verdict.NG, blind == 1)
        said[part, who] = None if decision == TAKEN_BACK else one
    verdicts = {part: verdict for part, _, _, _, verdict in found}
    return [one for one in said.values() if one is not None], verdicts


def newest(journal: Journal) -> datetime | None:
    """When the newest inspection was captured; None of an empty journal.

    Raises:
        DataError: its row is not valid.
    """
    query = f"SELECT seq, captured_at FROM {_FACTS} ORDER BY captured_at DESC, seq DESC LIMIT 1"
    with journal.connection() as connection:
        found = connection.execute(query).fetchone()
    if found is None:
        return None
    try:
        return moment_of(found["captured_at"])
    except ValueError as error:
        raise invalid(f"row {found['seq']}", journal.path, error) from error


def known(journal: Journal, recent: int = 5000) -> dict[str, list[str]]:
    """What a person may choose from: bundles and reviewers, all; sources and lots, of late."""
    queries = {
        "bundle": "SELECT DISTINCT bundle_id FROM bundles ORDER BY 1",
        "reviewer": "SELECT DISTINCT reviewer FROM reviews ORDER BY 1",
    }
    for name, column in (("source", "source_id"), ("lot", "lot"), ("class", "defect_class")):
        queries[name] = (
            f"SELECT DISTINCT {column} FROM (SELECT {column} FROM {_FACTS} "
            f"ORDER BY captured_at DESC LIMIT {recent}) WHERE {column} IS NOT NULL ORDER BY 1"
        )
    with journal.connection() as connection:
        return {
            name: [str(row[0]) for row in connection.execute(query)]
            for name, query in queries.items()
        }


def _slot(text: str) -> datetime:
    """Ten minutes, from the first 15 letters of a time."""
    return datetime.fromisoformat(f"{text}0:00+00:00").astimezone(UTC)


def _plan(connection: sqlite3.Connection, wanted: Filter) -> tuple[list[str], list[object], str]:
    """The conditions, their values, and what to read: one index, or few rows of another."""

    def few(query: str, values: Sequence[object]) -> bool:
        counted = f"SELECT count(*) FROM (SELECT 1 FROM ({query}) LIMIT {FEW + 1})"
        return bool(connection.execute(counted, values).fetchone()[0] <= FEW)

    for column, value in (("part_id", wanted.part_id), ("lot", wanted.lot)):
        one = f"SELECT 1 FROM inspections WHERE {column} = ?"
        if value is not None and few(one, [value]):
            conditions, values = _conditions(wanted, column)
            return conditions, values, f"inspections i INDEXED BY inspections_{column}"
    reviews = wanted.reviews_sql()
    if reviews is not None and few(*reviews):
        conditions, values = _conditions(wanted, "reviews")
        return conditions, values, "inspections i NOT INDEXED"
    conditions, values = _conditions(wanted, "")
    return conditions, values, _FACTS


def _conditions(wanted: Filter, by: str) -> tuple[list[str], list[object]]:
    conditions: list[str] = []
    values: list[object] = []
    for name in ("part_id", "lot", "source_id", "bundle_id", "defect_class"):
        if (value := getattr(wanted, name)) is not None:
            conditions.append(f"i.{name} = ?")
            values.append(value)
    for sign, moment in ((">=", wanted.since), ("<", wanted.until)):
        if moment is not None:
            conditions.append(f"i.captured_at {sign} ?")
            values.append(stamp(moment))
    if wanted.verdicts is not None:
        conditions.append(f"i.verdict IN ({', '.join('?' * len(wanted.verdicts))})")
        values += [verdict.value for verdict in wanted.verdicts]
    if wanted.reviewed is not None:
        every = (
            "SELECT j.seq FROM reviews r JOIN inspections j USING (inspection_id) "
            f"WHERE r.seq IN ({STANDING})"
        )
        conditions.append(
            f"{'+' if by else ''}i.seq {'' if wanted.reviewed else 'NOT '}IN ({every})"
        )
    if (found := wanted.reviews_sql()) is not None:
        conditions.append(f"{'' if by == 'reviews' else '+'}i.seq IN ({found[0]})")
        values += found[1]
    return conditions, values
