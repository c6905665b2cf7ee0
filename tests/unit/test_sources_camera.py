"""A camera, against a device made for the test: what is set, what fails, and what never waits."""

from __future__ import annotations

import threading
import time
from typing import Any

import cv2
import numpy as np
import pytest
from toy_line import wait_until

from edge.sources._frames import Framer
from edge.sources._newest import Newest
from edge.sources.camera import Source
from qc.errors import DataError, FaultError

MJPG = float(cv2.VideoWriter.fourcc(*"MJPG"))


class Device:
    """As `cv2.VideoCapture` of a camera with 640 x 480 that gives what is in `pictures`.

    Args:
        fixed: properties that it refuses to change, and what they are.
        clock_ms: what the driver says of the time of a picture, from the number of the picture.
    """

    def __init__(
        self, *, count: int = 5, fixed: dict[int, float] | None = None, **more: Any
    ) -> None:
        self.count = count
        self.properties: dict[int, float] = {cv2.CAP_PROP_FRAME_WIDTH: 640} | (fixed or {})
        self.fixed = fixed or {}
        self.opened = more.get("opened", True)
        self.delay_s: float = more.get("delay_s", 0.0)
        self.clock_ms = more.get("clock_ms", lambda: 0.0)
        self.silent_s: float = more.get("silent_s", 0.0)
        self.asked: list[int] = []
        self.grabbed = 0
        self.released = threading.Event()

    def __call__(self, device: int | str) -> Device:
        self.device = device
        return self

    def isOpened(self) -> bool:  # noqa: N802
        return self.opened

    def set(self, propId: int, value: float) -> bool:  # noqa: N803
        self.asked.append(propId)
        if propId not in self.fixed:
            self.properties[propId] = value
        return propId not in self.fixed

    def get(self, propId: int) -> float:  # noqa: N803
        return (
            self.clock_ms() if propId == cv2.CAP_PROP_POS_MSEC else self.properties.get(propId, 0)
        )

    def grab(self) -> bool:
        time.sleep(self.delay_s)
        if self.silent_s and self.grabbed == 1:
            self.silent_s, wait_s = 0.0, self.silent_s
            time.sleep(wait_s)
            return False
        self.grabbed += 1
        return self.grabbed <= self.count

    def retrieve(self) -> tuple[bool, Any]:
        return True, np.full((4, 6, 3), (self.grabbed % 256, 0, 9), np.uint8)

    def release(self) -> None:
        self.released.set()


def test_frames_come_until_the_cable_is_pulled() -> None:
    device = Device(count=3, delay_s=0.02)
    found = []
    with (
        pytest.raises(FaultError, match=r"source 'left', camera 2: no more pictures come"),
        Source(device=2, source_id="left", capture=device) as source,
    ):
        for frame in source:
            found.append(frame)
    assert device.device == 2 and device.released.wait(1) and source.expects_frames
    assert len(found) == 3 and {f.source_id for f in found} == {"left"}
    assert found[0].image is not None and found[0].image[0, 0].tolist() == [9, 0, 1], "RGB"
    assert len({f.frame_id for f in found}) == 3


def test_settings_are_set_and_read_back_with_the_format_first() -> None:
    device = Device(delay_s=0.01)
    settings: dict[str, Any] = {"width": 1280, "height": 720, "fps": 30, "exposure": 80, "gain": 4}
    with Source(pixel_format="MJPG", **settings, capture=device):
        pass
    assert device.asked[0] == cv2.CAP_PROP_FOURCC
    assert device.asked.index(cv2.CAP_PROP_AUTO_EXPOSURE) < device.asked.index(
        cv2.CAP_PROP_EXPOSURE
    )
    assert device.properties[cv2.CAP_PROP_FOURCC] == MJPG
    assert device.properties[cv2.CAP_PROP_FRAME_WIDTH] == 1280
    assert device.properties[cv2.CAP_PROP_GAIN] == 4 and device.properties[cv2.CAP_PROP_FPS] == 30


@pytest.mark.parametrize(
    ("fixed", "settings", "says"),
    [
        ({cv2.CAP_PROP_GAIN: 0}, {"gain": 12.5}, "refuses 'gain'; expected 12.5; found 0"),
        ({cv2.CAP_PROP_FRAME_WIDTH: 640}, {"width": 1920}, "'width'; expected 1920; found 640"),
        (
            {cv2.CAP_PROP_FOURCC: MJPG},
            {"pixel_format": "YUYV"},
            "'pixel_format'; expected YUYV; found MJPG",
        ),
        (
            {cv2.CAP_PROP_FOURCC: 0},
            {"pixel_format": "YUYV"},
            "'pixel_format'; expected YUYV; found none",
        ),
        ({cv2.CAP_PROP_EXPOSURE: 156}, {"exposure": 20}, "'exposure'; expected 20; found 156"),
    ],
)
def test_a_camera_that_refuses_is_one_clear_error(
    fixed: dict[int, float], settings: dict[str, Any], says: str
) -> None:
    device = Device(fixed=fixed)
    with pytest.raises(DataError, match=says):
        Source(capture=device, **settings).__enter__()
    assert device.released.is_set() and device.grabbed == 0


def test_a_camera_that_is_not_there_is_a_fault() -> None:
    device = Device(opened=False)
    with pytest.raises(FaultError, match=r"camera /dev/video9: the camera cannot be opened"):
        Source(device="/dev/video9", capture=device).__enter__()
    assert device.released.is_set()
    with pytest.raises(FaultError, match="cannot be opened"):
        Source(device=97).__enter__()  # OpenCV itself, with no such camera
    with pytest.raises(FaultError, match="is not open"):
        iter(Source(capture=device))


def test_a_line_that_is_held_back_gets_the_newest_picture() -> None:
    device = Device(count=10_000, delay_s=0.005)
    with Source(capture=device) as source:
        frames = iter(source)
        next(frames)
        time.sleep(0.2)
        before = device.grabbed
        frame = next(frames)
        assert frame.image is not None and before - int(frame.image[0, 0, 2]) <= 2
        assert source.skipped >= before - 5
        source.stop()
        assert next(frames, None) is None
    assert device.released.wait(1)


def test_the_time_of_a_frame_is_the_drivers() -> None:
    def late_ms() -> float:
        return time.monotonic() * 1000 - 150

    with Source(capture=Device(delay_s=0.01, clock_ms=late_ms)) as source:
        frame = next(iter(source))
    assert 0.14 < time.monotonic() - frame.monotonic_ns / 1e9 < 0.6
    for other in (lambda: 0.0, lambda: 40.0, lambda: time.monotonic() * 1000 + 60_000):
        with Source(capture=Device(delay_s=0.01, clock_ms=other)) as source:
            frame = next(iter(source))
        assert time.monotonic() - frame.monotonic_ns / 1e9 < 0.14, "that is another clock"


def test_a_triggered_camera_may_be_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge.sources.camera.PATIENCE_S", 0.1)
    for triggered, expected in ((True, 3), (False, 1)):
        source = Source(triggered=triggered, capture=Device(count=3, delay_s=0.01, silent_s=0.15))
        assert source.expects_frames is not triggered
        found = []
        with pytest.raises(FaultError), source:
            for frame in source:
                found.append(frame)
        assert len(found) == expected


def test_a_picture_that_comes_after_too_long_is_the_old_one() -> None:
    """FFmpeg gives the last picture once more after it has waited in vain."""
    device = Device(count=10, delay_s=0.1)
    frames = iter(Newest(device, Framer("cam", "here"), silence_s=0.05))
    with pytest.raises(FaultError, match=r"here: no picture came for 0\.05 s"):
        next(frames)
    assert device.grabbed == 1 and device.released.wait(1)


def test_a_read_that_never_returns_does_not_keep_closing_waiting() -> None:
    device = Device(delay_s=1.6)
    source = Source(capture=device)
    source.__enter__()
    thread = threading.Thread(target=lambda: list(source))
    thread.start()
    start = time.monotonic()
    source.__exit__(None, None, None)
    thread.join(1)
    assert not thread.is_alive() and time.monotonic() - start < 1.4
    wait_until(device.released.is_set)
