"""A source that hangs, breaks, closes, sends garbage or changes its size, and comes back."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from toy_line import Frames, frame, picture, wait_until
from toy_sources import Bench, Camera, Step, breaks, hangs, shot, waits

from edge.capture import LEFT_BEHIND, OPEN_S, SLOW_S, Capture
from edge.feed import STALL_S, Feed
from edge.watchdog import Budget
from qc.types import Frame, Image


class Clock:
    """Seconds that pass when they are told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Watched:
    """A capture with its clock, and what it says."""

    def __init__(self, feed: Feed, budget: int = 10) -> None:
        self.clock = Clock()
        self.parts: list[Frame] = []
        self.notes: list[str] = []
        self.lost: list[str] = []
        self.ended = threading.Event()
        self.capture = Capture(
            feed,
            self.parts.append,
            self.notes.append,
            self.ended.set,
            self.lost.append,
            clock=self.clock,
            budget=Budget(budget, 60.0, self.clock),
        )
        self.capture.start()

    @property
    def state(self) -> str:
        return self.capture.status().state

    def after(self, seconds: float) -> None:
        """Let time pass, looking after the source as a line does."""
        end = self.clock.now + seconds
        while self.clock.now < end:
            self.clock.now += 0.05
            self.capture.check()

    def until(self, n: int) -> None:
        wait_until(lambda: len(self.parts) >= n)


@pytest.fixture
def benches() -> Iterator[list[Bench]]:
    """Cameras that are let go and ended whatever a test does."""
    made: list[Bench] = []
    yield made
    for bench in made:
        bench.let_go.set()
        bench.over.set()


def watched(benches: list[Bench], *scripts: list[Step], budget: int = 10, **more: object) -> tuple:
    bench = Bench(*scripts)
    benches.append(bench)
    return bench, Watched(Feed(bench.make(), bench.make, **more), budget)  # type: ignore[arg-type]


def test_a_read_that_hangs_is_found_within_two_seconds_and_left_behind(
    benches: list[Bench],
) -> None:
    bench, found = watched(benches, [shot(), hangs], [shot(), shot(), waits])
    found.until(1)
    bench.hung.wait(5)
    found.after(STALL_S - 0.1)
    assert found.state == "running" and len(bench.made) == 1
    found.after(0.15)
    assert found.state == "degraded" and "no frame for 1.8 s" in found.capture.status().why
    assert found.lost == ["source toy: no frame for 1.8 s"]
    found.after(0.2)  # the first pause
    found.until(3)
    wait_until(lambda: found.state == "running")
    assert found.capture.status().reopened == 1
    bench.let_go.set()  # the late frame of the one that was left behind is nobody's part
    wait_until(lambda: bench.made[0].closed)
    assert len(found.parts) == 3 and found.capture.status().frames == 3
    assert found.notes == ["running -> degraded: no frame for 1.8 s", "degraded -> running"]


def test_no_more_than_a_few_threads_are_left_behind_and_one_that_wakes_goes_on(
    benches: list[Bench],
) -> None:
    before = set(threading.enumerate())
    bench, found = watched(benches, [shot(), hangs, waits])
    for n in range(1, LEFT_BEHIND + 1):
        found.until(n)
        wait_until(bench.hung.is_set)
        bench.hung.clear()
        wait_until(lambda: found.capture._reader is None or found.capture._reader.since)
        found.after(STALL_S + 1.0)
    found.after(30)
    assert len(bench.made) == LEFT_BEHIND
    assert len(set(threading.enumerate()) - before) == LEFT_BEHIND
    assert found.capture.status().why == f"{LEFT_BEHIND} calls into the source do not return"
    bench.let_go.set()
    wait_until(lambda: found.state == "running")
    wait_until(lambda: sum(camera.closed for camera in bench.made) == LEFT_BEHIND - 1)
    assert len(found.parts) == LEFT_BEHIND + 1, "one late frame was taken, the others were not"


def test_a_source_that_breaks_is_opened_again_and_again_until_it_is_back(
    benches: list[Bench],
) -> None:
    outage = [[breaks]] * 6
    bench, found = watched(benches, [shot(), breaks], *outage, [shot(), waits])
    wait_until(lambda: found.state == "degraded")
    assert "OSError: the cable is out" in found.capture.status().why
    for n in range(2, 9):
        wait_until(lambda: found.capture._reader is None or found.state == "running")
        paused_s = 0.0
        while len(bench.made) < n:
            found.after(0.05)
            paused_s += 0.05
        assert paused_s < 0.9, "never a longer pause: it is back within a second"
    found.until(2)
    wait_until(lambda: found.state == "running")
    assert found.notes == ["running -> degraded: OSError: the cable is out", "degraded -> running"]
    assert all(camera.closed for camera in bench.made[:-1])


def test_a_live_source_that_closes_is_opened_again(benches: list[Bench]) -> None:
    _, found = watched(benches, [shot()], [shot(), waits])
    wait_until(lambda: found.state == "degraded")
    assert found.capture.status().why == "it closed" and not found.ended.is_set()
    found.after(0.2)
    found.until(2)


def test_a_live_source_with_an_end_ends(benches: list[Bench]) -> None:
    bench = Bench([shot()])
    first = bench.make()
    first.has_end = True  # type: ignore[attr-defined]
    found = Watched(Feed(first, bench.make))
    assert found.ended.wait(5) and found.state == "ended" and found.capture.failure is None


def test_a_source_that_fails_too_often_is_tried_less_often_and_says_so(
    benches: list[Bench],
) -> None:
    bench, found = watched(benches, [shot(), breaks], budget=2)
    for n in range(1, 4):
        found.until(n)
        wait_until(lambda: found.capture._reader is None)
        if n < 3:
            found.after(0.2)
    assert "failed too often (2 restarts in 60 s)" in found.capture.status().why
    found.after(SLOW_S - 0.2)
    assert len(bench.made) == 3
    found.after(0.3)
    found.until(4)


def test_an_opening_that_hangs_is_degraded_and_then_left_behind(benches: list[Bench]) -> None:
    bench = Bench([shot(), waits])
    benches.append(bench)
    let_go = threading.Event()

    class Slow(Camera):
        def __enter__(self) -> Camera:
            let_go.wait(20)
            return self

    found = Watched(Feed(Slow(bench, [waits]), bench.make))
    found.after(STALL_S + 0.1)
    assert found.state == "degraded" and "does not open" in found.capture.status().why
    assert len(bench.made) == 0
    found.after(OPEN_S - STALL_S + 0.3)
    found.until(1)
    let_go.set()


def test_silence_is_no_failure_where_frames_are_not_expected(benches: list[Bench]) -> None:
    bench = Bench([shot(), waits])
    benches.append(bench)
    camera = bench.make()
    camera.expects_frames = False
    found = Watched(Feed(camera, bench.make))
    found.until(1)
    bench.idle.wait(5)
    found.after(60)
    assert found.state == "running" and found.notes == []


def test_garbage_is_shown_and_judged_as_a_fault(benches: list[Bench]) -> None:
    _, found = watched(benches, [shot(), shot(image=False), shot(), waits])
    found.until(3)
    assert [f.fault for f in found.parts] == [None, "the cable is out", None]
    assert found.notes == ["running -> degraded: the cable is out", "degraded -> running"]


def test_what_is_no_frame_ends_the_reader_and_is_said(benches: list[Bench]) -> None:
    _, found = watched(benches, [lambda _: "a frame"], [waits])
    wait_until(lambda: found.state == "degraded")
    assert "gave no frame" in found.capture.status().why and found.parts == []


def test_a_change_of_size_is_noted_and_judged_without_a_region(benches: list[Bench]) -> None:
    _, found = watched(benches, [shot(), shot(size=8), shot(size=8), waits])
    found.until(3)
    assert all(f.fault is None for f in found.parts)
    assert found.notes == ["the picture is now 8 x 8, it was 4 x 4"]


def test_a_change_of_size_under_a_region_is_a_fault_until_it_is_back(benches: list[Bench]) -> None:
    class Left:
        def apply(self, image: Image) -> Image:
            return np.ascontiguousarray(image[:, :2])

    _, found = watched(benches, [shot(), shot(size=8), shot(), waits], region=Left())
    found.until(3)
    assert [f.image is None for f in found.parts] == [False, True, False]
    assert found.parts[0].image.shape == (4, 2, 3)
    assert "expected 4 x 4" in found.parts[1].fault and "found 8 x 8" in found.parts[1].fault


def test_frames_without_a_part_are_not_captured(benches: list[Bench]) -> None:
    class Bright:
        def fires(self, given: Frame) -> bool:
            return given.image is not None and int(given.image[0, 0, 0]) > 100

    _, found = watched(benches, [shot(), shot(200), shot(), shot(image=False), waits],
                       trigger=Bright())  # fmt: skip
    found.until(2)
    assert [f.fault for f in found.parts] == [None, "the cable is out"]
    assert found.capture.status().frames == 2


def test_a_trigger_or_a_code_reader_that_fails_is_a_fault(benches: list[Bench]) -> None:
    class Broken:
        def fires(self, given: Frame) -> bool:
            raise ZeroDivisionError("no light")

    _, found = watched(benches, [shot(), waits], trigger=Broken())
    found.until(1)
    assert found.parts[0].image is None and "ZeroDivisionError: no light" in found.parts[0].fault
    _, found = watched(benches, [shot(), waits], read_code=lambda image: "part 7")
    found.until(1)
    assert found.parts[0].part_id == "part 7"


def test_a_trigger_that_hangs_is_left_behind_and_its_part_is_not_captured_late(
    benches: list[Bench],
) -> None:
    hung, let_go = threading.Event(), threading.Event()

    class Hangs:
        def fires(self, given: Frame) -> bool:
            if not hung.is_set():
                hung.set()
                let_go.wait(20)
            return True

    bench, found = watched(benches, [shot(), waits], trigger=Hangs())
    assert hung.wait(5)
    found.after(STALL_S + 0.4)
    found.until(1)
    let_go.set()
    wait_until(lambda: bench.made[0].closed)
    assert [f.frame_id for f in found.parts] == ["f0002"]


def test_files_end_and_a_failure_of_theirs_is_kept() -> None:
    found = Watched(Feed(Frames([frame(1, picture())])))
    assert found.ended.wait(5) and found.state == "ended" and found.capture.failure is None

    def breaking() -> Iterator[Frame]:
        yield frame(1, picture())
        raise OSError("the disk is out")

    found = Watched(Feed(Frames(breaking())))
    assert found.ended.wait(5) and isinstance(found.capture.failure, OSError)
    assert len(found.parts) == 1


def test_a_thread_that_dies_is_found(benches: list[Bench]) -> None:
    def dies(camera: Camera) -> Frame:
        raise SystemExit(1)

    _, found = watched(benches, [shot(), dies], [shot(), waits])
    wait_until(lambda: found.state == "degraded")
    assert "SystemExit" in found.capture.status().why
    found.after(0.2)
    found.until(2)


def test_a_clock_that_jumps_back_changes_nothing(benches: list[Bench]) -> None:
    """Only `captured_at` is of the wall clock; stalls are found by the monotonic one."""
    day = frame(1, picture()).captured_at.replace(year=2001)
    _, found = watched(benches, [shot(), lambda c: replace(shot()(c), captured_at=day), waits])
    found.until(2)
    assert found.parts[1].captured_at.year == 2001 and found.state == "running"


def test_the_source_is_told_what_became_of_its_frame(benches: list[Bench]) -> None:
    from toy_line import inspection

    bench, found = watched(benches, [shot(), waits])
    found.until(1)
    told = inspection("a1")
    found.capture.answered(told)
    assert bench.made[0].told == [told]
    bench.made[0].told = None  # type: ignore[assignment]
    found.capture.answered(told)
    assert "failed: AttributeError" in found.notes[-1]


def test_a_source_is_prepared_before_it_is_opened_and_asked_to_stop(benches: list[Bench]) -> None:
    bench = Bench([shot(), waits])
    benches.append(bench)
    camera, done = bench.make(), []
    camera.begin = lambda bundle: done.append(f"begin, closed {camera.closed}")  # type: ignore[attr-defined]
    camera.stop = lambda: [done.append("stop"), bench.over.set()]  # type: ignore[attr-defined]
    capture = Capture(
        Feed(camera, bench.make), lambda _: None, done.append, lambda: done.append("end"),
        done.append, prepare=lambda source: source.begin(None),
    )  # fmt: skip
    capture.start()
    assert bench.idle.wait(5)
    capture.stop()
    capture.join(5)
    assert done == ["begin, closed False", "stop", "running -> ended", "end"]
