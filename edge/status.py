"""What a running line says of itself: one frozen picture, for health page and metrics."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

LATENCY_BUCKETS_MS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000)
"""Upper bounds of the latency histogram, milliseconds from capture to verdict."""


Ended = Literal["none", "stopped", "did not stop"]
"""How the line before this one ended, by the journal."""


@dataclass(frozen=True, slots=True)
class SourceStatus:
    """How one source does.

    Args:
        state: "starting" until its first frame, "running", "degraded" while no frame can be had of
            it, "ended" where it has no more frames.
        since: UTC, when this state began.
        why: what is wrong, in words; "" where nothing is.
        frames: captured since the line started.
        reopened: how often it was taken up again.
    """

    source_id: str
    kind: str
    state: Literal["starting", "running", "degraded", "ended"]
    since: datetime
    why: str = ""
    frames: int = 0
    reopened: int = 0


@dataclass(frozen=True, slots=True)
class SinkStatus:
    """How one sink does.

    Args:
        state: "running", "failing" while it refuses, "stuck" while a call into it does not return.
        waiting: journaled inspections that it has not been told of yet.
        delivered: told since the line started.
        why: the last failure, in words; "" where there is none.
    """

    sink_id: str
    state: Literal["running", "failing", "stuck"]
    waiting: int
    delivered: int
    why: str = ""


@dataclass(frozen=True, slots=True)
class LineStatus:
    """The account of a running line; captured = ok + ng + review + fault + dropped + in flight.

    Args:
        state: "running"; "stopping"; "degraded" where a source, a sink or the keeping of pictures
            is.
        before: how the line before ended, by the journal; "none" where it knows of none.
        queued: frames that wait to be judged.
        in_flight: captured frames without a verdict or a drop so far, the queued among them.
        latency_counts: inspections by capture-to-verdict time, one count for each bound of
            `LATENCY_BUCKETS_MS` and one for what is slower; not cumulative.
        latency_sum_ms: the sum behind the histogram.
        images_why: why pictures are not kept, in words; "" where they are.
    """

    state: Literal["running", "degraded", "stopping"]
    bundle_id: str
    runtime: str
    started_at: datetime
    captured: int
    ok: int
    ng: int
    review: int
    fault: int
    dropped: dict[str, int]
    queued: int
    in_flight: int
    latency_counts: tuple[int, ...]
    latency_sum_ms: float
    p50_ms: float | None
    p99_ms: float | None
    disk_free_bytes: int
    images_why: str = ""
    sources: tuple[SourceStatus, ...] = field(default=())
    sinks: tuple[SinkStatus, ...] = field(default=())
    before: Ended = "none"
