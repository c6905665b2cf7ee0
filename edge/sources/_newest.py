"""The newest picture of a camera: it is read in a thread of its own, so that nothing piles up.

A reader that is held back would be given older and older pictures out of the buffers of driver,
network and decoder. Here they are taken out as they come; what nobody took in time is counted and
overwritten before it was ever captured for the line.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any, Protocol

from edge.sources._frames import Framer
from qc.errors import FaultError
from qc.types import Frame


class Capture(Protocol):
    """What is used of `cv2.VideoCapture`."""

    def isOpened(self) -> bool:  # noqa: N802 - OpenCV's name
        ...

    def grab(self) -> bool: ...

    def retrieve(self) -> tuple[bool, Any]: ...

    def get(self, propId: int) -> float: ...  # noqa: N803 - OpenCV's name

    def set(self, propId: int, value: float) -> bool: ...  # noqa: N803 - OpenCV's name

    def release(self) -> None: ...


class Newest:
    """Frames of an open capture, always the newest; it owns the capture and releases it.

    Args:
        capture: open; after this call used by the thread that reads only.
        framer: makes the frames.
        taken_ns: monotonic clock at which the driver took the picture just grabbed, given the
            clock when `grab` returned; None: that is it.
        patience_s: a `grab` that fails after so long was silence and not the end; None: each
            failure is the end.
        silence_s: a `grab` that took so long is the end whatever it says: FFmpeg gives an old
            picture once more where it has waited in vain; None: it may take any time.
    """

    def __init__(
        self,
        capture: Capture,
        framer: Framer,
        *,
        taken_ns: Callable[[Capture, int], int] | None = None,
        patience_s: float | None = None,
        silence_s: float | None = None,
    ) -> None:
        self.skipped = 0
        self._capture, self._framer = capture, framer
        self._taken_ns, self._patience_s, self._silence_s = taken_ns, patience_s, silence_s
        self._picture: tuple[Any, int] | None = None
        self._changed = threading.Condition()
        self._stopped = False
        self._ended = ""
        self._thread = threading.Thread(target=self._read, name="newest", daemon=True)
        self._thread.start()

    def __iter__(self) -> Iterator[Frame]:
        """Yield frames until it is stopped.

        Raises:
            FaultError: the device gives no more pictures.
        """
        while True:
            with self._changed:
                while self._picture is None and not self._ended and not self._stopped:
                    self._changed.wait(1.0)
                if self._stopped:
                    return
                picture, self._picture = self._picture, None
                if picture is None:
                    raise FaultError(self._ended, where=self._framer.where)
            yield self._framer.frame(picture[0], monotonic_ns=picture[1])

    def stop(self) -> None:
        """End the iteration and release the device; from any thread, and again."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def join(self, timeout_s: float) -> None:
        """Wait for the device to be released; longer only where it does not answer."""
        self._thread.join(timeout_s)

    def _read(self) -> None:
        why = "the device was closed"
        try:
            while not self._stopped:
                start = time.monotonic()
                is_there = self._capture.grab()
                waited_s = time.monotonic() - start
                if self._silence_s is not None and waited_s >= self._silence_s:
                    why = f"no picture came for {self._silence_s:g} s"
                    break
                if not is_there:
                    silent = self._patience_s is not None and waited_s >= self._patience_s
                    if silent and self._capture.isOpened():
                        continue
                    why = "no more pictures come: it was closed, unplugged or is silent"
                    break
                taken_ns = time.monotonic_ns()
                if self._taken_ns is not None:
                    taken_ns = self._taken_ns(self._capture, taken_ns)
                is_good, bgr = self._capture.retrieve()
                with self._changed:
                    self.skipped += self._picture is not None
                    self._picture = (bgr if is_good else None, taken_ns)
                    self._changed.notify_all()
        except Exception as error:  # noqa: BLE001 - told by the iteration
            why = f"reading failed: {type(error).__name__}: {error}"
        finally:
            with self._changed:
                self._ended = why
                self._changed.notify_all()
            self._capture.release()  # last: it may wait for an answer too


class NewestSource:
    """What a source that reads by `Newest` has in common; `__enter__` of the source sets it.

    Args:
        where: the source in words.
    """

    def __init__(self, where: str) -> None:
        self.where = where
        self._newest: Newest | None = None

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Release the device."""
        self.stop()
        if self._newest is not None:
            self._newest.join(1.0)

    def __iter__(self) -> Iterator[Frame]:
        if self._newest is None:
            raise FaultError("the source is not open", where=self.where)
        return iter(self._newest)

    def stop(self) -> None:
        """Take no more pictures, so that iterating ends; from any thread."""
        if self._newest is not None:
            self._newest.stop()

    @property
    def skipped(self) -> int:
        """Pictures that came while the line was not ready for one."""
        return self._newest.skipped if self._newest else 0
