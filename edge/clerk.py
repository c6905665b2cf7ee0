"""Writes into the journal for threads that may not wait for it: those that watch, and readers."""

from __future__ import annotations

import threading
from collections.abc import Callable

from edge.channel import Channel, ChannelClosedError
from qc.errors import FaultError

NOTES = 256


class Clerk:
    """One thread that does what it is told, in order.

    Args:
        on_failure: told where a task failed, or where too many wait.
    """

    def __init__(self, on_failure: Callable[[Exception], None]) -> None:
        self._on_failure = on_failure
        self._tasks: Channel[Callable[[], None]] = Channel(NOTES, "wait")
        self._thread = threading.Thread(target=self._work, name="clerk", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def tell(self, task: Callable[[], None]) -> None:
        """Have something done; never waits. After `close` it is not done any more."""
        try:
            if not self._tasks.put(task, 0):
                self._on_failure(FaultError("the journal does not answer", found=f"{NOTES} wait"))
        except ChannelClosedError:
            return  # the line has ended, and its journal with it

    def close(self, timeout_s: float) -> None:
        """Do what is left, as far as time allows."""
        self._tasks.close()
        if self._thread.ident is not None:
            self._thread.join(timeout_s)

    def _work(self) -> None:
        for task in self._tasks:
            try:
                task()
            except Exception as error:  # noqa: BLE001 - the line ends by it
                self._on_failure(error)
