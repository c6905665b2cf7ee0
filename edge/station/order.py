"""The order in which parts wait for a person, and which part stands where in it.

REVIEW first; then NG, the gravest class first; then the sample of passed parts, for the audit;
FAULT last, since a fault says nothing of its part. Within each the newest first. Every question is
asked of one group at a time, so that an index answers it also where a million parts were passed.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass

from qc.errors import DataError
from qc.journal import Journal, Row
from qc.journal_query import REVIEWED
from qc.types import Verdict

SEVERITIES = ("critical", "major", "minor")
"""Of defects, the gravest first. A class that no manifest knows counts as the last."""

AUDITED = "verdict = 'OK' AND sampled = 1 AND image_path IS NOT NULL"
"""The passed parts that chance drew."""


@dataclass(frozen=True, slots=True)
class Group:
    """Parts of one rank: a condition on `inspections i`, and its values."""

    verdict: Verdict
    condition: str
    values: tuple[str, ...] = ()


def count(journal: Journal, reviewed: bool | None, verdict: Verdict | None = None) -> int:
    """How many parts of the groups there are with, without, or with and without a review."""
    with journal.connection() as connection:
        return sum(
            _count(connection, group, reviewed) for group in _groups(journal, connection, verdict)
        )


def waiting(
    journal: Journal, limit: int, offset: int = 0, verdict: Verdict | None = None
) -> list[Row]:
    """The parts that wait, in their order."""
    found: list[str] = []
    with journal.connection() as connection:
        for group in _groups(journal, connection, verdict):
            if len(found) == limit:
                break
            ids = _ids(connection, group, "", (), limit - len(found), offset)
            if offset and not ids:
                offset -= min(offset, _count(connection, group, False))
            elif ids:
                offset = 0
            found += ids
    return [journal.get(inspection_id) for inspection_id in found]


def following(journal: Journal, after: Row | None = None) -> Row | None:
    """The part that waits behind this one; from the last on to the first.

    Args:
        journal: the journal.
        after: where the person stands, reviewed or not; it is not given back. None: the first.
    """
    with journal.connection() as connection:
        found = _following(connection, _groups(journal, connection), after)
    return journal.get(found) if found is not None else None


def _following(
    connection: sqlite3.Connection, ordered: list[Group], after: Row | None
) -> str | None:
    place = None
    if after is not None:
        place = next((n for n, g in enumerate(ordered) if _holds(connection, g, after)), None)
    if after is None or place is None:
        searches = [(group, "<>") for group in ordered]
    else:
        here = ordered[place]
        searches = [(here, "<"), *((group, "<>") for group in ordered[place + 1 :])]
        searches += [*((group, "<>") for group in ordered[:place]), (here, ">")]
    seq = after.seq if after is not None else 0
    for group, sign in searches:
        if found := _ids(connection, group, f" AND seq {sign} ?", (seq,), 1, 0):
            return found[0]
    return None


def neighbours(journal: Journal, row: Row, each: int = 3) -> tuple[list[Row], list[Row]]:
    """The parts of the same lot that came before (the nearest last) and after (nearest first)."""
    if row.lot is None:
        return [], []
    query = "SELECT inspection_id FROM inspections WHERE lot = ? AND seq {} ? ORDER BY seq {}"
    with journal.connection() as connection:
        before, after = (
            [found[0] for found in connection.execute(f"{text} LIMIT {each}", [row.lot, row.seq])]
            for text in (query.format("<", "DESC"), query.format(">", "ASC"))
        )
    return [journal.get(i) for i in reversed(before)], [journal.get(i) for i in after]


def seen(
    journal: Journal,
    reviewed: bool | None,
    limit: int,
    offset: int = 0,
    verdict: Verdict | None = None,
) -> list[Row]:
    """The parts of the groups, the newest first whatever their verdict."""
    flagged = [v.value for v in Verdict if v is not Verdict.OK and verdict in (None, v)]
    parts = [f"SELECT seq FROM inspections WHERE verdict IN ({', '.join('?' * len(flagged))})"]
    if verdict in (None, Verdict.OK):
        parts.append(f"SELECT seq FROM inspections WHERE {AUDITED}")
    query = (
        f"SELECT inspection_id FROM inspections i WHERE seq IN ({' UNION ALL '.join(parts)})"
        f"{_reviewed(reviewed)} ORDER BY seq DESC LIMIT ? OFFSET ?"
    )
    with journal.connection() as connection:
        found = connection.execute(query, [*flagged, limit, offset]).fetchall()
    return [journal.get(inspection_id) for (inspection_id,) in found]


def _groups(
    journal: Journal, connection: sqlite3.Connection, verdict: Verdict | None = None
) -> list[Group]:
    """The groups in order, or those of one verdict."""
    severities = _severities(journal, connection)
    ordered = [
        Group(Verdict.REVIEW, "verdict = 'REVIEW'"),
        *(Group(Verdict.NG, f"verdict = 'NG' AND {c}", v) for c, v in severities),
        Group(Verdict.OK, AUDITED),
        Group(Verdict.FAULT, "verdict = 'FAULT'"),
    ]
    return [group for group in ordered if verdict in (None, group.verdict)]


def _severities(
    journal: Journal, connection: sqlite3.Connection
) -> list[tuple[str, tuple[str, ...]]]:
    """A condition for each severity that a bundle of this journal knows, the gravest first."""
    found = connection.execute("SELECT bundle_id, manifest FROM bundles ORDER BY seq").fetchall()
    severity_of: dict[tuple[str, str], str] = {}
    try:
        for bundle_id, manifest in found:
            for known in json.loads(manifest)["classes"]:
                severity_of[bundle_id, known["name"]] = known["severity"]
    except (ValueError, KeyError, TypeError) as error:
        raise DataError("a manifest is not valid", where=journal.path, found=error) from error
    conditions: list[tuple[str, tuple[str, ...]]] = []
    graver: list[tuple[str, str]] = []
    for severity in SEVERITIES[:-1]:
        pairs = [pair for pair, found_severity in severity_of.items() if found_severity == severity]
        if pairs:
            conditions.append((f"{_one_of(pairs)} = 1", _flat(pairs)))
            graver += pairs
    conditions.append((f"{_one_of(graver)} = 0" if graver else "1", _flat(graver)))
    return conditions


def _one_of(pairs: Sequence[tuple[str, str]]) -> str:
    marks = ", ".join(["(?, ?)"] * len(pairs))
    return f"coalesce((bundle_id, defect_class) IN (VALUES {marks}), 0)"


def _flat(pairs: Sequence[tuple[str, str]]) -> tuple[str, ...]:
    return tuple(text for pair in pairs for text in pair)


def _reviewed(wanted: bool | None) -> str:
    return "" if wanted is None else f" AND {'' if wanted else 'NOT '}{REVIEWED}"


def _count(connection: sqlite3.Connection, group: Group, reviewed: bool | None) -> int:
    query = f"SELECT count(*) FROM inspections i WHERE {group.condition}{_reviewed(reviewed)}"
    return int(connection.execute(query, group.values).fetchone()[0])


def _ids(
    connection: sqlite3.Connection,
    group: Group,
    condition: str,
    values: tuple[int, ...],
    limit: int,
    offset: int,
) -> list[str]:
    """The parts of a group that wait, the newest first."""
    query = (
        f"SELECT inspection_id FROM inspections i WHERE {group.condition}{condition}"
        f"{_reviewed(False)} ORDER BY seq DESC LIMIT ? OFFSET ?"
    )
    found = connection.execute(query, [*group.values, *values, limit, offset]).fetchall()
    return [inspection_id for (inspection_id,) in found]


def _holds(connection: sqlite3.Connection, group: Group, row: Row) -> bool:
    if row.verdict is not group.verdict:
        return False
    query = f"SELECT 1 FROM inspections i WHERE seq = ? AND {group.condition}"
    return connection.execute(query, [row.seq, *group.values]).fetchone() is not None
