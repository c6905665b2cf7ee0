"""Opening something through OpenCV's FFmpeg with options of its own.

OpenCV takes FFmpeg's options from the environment of the process at the moment of opening: so one
is opened at a time, and what was in the environment is put back.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence

import cv2

from qc.errors import FaultError

os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # what went wrong is said by our errors

_NAME = "OPENCV_FFMPEG_CAPTURE_OPTIONS"
_ONE_OPENS = threading.Lock()


def open_ffmpeg(
    address: str, parameters: Sequence[int], options: str | None = None, *, timeout_s: float = 5.0
) -> cv2.VideoCapture:
    """Open a file or address.

    Args:
        address: what FFmpeg opens.
        parameters: OpenCV's properties and their values in turn.
        options: FFmpeg's, "key;value|key;value"; None: those of the environment.
        timeout_s: how long another opening is waited for.

    Raises:
        FaultError: another opening does not end.
    """
    if not _ONE_OPENS.acquire(timeout=timeout_s):
        raise FaultError("another source is being opened and does not answer")
    before = os.environ.get(_NAME)
    try:
        if options is not None:
            os.environ[_NAME] = options
        return cv2.VideoCapture(address, cv2.CAP_FFMPEG, list(parameters))
    finally:
        if before is not None:
            os.environ[_NAME] = before
        else:
            os.environ.pop(_NAME, None)
        _ONE_OPENS.release()
