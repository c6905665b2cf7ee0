"""Follows parts on a belt, so that each is counted once however many are in view.

All parts on a belt move by one step between two frames. Of all steps that could be, the one that
leaves the least unexplained is taken: a part that went on, one that left, one that entered.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from qc.errors import FaultError

Box = tuple[float, float]
"""Hind and front edge of a part on its way: 0 where the view begins, 1 where it ends."""

TREMBLE = 0.06
"""Share of the way by which an edge may be off."""

UNSEEN = 0.15
"""Share of the way that a part may have come in before it is large enough to be seen."""

MISSED = 2
"""Frames for which a part may be out of sight and still be the same."""


@dataclass(slots=True)
class _Part:
    box: Box
    fired: bool = False
    missed: int = 0

    def error(self, seen: Box, step: float) -> float:
        """How far off a seen part is from where this one should be after the step."""
        hind, front = self.box
        edges = []
        if hind > TREMBLE / 2:  # else it was still coming in
            edges.append(abs(seen[0] - min(1.0, hind + step)))
        if front < 1 - TREMBLE / 2:  # else it was already going out
            edges.append(abs(seen[1] - min(1.0, front + step)))
        return max(edges, default=0.0)

    def has_left(self, step: float) -> bool:
        return self.box[0] + step >= 1 - UNSEEN


class Belt:
    """The parts in view of one belt.

    Args:
        at: share of the way at which a part is due, by its middle.
    """

    def __init__(self, at: float) -> None:
        self.at = at
        self._parts: list[_Part] = []
        self._step = 0.0

    def is_due(self, boxes: Sequence[Box]) -> bool:
        """Take what one frame shows; whether a part has come to `at` that was not due before.

        Args:
            boxes: the parts in view.

        Raises:
            FaultError: a part left the view before any frame showed it at `at`.
        """
        step, pairs = self._explained(boxes)
        lost = 0
        parts = [_Part(box) for i, box in enumerate(boxes) if i not in pairs.values()]
        for i, part in enumerate(self._parts):
            if i in pairs:
                part.box, part.missed = boxes[pairs[i]], 0
            elif part.has_left(step):
                lost += not part.fired
                continue
            else:
                part.box = (part.box[0] + step, part.box[1] + step)
                part.missed += 1
            if part.missed <= MISSED:
                parts.append(part)
        self._parts = sorted(parts, key=lambda p: p.box, reverse=True)
        self._step = step
        due = [p for p in parts if not p.fired and not p.missed and sum(p.box) / 2 >= self.at]
        for part in due:
            part.fired = True
        if lost:
            raise FaultError(
                "a part passed and no frame showed it where it is judged",
                expected="more frames a second, or a slower belt",
                found=f"a step of {step:.0%} of the view between two frames",
            )
        return bool(due)

    def _explained(self, boxes: Sequence[Box]) -> tuple[float, dict[int, int]]:
        """The step, and which part (by index) is which box (by index)."""
        steps = {self._step, 0.0}
        for part in self._parts:
            steps |= {seen[k] - part.box[k] for seen in boxes for k in (0, 1)}
        best: tuple[tuple[float, float], float, dict[int, int]] | None = None
        for step in sorted(s for s in steps if s >= -TREMBLE):
            unexplained, pairs = self._try(step, boxes)
            rank = (unexplained, abs(step - self._step))
            if best is None or rank < best[0]:
                best = (rank, step, pairs)
        assert best is not None  # no step at all is always tried
        return max(0.0, best[1]), best[2]

    def _try(self, step: float, boxes: Sequence[Box]) -> tuple[int, dict[int, int]]:
        """How many parts and boxes are left unexplained by a step, and the pairs."""
        unexplained = 0
        pairs: dict[int, int] = {}
        free = set(range(len(boxes)))
        for i, part in enumerate(self._parts):
            errors = {j: part.error(boxes[j], step) for j in free}
            nearest = min(errors, key=lambda j: errors[j], default=None)
            if nearest is not None and errors[nearest] <= TREMBLE:
                pairs[i] = nearest
                free.remove(nearest)
            elif not part.has_left(step):
                unexplained += 1
        unexplained += sum(boxes[j][1] - step > UNSEEN for j in free)
        return unexplained, pairs
