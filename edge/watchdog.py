"""How often something that failed may be started again."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

from qc.errors import UsageError


class Budget:
    """At most so many restarts in a window of time.

    Args:
        restarts: how many, at least 1.
        window_s: seconds.
        clock: monotonic seconds.
    """

    def __init__(
        self, restarts: int, window_s: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        if restarts < 1:
            raise UsageError("a restart budget is wrong", expected="at least 1", found=restarts)
        self.restarts = restarts
        self.window_s = window_s
        self._clock = clock
        self._spent: deque[float] = deque(maxlen=restarts)

    @property
    def is_spent(self) -> bool:
        """Whether another restart now would be one too many."""
        full = len(self._spent) == self.restarts
        return full and self._clock() - self._spent[0] < self.window_s

    def spend(self) -> bool:
        """Take one restart; False where the budget is spent, and then none is taken."""
        if self.is_spent:
            return False
        self._spent.append(self._clock())
        return True

    @property
    def words(self) -> str:
        """The budget, for a person."""
        return f"{self.restarts} restarts in {self.window_s:g} s"
