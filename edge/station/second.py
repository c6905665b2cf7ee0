"""A blind second look: a share of the reviewed parts is shown to another person, once more.

The second person is not shown what the first decided, so that the two can be compared (`qc` gives
Cohen's kappa). Which parts is a matter of the hash of their id alone: nobody can choose them, and
every station over this journal chooses the same.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from hashlib import sha256

from qc.errors import UsageError
from qc.journal import Journal
from qc.reviewed import TAKEN_BACK, person
from qc.types import Verdict


def is_chosen(inspection_id: str, share: float) -> bool:
    """Whether a part is among the share that is looked at twice.

    Args:
        inspection_id: of the part.
        share: 0 to 1.
    """
    digest = sha256(f"second look:{inspection_id}".encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8]) < share * 2**64


@dataclass(slots=True)
class _Looks:
    """Who decided on a part: seeing everything, and blind."""

    open: set[str] = field(default_factory=set)
    blind: set[str] = field(default_factory=set)

    def take(self, name: str, decision: Verdict, *, blind: bool) -> None:
        if decision is not TAKEN_BACK:
            (self.blind if blind else self.open).add(name)
        else:
            self.open.discard(name)
            self.blind.discard(name)

    def wait_for(self, name: str) -> bool:
        return bool(self.open) and not self.blind and name not in self.open


class Second:
    """The parts of one journal that wait for their second look.

    Args:
        journal: that is reviewed.
        share: of the reviewed parts, 0 to 1.

    Raises:
        UsageError: no share.
    """

    def __init__(self, journal: Journal, share: float) -> None:
        if not 0 <= share <= 1:
            raise UsageError("--second is a share", expected="0 to 1", found=share)
        self.share = share
        self._journal = journal
        self._lock = threading.Lock()
        self._last = 0
        self._looks: dict[str, _Looks] = {}

    def due(self, name: str) -> list[str]:
        """The ids that wait for a second look by this person, the longest waiting first."""
        with self._lock:
            self._read()
            mine = person(name)
            return [part for part, looks in self._looks.items() if looks.wait_for(mine)]

    def is_due(self, inspection_id: str, name: str) -> bool:
        """Whether this person, looking at this part now, gives its blind second look."""
        if not is_chosen(inspection_id, self.share):
            return False
        with self._lock:
            self._read()
            looks = self._looks.get(inspection_id)
            return looks is not None and looks.wait_for(person(name))

    def _read(self) -> None:
        """Take in the reviews that were added since; a review that was seen is never read again."""
        if not self.share:
            return
        for found in self._journal.reviews_after(self._last):
            self._last = found.seq
            review = found.review
            if not is_chosen(review.inspection_id, self.share):
                continue
            looks = self._looks.setdefault(review.inspection_id, _Looks())
            looks.take(person(review.reviewer), review.decision, blind=review.blind)
