"""Sees to it that somebody judges: a FAULT in time, and another judge for one that is lost."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import partial

from edge.capture import words_of
from edge.channel import Channel
from edge.clerk import Clerk
from edge.inspect import fault_of
from edge.judge import Judge
from edge.swap import Changeover
from edge.watchdog import Budget
from qc.errors import FaultError
from qc.types import Frame, Inspection

HANG_S = 10.0
"""An interpreter that does not return for this long is left behind."""

HANG_DEADLINES = 5
"""With a deadline: after so many of it, but no sooner than a second."""

SILENT_S = 15.0
"""A journal that takes nothing for this long has failed."""


class Overseer:
    """Starts judges and looks after them, in the thread of the line.

    Args:
        channel: of frames.
        changeover: what judges.
        clerk: settles frames whose verdict nobody waits for any longer.
        settle, is_late: see `Judge`.
        fail: told why the line must end.
        restarted: told why there is another judge, to be journaled.
        deadline_ms: see `inspect_frame`.
        hang_s: an interpreter that does not return for this long is left behind; None: by deadline.
        restarts: how often a judge may be started again.
    """

    def __init__(
        self,
        channel: Channel[Frame],
        changeover: Changeover,
        clerk: Clerk,
        settle: Callable[[Frame, Inspection | None], None],
        is_late: Callable[[], bool],
        fail: Callable[[Exception], None],
        restarted: Callable[[Mapping[str, object]], None],
        *,
        deadline_ms: float | None,
        hang_s: float | None,
        restarts: Budget,
    ) -> None:
        self.hang_s = hang_s or _hang_s(deadline_ms)
        self._changeover, self._clerk = changeover, clerk
        self._settle, self._fail, self._restarted = settle, fail, restarted
        self._deadline_ms = deadline_ms
        self._restarts = restarts
        self._make = partial(Judge, channel, changeover.current, settle, is_late, deadline_ms)
        self._judge = self._make()

    @property
    def is_running(self) -> bool:
        """Whether there is a judge at work."""
        return self._judge.thread.is_alive()

    def start(self) -> None:
        """Let the judge begin."""
        self._judge.thread.start()

    def wait(self, timeout_s: float) -> bool:
        """Wait; True where the judge has nothing more to do."""
        self._judge.thread.join(timeout_s)
        return not self.is_running and self._judge.error is None

    def check(self) -> None:
        """Find a verdict that is late, a call that does not return, and a judge that has died."""
        judge = self._judge
        if not judge.thread.is_alive():
            self._died(judge)
            return
        now, waiting_since, hand = time.monotonic(), judge.waiting_since, judge.hand
        if waiting_since is not None and now - waiting_since > SILENT_S:
            self._fail(
                FaultError(
                    "the journal does not answer", expected=f"an entry taken within {SILENT_S:g} s"
                )
            )
        if hand is None:
            return
        busy_s = now - hand[1]
        if busy_s > self.hang_s:
            why = f"the runtime did not return for {busy_s:.1f} s"
            judge.abandon()
            self._settle_for(judge, hand, why)
            if self._changeover.renew():
                self._replace(why)
            else:
                self._fail(FaultError(why, expected="a runtime that can be made anew"))
        elif self._deadline_ms is not None:
            age_ms = (time.monotonic_ns() - hand[0].monotonic_ns) / 1e6
            if age_ms > self._deadline_ms:
                why = f"no verdict {age_ms:.0f} ms after the capture"
                self._settle_for(judge, hand, f"{why}, deadline {self._deadline_ms:g} ms")

    def end(self) -> None:
        """Take no more frames; one that is still in hand becomes a FAULT."""
        self._judge.abandon()
        if self._judge.hand is not None:
            self._settle_for(self._judge, self._judge.hand, "the line ended before its verdict")

    def _settle_for(self, judge: Judge, hand: tuple[Frame, float], why: str) -> None:
        if judge.claim(hand):
            inspection = fault_of(hand[0], self._changeover.loaded.bundle, why, started_s=hand[1])
            self._clerk.tell(partial(self._settle, hand[0], inspection))

    def _died(self, judge: Judge) -> None:
        error = judge.error
        if error is None:
            return
        why = words_of(error)
        if judge.hand is not None:
            self._settle_for(judge, judge.hand, f"the judge failed: {why}")
        if isinstance(error, FaultError):
            self._fail(error)  # the journal cannot be written, or no predictor can be made
        else:
            self._changeover.renew()
            self._replace(why)

    def _replace(self, why: str) -> None:
        if self._restarts.spend():
            self._restarted({"why": why})
            self._judge = self._make()
            self._judge.thread.start()
        else:
            most = f"no more than {self._restarts.words}"
            self._fail(FaultError("the judge failed too often", expected=most, found=why))


def _hang_s(deadline_ms: float | None) -> float:
    if deadline_ms is None:
        return HANG_S
    return min(HANG_S, max(1.0, HANG_DEADLINES * deadline_ms / 1000))
