"""Which inspections somebody asks for, and the SQL of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from qc.errors import UsageError
from qc.journal_schema import stamp
from qc.types import Verdict

IN_FORCE = (
    "{r}.decision <> 'REVIEW' AND NOT EXISTS (SELECT 1 FROM reviews l "
    "WHERE l.inspection_id = {r}.inspection_id AND l.seq > {r}.seq "
    "AND lower(trim(l.reviewer)) = lower(trim({r}.reviewer)))"
)
"""Condition on `reviews {r}`: the person has neither taken it back nor decided anew."""

REVIEWED = (
    "EXISTS (SELECT 1 FROM reviews r WHERE r.inspection_id = i.inspection_id "
    f"AND {IN_FORCE.format(r='r')})"
)
"""Condition on `inspections i`: somebody decided, and has not taken it back."""

STANDING = (
    f"SELECT max(s.seq) FROM reviews s WHERE {IN_FORCE.format(r='s')} GROUP BY s.inspection_id"
)
"""The reviews that stand: the last of each inspection that nobody took back or replaced."""


@dataclass(frozen=True, slots=True)
class Filter:
    """Conditions that all must hold; None: any.

    Args:
        since: captured at this moment or later.
        until: captured before this moment.
        lot, part_id, source_id, bundle_id, defect_class: exactly this.
        verdicts: one of these.
        reviewed: with (True) or without (False) a review that is in force.
        after_seq: journaled after the inspection of this number.
        reviewer: this person decided on it, and has not taken it back.
        decision: what its last review says, OK or NG.

    Raises:
        UsageError: a time without its zone.
    """

    since: datetime | None = None
    until: datetime | None = None
    lot: str | None = None
    part_id: str | None = None
    source_id: str | None = None
    bundle_id: str | None = None
    defect_class: str | None = None
    verdicts: Sequence[Verdict] | None = None
    reviewed: bool | None = None
    after_seq: int | None = None
    reviewer: str | None = None
    decision: Verdict | None = None

    def __post_init__(self) -> None:
        for moment in (self.since, self.until):
            if moment is not None and moment.utcoffset() is None:
                raise UsageError("a time needs its zone", expected="such as +00:00", found=moment)

    def sql(self) -> tuple[str, list[object]]:
        """The WHERE clause over `inspections i` ("" where there is none), and its values.

        SQLite keeps no statistics here and would take the index of the verdicts, of which there are
        four, before that of the lots. So one index is chosen, and a plus hides the others from it.
        """
        conditions: list[str] = []
        values: list[object] = []
        by_part = self.part_id is not None
        by_lot = not by_part and self.lot is not None
        by_time = not by_part and not by_lot and None not in (self.since, self.until)
        by_verdict = not by_part and not by_lot and not by_time and self.verdicts is not None
        for name, by in (("part_id", by_part), ("lot", by_lot)):
            if (value := getattr(self, name)) is not None:
                conditions.append(f"{'' if by else '+'}{name} = ?")
                values.append(value)
        for name in ("source_id", "bundle_id", "defect_class"):
            if (value := getattr(self, name)) is not None:
                conditions.append(f"{name} = ?")
                values.append(value)
        moments = ((">=", self.since), ("<", self.until))
        times = [f"captured_at {sign} ?" for sign, moment in moments if moment is not None]
        if times and (by_part or by_lot or by_verdict):
            conditions += [f"+{text}" for text in times]
        elif times:  # so that numbers alone are put in order, not whole rows; below too
            within = f"SELECT seq FROM inspections WHERE {' AND '.join(times)}"
            conditions.append(f"seq IN ({within})")
        values += [stamp(moment) for _, moment in moments if moment is not None]
        if self.after_seq is not None:
            conditions.append("seq > ?")
            values.append(self.after_seq)
        if self.verdicts is not None:
            of_these = f"verdict IN ({', '.join('?' * len(self.verdicts))})"
            if not by_verdict:
                of_these = f"+{of_these}"
            elif len(self.verdicts) > 1:
                of_these = f"seq IN (SELECT seq FROM inspections WHERE {of_these})"
            conditions.append(of_these)
            values += [verdict.value for verdict in self.verdicts]
        if self.reviewed is not None:
            conditions.append(REVIEWED if self.reviewed else f"NOT {REVIEWED}")
        if (found := self.reviews_sql()) is not None:
            conditions.append(f"seq IN ({found[0]})")
            values += found[1]
        return (" WHERE " + " AND ".join(conditions) if conditions else ""), values

    def reviews_sql(self) -> tuple[str, list[object]] | None:
        """The SELECT of the numbers of the inspections that its reviews let through, if any do."""
        conditions: list[str] = []
        values: list[object] = []
        if self.reviewer is not None:
            conditions.append(
                "r.inspection_id IN (SELECT o.inspection_id FROM reviews o WHERE o.reviewer = ? "
                f"AND {IN_FORCE.format(r='o')})"
            )
            values.append(self.reviewer)
        if self.decision is not None:
            conditions.append("r.decision = ?")
            values.append(self.decision.value)
        if not conditions:
            return None
        return (
            "SELECT j.seq FROM reviews r JOIN inspections j ON j.inspection_id = r.inspection_id "
            f"WHERE r.seq IN ({STANDING}) AND {' AND '.join(conditions)}"
        ), values
