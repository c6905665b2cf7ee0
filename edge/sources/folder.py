"""Frames from the image files of a folder, in the order of their names, or as they come.

A file that cannot be read becomes a frame with its fault: it was captured, so it is accounted for.
Hidden files and masks (`x_mask.png`, or `x.png` beside `x.jpg`) are no pictures of parts. A byte of
a name that is not UTF-8 is written as `\\xff`, as no journal could hold it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

from pydantic import Field

from edge.picture_files import parts_in, parts_of, read_frame
from edge.sources._watch import Done, Watch
from qc.errors import UsageError, printable
from qc.tables import Table
from qc.types import Frame, Inspection


class Options(Table):
    """Keys of a folder in a line file; see `Source`."""

    path: Path
    pattern: str = "*"
    watch: bool = False
    poll_s: float = Field(default=0.2, gt=0)
    stable_s: float = Field(default=0.5, ge=0)
    done: Done = "leave"
    done_path: Path | None = None


class Source:
    """The images of one folder and the folders in it; a context manager that yields frames.

    Watched, it has no end: a new file is taken when it is complete, once. With `done = "leave"`
    only what comes after the start of the program is taken: what comes while it does not run is
    not judged. With "move" and "delete" what is there at the start is taken too, and a file goes
    when its verdict is journaled; after a crash the last ones may be judged once more.

    Args:
        path: the folder.
        pattern: which file names, with `*` and `?`.
        watch: wait for new files.
        poll_s: seconds between two looks at the folder.
        stable_s: seconds for which a file must stand still to be complete.
        done: what becomes of a watched file after its verdict: "leave", "move" or "delete".
        done_path: the folder to which "move" moves it, on the same drive; nothing is overwritten.
        source_id: the name of this source in the journal.

    Raises:
        DataError: no such folder, one that cannot be read, a link in it that leads back, or,
            where it is not watched, no image in it.
        UsageError: `done` and `done_path` do not fit.
    """

    expects_frames = False
    is_live = False

    def __init__(
        self,
        path: Path,
        *,
        pattern: str = "*",
        watch: bool = False,
        poll_s: float = 0.2,
        stable_s: float = 0.5,
        done: Done = "leave",
        done_path: Path | None = None,
        source_id: str = "folder",
    ) -> None:
        self.path = Path(path)
        self.pattern = pattern
        self.source_id = source_id
        self.is_live = watch
        self.files = [] if watch else parts_of(self.path, pattern)
        self._watch: Watch | None = None
        _check_done(self.path, watch, done, done_path)
        if watch:
            self._watch = Watch(
                self.path,
                f"{source_id} {pattern}",
                lambda: parts_in(self.path, pattern)[1],
                self._frame,
                poll_s=poll_s,
                stable_s=stable_s,
                done=done,
                done_path=done_path,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Put away what was judged; nothing is held open between two files."""
        if self._watch is not None and error is None:
            self._watch.close()

    def __iter__(self) -> Iterator[Frame]:
        if self._watch is not None:
            yield from self._watch
        for file in self.files:
            yield self._frame(file, printable(file.relative_to(self.path).as_posix()))

    def stop(self) -> None:
        """Wait for no more files, so that iterating ends; from any thread."""
        if self._watch is not None:
            self._watch.stop()

    def answered(self, inspection: Inspection) -> None:
        """Told of a verdict: a watched file that is to go when done may go."""
        if self._watch is not None:
            self._watch.judged(inspection.frame_id)

    def _frame(self, file: Path, frame_id: str) -> Frame:
        return read_frame(file, frame_id=frame_id, source_id=self.source_id)


def _check_done(path: Path, watch: bool, done: Done, done_path: Path | None) -> None:
    if done != "leave" and not watch:
        raise UsageError("only a watched folder is put away", where=path, expected="watch = true")
    if (done == "move") != (done_path is not None):
        raise UsageError(
            "done and done_path do not fit",
            where=path,
            expected="done_path where done is 'move', and only there",
            found=f"done = '{done}', done_path = {done_path or 'nothing'}",
        )
    if done_path is not None and done_path.absolute().is_relative_to(path.absolute()):
        raise UsageError(
            "what is done would be taken again",
            where=path,
            expected="done_path outside of the watched folder",
            found=done_path,
        )
