"""The thread that owns the interpreter; left behind where a call into it does not return.

Each frame that it has in hand is claimed once: by the judge with its verdict, or by the line with a
FAULT where the verdict did not come in time. So no frame is judged twice and none is lost.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from edge.channel import Channel
from edge.inspect import inspect_frame
from qc.bundle import Bundle
from qc.replay import Predictor
from qc.types import Frame, Inspection

POLL_S = 0.1
"""How often a judge without work looks whether a bundle is to be taken over."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """A bundle with the predictor that runs it."""

    bundle: Bundle
    predictor: Predictor


class Judge:
    """Takes frames from a channel until it has ended.

    Args:
        channel: of frames.
        loaded: what judges; exchanged between two frames by `take_over`.
        settle: takes each frame with its inspection, or with None where it is too late to judge it.
        deadline_ms: see `inspect_frame`.
        is_late: whether frames are no longer judged.
    """

    def __init__(
        self,
        channel: Channel[Frame],
        loaded: Loaded,
        settle: Callable[[Frame, Inspection | None], None],
        *,
        deadline_ms: float | None,
        is_late: Callable[[], bool],
    ) -> None:
        self.loaded = loaded
        self.error: BaseException | None = None
        self.settling_since: float | None = None
        self._channel, self._settle = channel, settle
        self._deadline_ms, self._is_late = deadline_ms, is_late
        self._lock = threading.Lock()
        self._hand: tuple[Frame, float] | None = None
        self._exchange: Callable[[], Loaded | None] | None = None
        self._abandoned = False
        self.thread = threading.Thread(target=self._work, name="judge", daemon=True)

    @property
    def hand(self) -> tuple[Frame, float] | None:
        """The frame that the interpreter has, and since when (monotonic seconds)."""
        return self._hand

    def take_over(self, exchange: Callable[[], Loaded | None]) -> None:
        """Have `exchange` called between two frames; what it returns judges from then on."""
        self._exchange = exchange

    def claim(self, hand: tuple[Frame, float]) -> bool:
        """Take the frame in hand away from the interpreter; False where it has its verdict."""
        with self._lock:
            mine = self._hand is hand
            if mine:
                self._hand = None
            return mine

    def abandon(self) -> None:
        """Take no more frames once the interpreter returns."""
        self._abandoned = True

    def _work(self) -> None:
        try:
            while not self._abandoned:
                if self._exchange is not None:
                    exchange, self._exchange = self._exchange, None
                    self.loaded = exchange() or self.loaded
                frame = self._channel.take(POLL_S)
                if frame is not None:
                    self._judge(frame)
                elif self._channel.ended:
                    break
        except BaseException as error:  # noqa: BLE001 - the line looks why its judge has ended
            self.error = error

    def _judge(self, frame: Frame) -> None:
        inspection = None
        if not self._is_late():
            self._hand = hand = (frame, time.monotonic())
            inspection = inspect_frame(
                frame, self.loaded.bundle, self.loaded.predictor, deadline_ms=self._deadline_ms
            )
            if not self.claim(hand):
                return
        self.settling_since = time.monotonic()
        self._settle(frame, inspection)
        self.settling_since = None
