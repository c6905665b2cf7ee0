"""A bounded queue between two threads, with a named policy and counted drops."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Generic, Literal, TypeVar

from qc.errors import FaultError, UsageError

T = TypeVar("T")
Policy = Literal["wait", "latest"]

OVERTAKEN = "overtaken by newer frames"
"""Cause of a drop of the policy "latest"."""


class ChannelClosedError(FaultError):
    """Something was put into a channel that takes no more."""


class Channel(Generic[T]):
    """Hands items from one thread to another, in order.

    Args:
        size: items that may wait, at least 1.
        policy: "wait" blocks `put` while the channel is full; "latest" drops the oldest item.
        on_drop: told of each dropped item and the cause, in the thread that puts.
    """

    def __init__(
        self, size: int, policy: Policy, on_drop: Callable[[T, str], None] | None = None
    ) -> None:
        if size < 1:
            raise UsageError("the size of a channel is wrong", expected="at least 1", found=size)
        if policy not in ("wait", "latest"):
            raise UsageError("unknown queue policy", expected="wait or latest", found=repr(policy))
        self.size = size
        self.policy = policy
        self.on_drop = on_drop
        self.dropped = 0
        self._items: deque[T] = deque()
        self._closed = False
        self._changed = threading.Condition()

    def put(self, item: T, timeout_s: float | None = None) -> bool:
        """Append an item.

        Args:
            item: what to hand over.
            timeout_s: how long "wait" may block; None: until there is room.

        Returns:
            False where there was no room in time; then the item was not taken.

        Raises:
            ChannelClosedError: the channel takes no more, or was closed while this waited.
        """
        overtaken: list[T] = []
        end = None if timeout_s is None else time.monotonic() + timeout_s
        with self._changed:
            while self.policy == "wait" and len(self._items) >= self.size and not self._closed:
                left = None if end is None else end - time.monotonic()
                if left is not None and left <= 0:
                    return False
                self._changed.wait(left)
            if self._closed:
                raise ChannelClosedError("the channel is closed")
            if len(self._items) >= self.size:
                overtaken.append(self._items.popleft())
                self.dropped += 1
            self._items.append(item)
            self._changed.notify_all()
        if self.on_drop is not None:
            for old in overtaken:
                self.on_drop(old, OVERTAKEN)
        return True

    def close(self) -> None:
        """The end marker: nothing more comes; what is inside can still be taken."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def __iter__(self) -> Iterator[T]:
        """Take items until the channel is closed and empty."""
        while True:
            with self._changed:
                while not self._items and not self._closed:
                    self._changed.wait()
                if not self._items:
                    return
                item = self._items.popleft()
                self._changed.notify_all()
            yield item
