"""A USB or other V4L2 camera, through OpenCV.

What the line file sets is set and read back: a camera that refuses is an error that names the
setting, what was asked and what it has now. The time of a frame is the driver's where the driver
tells it (V4L2 does), else the moment at which the picture was there.

Limits, said plainly: a picture that was damaged on the cable (MJPG) is decoded as far as it goes.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from typing import Any, Self

import cv2
from pydantic import Field

from edge.sources._frames import Framer
from edge.sources._newest import Capture, Newest, NewestSource
from qc.errors import DataError, FaultError
from qc.tables import Table

PATIENCE_S = 1.0
"""A read of a triggered camera that fails after so long was silence."""

OLDEST_S = 5.0
"""A driver's time further back than this is on another clock and is not used."""


class Options(Table):
    """Keys of this source in a line file; see `Source`."""

    device: int | str = 0
    width: int | None = Field(default=None, ge=1)
    height: int | None = Field(default=None, ge=1)
    fps: float | None = Field(default=None, gt=0)
    pixel_format: str | None = Field(default=None, pattern=r"^[ -~]{4}$")
    exposure: float | None = None
    gain: float | None = None
    triggered: bool = False


class Source(NewestSource):
    """One camera; a context manager that yields frames, always the newest.

    Args:
        device: number of the camera, or its path, such as "/dev/v4l/by-id/...".
        width, height: of the picture in pixels; None: as the camera has it.
        fps: frames a second.
        pixel_format: four characters, such as "MJPG" or "YUYV".
        exposure: in the unit of the driver (V4L2: 100 microseconds); the camera's own control of it
            is switched off. None: it is left to the camera.
        gain: in the unit of the driver.
        triggered: the machine triggers the camera: silence is no failure.
        source_id: the name of this source in the journal.
        capture: opens a device; None: `cv2.VideoCapture`.
    """

    is_live = True

    def __init__(
        self,
        *,
        device: int | str = 0,
        width: int | None = None,
        height: int | None = None,
        fps: float | None = None,
        pixel_format: str | None = None,
        exposure: float | None = None,
        gain: float | None = None,
        triggered: bool = False,
        source_id: str = "camera",
        capture: Callable[[int | str], Capture] | None = None,
    ) -> None:
        self.device = device
        self.width, self.height, self.fps = width, height, fps
        self.pixel_format = pixel_format
        self.exposure, self.gain = exposure, gain
        self.expects_frames = not triggered
        self.source_id = source_id
        super().__init__(f"source '{source_id}', camera {device}")
        self._open = capture or _opencv

    def __enter__(self) -> Self:
        """Open the camera and set it.

        Raises:
            FaultError: it cannot be opened.
            DataError: it refuses a setting.
        """
        capture: Capture = self._open(self.device)
        try:
            if not capture.isOpened():
                raise FaultError(
                    "the camera cannot be opened",
                    where=self.where,
                    expected="a camera that is plugged in, free, and may be read by this user",
                )
            self._set_all(capture)
        except BaseException:
            capture.release()
            raise
        self._newest = Newest(
            capture,
            Framer(self.source_id, self.where),
            taken_ns=_driver_ns,
            patience_s=None if self.expects_frames else PATIENCE_S,
        )
        return self

    def _set_all(self, capture: Capture) -> None:
        if self.pixel_format is not None:  # first: it decides which sizes there are
            code = float(cv2.VideoWriter.fourcc(*self.pixel_format))
            self._set(capture, "pixel_format", cv2.CAP_PROP_FOURCC, code, _four)
        self._set(capture, "width", cv2.CAP_PROP_FRAME_WIDTH, self.width)
        self._set(capture, "height", cv2.CAP_PROP_FRAME_HEIGHT, self.height)
        self._set(capture, "fps", cv2.CAP_PROP_FPS, self.fps)
        if self.exposure is not None:
            # V4L2 names the manual mode 1, DirectShow 0.25; what it took is seen by the exposure
            capture.set(cv2.CAP_PROP_AUTO_EXPOSURE, 1)
        self._set(capture, "exposure", cv2.CAP_PROP_EXPOSURE, self.exposure)
        self._set(capture, "gain", cv2.CAP_PROP_GAIN, self.gain)

    def _set(
        self,
        capture: Capture,
        key: str,
        prop: int,
        asked: float | None,
        words: Callable[[float], str] = "{:g}".format,
    ) -> None:
        if asked is None:
            return
        capture.set(prop, asked)
        got = capture.get(prop)
        if not math.isclose(got, asked, rel_tol=0.01, abs_tol=1e-6):
            raise DataError(
                f"the camera refuses '{key}'",
                where=self.where,
                expected=words(asked),
                found=words(got),
            )


def _opencv(device: int | str) -> Any:
    # named, so that OpenCV does not go on to take a missing camera for a file
    return cv2.VideoCapture(device, cv2.CAP_V4L2 if sys.platform == "linux" else cv2.CAP_ANY)


def _four(code: float) -> str:
    """A pixel format in its four characters."""
    number = int(code)
    if number <= 0:
        return "none"
    return "".join(chr((number >> shift) & 0xFF) for shift in (0, 8, 16, 24))


def _driver_ns(capture: Any, grabbed_ns: int) -> int:
    """When the driver took the picture, on the monotonic clock; else when it was there."""
    driver_ns = int(capture.get(cv2.CAP_PROP_POS_MSEC) * 1e6)
    is_same_clock = 0 <= grabbed_ns - driver_ns <= OLDEST_S * 1e9
    return driver_ns if driver_ns > 0 and is_same_clock else grabbed_ns
