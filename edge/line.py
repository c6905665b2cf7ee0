"""The line: sources -> inspect -> journal -> sinks, and the account of what became of every frame.

One capture thread for each source, one that owns the interpreter, the journal's thread, one for
each sink, and the caller's, which watches the others. Always: captured = OK + NG + REVIEW + FAULT
+ dropped + in flight, and in flight is 0 at the end.
"""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

from edge.account import Account, LineReport
from edge.capture import Capture, words_of
from edge.channel import Channel, ChannelClosedError, Policy
from edge.clerk import Clerk
from edge.feed import Feed, Source
from edge.judge import Loaded
from edge.message import Sink, action_of
from edge.outbox import Outbox
from edge.overseer import Overseer
from edge.record import ENDED, Before, note_start, note_stop
from edge.status import LineStatus, SinkStatus
from edge.swap import Changeover, MakePredictor
from edge.watchdog import Budget
from qc.bundle import Bundle
from qc.errors import FaultError, QCError, UsageError
from qc.journal import JournalWriter
from qc.linefile import Action, ActionsTable
from qc.replay import Predictor, require_replay
from qc.types import Frame, Inspection, Verdict, utc_now

STOPPED = "the line was stopped before this frame was inspected"
"""Cause of a drop of a frame that was still waiting at the end of the drain."""

SWITCH_S = 0.0002
"""Threads of Python give way after this long; with the usual 5 ms a judge waits for the journal."""

TICK_S = 0.02
"""How often the line looks whether something hangs."""

LAST_S = 2.0
"""How long after the drain the frame that is being judged is waited for."""

END_S = 5.0
"""How long the end waits for what is in flight and for threads that should have ended."""


class Line:
    """Runs sources through a bundle, once.

    Args:
        bundle: an opened bundle.
        predictor: runs its model; used by the thread of the judge only.
        source: where frames come from: feeds, or one source that is read once as it is.
        journal: open; `run` takes its `on_written` and `on_failed`, and closes it.
        policy: "wait" holds a source back, "latest" drops its oldest waiting frame.
        queue_size: frames of one source that may wait.
        sinks: told of each inspection after it is journaled, by the id of each.
        from_start: ids of sinks that are told what the journal already holds, when they are new.
        on_inspection: told of each inspection after it is journaled, in the thread of the journal:
            it must return at once.
        deadline_ms: a verdict later than this after the capture is a FAULT; None: no deadline.
        drain_s: how long waiting frames are still inspected after `stop`; the rest are dropped.
        actions: what the machine behind the line is told to do for each verdict.
        make_predictor: makes another predictor, to take over a bundle, and to go on where an
            interpreter does not return; None: neither is possible.
        trusted_keys: one of them must have signed a bundle that is taken over; none: nobody must.
        hang_s: an interpreter that does not return for this long is left behind; see `Overseer`.
        restarts: how often the judge may be started again before the line ends.
        on_tick: called in the thread of `run` every few hundredths of a second.
        line_file: name and hash of the line file, for the journal; see `note_start`.
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
        sinks: Mapping[str, Sink] | None = None,
        from_start: Collection[str] = (),
        on_inspection: Callable[[Inspection], None] | None = None,
        deadline_ms: float | None = None,
        drain_s: float = 10.0,
        actions: ActionsTable | None = None,
        make_predictor: MakePredictor | None = None,
        trusted_keys: Sequence[Path] = (),
        hang_s: float | None = None,
        restarts: Budget | None = None,
        on_tick: Callable[[], None] | None = None,
        line_file: Mapping[str, str] | None = None,
    ) -> None:
        self.journal = journal
        self.on_inspection = on_inspection
        self.drain_s = drain_s
        self.actions = actions or ActionsTable()
        self._outbox = Outbox(journal.path, sinks or {}, self.actions, from_start=from_start)
        self.started_at = utc_now()
        feeds = source if isinstance(source, Sequence) else [Feed(source)]
        self._captures = [
            Capture(
                feed,
                partial(self._hand_over, feed.name),
                partial(self._source_event, feed.name),
                self._source_ended,
                partial(self._outbox.fail_safe, self.actions.fault),
                prepare=self._prepare,
            )
            for feed in feeds
        ]
        self._by_source = {capture.feed.name: capture for capture in self._captures}
        self._channel: Channel[Frame] = Channel(queue_size, policy, self._drop)
        self._clerk = Clerk(self._fail)
        self._account = Account()
        self._latest: dict[str, Inspection] = {}
        self._changeover = Changeover(
            Loaded(bundle, predictor), journal, make_predictor, trusted_keys
        )
        self._overseer = Overseer(
            self._channel,
            self._changeover,
            self._clerk,
            self._settle,
            self._is_late,
            self._fail,
            partial(self._event, "judge restarted"),
            deadline_ms=deadline_ms,
            hang_s=hang_s,
            restarts=restarts or Budget(3, 60.0),
        )
        self._on_tick = on_tick
        self._line_file = line_file or {}
        self._before = Before("none", None)
        self._started = False
        self._stop_at: float | None = None
        self._stop_why = ""
        self._failure: Exception | None = None
        self._callback_error = ""
        self._sinks: tuple[SinkStatus, ...] = ()

    # from any thread

    @property
    def bundle(self) -> Bundle:
        """The bundle that judges now."""
        return self._changeover.loaded.bundle

    def action_of(self, verdict: Verdict) -> Action:
        """What the machine behind the line is told to do with a part."""
        return action_of(verdict, self.actions)

    def latest(self, source_id: str) -> Inspection | None:
        """The last journaled inspection of a source, with its picture; None before the first."""
        return self._latest.get(source_id)

    def stop(self, why: str = "it was asked to", *, at_once: bool = False) -> None:
        """Ask the line to end: no new frame is captured, `run` drains and returns.

        Safe to call from another thread or a signal handler, and again.

        Args:
            why: for the journal, in a few words; of the first who asks.
            at_once: drop what waits instead of inspecting it.
        """
        self._stop_why = self._stop_why or why
        if at_once:
            self._stop_at = time.monotonic()
        elif self._stop_at is None:
            self._stop_at = time.monotonic() + self.drain_s

    def status(self) -> LineStatus:
        """The account at this moment, and how everything does."""
        counts = self._account.counts()
        sources = tuple(capture.status() for capture in self._captures)
        with suppress(FaultError):  # the journal cannot be read: the last that is known of them
            self._sinks = self._outbox.status()
        images_why = self.journal.images_why
        ill = images_why or any(s.state == "degraded" for s in sources)
        ill = ill or any(s.state != "running" for s in self._sinks)
        stopping = self._stop_at is not None or self._failure is not None
        return LineStatus(
            state="stopping" if stopping else "degraded" if ill else "running",
            bundle_id=self.bundle.manifest.bundle_id,
            runtime=self._changeover.loaded.predictor.runtime,
            started_at=self.started_at,
            before=self._before.ended,
            queued=len(self._channel),
            **counts.facts(),
            disk_free_bytes=shutil.disk_usage(self.journal.path.parent).free,
            images_why=images_why,
            sources=sources,
            sinks=self._sinks,
        )

    def swap(self, path: Path) -> str:
        """Take over another bundle between two parts; the line goes on meanwhile.

        Args:
            path: the bundle; it is opened, checked and replayed beside the one that runs.

        Returns:
            The id of the bundle that judges now.

        Raises:
            QCError: the bundle is refused, and the one that runs goes on; the refusal is journaled.
        """
        self._require_running()
        try:
            return self._changed(self._changeover.swap(path))
        except QCError as error:
            self._event("swap refused", {"bundle": str(path), "why": error.message})
            raise

    def rollback(self) -> str:
        """Go back to the bundle that judged before the last swap.

        Returns:
            The id of the bundle that judges now.

        Raises:
            UsageError: nothing was taken over since the line started, or it was taken back.
        """
        self._require_running()
        return self._changed(self._changeover.rollback())

    def _changed(self, bundle_id: str) -> str:
        for capture in self._captures:
            self._prepare(capture.source)
        return bundle_id

    def _require_running(self) -> None:
        if not self._overseer.is_running or self._stop_at is not None:
            raise UsageError("the line does not run", expected="a line that runs", found="none")

    # the thread of the caller

    def run(self) -> LineReport:
        """Run until the sources end or `stop` is called.

        Returns:
            The account of every frame.

        Raises:
            BundleError: the bundle does not replay on this machine; nothing was started.
            FaultError: the journal, the judge or a source that cannot be opened again failed; what
                was inspected before is journaled, and the sinks were told the fail-safe action.
        """
        if self._started:
            raise UsageError("a line runs once", expected="a new Line", found="a second run()")
        self._started = True
        require_replay(self.bundle, self._changeover.loaded.predictor)
        self._before = note_start(self.journal, self._changeover.loaded, self._line_file)
        self.journal.on_written = self._written
        self.journal.on_failed = self._channel.close
        switch_s = sys.getswitchinterval()
        sys.setswitchinterval(SWITCH_S)
        self._clerk.start()
        self._outbox.start()
        self._overseer.start()
        for capture in self._captures:
            capture.start()
        try:
            self._watch()
        except BaseException as error:
            self._stop_why = words_of(error)
            raise
        finally:
            sink_errors = self._end()
            sys.setswitchinterval(switch_s)
        if self._failure is not None:
            raise self._failure
        return self._account.report(sink_errors)

    def _watch(self) -> None:
        """Look after all threads until the judge has nothing more to do."""
        while self._failure is None and not self._overseer.wait(TICK_S):
            self._overseer.check()
            for capture in self._captures:
                if self._stop_at is not None and not capture.stopping:
                    capture.stop()
                capture.check()
            if self._stop_at is not None and time.monotonic() >= self._stop_at:
                self._channel.close()
                if time.monotonic() - self._stop_at > LAST_S:
                    return  # the interpreter does not return
            if self._on_tick is not None:
                self._on_tick()

    def _end(self) -> tuple[str, ...]:
        """Settle what is left, close everything, and say what the sinks did not get."""
        live = any(capture.is_live for capture in self._captures)
        patient = self._stop_at is None and not live
        self._stop_at = self._stop_at or time.monotonic()
        self._channel.close()
        self._account.close()
        for capture in self._captures:
            capture.stop()
        try:
            self._overseer.end()
            while (frame := self._channel.take(0)) is not None:
                self._drop(frame, STOPPED)
            self._clerk.close(END_S)
            end = time.monotonic() + END_S
            while self._failure is None and self._account.in_flight and time.monotonic() < end:
                time.sleep(0.001)
            for capture in self._captures:
                capture.join(0.5)  # longer only where the source does not answer
            for fatal in filter(None, [capture.fatal for capture in self._captures]):
                self._fail(fatal)
            why = str(self._failure or self._stop_why or ENDED)
            note_stop(self.journal, why, self._account.counts())
            self._outbox.let_go()
            self.journal.close()
        except FaultError as error:
            self._fail(error)
        finally:
            self._clerk.close(0)
        if self._failure is None and (left := self._account.in_flight):
            self._fail(FaultError("frames were left without a verdict or a drop", found=left))
        if self._failure is not None:  # once more: parts that were journaled since took it back
            self._outbox.fail_safe(self.actions.fault, str(self._failure))
        sink_errors = self._outbox.close(self.drain_s, patient=patient)
        return (*sink_errors, *filter(None, [self._callback_error]))

    def _fail(self, error: Exception) -> None:
        if self._failure is None:
            self._failure = error
            self._outbox.fail_safe(self.actions.fault, str(error))

    def _event(self, kind: str, detail: Mapping[str, object]) -> None:
        self._clerk.tell(partial(self.journal.event, kind, detail))

    # the threads of the captures

    def _prepare(self, source: Source | None) -> None:
        if source is not None and hasattr(source, "begin"):
            source.begin(self.bundle)

    def _hand_over(self, lane: str, frame: Frame) -> None:
        if not self._account.captured():
            return  # the source answered after the line had ended
        try:
            self._channel.put(frame, lane=lane)
        except ChannelClosedError:
            self._drop(frame, STOPPED)

    def _drop(self, frame: Frame, cause: str) -> None:
        try:
            self.journal.drop(
                frame.source_id, frame.frame_id, cause, part_id=frame.part_id, lot=frame.lot
            )
        except FaultError as error:
            self._fail(error)
            return
        self._account.dropped(cause)

    def _source_event(self, source_id: str, what: str) -> None:
        self._event("source", {"source": source_id, "what": what})

    def _source_ended(self) -> None:
        if all(capture.is_over for capture in self._captures):
            self._channel.close()

    # the thread of the judge

    def _is_late(self) -> bool:
        return self._stop_at is not None and time.monotonic() > self._stop_at

    def _settle(self, frame: Frame, inspection: Inspection | None) -> None:
        if inspection is None:
            self._drop(frame, STOPPED)
            return
        latency_ms = (time.monotonic_ns() - frame.monotonic_ns) / 1e6
        self.journal.put(inspection)
        duration_ms = None if inspection.prediction is None else inspection.timings_ms["total"]
        self._account.judged(inspection.verdict, latency_ms, duration_ms)

    # the thread of the journal

    def _written(self, inspection: Inspection) -> None:
        only = self._captures[0] if len(self._captures) == 1 else None
        capture = self._by_source.get(inspection.source_id, only)
        if capture is not None:
            self._latest[capture.feed.name] = inspection
            capture.answered(inspection)
        self._outbox.wake()
        if self.on_inspection is not None:
            try:
                self.on_inspection(inspection)
            except Exception as error:  # noqa: BLE001 - a callback is foreign code; it is reported
                self._callback_error = f"on_inspection: {words_of(error)}"
