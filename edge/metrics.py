"""What a line says of itself as Prometheus text: one pass over `LineStatus` for each request.

The counters are the line's own and are not counted a second time here, so that `/metrics`,
`/health` and the journal cannot disagree. Names and units follow Prometheus: base units, so
latencies are in seconds.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4 as TEXT_TYPE
from prometheus_client.registry import Collector

from edge.status import LATENCY_BUCKETS_MS, LineStatus

__all__ = ["TEXT_TYPE", "metrics_text"]

_LINE_STATES = ("running", "degraded", "stopping")
_SOURCE_STATES = ("starting", "running", "degraded", "ended")
_SINK_STATES = ("running", "failing", "stuck")


def metrics_text(status: LineStatus) -> bytes:
    """The metrics of a line and of its process, text format 0.0.4."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Once(status))
    ProcessCollector(registry=registry)
    return generate_latest(registry)


class _Once(Collector):
    """The metrics of one moment."""

    def __init__(self, status: LineStatus) -> None:
        self.status = status

    def collect(self) -> Iterator[Metric]:
        """Every metric of the line."""
        status = self.status
        yield InfoMetricFamily(
            "qc_bundle",
            "The bundle that judges, and what runs it.",
            {"bundle_id": status.bundle_id, "runtime": status.runtime},
        )
        yield _gauge(
            "qc_start_time_seconds", "When the line started.", status.started_at.timestamp()
        )
        state = GaugeMetricFamily("qc_line_state", "1 for the state it is in.", labels=["state"])
        _add_states(state, [], status.state, _LINE_STATES)
        yield state
        yield CounterMetricFamily("qc_captured", "Frames captured.", status.captured)
        verdicts = CounterMetricFamily("qc_inspections", "Frames judged.", labels=["verdict"])
        for name in ("ok", "ng", "review", "fault"):
            verdicts.add_metric([name.upper()], getattr(status, name))
        yield verdicts
        dropped = CounterMetricFamily("qc_dropped", "Frames not judged.", labels=["cause"])
        for cause, count in sorted(status.dropped.items()):
            dropped.add_metric([cause], count)
        yield dropped
        yield _gauge("qc_queue_depth", "Frames that wait to be judged.", status.queued)
        yield _gauge("qc_in_flight", "Frames without a verdict or drop so far.", status.in_flight)
        yield HistogramMetricFamily(
            "qc_latency_seconds",
            "From capture to verdict.",
            buckets=_cumulative(status.latency_counts),
            sum_value=status.latency_sum_ms / 1000,
        )
        yield _gauge("qc_disk_free_bytes", "Free where the journal is.", status.disk_free_bytes)
        yield _gauge("qc_images_kept", "0 while pictures are not kept.", not status.images_why)
        yield from self._sources()
        yield from self._sinks()

    def _sources(self) -> Iterable[Metric]:
        labels = ["source"]
        state = GaugeMetricFamily(
            "qc_source_state", "1 for the state it is in.", labels=[*labels, "state"]
        )
        frames = CounterMetricFamily("qc_source_frames", "Frames captured.", labels=labels)
        again = CounterMetricFamily("qc_source_reopened", "Times taken up again.", labels=labels)
        for source in self.status.sources:
            _add_states(state, [source.source_id], source.state, _SOURCE_STATES)
            frames.add_metric([source.source_id], source.frames)
            again.add_metric([source.source_id], source.reopened)
        return state, frames, again

    def _sinks(self) -> Iterable[Metric]:
        labels = ["sink"]
        state = GaugeMetricFamily(
            "qc_sink_state", "1 for the state it is in.", labels=[*labels, "state"]
        )
        waiting = GaugeMetricFamily("qc_sink_waiting", "Journaled, not told yet.", labels=labels)
        told = CounterMetricFamily("qc_sink_delivered", "Inspections told.", labels=labels)
        for sink in self.status.sinks:
            _add_states(state, [sink.sink_id], sink.state, _SINK_STATES)
            waiting.add_metric([sink.sink_id], sink.waiting)
            told.add_metric([sink.sink_id], sink.delivered)
        return state, waiting, told


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, text, float(value))


def _add_states(
    family: GaugeMetricFamily, labels: list[str], now: str, states: tuple[str, ...]
) -> None:
    for state in states:
        family.add_metric([*labels, state], float(state == now))


def _cumulative(counts: tuple[int, ...]) -> list[tuple[str, float]]:
    """Counts of each bucket as Prometheus wants them: up to and with each bound, in seconds."""
    total, buckets = 0, []
    bounds = [*(f"{bound / 1000:g}" for bound in LATENCY_BUCKETS_MS), "+Inf"]
    for bound, count in zip(bounds, counts, strict=True):
        total += count
        buckets.append((bound, float(total)))
    return buckets
