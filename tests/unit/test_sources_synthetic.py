"""The source of tests and benchmarks: its pace, and each fault that it can be asked for."""

from __future__ import annotations

import time
from datetime import UTC, datetime

import numpy as np
import pytest

from edge.sources import _frames
from edge.sources._frames import Framer
from edge.sources.synthetic import Source
from qc.errors import FaultError


def test_the_same_seed_draws_the_same_parts_and_another_does_not() -> None:
    first, again, other = (list(Source(count=3, size_hw=(40, 60), seed=seed)) for seed in (1, 1, 2))
    assert [f.part_id for f in first] == ["part-1", "part-2", "part-3"]
    for a, b, c in zip(first, again, other, strict=True):
        assert a.image is not None and b.image is not None and c.image is not None
        assert a.image.shape == (40, 60, 3)
        np.testing.assert_array_equal(a.image, b.image)
        assert (a.image != c.image).any()
    assert len({f.frame_id for f in (*first, *again)}) == 6, "a session that was taken up again"


def test_a_rate_is_kept_and_makes_it_live() -> None:
    start = time.monotonic()
    source = Source(count=21, rate_hz=100, size_hw=(8, 8))
    taken = [f.monotonic_ns / 1e9 - start for f in source]
    assert source.is_live and source.expects_frames
    assert taken[-1] >= 0.2, "twenty intervals of 10 ms"
    assert not Source(size_hw=(8, 8)).is_live


def test_garbage_is_a_fault_and_the_source_goes_on() -> None:
    faults = [f.fault for f in Source(count=4, garbage_every=2, size_hw=(8, 8))]
    assert faults == [None, "garbage instead of a picture: nothing"] * 2


def test_the_size_changes_when_asked() -> None:
    shapes = [
        f.image.shape
        for f in Source(count=3, resize_after=2, size_hw=(8, 12))
        if f.image is not None
    ]
    assert shapes == [(8, 12, 3), (8, 12, 3), (4, 6, 3)]


def test_it_closes_and_it_hangs() -> None:
    frames = iter(Source(close_after=1, size_hw=(8, 8)))
    next(frames)
    with pytest.raises(FaultError, match="the source was closed"):
        next(frames)
    start = time.monotonic()
    assert len(list(Source(count=2, hang_after=1, hang_s=0.2, size_hw=(8, 8)))) == 2
    assert time.monotonic() - start >= 0.2


# what every source of this kind does with what a driver hands over


def test_blue_comes_first_only_from_the_driver() -> None:
    bgr = np.zeros((2, 2, 3), np.uint8)
    bgr[..., 0] = 200
    frame = Framer("cam", "here").frame(bgr)
    assert frame.image is not None and frame.image[0, 0].tolist() == [0, 0, 200]


@pytest.mark.parametrize(
    ("garbage", "named"),
    [
        (None, "nothing"),
        (np.zeros((2, 2), np.uint8), r"uint8 \(2, 2\)"),
        (np.zeros((0, 2, 3), np.uint8), r"uint8 \(0, 2, 3\)"),
        (np.zeros((2, 2, 3), np.float32), r"float32 \(2, 2, 3\)"),
    ],
)
def test_garbage_alone_is_a_failure_in_the_end(
    garbage: object, named: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    framer = Framer("cam", "here")
    frame = framer.frame(garbage)
    assert frame.image is None and frame.fault is not None
    monkeypatch.setattr(_frames, "GARBAGE_S", 0.0)
    with pytest.raises(FaultError, match=f"here: garbage instead of a picture: {named}, for more"):
        framer.frame(garbage)


def test_garbage_after_a_long_silence_is_one_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    """A camera that the machine triggers is silent between two parts."""
    monkeypatch.setattr(_frames, "GARBAGE_S", 0.03)
    framer = Framer("cam", "here")
    for _ in range(3):
        time.sleep(0.05)
        assert framer.frame(None).fault
        assert framer.frame(np.zeros((2, 2, 3), np.uint8)).fault is None


def test_the_time_is_that_of_the_capture() -> None:
    now_ns = time.monotonic_ns()
    frame = Framer("cam", "here").frame(np.zeros((2, 2, 3), np.uint8), monotonic_ns=now_ns - 10**9)
    assert frame.monotonic_ns == now_ns - 10**9
    assert 0.9 < (datetime.now(UTC) - frame.captured_at).total_seconds() < 1.5
