"""Reviews in the journal: what one row holds, how one is appended, and all of them in order.

Version 3 of the journal added the last four columns; they are NULL in rows from before, which
leaves the hashes of those as they are.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from pathlib import Path

from qc.errors import DataError, StaleError
from qc.journal_chain import Chain
from qc.journal_schema import moment_of, stamp
from qc.reviewed import TAKEN_BACK
from qc.types import Review, Verdict

COLUMNS = (
    "r.seq, r.inspection_id, r.reviewer, r.decision, r.defect_class, r.note, r.at, "
    "r.role, r.before, r.mask_sha256, r.blind"
)
"""What `review_of` needs, of `reviews r`."""

_ENDLESS = 2**63 - 1

ADDED = (("role", "TEXT"), ("before", "TEXT"), ("mask_sha256", "TEXT"), ("blind", "INTEGER"))
"""The columns that version 3 added."""


@dataclass(frozen=True, slots=True)
class Reviewed:
    """A review as it stands in the journal, beside what it was about.

    Args:
        seq: position among the reviews, from 1.
        review: the decision.
        verdict: of the model.
        part_id, lot: of the inspection; None where it had none.
        hash: of the row, hexadecimal.
    """

    seq: int
    review: Review
    verdict: Verdict
    part_id: str | None
    lot: str | None
    hash: str


def review_of(found: sqlite3.Row, path: Path) -> Review:
    """The review in a row of `COLUMNS`.

    Raises:
        DataError: it is not valid.
    """
    try:
        before = found["before"]
        return Review(
            inspection_id=found["inspection_id"],
            reviewer=found["reviewer"],
            decision=Verdict(found["decision"]),
            defect_class=found["defect_class"],
            note=found["note"],
            at=moment_of(found["at"]),
            role=found["role"],
            before=None if before is None else Verdict(before),
            mask_sha256=found["mask_sha256"],
            blind=bool(found["blind"]),
        )
    except ValueError as error:
        raise DataError(
            f"review {found['seq']} of the journal is not valid", where=path, found=error
        ) from error


def append_review(
    connection: sqlite3.Connection, chain: Chain, review: Review, seen: int | None, path: Path
) -> None:
    """Append a review; inside a transaction that `chain.begin` began.

    `before` is found here, where no other review can come between: the last decision on the
    inspection, or the verdict where there was none.

    Args:
        connection: that of the chain.
        chain: the end of the journal.
        review: what was decided.
        seen: how many reviews of this inspection the person knew of; None: not asked.
        path: the journal file, for errors.

    Raises:
        DataError: the journal has no such inspection.
        StaleError: there are more reviews of it than were seen.
    """
    query = "SELECT verdict FROM inspections WHERE inspection_id = ?"
    found = connection.execute(query, [review.inspection_id]).fetchone()
    if found is None:
        raise DataError(
            "the journal has no such inspection", where=path, found=review.inspection_id
        )
    query = "SELECT reviewer, decision FROM reviews WHERE inspection_id = ? ORDER BY seq"
    earlier = connection.execute(query, [review.inspection_id]).fetchall()
    if seen is not None and len(earlier) != seen:
        raise StaleError(
            "another person decided on this part meanwhile"
            if review.blind
            else _did(*earlier[-1])
            if earlier
            else "the reviews of this part are not those that were shown",
            where=path,
            expected=f"{seen} reviews of it",
            found=len(earlier),
        )
    row = {
        "inspection_id": review.inspection_id,
        "reviewer": review.reviewer,
        "decision": review.decision.value,
        "defect_class": review.defect_class,
        "note": review.note,
        "at": stamp(review.at),
        "role": review.role,
        "before": earlier[-1][1] if earlier else found[0],
        "mask_sha256": review.mask_sha256,
        "blind": int(review.blind),
    }
    chain.append("reviews", row)


def _did(reviewer: str, decision: str) -> str:
    if decision == TAKEN_BACK:
        return f"{reviewer} took a decision on this part back meanwhile"
    return f"{reviewer} decided {decision} on this part meanwhile"


def reviews_in_order(
    connection: sqlite3.Connection,
    path: Path,
    *,
    before_seq: int | None = None,
    after_seq: int | None = None,
    limit: int | None = None,
) -> list[Reviewed]:
    """Reviews of all inspections, the newest first; with `after_seq` the oldest first.

    Args:
        connection: that reads; its rows are `sqlite3.Row`.
        path: the journal file, for errors.
        before_seq: only those before the review of this number; None: all.
        after_seq: only those after the review of this number; None: all.
        limit: how many at most; None: all.

    Raises:
        DataError: one is not valid.
    """
    query = (
        f"SELECT {COLUMNS}, r.hash, i.verdict, i.part_id, i.lot FROM reviews r "
        "JOIN inspections i ON i.inspection_id = r.inspection_id "
        "WHERE r.seq > ? AND r.seq < ? "
        f"ORDER BY r.seq {'DESC' if after_seq is None else 'ASC'} LIMIT ?"
    )
    bounds = (after_seq or 0, _ENDLESS if before_seq is None else before_seq)
    values = [*bounds, -1 if limit is None else limit]
    return [
        Reviewed(
            found["seq"],
            review_of(found, path),
            Verdict(found["verdict"]),
            found["part_id"],
            found["lot"],
            found["hash"].hex(),
        )
        for found in connection.execute(query, values)
    ]
