"""One source of a line, supervised: a read that never returns is left behind and tried anew.

The blocking read lives in a thread of its own. Where no frame comes of it, the source is shown as
degraded, the thread is abandoned and another one opens the source again. No more than a few threads
are ever left behind; one of them that wakes while nobody else reads goes on.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Literal

from edge.feed import Feed, Source
from edge.status import SourceStatus
from edge.watchdog import Budget
from qc.errors import FaultError, QCError
from qc.types import Frame, Inspection, utc_now

OPEN_S = 3.5
"""An attempt to open a source is abandoned after this long."""

BACKOFF_S = (0.1, 0.2, 0.4, 0.8)
"""Pauses before the first attempts to open a source again; the last one holds for all others."""

SLOW_S = 4.0
"""The pause between attempts where the restart budget is spent."""

LEFT_BEHIND = 3
"""Threads of one source that may hang at one time."""

RESIZED_S = 1.0
"""Changes of the size of the picture are journaled no more often than this."""


class _Reader:
    """One thread that opens a source and reads it; `since` is when a call into it began."""

    def __init__(self, capture: Capture, source: Source | None) -> None:
        self.source = source
        self.opened = False
        self.frames = 0
        self.since: float | None = capture.clock()
        self.error: BaseException | None = None
        self.done = False
        self._capture = capture
        self.thread = threading.Thread(
            target=self._work, name=f"capture {capture.feed.name}", daemon=True
        )

    def _work(self) -> None:
        capture = self._capture
        try:
            if self.source is None and capture.feed.make is not None:
                self.source = capture.feed.make()
            if self.source is None:
                raise FaultError("there is no source to open")
            capture.prepare(self.source)
            with self.source:
                frames = iter(self.source)
                self.opened = True
                while not capture.stopping:
                    self.since = capture.clock()
                    frame = next(frames, None)
                    if frame is None or not capture.took(self, frame):
                        break
                self.since = capture.clock()  # closing may hang too
        except BaseException as error:  # noqa: BLE001 - whatever ends the thread is told of
            self.error = error
        finally:
            self.done = True
            capture.ended_reading(self)


class Capture:
    """Reads one source for a line; the thread of the line calls `check` every now and then.

    Args:
        feed: what is read, and how.
        hand_over: takes each captured part, in the thread of the reader.
        note: takes what happened to the source, in words, to be journaled.
        on_end: told when no more frames will come.
        on_lost: told why no frames can be had: parts may pass unseen.
        prepare: does what is due to a source before it is opened, in the thread of the reader.
        clock: monotonic seconds.
        budget: how often a source that came back and failed again is reopened without delay.
    """

    def __init__(
        self,
        feed: Feed,
        hand_over: Callable[[Frame], None],
        note: Callable[[str], None],
        on_end: Callable[[], None],
        on_lost: Callable[[str], None],
        *,
        prepare: Callable[[Source], None] = lambda _: None,
        clock: Callable[[], float] = time.monotonic,
        budget: Budget | None = None,
    ) -> None:
        self.feed = feed
        self.clock = clock
        self.stopping = False
        self.failure: BaseException | None = None
        self.is_over = False
        self._hand_over, self._note, self._on_end = hand_over, note, on_end
        self._on_lost = on_lost
        self.prepare = prepare
        self._budget = budget or Budget(10, 60.0, clock)
        self._lock = threading.RLock()
        self._reader: _Reader | None = None
        self._left: list[_Reader] = []
        self._state: Literal["starting", "running", "degraded", "ended"] = "starting"
        self._since = utc_now()
        self._why = ""
        self._frames = 0
        self._reopened = 0
        self._attempts = 0
        self._retry_at: float | None = None
        self._slow = False
        self._shape: tuple[int, ...] | None = None
        self._drawn_for: tuple[int, ...] | None = None
        self._resized_at: float | None = None

    @property
    def is_live(self) -> bool:
        """Whether the source cannot be held back."""
        return self.feed.source.is_live

    @property
    def source(self) -> Source | None:
        """What is read now; None where nothing is."""
        reader = self._reader
        return None if reader is None else reader.source

    def start(self) -> None:
        """Open the source."""
        with self._lock:
            self._open(self.feed.source)

    def stop(self) -> None:
        """Ask for no more frames; one that is being read is still taken."""
        self.stopping = True
        with self._lock:
            if self._reader is None:
                self._end()
        source = self.source
        if source is not None and hasattr(source, "stop"):
            source.stop()
        self._announced("close")

    @property
    def fatal(self) -> FaultError | None:
        """Why the line must end; None where the source ended as it should."""
        if self.failure is None:
            return None
        error = FaultError(
            "the source failed and the line ended",
            where=f"source {self.feed.name}",
            expected="frames",
            found=f"{type(self.failure).__name__}: {self.failure}",
        )
        error.__cause__ = self.failure
        return error

    def join(self, timeout_s: float) -> None:
        """Wait for the reader; longer only where the source does not answer."""
        reader = self._reader
        if reader is not None:
            reader.thread.join(timeout_s)

    def status(self) -> SourceStatus:
        """How the source does."""
        with self._lock:
            return SourceStatus(
                self.feed.name,
                self.feed.kind,
                self._state,
                self._since,
                self._why,
                self._frames,
                self._reopened,
            )

    def answered(self, inspection: Inspection) -> None:
        """Tell the source what became of its frame, where it wants to know."""
        tell = getattr(self.source, "answered", None)
        if tell is None:
            return
        try:
            tell(inspection)
        except Exception as error:  # noqa: BLE001 - a source is foreign code; it is told of
            self._note(f"was told of an inspection and failed: {words_of(error)}")

    def _announced(self, ask: Literal["overdue", "close"]) -> None:
        """Hand over, as faults, the parts that a trigger was told of and that nobody saw."""
        tell = getattr(self.feed.trigger, ask, None)
        if tell is None:
            return
        try:
            lost = tell(self.feed.name)
        except Exception as error:  # noqa: BLE001 - a trigger is foreign code; it is told of
            self._note(f"its trigger failed: {words_of(error)}")
            return
        for frame in lost:
            self._hand_over(frame)

    def check(self) -> None:
        """Find what hangs, leave it behind, and open the source again where it is time."""
        self._announced("overdue")
        now = self.clock()
        with self._lock:
            self._left = [r for r in self._left if not r.done]
            reader = self._reader
            if reader is not None and reader.since is not None:
                silent_s = now - reader.since
                source = reader.source or self.feed.source
                expects = getattr(source, "expects_frames", source.is_live)
                if silent_s >= self.feed.stall_s and (expects or not reader.opened):
                    what = "no frame" if reader.opened else "it does not open"
                    if source.is_live:
                        self._turn("degraded", f"{what} for {self.feed.stall_s:g} s")
                    limit_s = self.feed.stall_s if reader.opened else OPEN_S
                    if self._may_reopen and silent_s >= limit_s:
                        self._abandon(reader)
            elif reader is None and self._retry_at is not None and now >= self._retry_at:
                self._reopen()

    # called by readers

    def took(self, reader: _Reader, frame: Frame) -> bool:
        """Take one frame of a reader; False where the reader was left behind and must end."""
        if not isinstance(frame, Frame):
            raise FaultError("the source gave no frame", expected="Frame", found=type(frame))
        with self._lock:
            if self._reader is not reader:
                if self._reader is not None or self.is_over or self.stopping:
                    return False
                self._left.remove(reader)  # it woke, and nobody else reads
                self._reader, self._retry_at = reader, None
            reader.frames += 1
            self._seen(reader, frame)
        part = self._part(frame)  # what looks at the picture may hang too
        with self._lock:
            if self._reader is not reader:
                return False
            reader.since = None  # to wait for room is no failure
            self._frames += part is not None
        if part is not None:
            self._hand_over(part)
        return True

    def ended_reading(self, reader: _Reader) -> None:
        """A reader has ended: of itself, by an error, or because it was left behind."""
        with self._lock:
            if self._reader is not reader:
                return
            self._reader = None
            error = reader.error
            if self.stopping:
                self.failure = error if not self._may_reopen else None
                self._end()
            elif self._may_reopen and (error is not None or not self._has_end(reader)):
                words = "it closed" if error is None else words_of(error)
                self._turn("degraded", words)
                self._schedule(reader)
            else:
                self.failure = error
                self._end("" if error is None else words_of(error))

    # under the lock

    def _has_end(self, reader: _Reader) -> bool:
        return bool(getattr(reader.source, "has_end", not self.is_live))

    @property
    def _may_reopen(self) -> bool:
        return self.is_live and self.feed.make is not None

    def _open(self, source: Source | None) -> None:
        self._reader = _Reader(self, source)
        self._reader.thread.start()

    def _abandon(self, reader: _Reader) -> None:
        self._reader = None
        self._left.append(reader)
        self._schedule(reader)

    def _schedule(self, reader: _Reader) -> None:
        """When the source is opened again: at once at first, then less often."""
        if reader.frames:
            self._attempts = 0
            self._slow = not self._budget.spend()
            if self._slow:
                self._why += f"; it failed too often ({self._budget.words}), now tried every "
                self._why += f"{SLOW_S:g} s"
                self._note(self._why)
        pause_s = SLOW_S if self._slow else BACKOFF_S[min(self._attempts, len(BACKOFF_S) - 1)]
        self._attempts += 1
        self._retry_at = self.clock() + pause_s

    def _reopen(self) -> None:
        if self.stopping:
            self._end()
        elif len(self._left) >= LEFT_BEHIND:
            self._turn("degraded", f"{len(self._left)} calls into the source do not return")
        else:
            self._retry_at = None
            self._open(None)

    def _end(self, why: str = "") -> None:
        if not self.is_over:
            self.is_over, self._retry_at = True, None
            self._turn("ended", why)
            self._on_end()

    def _turn(
        self, state: Literal["starting", "running", "degraded", "ended"], why: str = ""
    ) -> None:
        """Go over into a state; only the change is told, not every word of why."""
        if state == self._state:
            self._why = self._why if self._slow and why else why
            return
        before, self._state, self._why, self._since = self._state, state, why, utc_now()
        as_it_should = state == "running" if before == "starting" else state == "ended" and not why
        if not as_it_should or (state == "ended" and self.is_live):
            self._note(f"{before} -> {state}" + (f": {why}" if why else ""))
        if state == "degraded":
            self._on_lost(f"source {self.feed.name}: {why}")

    def _seen(self, reader: _Reader, frame: Frame) -> None:
        """What a frame says of the source: it runs, it fails, its picture has another size."""
        if frame.image is None:
            if self.is_live:
                self._turn("degraded", frame.fault or "no image")
            return
        if reader.frames == 1 and reader.source is not self.feed.source:
            self._reopened += 1
        self._attempts = 0
        self._turn("running")
        shape = frame.image.shape[:2]
        if self._shape is not None and shape != self._shape and self.is_live:
            now = self.clock()
            if self._resized_at is None or now - self._resized_at >= RESIZED_S:
                self._resized_at = now
                self._note(f"the picture is now {_size(shape)}, it was {_size(self._shape)}")
        self._shape = shape

    # in the reader's thread, without the lock

    def _part(self, frame: Frame) -> Frame | None:
        """The frame as it is judged; None where it shows no part."""
        whole = frame.image
        if whole is None:
            return frame
        feed = self.feed
        try:
            if feed.region is not None:
                self._drawn_for = self._drawn_for or whole.shape[:2]
                if whole.shape[:2] != self._drawn_for:
                    raise FaultError(
                        "the picture has another size than the region was drawn for",
                        expected=_size(self._drawn_for),
                        found=_size(whole.shape[:2]),
                    )
                deep = None if frame.deep is None else feed.region.apply_deep(frame.deep)
                frame = replace(frame, image=feed.region.apply(whole), deep=deep)
            if feed.trigger is not None and not feed.trigger.fires(frame):
                return None
            named = getattr(feed.trigger, "named", None)
            if named is not None:
                frame = named(frame)
            if feed.read_code is not None:
                frame = replace(frame, part_id=feed.read_code(whole))
        except Exception as error:  # noqa: BLE001 - plugins are foreign code: the frame is a FAULT
            return replace(frame, image=None, deep=None, fault=words_of(error))
        return frame


def words_of(error: BaseException) -> str:
    """What an error says, for a person."""
    return error.message if isinstance(error, QCError) else f"{type(error).__name__}: {error}"


def _size(shape: tuple[int, ...]) -> str:
    return f"{shape[1]} x {shape[0]}"
