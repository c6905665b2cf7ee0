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
        current: what judges; asked between two frames.
        settle: takes each frame with its inspection, or with None where it is too late to judge it.
        is_late: whether frames are no longer judged.
        deadline_ms: see `inspect_frame`.

    Attributes:
        hand: the frame that the interpreter has, and since when (monotonic seconds).
        waiting_since: since when the judge waits for something else, such as the journal.
        error: what ended the thread before the channel had ended.
    """

    def __init__(
        self,
        channel: Channel[Frame],
        current: Callable[[], Loaded],
        settle: Callable[[Frame, Inspection | None], None],
        is_late: Callable[[], bool],
        deadline_ms: float | None,
    ) -> None:
        self.hand: tuple[Frame, float] | None = None
        self.waiting_since: float | None = None
        self.error: BaseException | None = None
        self._channel, self._current, self._settle = channel, current, settle
        self._is_late, self._deadline_ms = is_late, deadline_ms
        self._claiming = threading.Lock()
        self._abandoned = False
        self.thread = threading.Thread(target=self._work, name="judge", daemon=True)

    def claim(self, hand: tuple[Frame, float]) -> bool:
        """Take the frame in hand; False where somebody else has settled it."""
        with self._claiming:
            mine = self.hand is hand
            if mine:
                self.hand = None
            return mine

    def abandon(self) -> None:
        """Take no more frames once the interpreter returns."""
        self._abandoned = True

    def _work(self) -> None:
        try:
            while not self._abandoned:
                self.waiting_since = time.monotonic()
                loaded = self._current()
                self.waiting_since = None
                frame = self._channel.take(POLL_S)
                if frame is not None:
                    self._judge(frame, loaded)
                elif self._channel.ended:
                    break
        except BaseException as error:  # noqa: BLE001 - the line looks why its judge has ended
            self.error = error

    def _judge(self, frame: Frame, loaded: Loaded) -> None:
        inspection = None
        self.hand = hand = (frame, time.monotonic())
        if not self._is_late():
            inspection = inspect_frame(
                frame, loaded.bundle, loaded.predictor, deadline_ms=self._deadline_ms
            )
        if self.claim(hand):
            self.waiting_since = time.monotonic()
            self._settle(frame, inspection)
