"""The line: sources -> inspect -> journal -> sinks, and the account of what became of every frame.

One capture thread for each source, one that owns the interpreter, the journal's thread, one for each
sink, and the caller's, which watches the others. Always: captured = OK + NG + REVIEW + FAULT +
dropped + in flight, and in flight is 0 at the end.
"""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from edge.account import Account, LineReport
from edge.capture import Capture, Feed, Source
from edge.channel import Channel, ChannelClosedError, Policy
from edge.delivery import Delivery, Sink
from edge.inspect import fault_of
from edge.judge import Judge, Loaded
from edge.status import LineStatus
from edge.swap import Swapper
from edge.watchdog import Budget
from qc.bundle import Bundle
from qc.errors import FaultError, QCError, UsageError
from qc.journal import JournalWriter
from qc.linefile import Action, ActionsTable
from qc.replay import Predictor, require_replay
from qc.types import Frame, Inspection, Verdict, utc_now

STOPPED = "the line was stopped before this frame was inspected"
"""Cause of a drop of a frame that was still waiting at the end of the drain."""

PATIENCE_S = 10.0
"""How long a line that reads files waits for a sink whose queue is full."""

TICK_S = 0.02
"""How often the line looks whether something hangs."""

HANG_S = 10.0
"""An interpreter that does not return for this long is left behind."""

JOURNAL_S = 15.0
"""A journal that takes nothing for this long has failed."""

END_S = 5.0
"""How long the end of a line waits for what is still in flight, and for what does not answer."""


class _Callback:
    """A function as a sink."""

    def __init__(self, function: Callable[[Inspection], None]) -> None:
        self.write = function

    def close(self) -> None:
        """Nothing is held open."""


class Line:
    """Runs sources through a bundle, once.

    Args:
        bundle: an opened bundle.
        predictor: runs its model; used by the thread of the judge only.
        source: where frames come from: feeds, or one source that is read once as it is.
        journal: open; `run` takes its `on_written` and `on_failed`, and closes it.
        policy: "wait" holds a source back, "latest" drops its oldest waiting frame.
        queue_size: frames of one source that may wait.
        sinks: told of each inspection after it is journaled.
        on_inspection: told likewise.
        deadline_ms: a verdict later than this after the capture is a FAULT; None: no deadline.
        drain_s: how long waiting frames are still inspected after `stop`; the rest are dropped.
        actions: what the machine behind the line is told to do.
        make_predictor: makes another predictor, for a bundle that is taken over and after a call
            into an interpreter that does not return; None: neither is possible.
        trusted_keys: one of them must have signed a bundle that is taken over; none: it need not be
            signed.
        hang_s: an interpreter that does not return for this long is left behind.
        restarts: how often a judge may be started again.
        on_tick: called in the thread of `run` every few hundredths of a second.
    """

    def __init__(
        self,
        bundle: Bundle,
        predictor: Predictor,
        source: Source | Sequence[Feed],
        journal: JournalWriter,
        *,
        policy: Policy = "wait",
        queue_size: int = 8,
        sinks: Sequence[Sink] = (),
        on_inspection: Callable[[Inspection], None] | None = None,
        deadline_ms: float | None = None,
        drain_s: float = 10.0,
        actions: ActionsTable | None = None,
        make_predictor: Callable[[Bundle], Predictor] | None = None,
        trusted_keys: Sequence[Path] = (),
        hang_s: float = HANG_S,
        restarts: Budget | None = None,
        on_tick: Callable[[], None] | None = None,
    ) -> None: ...
