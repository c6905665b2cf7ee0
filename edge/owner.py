"""One thread that owns what may be used by one thread only, such as an interpreter."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from qc.errors import FaultError

T = TypeVar("T")


class Owner:
    """Does what any thread asks, one thing at a time, in its own thread.

    Args:
        name: of the thread.
        patience_s: how long `ask` waits for an answer.
        late: what an error says where none came in time.
    """

    def __init__(self, name: str, patience_s: float, late: str) -> None:
        self._patience_s, self._late = patience_s, late
        self._executor = ThreadPoolExecutor(1, name)

    def make(self, make: Callable[[], T]) -> T:
        """What `make` returns, made in the thread that will use it; waits for it."""
        return self._executor.submit(make).result()

    def ask(self, work: Callable[[], T]) -> T:
        """What `work` returns.

        Raises:
            FaultError: it takes too long.
        """
        asked = self._executor.submit(work)
        try:
            return asked.result(self._patience_s)
        except TimeoutError:
            asked.cancel()
            raise FaultError(self._late, expected=f"within {self._patience_s:.0f} s") from None
