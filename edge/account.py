"""The account of a line: what became of every captured frame, and how long it took.

Always: captured = OK + NG + REVIEW + FAULT + dropped + in flight.
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from edge.status import LATENCY_BUCKETS_MS
from qc.types import Verdict

DURATIONS = 100_000
"""The percentiles are those of the last inspections, this many."""


@dataclass(frozen=True, slots=True)
class LineReport:
    """What became of every captured frame.

    Args:
        captured: frames that the sources gave; the sum of the other counts.
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


@dataclass(frozen=True, slots=True)
class Counts:
    """The account at one moment; see `edge.status.LineStatus`."""

    captured: int
    verdicts: dict[Verdict, int]
    dropped: dict[str, int]
    in_flight: int
    latency_counts: tuple[int, ...]
    latency_sum_ms: float
    p50_ms: float | None
    p99_ms: float | None

    def sums(self) -> dict[str, Any]:
        """What became of the frames: captured is the sum of the others."""
        return {
            "captured": self.captured,
            **{verdict.value.lower(): self.verdicts[verdict] for verdict in Verdict},
            "dropped": self.dropped,
            "in_flight": self.in_flight,
        }

    def facts(self) -> dict[str, Any]:
        """What `LineStatus` says of them."""
        return {
            **self.sums(),
            "latency_counts": self.latency_counts,
            "latency_sum_ms": self.latency_sum_ms,
            "p50_ms": self.p50_ms,
            "p99_ms": self.p99_ms,
        }


class Account:
    """Counts under one lock, from any thread; its memory does not grow."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._captured = 0
        self._in_flight = 0
        self._closed = False
        self._verdicts = dict.fromkeys(Verdict, 0)
        self._dropped: Counter[str] = Counter()
        self._latency_counts = [0] * (len(LATENCY_BUCKETS_MS) + 1)
        self._latency_sum_ms = 0.0
        self._durations = np.zeros(DURATIONS, np.float32)
        self._measured = 0

    @property
    def in_flight(self) -> int:
        """Captured frames without a verdict or a drop so far."""
        with self._lock:
            return self._in_flight

    def captured(self) -> bool:
        """A frame came; False where the account is closed, and then it is not captured."""
        with self._lock:
            if not self._closed:
                self._captured += 1
                self._in_flight += 1
            return not self._closed

    def close(self) -> None:
        """Capture no more frames; those that are in flight are still settled."""
        with self._lock:
            self._closed = True

    def dropped(self, cause: str) -> None:
        """A captured frame will not be inspected."""
        with self._lock:
            self._in_flight -= 1
            self._dropped[cause] += 1

    def judged(self, verdict: Verdict, latency_ms: float, duration_ms: float | None) -> None:
        """A captured frame has its verdict.

        Args:
            verdict: what it is.
            latency_ms: from the capture to the verdict.
            duration_ms: of the inspection; None where nothing was measured.
        """
        at = bisect_left(LATENCY_BUCKETS_MS, latency_ms)
        with self._lock:
            self._in_flight -= 1
            self._verdicts[verdict] += 1
            self._latency_counts[at] += 1
            self._latency_sum_ms += latency_ms
            if duration_ms is not None:
                self._durations[self._measured % DURATIONS] = duration_ms
                self._measured += 1

    def counts(self) -> Counts:
        """All counts of one moment."""
        with self._lock:
            durations = self._durations[: min(self._measured, DURATIONS)].copy()
            found = Counts(
                self._captured,
                dict(self._verdicts),
                dict(self._dropped),
                self._in_flight,
                tuple(self._latency_counts),
                self._latency_sum_ms,
                None,
                None,
            )
        if not len(durations):
            return found
        p50_ms, p99_ms = (float(p) for p in np.percentile(durations, (50, 99)))
        return Counts(
            found.captured,
            found.verdicts,
            found.dropped,
            found.in_flight,
            found.latency_counts,
            found.latency_sum_ms,
            p50_ms,
            p99_ms,
        )

    def report(self, sink_errors: tuple[str, ...]) -> LineReport:
        """The account at the end of a line."""
        found = self.counts()
        return LineReport(
            captured=found.captured,
            ok=found.verdicts[Verdict.OK],
            ng=found.verdicts[Verdict.NG],
            review=found.verdicts[Verdict.REVIEW],
            fault=found.verdicts[Verdict.FAULT],
            dropped=found.dropped,
            p50_ms=found.p50_ms,
            p99_ms=found.p99_ms,
            sink_errors=sink_errors,
        )
