"""Whatever breaks in a running line: it is found, said, and the account holds."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from toy_line import FirstPixel, Frames, Told, accounted, frame, picture, seal, wait_until
from toy_sources import Bench, Camera, breaks, hangs, shot, waits

from edge.account import LineReport
from edge.feed import Feed
from edge.line import STOPPED, Line
from edge.watchdog import Budget
from qc.bundle import Bundle
from qc.errors import FaultError
from qc.journal import BATCH, Journal, JournalWriter
from qc.types import Frame, Image, Inspection, Prediction, Verdict

QUICK_S = 0.15
"""Takes the place of the 1.8 s after which a source is degraded."""


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return seal(tmp_path / "toy.tflite")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "line.journal"


@pytest.fixture
def journal(path: Path, bundle: Bundle) -> Iterator[JournalWriter]:
    writer = JournalWriter(path, bundle.manifest, "toy 1.0", durability="normal")
    yield writer
    try:
        writer.close()
    except FaultError:
        return  # the test has looked at it


class Running:
    """A line that runs in a thread of its own."""

    def __init__(self, line: Line) -> None:
        self.line = line
        self.report: LineReport | None = None
        self.error: BaseException | None = None
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        try:
            self.report = self.line.run()
        except BaseException as error:  # noqa: BLE001 - the test looks at it
            self.error = error

    def until(self, true: Callable[[Any], bool]) -> None:
        """Wait for a state; the invariant holds at every look."""

        def looked() -> bool:
            status = self.line.status()
            parts = status.ok + status.ng + status.review + status.fault
            dropped = sum(status.dropped.values())
            assert status.captured == parts + dropped + status.in_flight
            assert sum(status.latency_counts) == parts
            return true(status)

        wait_until(looked)

    def stop(self, *benches: Bench) -> LineReport:
        """Stop the line, and then the cameras that wait for it."""
        self.line.stop()
        wait_until(lambda: all(capture.stopping for capture in self.line._captures))
        for bench in benches:
            bench.over.set(), bench.let_go.set()
        return self.stop_when_done()

    def stop_when_done(self) -> LineReport:
        self._thread.join(5)
        assert not self._thread.is_alive()
        if self.error is not None:
            raise self.error
        assert self.report is not None
        return self.report


class Stuck(FirstPixel):
    """Does not return while the third pixel of a picture is 7; `let_go` ends that."""

    made: list[Stuck]

    def __init__(self, *args: Any) -> None:
        super().__init__()
        self.let_go = threading.Event()

    def predict(self, image: Image) -> Prediction:
        if image[0, 2, 0] == 7:
            self.let_go.wait(20)
        return super().predict(image)


def sticky(red: int = 0) -> Image:
    image = picture(red)
    image[0, 2, 0] = 7
    return image


# sources


def test_one_source_hangs_and_the_other_goes_on(
    bundle: Bundle, path: Path, journal: JournalWriter
) -> None:
    """The hanging one is degraded, its line too, the sinks know; then it is back."""
    left = Bench([shot(), hangs], [shot()] * 3 + [waits], source_id="left")
    right = Bench([shot(200)] * 20 + [waits], source_id="right")
    sink = Told()
    feeds = [Feed(b.make(), b.make, kind="toy", stall_s=QUICK_S) for b in (left, right)]
    running = Running(Line(bundle, FirstPixel(), feeds, journal, sinks={"a": sink}))
    running.until(lambda s: s.captured == 24 and s.in_flight == 0 and s.state == "running")
    status = running.line.status()
    assert [(s.source_id, s.state, s.frames, s.reopened) for s in status.sources] == [
        ("left", "running", 4, 1),
        ("right", "running", 20, 0),
    ]
    assert running.line.latest("right").verdict is Verdict.NG  # type: ignore[union-attr]
    report = running.stop(left, right)
    assert (report.ok, report.ng) == (4, 20) and accounted(report, path)
    told = [e.detail for e in Journal(path).events() if e.kind == "source"]
    assert told[0]["source"] == "left" and "running -> degraded: no frame" in told[0]["what"]
    assert {"source": "left", "what": "degraded -> running"} in told
    assert sink.alarms == ["hold: source left: no frame for 0.15 s"]
    assert len(left.made[1].told) == 3 and len(right.made[0].told) == 20


def test_a_camera_that_is_unplugged_and_comes_back(
    bundle: Bundle, path: Path, journal: JournalWriter
) -> None:
    bench = Bench([shot(), breaks], [breaks], [breaks], [shot(), shot(image=False), shot(), waits])
    running = Running(Line(bundle, FirstPixel(), [Feed(bench.make(), bench.make)], journal))
    running.until(lambda s: s.captured == 4 and s.in_flight == 0)
    report = running.stop(bench)
    assert (report.ok, report.fault) == (3, 1) and accounted(report, path)


def test_a_fast_source_takes_no_room_of_a_slow_one(
    bundle: Bundle, path: Path, journal: JournalWriter
) -> None:
    """With one queue for both, 400 newer frames of the fast one would overtake the slow one's."""
    fast = Bench([shot()] * 400 + [waits], source_id="fast")
    slow = Bench([shot()] * 2 + [waits], source_id="slow")
    feeds = [Feed(b.make(), b.make) for b in (fast, slow)]
    line = Line(bundle, FirstPixel(0.005), feeds, journal, policy="latest", queue_size=2)
    running = Running(line)
    running.until(lambda s: s.captured == 402 and s.in_flight == 0)
    report = running.stop(fast, slow)
    assert accounted(report, path) and sum(report.dropped.values()) > 300
    assert sum(r.source_id == "slow" for r in Journal(path).rows(limit=500)) == 2


# the interpreter


def test_a_runtime_that_does_not_return_is_left_behind(
    bundle: Bundle, path: Path, journal: JournalWriter
) -> None:
    made: list[Stuck] = []

    def make(_: Bundle) -> Stuck:
        made.append(Stuck())
        return made[-1]

    first = Stuck()
    images = [picture(), sticky(), picture(), picture(200)]
    source = Frames([frame(i, image) for i, image in enumerate(images)])
    line = Line(bundle, first, source, journal, make_predictor=make, hang_s=0.1)
    report = Running(line).stop_when_done()
    first.let_go.set()
    time.sleep(0.05)  # the late verdict is nobody's
    assert (report.ok, report.ng, report.fault) == (2, 1, 1) and accounted(report, path)
    (fault,) = Journal(path).rows(verdicts=[Verdict.FAULT])
    assert fault.frame_id == "f0001" and "did not return for 0.1" in fault.reason
    kinds = [e.kind for e in Journal(path).events()]
    assert len(made) == 1 and kinds == ["start", "judge restarted", "stop"]


def test_a_runtime_that_cannot_be_made_anew_ends_the_line(
    bundle: Bundle, path: Path, journal: JournalWriter
) -> None:
    stuck, sink = Stuck(), Told()
    source = Frames([frame(i, sticky()) for i in range(3)])
    line = Line(bundle, stuck, source, journal, hang_s=0.1, sinks={"a": sink})
    with pytest.raises(FaultError, match="a runtime that can be made anew"):
        line.run()
    stuck.let_go.set()
    counts = Journal(path).counts()
    assert counts == {"captured": 3, "ok": 0, "ng": 0, "review": 0, "fault": 1, "dropped": 2}
    assert sink.alarms and sink.alarms[-1].startswith("hold: ")


def test_a_runtime_that_hangs_too_often_ends_the_line(
    bundle: Bundle, path: Path, journal: JournalWriter
) -> None:
    source = Frames([frame(i, sticky()) for i in range(9)])
    made: list[Stuck] = []

    def make(_: Bundle) -> Stuck:
        made.append(Stuck())
        return made[-1]

    line = Line(
        bundle, make(bundle), source, journal,
        make_predictor=make, hang_s=0.05, restarts=Budget(2, 60),
    )  # fmt: skip
    with pytest.raises(FaultError, match="no more than 2 restarts in 60 s"):
        line.run()
    for stuck in made:
        stuck.let_go.set()
    counts = Journal(path).counts()
    assert counts["fault"] == 3 and counts["captured"] == counts["fault"] + counts["dropped"]


def test_the_fault_of_a_late_verdict_does_not_wait_for_the_verdict(
    bundle: Bundle, path: Path, journal: JournalWriter
) -> None:
    """Told 50 ms after the capture, while the runtime takes as long as it likes."""
    stuck = Stuck()
    bench = Bench([lambda c: frame(1, sticky()), shot(), waits])
    line = Line(bundle, stuck, [Feed(bench.make(), bench.make)], journal, deadline_ms=50)
    running = Running(line)
    running.until(lambda s: s.fault == 1)
    status = running.line.status()
    assert status.ok == 0 and 50 < status.latency_sum_ms < 500
    assert stuck.let_go.is_set() is False
    stuck.let_go.set()
    running.until(lambda s: s.captured == 2 and s.in_flight == 0)
    report = running.stop(bench)
    assert report.fault >= 1 and report.ok + report.fault == 2 and accounted(report, path)
    last = Journal(path).rows(newest_first=False)[0]
    assert last.reason.startswith("no verdict ") and "deadline 50 ms" in last.reason


@pytest.mark.parametrize("error", [MemoryError("no memory"), TypeError("what is this")])
def test_whatever_a_runtime_raises_is_a_fault_of_its_frame(
    bundle: Bundle, path: Path, journal: JournalWriter, error: Exception
) -> None:
    class Raises(FirstPixel):
        def predict(self, image: Image) -> Prediction:
            if image[0, 2, 0] == 7:
                raise error
            return super().predict(image)

    source = Frames([frame(1, sticky()), frame(2, picture())])
    report = Line(bundle, Raises(), source, journal).run()
    assert (report.ok, report.fault) == (1, 1) and accounted(report, path)


def test_a_judge_that_dies_is_replaced_and_its_frame_is_a_fault(
    bundle: Bundle, path: Path, journal: JournalWriter
) -> None:
    class Dies(FirstPixel):
        def predict(self, image: Image) -> Prediction:
            if image[0, 2, 0] == 7:
                raise SystemExit("the thread is gone")
            return super().predict(image)

    source = Frames([frame(i, sticky() if i == 2 else picture()) for i in range(5)])
    report = Line(bundle, Dies(), source, journal).run()
    assert (report.ok, report.fault) == (4, 1) and accounted(report, path)
    assert (
        "SystemExit: the thread is gone" in Journal(path).rows(verdicts=[Verdict.FAULT])[0].reason
    )


def test_scores_that_are_no_numbers_and_corrupt_frames_are_faults(
    bundle: Bundle, path: Path, journal: JournalWriter
) -> None:
    source = Frames([frame(1, picture(0, 0, 2)), frame(2, None), frame(3, picture())])
    report = Line(bundle, FirstPixel(), source, journal).run()
    assert (report.ok, report.fault) == (1, 2) and accounted(report, path)


# the end


def test_a_second_stop_drops_what_waits_at_once(
    bundle: Bundle, path: Path, journal: JournalWriter
) -> None:
    slow = FirstPixel()

    def slower(camera: Camera) -> Frame:
        slow.delay_s = 0.3
        return shot()(camera)

    bench = Bench([slower, *[shot()] * 5, waits])
    line = Line(bundle, slow, [Feed(bench.make(), bench.make)], journal)
    running = Running(line)
    running.until(lambda s: s.captured == 6)
    start = time.monotonic()
    line.stop()
    line.stop(at_once=True)
    report = running.stop(bench)
    assert time.monotonic() - start < 1.5 and report.ok <= 2
    assert (
        report.captured == 6
        and report.dropped == {STOPPED: 6 - report.ok}
        and accounted(report, path)
    )


def test_a_journal_that_takes_nothing_ends_the_line(
    bundle: Bundle, path: Path, journal: JournalWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that hangs: `put` does not return, and nobody may wait for it for ever."""
    monkeypatch.setattr("edge.overseer.SILENT_S", 0.1)
    monkeypatch.setattr("edge.line.END_S", 0.1)
    let_go, sink = threading.Event(), Told()
    put = journal.put

    def stuck(inspection: Inspection) -> None:
        if inspection.frame_id == "f0002":
            let_go.wait(20)
        put(inspection)

    journal.put = stuck  # type: ignore[method-assign]
    source = Frames([frame(i, picture()) for i in range(4)])
    with pytest.raises(FaultError, match="the journal does not answer"):
        Line(bundle, FirstPixel(), source, journal, sinks={"a": sink}).run()
    let_go.set()
    assert sink.alarms and Journal(path).counts()["ok"] == 2


def test_a_journal_whose_thread_dies_ends_the_line(
    bundle: Bundle, path: Path, journal: JournalWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dies(*_: object) -> None:
        raise SystemExit("the thread is gone")

    monkeypatch.setattr(journal, "_write", dies)
    source = Frames(frame(i, picture()) for i in range(500))
    with pytest.raises(FaultError, match="the journal cannot be written"):
        Line(bundle, FirstPixel(), source, journal).run()


def test_memory_does_not_grow_with_the_parts(bundle: Bundle, journal: JournalWriter) -> None:
    """What the line keeps of inspections is one of each source, and a batch of the journal."""
    import gc

    source = Frames(frame(i, np.full((4, 4, 3), i % 50, np.uint8)) for i in range(300))
    Line(bundle, FirstPixel(), source, journal).run()
    gc.collect()
    assert sum(isinstance(o, Inspection) for o in gc.get_objects()) <= 1 + BATCH
