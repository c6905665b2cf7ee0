"""The line: source -> inspect -> journal -> sinks, and the account of what became of every frame.

One capture thread, the caller's thread with the interpreter, the journal's thread, one for each
sink, which is told from the journal. Always: captured = OK + NG + REVIEW + FAULT + dropped.
"""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Protocol

import numpy as np

from edge.channel import Channel, ChannelClosedError, Policy
from edge.inspect import inspect_frame
from edge.message import Sink
from edge.outbox import Outbox
from qc.bundle import Bundle
from qc.errors import FaultError, UsageError
from qc.journal import JournalWriter
from qc.linefile import ActionsTable
from qc.replay import Predictor, require_replay
from qc.types import Frame, Inspection, Verdict

STOPPED = "the line was stopped before this frame was inspected"
"""Cause of a drop of a frame that was still waiting at the end of the drain."""

LATENCIES = 100_000
"""The percentiles are those of the last inspections, this many."""


class Source(Protocol):
    """What frames come from: a context manager that yields them; a live one cannot be held back."""

    is_live: bool

    def __enter__(self) -> Any:
        """Open it."""
        ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> Any:
        """Close it."""
        ...

    def __iter__(self) -> Iterator[Frame]:
        """Yield frames until the source ends."""
        ...


@dataclass(frozen=True, slots=True)
class LineReport:
    """What became of every captured frame.

    Args:
        captured: frames that the source gave; the sum of the other counts.
        dropped: cause -> frames that were captured and not inspected.
        p50_ms, p99_ms: duration of an inspection with a measurement; None where there was none.
        sink_errors: what sinks did not get, in words.
    """

    captured: int
    ok: int
    ng: int
    review: int
    fault: int
    dropped: dict[str, int]
    p50_ms: float | None
    p99_ms: float | None
    sink_errors: tuple[str, ...] = field(default=())

    def as_json(self) -> dict[str, Any]:
        """The `--json` form of `qc run`."""
        return {
            "captured": self.captured,
            "ok": self.ok,
            "ng": self.ng,
            "review": self.review,
            "fault": self.fault,
            "dropped": dict(self.dropped),
            "p50_ms": self.p50_ms,
            "p99_ms": self.p99_ms,
        }


class Line:
    """Runs a source through a bundle, once.

    Args:
        bundle: an opened bundle.
        predictor: runs its model; used by the thread that calls `run` only.
        source: where frames come from; used by the capture thread only.
        journal: open; `run` takes its `on_written` and `on_failed`, and closes it.
        policy: "wait" holds the source back, "latest" drops the oldest waiting frame.
        queue_size: frames that may wait.
        sinks: told of each inspection after it is journaled, by the id of each.
        actions: what the sinks are told for each verdict.
        from_start: ids of sinks that are told what the journal already holds, when they are new.
        on_inspection: called in the journal's thread after the commit.
        deadline_ms: a verdict later than this after the capture is a FAULT; None: no deadline.
        drain_s: how long waiting frames are still inspected after `stop`; the rest are dropped.
    """

    def __init__(
        self,
        bundle: Bundle,
        predictor: Predictor,
        source: Source,
        journal: JournalWriter,
        *,
        policy: Policy = "wait",
        queue_size: int = 8,
        sinks: Mapping[str, Sink] | None = None,
        actions: ActionsTable | None = None,
        from_start: Collection[str] = (),
        on_inspection: Callable[[Inspection], None] | None = None,
        deadline_ms: float | None = None,
        drain_s: float = 10.0,
    ) -> None:
        self.bundle = bundle
        self.predictor = predictor
        self.source = source
        self.journal = journal
        self.deadline_ms = deadline_ms
        self.drain_s = drain_s
        self.on_inspection = on_inspection
        self._outbox = Outbox(
            journal.path, sinks or {}, actions or ActionsTable(), from_start=from_start
        )
        self._callback_error = ""
        self._channel: Channel[Frame] = Channel(queue_size, policy, self._drop)
        self._stop_at: float | None = None
        self._started = False
        self._source_error: Exception | None = None
        # A source that never answers must not keep `run` waiting after `stop`
        self._timer = threading.Timer(drain_s, self._channel.close)
        self._timer.daemon = True
        self._stopping = threading.RLock()
        self._handing_over = threading.Lock()
        self._over = False
        self._counting = threading.Lock()
        self._captured = 0
        self._dropped: Counter[str] = Counter()
        self._verdicts: Counter[Verdict] = Counter()
        self._latencies: deque[float] = deque(maxlen=LATENCIES)

    def stop(self) -> None:
        """Ask the line to end: no new frame is captured, `run` drains and returns.

        Safe to call from another thread or a signal handler; calling it again changes nothing.
        """
        with self._stopping:
            if self._stop_at is None:
                self._stop_at = time.monotonic() + self.drain_s
                self._timer.start()

    def run(self) -> LineReport:
        """Run until the source ends or `stop` is called.

        Returns:
            The account of every frame.

        Raises:
            BundleError: the bundle does not replay on this machine; nothing was started.
            FaultError: the journal or the source failed; what was inspected before is journaled.
        """
        if self._started:
            raise UsageError("a line runs once", expected="a new Line", found="a second run()")
        self._started = True
        require_replay(self.bundle, self.predictor)
        self._outbox.start()
        self.journal.on_written = self._tell
        self.journal.on_failed = self._channel.close
        capture = threading.Thread(target=self._capture, name="capture", daemon=True)
        capture.start()
        try:
            for frame in self._channel:
                self._process(frame)
            with self._handing_over:
                self._over = True
            capture.join(1.0)  # longer only where the source does not answer
            self.journal.close()
        finally:
            patient = self._stop_at is None and not self.source.is_live
            self._stop_at = self._stop_at or time.monotonic()
            self._timer.cancel()
            self._channel.close()
            untold = self._outbox.close(self.drain_s, patient=patient)
        if self._source_error is not None:
            raise FaultError(
                "the source failed and the line ended",
                where=type(self.source).__module__,
                expected="frames",
                found=f"{type(self._source_error).__name__}: {self._source_error}",
            ) from self._source_error
        return self._report((*untold, *filter(None, [self._callback_error])))

    def _capture(self) -> None:
        try:
            with self.source:
                frames = iter(self.source)
                while self._stop_at is None:
                    frame = next(frames, None)
                    if frame is None:
                        break
                    self._hand_over(frame)
        except Exception as error:  # noqa: BLE001 - raised by run() after draining
            self._source_error = error
        finally:
            self._channel.close()

    def _hand_over(self, frame: Frame) -> None:
        with self._handing_over:
            if self._over:
                return  # the source answered after the line had ended
            self._captured += 1
            try:
                self._channel.put(frame)
            except ChannelClosedError:
                self._drop(frame, STOPPED)

    def _drop(self, frame: Frame, cause: str) -> None:
        self.journal.drop(frame.source_id, frame.frame_id, cause)
        with self._counting:
            self._dropped[cause] += 1

    def _process(self, frame: Frame) -> None:
        if self._stop_at is not None and time.monotonic() > self._stop_at:
            self._drop(frame, STOPPED)
            return
        inspection = inspect_frame(frame, self.bundle, self.predictor, deadline_ms=self.deadline_ms)
        self.journal.put(inspection)
        self._verdicts[inspection.verdict] += 1
        if inspection.prediction is not None:
            self._latencies.append(inspection.timings_ms["total"])

    def _tell(self, inspection: Inspection) -> None:
        self._outbox.wake()
        if self.on_inspection is None:
            return
        try:
            self.on_inspection(inspection)
        except Exception as error:  # noqa: BLE001 - foreign code; it must not stop the journal
            self._callback_error = self._callback_error or str(error) or type(error).__name__

    def _report(self, sink_errors: tuple[str, ...]) -> LineReport:
        latencies = list(self._latencies)
        return LineReport(
            captured=self._captured,
            ok=self._verdicts[Verdict.OK],
            ng=self._verdicts[Verdict.NG],
            review=self._verdicts[Verdict.REVIEW],
            fault=self._verdicts[Verdict.FAULT],
            dropped=dict(self._dropped),
            p50_ms=float(np.percentile(latencies, 50)) if latencies else None,
            p99_ms=float(np.percentile(latencies, 99)) if latencies else None,
            sink_errors=sink_errors,
        )
