"""The address of a network camera: what may be shown of it and what FFmpeg gets."""

from __future__ import annotations

import os
import time

import pytest

from edge.sources._ffmpeg import open_ffmpeg
from edge.sources.rtsp import Source, _address
from qc.errors import FaultError, UsageError


def test_user_and_password_are_put_in_where_the_camera_wants_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("U", "anna")
    monkeypatch.setenv("P", "s3:c/r@t")
    shown, url = _address("rtsp://cam:554/1?a=b", "U", "P", "east")
    assert url == "rtsp://anna:s3%3Ac%2Fr%40t@cam:554/1?a=b"
    assert shown == "source 'east', rtsp://cam:554/1?a=b"
    shown, url = _address("rtsp://cam/user={user}&password={password}", "U", "P", "east")
    assert url == "rtsp://cam/user=anna&password=s3%3Ac%2Fr%40t"
    assert shown == "source 'east', rtsp://cam/user={user}&password={password}"
    assert _address("rtsp://cam/1", "U", None, "east")[1] == "rtsp://anna:@cam/1"
    assert _address("rtsps://cam/1", None, None, "east")[1] == "rtsps://cam/1"


@pytest.mark.parametrize("url", ["http://cam/1", "cam/1", "rtsp:///1", "/dev/video0"])
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(UsageError, match="no address of RTSP; expected rtsp://host/path; found"):
        Source(url=url)


def test_secrets_that_are_in_the_file_or_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="holds a user or password") as caught:
        Source(url="rtsp://anna:s3cret@cam/1")
    assert "s3cret" not in str(caught.value)
    monkeypatch.delenv("NOT_SET", raising=False)
    with pytest.raises(FaultError, match="'NOT_SET' is not set"):
        Source(url="rtsp://cam/1", password_env="NOT_SET")


def test_a_camera_that_is_off_is_told_at_once_and_leaves_the_environment_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OPENCV_FFMPEG_CAPTURE_OPTIONS", "a;b")
    start = time.monotonic()
    with pytest.raises(FaultError, match=r"rtsp://127\.0\.0\.1:9/1: there is no picture"):
        Source(url="rtsp://127.0.0.1:9/1").__enter__()
    assert time.monotonic() - start < 2.5
    assert os.environ["OPENCV_FFMPEG_CAPTURE_OPTIONS"] == "a;b"
    monkeypatch.delenv("OPENCV_FFMPEG_CAPTURE_OPTIONS")
    assert not open_ffmpeg("no such file", (), "c;d").isOpened()
    assert "OPENCV_FFMPEG_CAPTURE_OPTIONS" not in os.environ
