"""A bounded queue between threads, with a named policy and counted drops."""

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
    """Hands items from several threads to one, in the order of each lane, the lanes by turns.

    Args:
        size: items of one lane that may wait, at least 1.
        policy: "wait" blocks `put` while its lane is full; "latest" drops the lane's oldest item.
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
        self._lanes: dict[str, deque[T]] = {}
        self._turns: deque[deque[T]] = deque()  # lanes that hold something, whose turn is first
        self._closed = False
        lock = threading.Lock()
        self._filled = threading.Condition(lock)
        self._emptied = threading.Condition(lock)

    def __len__(self) -> int:
        """Items that wait."""
        with self._filled:
            return sum(map(len, self._turns))

    @property
    def ended(self) -> bool:
        """Whether nothing is inside and nothing more can come."""
        with self._filled:
            return self._closed and not self._turns

    def put(self, item: T, timeout_s: float | None = None, *, lane: str = "") -> bool:
        """Append an item.

        Args:
            item: what to hand over.
            timeout_s: how long "wait" may block; None: until there is room.
            lane: whose item it is: no lane takes the room of another.

        Returns:
            False where there was no room in time; then the item was not taken.

        Raises:
            ChannelClosedError: the channel takes no more, or was closed while this waited.
        """
        overtaken: list[T] = []
        with self._filled:
            items = self._lanes.setdefault(lane, deque())
            if self.policy == "wait" and len(items) >= self.size:
                end = None if timeout_s is None else time.monotonic() + timeout_s
                while len(items) >= self.size and not self._closed:
                    left = None if end is None else end - time.monotonic()
                    if left is not None and left <= 0:
                        return False
                    self._emptied.wait(left)
            if self._closed:
                raise ChannelClosedError("the channel is closed")
            if len(items) >= self.size:
                overtaken.append(items.popleft())
                self.dropped += 1
            if not items and not overtaken:
                self._turns.append(items)
            items.append(item)
            self._filled.notify()
        if self.on_drop is not None:
            for old in overtaken:
                self.on_drop(old, OVERTAKEN)
        return True

    def take(self, timeout_s: float | None = None) -> T | None:
        """The next item; None where none came in time, or where the channel has `ended`."""
        with self._filled:
            if not self._turns:
                if self._closed:
                    return None
                # What wakes this early is an item, the end, or nothing at all: all are None or it
                self._filled.wait(timeout_s)
                if not self._turns:
                    return None
            items = self._turns.popleft()
            item = items.popleft()
            if items:
                self._turns.append(items)
            if self.policy == "wait" and len(items) <= self.size // 2:
                self._emptied.notify_all()  # for one place each time two threads would wake in turn
            return item

    def close(self) -> None:
        """The end marker: nothing more comes; what is inside can still be taken."""
        with self._filled:
            self._closed = True
            self._filled.notify_all()
            self._emptied.notify_all()

    def __iter__(self) -> Iterator[T]:
        """Take items until the channel is closed and empty."""
        while True:
            item = self.take()
            if item is not None:
                yield item
            elif self.ended:
                return
