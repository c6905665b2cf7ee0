"""A network camera, against a real RTSP server on loopback: lag, login, broken off and back.

The server is GStreamer's, run by Debian's own Python: packages gstreamer1.0-rtsp,
gir1.2-gst-rtsp-server-1.0, python3-gi, gstreamer1.0-plugins-good and -ugly.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import pytest

from edge.capture import Capture
from edge.feed import Feed
from edge.sources.rtsp import Source
from qc.errors import FaultError, UsageError
from qc.types import Frame, Image

PYTHON = "/usr/bin/python3"
SERVER = Path(__file__).with_name("rtsp_server.py")
NEEDED = (
    "import gi; gi.require_version('GstRtspServer', '1.0'); "
    "from gi.repository import Gst, GstRtspServer; Gst.init(None); "
    "assert all(Gst.ElementFactory.find(n) for n in ('x264enc', 'rtph264pay', 'jpegenc'))"
)


def _is_there() -> bool:
    with suppress(OSError, subprocess.TimeoutExpired):
        done = subprocess.run([PYTHON, "-c", NEEDED], capture_output=True, timeout=30, check=False)
        return done.returncode == 0
    return False


pytestmark = pytest.mark.skipif(
    not _is_there(), reason="GStreamer's RTSP server is not installed (packages in this file)"
)


@contextmanager
def server(port: int, codec: str = "jpeg", login: str = "") -> Iterator[subprocess.Popen[str]]:
    command = [PYTHON, str(SERVER), str(port), codec, *([login] if login else [])]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
        yield process
    finally:
        process.kill()
        process.wait(5)
        process.stdout.close()


@pytest.fixture
def port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def shown_ms(image: Image) -> int:
    """The monotonic clock that the server drew into its picture; see there."""
    blocks = image[image.shape[0] // 2, 8::16].mean(axis=1)
    assert np.all((blocks < 60) | (blocks > 195)), "the picture is not whole"
    return int("".join("01"[int(block > 127)] for block in blocks), 2)


def age_ms(image: Image) -> int:
    return (time.monotonic_ns() // 1_000_000 - shown_ms(image)) % (1 << 24)


@pytest.mark.parametrize("codec", ["jpeg", "h264"])
def test_a_line_that_is_held_back_does_not_lag(port: int, codec: str) -> None:
    ages = []
    with server(port, codec), Source(url=f"rtsp://127.0.0.1:{port}/cam") as source:
        for number, frame in enumerate(source):
            assert frame.image is not None and frame.image.shape == (48, 384, 3)
            ages.append(age_ms(frame.image))
            if number == 5:
                break
            time.sleep(0.25)  # six pictures come meanwhile
    # one interval is 40 ms; an unread buffer would add 250 ms with each frame
    assert np.median(ages[1:]) < 150 and ages[-1] < 400, ages
    assert source.skipped >= 15


def test_user_and_password_come_from_the_environment_and_go_nowhere(
    port: int, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CAM_USER", "anna")
    monkeypatch.setenv("CAM_PASSWORD", "s3:c/r@t")
    login = {"user_env": "CAM_USER", "password_env": "CAM_PASSWORD"}
    url = f"rtsp://127.0.0.1:{port}/cam"
    with server(port, login="anna:s3:c/r@t"):
        with Source(url=url, **login) as source:
            assert next(iter(source)).image is not None
        monkeypatch.setenv("CAM_PASSWORD", "wr0ng")
        with pytest.raises(FaultError, match="the right user and password") as refused:
            Source(url=url, **login).__enter__()
    told = str(refused.value) + "".join(capfd.readouterr())
    assert "wr0ng" not in told and "s3:c" not in told and "anna" not in told
    monkeypatch.delenv("CAM_PASSWORD")
    with pytest.raises(FaultError, match="'CAM_PASSWORD' is not set"):
        Source(url=url, **login)
    with pytest.raises(UsageError, match="holds a user or password") as caught:
        Source(url="rtsp://anna:s3cret@camera/1")
    assert "s3cret" not in str(caught.value)
    with pytest.raises(UsageError, match="no address of RTSP"):
        Source(url="http://camera/1")


class Watched:
    """What a line makes of the camera; it looks after it as the line's thread does."""

    def __init__(self, url: str) -> None:
        self.frames: list[Frame] = []
        self.notes: list[str] = []
        self.capture = Capture(
            Feed(Source(url=url), lambda: Source(url=url), "cam", "rtsp"),
            self.frames.append,
            self.notes.append,
            lambda: None,
            lambda why: None,
        )
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._check)

    def _check(self) -> None:
        while not self._over.wait(0.05):
            self.capture.check()

    def __enter__(self) -> Watched:
        self.capture.start()
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.capture.stop()
        self.capture.join(3)
        self._over.set()
        self._thread.join(3)

    @property
    def state(self) -> str:
        return self.capture.status().state


def seconds_until(true: Callable[[], bool], limit_s: float) -> float:
    start = time.monotonic()
    while not true():
        assert time.monotonic() - start < limit_s, f"not within {limit_s:g} s"
        time.sleep(0.01)
    return time.monotonic() - start


@pytest.mark.parametrize("hangs", [False, True], ids=["killed", "hanging"])
def test_broken_off_it_is_degraded_and_taken_up_when_it_is_back(port: int, hangs: bool) -> None:
    with server(port, "h264") as camera, Watched(f"rtsp://127.0.0.1:{port}/cam") as line:
        seconds_until(lambda: line.state == "running", 10)
        os.kill(camera.pid, signal.SIGSTOP if hangs else signal.SIGKILL)
        found_s = seconds_until(lambda: line.state == "degraded", 4)
        assert found_s <= 2.2, "two seconds, and what the last pictures under way take"
        time.sleep(0.5)
        before = len(line.frames)
        if hangs:
            os.kill(camera.pid, signal.SIGCONT)
            back_s = seconds_until(lambda: line.state == "running", 10)
        else:
            with server(port, "h264"):
                back_s = seconds_until(lambda: line.state == "running", 10)
        assert back_s <= 5, "taken up within five seconds of its return"
        print(f"degraded after {found_s:.2f} s, running {back_s:.2f} s after its return")
        assert len(line.frames) > before
    assert len({f.frame_id for f in line.frames}) == len(line.frames)
    assert any("degraded" in note for note in line.notes), line.notes
