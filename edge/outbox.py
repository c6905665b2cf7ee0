"""Store and forward: each sink is told from the journal, in its order, from where it left off.

The journal is the store, so an outage of any length loses nothing and costs no memory. Each sink
has a thread and a place of its own: none can hold up the line or another sink. Told at least once:
after a crash the last messages may come again, with the same `inspection_id`.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Literal

from edge.message import Message, NeverTakenError, Sink, action_of, line_name
from edge.progress import Place, Progress, PutAside, progress_file
from edge.status import SinkStatus
from edge.tail import READ_ROWS, Tail, begin
from qc.errors import DataError, FaultError
from qc.journal_read import Row
from qc.linefile import Action, ActionsTable
from qc.types import Verdict

TRIES = 3
"""How often a message that a sink finds at fault is told before it is put aside."""

BACKOFF_S = (0.5, 30.0)
"""Seconds before a sink that failed is tried again: the first wait, doubled up to the last."""

STUCK_S = 5.0
"""A call into a sink that lasts longer than this is stuck."""

READ_EVERY_S = 0.01
"""A sink that is up to date reads this often at most: what comes faster is read together."""

KEEP_ROWS, KEEP_S = 100, 0.2
"""A place is recorded after this many messages or seconds; a crash tells as many again."""

IDLE_S = 1.0
"""The journal is looked at this often also where nobody says that there is something new."""

_GRACE_S = 0.5


class Outbox:
    """Tells sinks what is journaled; each has its own thread.

    Args:
        journal: the journal file; it exists.
        sinks: by the id under which the progress of each is kept.
        actions: what is told for each verdict.
        from_start: ids of sinks that, when they are new, are told all that the journal holds;
            others begin with the next inspection.

    Raises:
        DataError: there is no journal.
        FaultError: the journal cannot be read, or the progress not kept.
    """

    def __init__(
        self,
        journal: Path,
        sinks: Mapping[str, Sink],
        actions: ActionsTable,
        *,
        from_start: Collection[str] = (),
    ) -> None:
        self._tail = Tail(journal)
        self._deliveries = [
            _Delivery(name, sink, self._tail, actions, name in from_start)
            for name, sink in sinks.items()
        ]

    def start(self) -> None:
        """Begin with what is not delivered yet."""
        for delivery in self._deliveries:
            delivery.thread.start()

    def wake(self) -> None:
        """Say that the journal holds something new; never waits for a sink."""
        for delivery in self._deliveries:
            delivery.wake()

    def fail_safe(self, action: Action, why: str) -> None:
        """Tell the sinks that have a `fail_safe` that no verdict can be trusted; returns at once.

        Args:
            action: what the machine behind the line is to do with parts.
            why: in words.
        """
        for delivery in self._deliveries:
            delivery.alarm(action, why)

    def status(self) -> tuple[SinkStatus, ...]:
        """How each sink does, in the order in which they were given.

        Raises:
            FaultError: the journal cannot be read.
        """
        end = self._tail.end() if self._deliveries else 0
        return tuple(delivery.status(end) for delivery in self._deliveries)

    def let_go(self) -> None:
        """Hold the journal open no longer: its writer is about to close it."""
        self._tail.let_go()

    def close(self, timeout_s: float, *, patient: bool = False) -> list[str]:
        """Deliver what is left, as far as the sinks take it in time, and close them.

        A sink that fails is tried once more and then waited for no longer.

        Args:
            timeout_s: how long to wait.
            patient: wait longer for a sink as long as it takes messages.

        Returns:
            For each sink what it did not get, in words; it will be told at the next start.
        """
        for delivery in self._deliveries:
            delivery.finish()
        self.let_go()
        end_s = time.monotonic() + timeout_s
        for delivery in self._deliveries:
            taken = -1
            while patient and delivery.thread.is_alive() and delivery.taken != taken:
                taken = delivery.taken
                delivery.join(time.monotonic() + timeout_s)
            delivery.join(end_s)
        for delivery in self._deliveries:
            delivery.give_up()
        end_s = time.monotonic() + _GRACE_S
        for delivery in self._deliveries:
            delivery.join(end_s)
        try:
            end = self._tail.end() if self._deliveries else 0
        except FaultError as error:
            return [str(error)]
        return [said for delivery in self._deliveries if (said := delivery.account(end))]


class _Delivery:
    """One sink, its thread, and how far it is. The thread alone touches sink and progress."""

    def __init__(
        self, sink_id: str, sink: Sink, tail: Tail, actions: ActionsTable, from_start: bool
    ) -> None:
        self.sink_id = sink_id
        self.thread = threading.Thread(target=self._work, name=f"sink {sink_id}", daemon=True)
        self.taken = 0
        self._sink = sink
        self._tail = tail
        self._journal = tail.journal
        self._actions = actions
        self._progress = Progress(progress_file(self._journal.path))
        self._place = begin(self._progress, sink_id, tail, from_start)
        self._read_at = 0.0
        self._verdicts: Collection[Verdict] | None = getattr(sink, "verdicts", None)
        self._passed = self._place
        self._rows: deque[Row] = deque()
        self._opened = False
        self._tries = 0
        self._unkept = 0
        self._kept_at = time.monotonic()
        self._new_aside: list[PutAside] = []
        self._calling: float | None = None
        self._failures = 0
        self._why = ""
        self._aside = 0
        self._aside_why = ""
        self._kept_why = ""
        self._state_why = ""
        self._changed = threading.Condition()
        self._news = False
        self._finishing = False
        self._given_up = False
        self._alarm: tuple[Action, str] | None = None
        self._rung = False
        self._resume_after: int | None = None

    # by other threads

    def wake(self) -> None:
        with self._changed:
            self._news = True
            self._changed.notify_all()

    def alarm(self, action: Action, why: str) -> None:
        with self._changed:
            self._alarm = (action, why)
            self._rung = True
            self._changed.notify_all()

    def finish(self) -> None:
        if self.thread.ident is None:  # never started: there is only to close the sink
            self.give_up()
            self.thread.start()
        with self._changed:
            self._finishing = True
            self._changed.notify_all()

    def give_up(self) -> None:
        self._given_up = True

    def join(self, end_s: float) -> None:
        self.thread.join(max(end_s - time.monotonic(), 0.0))

    def status(self, end: int) -> SinkStatus:
        calling = self._calling
        state: Literal["running", "failing", "stuck"] = "failing" if self._failures else "running"
        why = [self._why, self._aside_why, self._kept_why, self._state_why]
        if self.thread.ident is not None and not self.thread.is_alive() and not self._finishing:
            state = "failing"
            why.insert(0, "its thread has ended")
        if calling is not None and time.monotonic() - calling > STUCK_S:
            state = "stuck"
            why.insert(0, f"a call has not returned for {time.monotonic() - calling:.0f} s")
        return SinkStatus(
            sink_id=self.sink_id,
            state=state,
            waiting=max(end - self._place.seq, 0),
            delivered=self.taken,
            why="; ".join(filter(None, why)),
        )

    def account(self, end: int) -> str:
        """What the sink did not get, in words, after its thread was waited for."""
        waiting = max(end - self._place.seq, 0)
        words = [self._aside_why, self._kept_why, self._state_why]
        if self.thread.is_alive():
            words.append("it did not finish in time")
        if waiting:
            words.append(f"{waiting} not delivered yet, they will be at the next start")
        if waiting or self._failures:
            words.append(self._why)
        said = "; ".join(filter(None, words))
        return f"{self.sink_id}: {said}" if said else ""

    # the thread

    def _work(self) -> None:
        while not self._given_up:
            try:
                busy = self._step()
            except Exception as error:  # noqa: BLE001 - a sink is foreign code; it is reported
                self._failures += 1
                self._why = str(error) or type(error).__name__
                if self._finishing and not isinstance(error, _AtFaultError):
                    break
                first, last = BACKOFF_S
                self._keep(at_once=False)
                self._wait(min(first * 2 ** min(self._failures - 1, 20), last), news=False)
                continue
            if not busy:
                self._failures = 0
                if self._finishing and self._alarm is None:  # one that came just now is still told
                    break
                self._wait(KEEP_S if self._unkept else IDLE_S, news=True)
        self._keep(at_once=True)
        self._progress.close()
        try:
            self._call_close()
        except Exception as error:  # noqa: BLE001 - as above
            self._failures += 1
            self._why = str(error) or type(error).__name__

    def _step(self) -> bool:
        """Tell one message; False where there is none."""
        if not self._opened:
            if hasattr(self._sink, "open"):
                with _Calling(self):
                    self._sink.open(line_name(self._journal.path), self._actions.fault)
            self._opened = True
        self._sound()
        if not self._rows:
            time.sleep(max(self._read_at + READ_EVERY_S - time.monotonic(), 0.0))
            last = self._place if self._verdicts is None else self._tail.last()
            self._rows.extend(self._tail.after(self._place.seq, self._verdicts))
            all_read = len(self._rows) < READ_ROWS
            self._read_at = time.monotonic() if all_read else 0.0
            self._passed = last if all_read else self._place
        if not self._rows:
            self._pass()
            self._keep(at_once=False)
            return False
        row = self._rows[0]
        message = Message(row, action_of(row.verdict, self._actions), self._journal)
        self._resume(row)
        try:
            with _Calling(self):
                self._sink.write(message)
        except DataError as error:
            self._tries += 1
            if self._tries < TRIES and not isinstance(error, NeverTakenError):
                raise _AtFaultError(str(error)) from error
            self._put_aside(row, error)
        else:
            self.taken += 1
            self._why = ""
        self._rows.popleft()
        self._tries = self._failures = 0
        self._place = Place(row.seq, row.inspection_id)
        self._unkept += 1
        self._keep(at_once=False)
        return True

    def _pass(self) -> None:
        """Go past the rows that this sink does not want to be told of."""
        if self._passed.seq > self._place.seq:
            self._place = self._passed
            self._unkept += 1

    def _sound(self) -> None:
        with self._changed:
            alarm = self._alarm
        if alarm is None:
            return
        if hasattr(self._sink, "fail_safe"):
            self._tell_state(self._sink.fail_safe, *alarm)
            self._resume_after = self._tail.end()
        with self._changed:
            if self._alarm is alarm:  # told; one that came meanwhile is told next
                self._alarm = None

    def _resume(self, row: Row) -> None:
        """Take the fail-safe back with the first part that was journaled after it."""
        if self._resume_after is not None and row.seq > self._resume_after:
            if hasattr(self._sink, "resume"):
                self._tell_state(self._sink.resume)
            self._resume_after = None

    def _tell_state(self, tell: Callable[..., None], *arguments: str) -> None:
        """Tell what becomes of the line; a receiver that has no use for it still gets the parts."""
        try:
            with _Calling(self):
                tell(*arguments)
        except DataError as error:
            self._state_why = f"it does not take the state of the line: {error}"

    def _call_close(self) -> None:
        with _Calling(self):
            self._sink.close()

    def _put_aside(self, row: Row, error: DataError) -> None:
        self._aside += 1
        self._why = ""
        self._aside_why = f"{self._aside} put aside, the last {row.inspection_id}: {error}"
        self._new_aside.append(PutAside(self.sink_id, row.seq, row.inspection_id, str(error)))

    def _keep(self, *, at_once: bool) -> None:
        """Record the place where it is time to; a disk that is full costs messages told twice."""
        now = time.monotonic()
        due = at_once or self._unkept >= KEEP_ROWS or now - self._kept_at >= KEEP_S
        if not self._unkept or not due:
            return
        self._kept_at = now
        try:
            self._progress.keep(self.sink_id, self._place, self._new_aside)
        except FaultError as error:
            self._kept_why = str(error)
            return
        self._unkept = 0
        self._new_aside = []
        self._kept_why = ""

    def _wait(self, timeout_s: float, *, news: bool) -> None:
        """Wait; the end and an alarm end it, and news of the journal where `news` is true."""
        with self._changed:
            self._changed.wait_for(
                lambda: self._finishing or self._rung or (news and self._news),
                timeout_s,
            )
            self._rung = False
            if news:
                self._news = False


class _AtFaultError(Exception):
    """A message that the sink finds at fault, and that is told again."""


class _Calling:
    """Marks that a call into a sink is under way, for `status`."""

    def __init__(self, delivery: _Delivery) -> None:
        self._delivery = delivery

    def __enter__(self) -> None:
        self._delivery._calling = time.monotonic()

    def __exit__(self, *error: object) -> None:
        self._delivery._calling = None
