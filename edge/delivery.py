"""One sink with its own thread and channel: no sink can hold the line up or bring it down."""

from __future__ import annotations

import threading
from typing import Protocol

from edge.channel import Channel, ChannelClosedError
from qc.types import Inspection

QUEUE = 64


class Sink(Protocol):
    """Who is told of an inspection after it is journaled."""

    def write(self, inspection: Inspection) -> None:
        """Pass one inspection on."""
        ...

    def close(self) -> None:
        """Finish."""
        ...


class Delivery:
    """Passes inspections on to one sink.

    A message that the sink fails on is counted and the next one is tried. A sink that takes nothing
    for `patience_s` while its queue is full is waited for no more. Every message is journaled, so
    nothing is lost but the sink's own copy.

    Args:
        sink: who is told; owned by the thread of this delivery.
        patience_s: how long `put` may wait for room: 0 beside a live camera.
    """

    def __init__(self, sink: Sink, patience_s: float) -> None:
        self.name = type(sink).__module__.rsplit(".", 1)[-1]
        self.patience_s = patience_s
        self._sink = sink
        self._channel: Channel[Inspection] = Channel(QUEUE, "wait")
        self._lost = 0
        self._failed = 0
        self._first = ""
        self._thread = threading.Thread(target=self._work, name=f"sink {self.name}", daemon=True)
        self._thread.start()

    def put(self, inspection: Inspection) -> None:
        """Hand over one inspection; never raises and never waits longer than `patience_s`."""
        try:
            taken = self._channel.put(inspection, self.patience_s)
        except ChannelClosedError:
            taken = False
        if not taken:
            self._lost += 1
            self.patience_s = 0.0

    def close(self, timeout_s: float) -> str | None:
        """Let the sink finish, and say what it did not get.

        Args:
            timeout_s: how long to wait for it.

        Returns:
            What went wrong in words, or None.
        """
        self._channel.close()
        self._thread.join(timeout_s)
        words = []
        if self._failed:
            words.append(f"{self._failed} failed, first: {self._first}")
        if self._lost:
            words.append(f"{self._lost} not delivered: the sink was too slow")
        if self._thread.is_alive():
            words.append(f"did not finish within {timeout_s:g} s")
        return f"{self.name}: {'; '.join(words)}" if words else None

    def _work(self) -> None:
        for inspection in self._channel:
            try:
                self._sink.write(inspection)
            except Exception as error:  # noqa: BLE001 - a sink is foreign code; it is reported
                self._note(error)
        try:
            self._sink.close()
        except Exception as error:  # noqa: BLE001 - as above
            self._note(error)

    def _note(self, error: Exception) -> None:
        self._failed += 1
        self._first = self._first or (str(error) or type(error).__name__)
