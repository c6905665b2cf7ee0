"""The frames of a video file in their order: a recorded shift judged again, or a line tried out.

A file that ends before its time ends with a FAULT, not silently. The rotation that a telephone
writes into the file is applied.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

import cv2
from pydantic import Field

from edge.sources._ffmpeg import open_ffmpeg
from edge.sources._frames import Framer
from qc.errors import DataError, printable
from qc.tables import Table
from qc.types import Frame

SHORT = 0.02
"""Share of its frames by which a file may be shorter than it says: many say it by their length."""


class Options(Table):
    """Keys of this source in a line file; see `Source`."""

    path: Path
    every: int = Field(default=1, ge=1)
    loop: bool = False


class Source:
    """One video file; a context manager that yields frames.

    Args:
        path: the file, of any kind that FFmpeg reads.
        every: each n-th frame is taken, the first one always.
        loop: begin again at the end, without end.
        source_id: the name of this source in the journal.

    Raises:
        DataError: no such file, or none that can be read as a video.
    """

    is_live = False
    expects_frames = False

    def __init__(
        self, path: Path, *, every: int = 1, loop: bool = False, source_id: str = "video"
    ) -> None:
        self.path = Path(path)
        self.every, self.loop = every, loop
        self.source_id = source_id
        self._open().release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """The file is closed where the iteration ends."""

    def __iter__(self) -> Iterator[Frame]:
        framer = Framer(self.source_id, self.path)
        yield from self._once(framer, 0)
        round_ = 1
        while self.loop:
            yield from self._once(framer, round_)
            round_ += 1

    def _once(self, framer: Framer, round_: int) -> Iterator[Frame]:
        stem = printable(self.path.stem) + (f"-{round_}" if round_ else "")
        capture = self._open()
        try:
            expected = max(0, int(capture.get(cv2.CAP_PROP_FRAME_COUNT)))
            number = 0
            while capture.grab():
                if number % self.every == 0:
                    _, bgr = capture.retrieve()
                    yield framer.frame(bgr, part_id=f"{stem}-{number:06d}")
                number += 1
        finally:
            capture.release()
        if number == 0 or number < expected * (1 - SHORT) - 1:
            yield framer.fault(
                f"the video was cut off: expected {expected} frames, found {number}",
                part_id=f"{stem}-{number:06d}",
            )

    def _open(self) -> cv2.VideoCapture:
        if not self.path.is_file():
            what = "a folder" if self.path.is_dir() else "nothing"
            raise DataError("there is no such video", where=self.path, found=what)
        capture = open_ffmpeg(str(self.path), ())
        if not capture.isOpened():
            raise DataError("the file cannot be read as a video", where=self.path)
        capture.set(cv2.CAP_PROP_ORIENTATION_AUTO, 1)
        return capture
