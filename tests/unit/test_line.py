"""The line: every captured frame is accounted for, whatever breaks."""

from __future__ import annotations

import itertools
import json
import sqlite3
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from toy_line import FirstPixel, Frames, Told, accounted, frame, picture, seal, wait_until

from edge.channel import OVERTAKEN
from edge.inspect import inspect_frame, overlay_of
from edge.line import STOPPED, Line
from qc.bundle import Bundle
from qc.errors import BundleError, FaultError, UsageError
from qc.journal import Journal, JournalWriter
from qc.linefile import ActionsTable
from qc.types import Frame, Inspection, Verdict

KEYS = ["captured", "ok", "ng", "review", "fault", "dropped", "p50_ms", "p99_ms"]


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return seal(tmp_path / "toy.tflite")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "j" / "line.journal"


@pytest.fixture
def journal(path: Path, bundle: Bundle) -> Iterator[JournalWriter]:
    writer = JournalWriter(path, bundle.manifest, "toy 1.0")
    yield writer
    try:
        writer.close()
    except FaultError:
        return  # the test has looked at it


def frames(n: int, red: int = 0) -> list[Frame]:
    return [frame(i, picture(red)) for i in range(n)]


def endless() -> Iterator[Frame]:
    return (frame(i, picture(0)) for i in itertools.count())


# one frame


def test_the_verdict_follows_the_thresholds(bundle: Bundle) -> None:
    """Red 63 / 256 = 0.246, 64 / 256 = 0.25, 191 / 256 = 0.746, 192 / 256 = 0.75."""
    reds = {63: Verdict.OK, 64: Verdict.REVIEW, 191: Verdict.REVIEW, 192: Verdict.NG}
    for red, verdict in reds.items():
        found = inspect_frame(frame(1, picture(red)), bundle, FirstPixel())
        assert found.verdict is verdict and found.defect_score == red / 256
        assert found.defect_class == "scratch" and found.bundle_id == bundle.manifest.bundle_id
        assert (found.frame_id, found.source_id, found.part_id, found.lot) == (
            "f0001",
            "toy",
            "p1",
            "lot1",
        )
        assert found.timings_ms["infer"] == 2.0 and 0 < found.timings_ms["total"] < 1000
    assert inspect_frame(frame(1, picture(255, 9)), bundle, FirstPixel()).defect_class == "dent"


def test_ids_are_never_the_same(bundle: Bundle) -> None:
    same = frame(1, picture())
    ids = {inspect_frame(same, bundle, FirstPixel()).inspection_id for _ in range(50)}
    assert len(ids) == 50


def test_whatever_goes_wrong_is_a_fault_with_its_reason(bundle: Bundle) -> None:
    def judged(image: np.ndarray | None) -> Inspection:
        return inspect_frame(frame(1, image), bundle, FirstPixel())

    blind = judged(None)
    assert blind.verdict is Verdict.FAULT and blind.reason == "the cable is out"
    assert blind.prediction is None and list(blind.timings_ms) == ["total"]
    broken = judged(picture(255, 0, 1))
    assert broken.verdict is Verdict.FAULT and "invoke went wrong" in broken.reason
    assert broken.image is not None and broken.prediction is None
    nan = judged(picture(255, 0, 2))
    assert nan.verdict is Verdict.FAULT and "not a number" in nan.reason
    assert nan.defect_class is None and nan.defect_score is None


def test_a_verdict_after_the_deadline_is_a_fault(bundle: Bundle) -> None:
    late = inspect_frame(frame(1, picture(255)), bundle, FirstPixel(0.05), deadline_ms=20)
    assert late.verdict is Verdict.FAULT and "deadline 20 ms" in late.reason
    assert late.defect_class is None and late.prediction is not None
    waited = replace(frame(1, picture(255)), monotonic_ns=time.monotonic_ns() - 30_000_000)
    unjudged = inspect_frame(waited, bundle, FirstPixel(), deadline_ms=20)
    assert unjudged.verdict is Verdict.FAULT and unjudged.prediction is None
    assert unjudged.reason.startswith("its turn came 3") and "deadline 20 ms" in unjudged.reason
    in_time = inspect_frame(frame(1, picture(255)), bundle, FirstPixel(), deadline_ms=5000)
    assert in_time.verdict is Verdict.NG


def test_the_overlay_shows_the_map_of_the_named_class(bundle: Bundle) -> None:
    manifest = bundle.manifest
    scratch = inspect_frame(frame(1, picture(255)), bundle, FirstPixel())
    dent = inspect_frame(frame(1, picture(255, 9)), bundle, FirstPixel())
    heat_scratch, heat_dent = overlay_of(scratch, manifest), overlay_of(dent, manifest)
    assert heat_scratch is not None and heat_dent is not None
    # each map has its hottest cell elsewhere: scratch lower right, dent upper left
    corners = [
        [int(np.ptp(heat[at, at].astype(int))) > 40 for at in (100, 340)]
        for heat in (heat_scratch, heat_dent)
    ]
    assert corners == [[False, True], [True, False]]
    assert overlay_of(inspect_frame(frame(1, None), bundle, FirstPixel()), manifest) is None
    broken = inspect_frame(frame(1, picture(0, 0, 1)), bundle, FirstPixel())
    assert overlay_of(broken, manifest) is not None


# the account


def test_every_frame_is_accounted_for(bundle: Bundle, path: Path, journal: JournalWriter) -> None:
    images = [picture(0)] * 4 + [picture(255)] * 3 + [picture(128)] * 2
    images += [picture(0, 0, 1), picture(0, 0, 2), None]  # type: ignore[list-item]
    source = Frames([frame(i, image) for i, image in enumerate(images)])
    report = Line(bundle, FirstPixel(), source, journal).run()
    assert (report.captured, report.ok, report.ng, report.review, report.fault) == (12, 4, 3, 2, 3)
    assert report.dropped == {} and accounted(report, path) and source.ended
    assert list(report.as_json()) == KEYS and json.loads(json.dumps(report.as_json()))
    assert report.p50_ms is not None and report.p99_ms is not None
    assert 0 < report.p50_ms <= report.p99_ms
    rows = Journal(path).rows(newest_first=False)
    assert [r.frame_id for r in rows] == [f"f{i:04d}" for i in range(12)]
    assert sum(r.image_path is not None for r in rows) == 7  # NG, REVIEW, FAULT with a picture


def test_a_line_without_measurement_has_no_percentiles(
    bundle: Bundle, path: Path, journal: JournalWriter
) -> None:
    report = Line(bundle, FirstPixel(), Frames([frame(1, None)]), journal).run()
    assert report.fault == report.captured == 1
    assert report.p50_ms is None and report.p99_ms is None


def test_overtaken_frames_are_journaled_with_their_cause(
    bundle: Bundle, path: Path, journal: JournalWriter
) -> None:
    line = Line(
        bundle,
        FirstPixel(0.02),
        Frames(frames(40), is_live=True, delay_s=0.002),
        journal,
        policy="latest",
        queue_size=2,
    )
    report = line.run()
    assert report.captured == 40 and accounted(report, path)
    assert list(report.dropped) == [OVERTAKEN] and report.dropped[OVERTAKEN] > 10
    assert Journal(path).drops() == report.dropped
    last = Journal(path).rows(limit=1)[0]
    assert last.frame_id == "f0039", "the newest frame is never the one that is dropped"


def test_waiting_drops_nothing(bundle: Bundle, path: Path, journal: JournalWriter) -> None:
    report = Line(bundle, FirstPixel(0.005), Frames(frames(30)), journal, queue_size=1).run()
    assert report.ok == 30 and report.dropped == {} and accounted(report, path)


def test_a_bundle_that_does_not_replay_starts_nothing(
    bundle: Bundle, path: Path, journal: JournalWriter
) -> None:
    source = Frames(frames(3))
    with pytest.raises(BundleError, match=r"does not replay on toy 1\.0"):
        Line(bundle, FirstPixel(shift=0.02), source, journal).run()
    assert not source.ended and Journal(path).counts()["captured"] == 0


def test_a_line_runs_once(bundle: Bundle, journal: JournalWriter) -> None:
    line = Line(bundle, FirstPixel(), Frames(frames(1)), journal)
    line.run()
    with pytest.raises(UsageError, match="runs once"):
        line.run()


# stopping


def test_stop_drains_what_was_captured(bundle: Bundle, path: Path, journal: JournalWriter) -> None:
    source = Frames(endless())
    line = Line(bundle, FirstPixel(0.003), source, journal)
    timer = threading.Timer(0.2, lambda: [line.stop(), line.stop()])
    timer.start()
    start = time.monotonic()
    report = line.run()
    assert time.monotonic() - start < 3 and source.ended
    assert report.captured > 8 and report.dropped == {} and accounted(report, path)
    line.stop()


def test_what_is_not_drained_in_time_is_dropped_with_its_cause(
    bundle: Bundle, path: Path, journal: JournalWriter
) -> None:
    line = Line(bundle, FirstPixel(0.05), Frames(endless()), journal, queue_size=16, drain_s=0.1)
    threading.Timer(0.3, line.stop).start()
    report = line.run()
    assert list(report.dropped) == [STOPPED] and report.dropped[STOPPED] >= 10
    assert accounted(report, path)


def test_a_frame_refused_at_the_end_of_the_drain_is_dropped_too(
    bundle: Bundle, path: Path, journal: JournalWriter
) -> None:
    """The third frame still waits for room when the channel closes: one judged, two dropped."""
    predictor = FirstPixel()

    def three() -> Iterator[Frame]:
        predictor.delay_s = 0.5  # the replay is over
        yield from frames(3)

    line = Line(bundle, predictor, Frames(three()), journal, queue_size=1, drain_s=0.1)
    threading.Timer(0.2, line.stop).start()
    report = line.run()
    assert (report.captured, report.ok, report.dropped) == (3, 1, {STOPPED: 2})
    assert accounted(report, path)


def test_a_source_that_never_answers_does_not_hold_the_end(
    bundle: Bundle, path: Path, journal: JournalWriter
) -> None:
    silent = threading.Event()

    def two_frames() -> Iterator[Frame]:
        yield from frames(2)
        silent.wait(20)
        yield frame(9, picture())

    line = Line(bundle, FirstPixel(), Frames(two_frames(), is_live=True), journal, drain_s=0.2)
    threading.Timer(0.2, line.stop).start()
    start = time.monotonic()
    report = line.run()
    silent.set()
    assert time.monotonic() - start < 4
    assert report.captured == 2 and accounted(report, path)


def test_a_source_that_breaks_ends_the_line_after_draining(
    bundle: Bundle, path: Path, journal: JournalWriter
) -> None:
    def breaking() -> Iterator[Frame]:
        yield from frames(6, red=255)
        raise OSError("the camera was unplugged")

    source = Frames(breaking())
    with pytest.raises(FaultError, match="OSError: the camera was unplugged") as caught:
        Line(bundle, FirstPixel(0.005), source, journal).run()
    assert isinstance(caught.value.__cause__, OSError)
    assert Journal(path).counts()["ng"] == 6 and source.ended


# the journal breaks


@pytest.mark.parametrize("is_live", [False, True])
def test_a_journal_that_fails_stops_the_line(
    bundle: Bundle, path: Path, journal: JournalWriter, is_live: bool
) -> None:
    """Also where the source is silent for good: the line does not wait for its next frame."""
    with sqlite3.connect(path) as connection:
        connection.execute(
            "CREATE TRIGGER bad BEFORE INSERT ON inspections WHEN NEW.frame_id = 'f0005' "
            "BEGIN SELECT RAISE(ABORT, 'the disk went away'); END"
        )
    silent = threading.Event()

    def some() -> Iterator[Frame]:
        yield from frames(10)
        if is_live:
            silent.wait(30)

    sink = Told()
    start = time.monotonic()
    with pytest.raises(FaultError, match="the disk went away"):
        Line(bundle, FirstPixel(), Frames(some(), is_live), journal, sinks={"a": sink}).run()
    silent.set()
    assert time.monotonic() - start < 5
    assert [r.frame_id for r in Journal(path).rows()] == [f"f{i:04d}" for i in (4, 3, 2, 1, 0)]
    assert len(sink.seen) == 5 and sink.closed, "told of what is journaled and of nothing else"
    assert sink.alarms[0].startswith("hold: ") and "disk went away" in sink.alarms[0]


# who is told


def test_sinks_are_told_after_the_journal(
    bundle: Bundle, path: Path, journal: JournalWriter
) -> None:
    sink, called = Told(), []
    report = Line(
        bundle, FirstPixel(), Frames(frames(20)), journal, sinks={"told": sink},
        on_inspection=called.append,
    ).run()  # fmt: skip
    assert report.sink_errors == () and sink.closed and sink.alarms == []
    assert [m.row.frame_id for m in sink.seen] == [f"f{i:04d}" for i in range(20)]
    assert [i.frame_id for i in called] == [f"f{i:04d}" for i in range(20)]
    assert {m.action for m in sink.seen} == {"pass"}


def test_a_broken_sink_is_reported_and_harms_nobody(
    bundle: Bundle, path: Path, journal: JournalWriter
) -> None:
    broken, sound = Told(broken="no route to host"), Told()
    report = Line(
        bundle, FirstPixel(), Frames(frames(7)), journal, sinks={"a": broken, "b": sound}
    ).run()
    assert report.ok == 7 and accounted(report, path) and len(sound.seen) == 7
    assert report.sink_errors == (
        "a: 7 not delivered yet, they will be at the next start; no route to host",
    )
    assert broken.closed


def test_a_slow_sink_does_not_hold_a_live_line(
    bundle: Bundle, path: Path, journal: JournalWriter
) -> None:
    """150 frames do not fit in the 0.5 s of the end; the journal has them all."""
    slow = Told(delay_s=0.2)
    live = Frames(frames(150), is_live=True)
    start = time.monotonic()
    report = Line(bundle, FirstPixel(), live, journal, sinks={"a": slow}, drain_s=0.5).run()
    assert time.monotonic() - start < 5
    assert report.ok == 150 and accounted(report, path)
    (said,) = report.sink_errors
    assert "not delivered yet" in said


def test_a_line_of_files_waits_for_a_slow_sink(
    bundle: Bundle, path: Path, journal: JournalWriter
) -> None:
    slow = Told(delay_s=0.005)
    report = Line(bundle, FirstPixel(), Frames(frames(150)), journal, sinks={"a": slow}).run()
    assert report.sink_errors == () and len(slow.seen) == 150


def test_a_dead_callback_is_reported(bundle: Bundle, path: Path, journal: JournalWriter) -> None:
    def dead(_: Inspection) -> None:
        raise BrokenPipeError("nobody reads")

    report = Line(bundle, FirstPixel(), Frames(frames(2)), journal, on_inspection=dead).run()
    assert report.ok == 2 and "nobody reads" in report.sink_errors[0]
    assert accounted(report, path)


def test_a_verdict_has_its_action(bundle: Bundle, journal: JournalWriter) -> None:
    actions = ActionsTable(ng="hold", review="reject", fault="reject")
    line = Line(bundle, FirstPixel(), Frames([]), journal, actions=actions)
    said = {verdict: line.action_of(verdict) for verdict in Verdict}
    assert said == {"OK": "pass", "NG": "hold", "REVIEW": "reject", "FAULT": "reject"}


def test_no_thread_stays_behind(bundle: Bundle, journal: JournalWriter) -> None:
    before = set(threading.enumerate())
    Line(bundle, FirstPixel(), Frames(frames(3)), journal, sinks={"a": Told()}).run()
    journal.close()
    wait_until(lambda: set(threading.enumerate()) <= before)
