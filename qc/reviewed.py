"""What several reviews of one part come to: the rule by which a decision becomes a label."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from qc.errors import DataError
from qc.types import Review, Verdict

TAKEN_BACK = Verdict.REVIEW
"""Decision of a review that takes back the one before: the part waits again."""


@dataclass(frozen=True, slots=True)
class Settled:
    """What all reviewers of a part agree on.

    Args:
        decision: OK or NG.
        defect_class: of an NG part; None where nobody named one.
        mask_sha256: of the last mask that goes with an NG decision in force, or None.
    """

    decision: Verdict
    defect_class: str | None = None
    mask_sha256: str | None = None


def person(reviewer: str) -> str:
    """A name as it tells people apart: the same in capitals and in small letters."""
    return reviewer.strip().casefold()


def in_force(reviews: Sequence[Review]) -> list[Review]:
    """The latest review of each reviewer, without those that took theirs back.

    Args:
        reviews: of one part, the oldest first.

    Returns:
        The oldest first.
    """
    latest: dict[str, Review] = {}
    for review in reviews:
        latest.pop(person(review.reviewer), None)
        latest[person(review.reviewer)] = review
    return [review for review in latest.values() if review.decision is not TAKEN_BACK]


def settled(reviews: Sequence[Review], where: str) -> Settled | None:
    """The one decision on a part; None where no review is in force.

    NG without a class agrees with any NG.

    Args:
        reviews: of one part, the oldest first.
        where: what an error names.

    Raises:
        DataError: reviewers disagree.
    """
    latest = in_force(reviews)
    if not latest:
        return None
    rejected = [review for review in latest if review.decision is Verdict.NG]
    named = {review.defect_class for review in rejected if review.defect_class}
    if len({review.decision for review in latest}) > 1 or len(named) > 1:
        said = [f"{r.reviewer}: {r.decision} {r.defect_class or ''}" for r in latest]
        found = ", ".join(text.strip() for text in said)
        raise DataError("reviewers disagree", where=where, expected="one decision", found=found)
    masks = [review.mask_sha256 for review in rejected if review.mask_sha256]
    return Settled(latest[0].decision, next(iter(named), None), masks[-1] if masks else None)


def undone(reviews: Sequence[Review], reviewer: str, role: str | None = None) -> Review | None:
    """The row that takes back a reviewer's last one: what that person had said before it.

    Undoing twice brings the first decision back.

    Args:
        reviews: of one part, the oldest first.
        reviewer: who undoes.
        role: of the reviewer at this moment.

    Returns:
        A new review; None where the last of the part is not this reviewer's.
    """
    if not reviews or reviews[-1].reviewer != reviewer:
        return None
    own = [review for review in reviews if review.reviewer == reviewer]
    before = own[-2] if len(own) > 1 else None
    return Review(
        reviews[-1].inspection_id,
        reviewer,
        before.decision if before else TAKEN_BACK,
        before.defect_class if before else None,
        before.note if before else "",
        role=role,
        mask_sha256=before.mask_sha256 if before else None,
        blind=reviews[-1].blind,
    )
