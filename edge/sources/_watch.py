"""New files of a folder, each taken once and only when it is complete.

Looked at again and again: that also works on network drives, where nobody tells of a new file. A
file is complete when its size and time stand still. One that cannot be read then is given more
time, and is a fault after that.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import ClassVar, Literal

from qc.errors import FaultError, printable
from qc.types import Frame

Done = Literal["leave", "move", "delete"]

UNREADABLE_S = 5.0
"""An empty or unreadable file must have stood still for so long to be a fault."""

State = tuple[int, int]
"""Size in bytes and time of change in nanoseconds."""


@dataclass(slots=True)
class _Arriving:
    state: State
    since: float


class Watch:
    """The files of one folder as they come.

    Args:
        root: the folder.
        listed: the files that count now; raises DataError where the folder cannot be read.
        read: a file as a frame, given its frame id.
        poll_s: seconds between two looks.
        stable_s: seconds for which a file must stand still to be complete.
        done: what becomes of a file after its verdict.
        done_path: the folder to which "move" moves it.
    """

    _known: ClassVar[dict[tuple[Path, str], dict[Path, State]]] = {}
    """What this process has taken, so that a folder that was away is not judged again."""

    def __init__(
        self,
        root: Path,
        key: str,
        listed: Callable[[], list[Path]],
        read: Callable[[Path, str], Frame],
        *,
        poll_s: float,
        stable_s: float,
        done: Done,
        done_path: Path | None,
    ) -> None:
        self.root, self.listed, self.read = root, listed, read
        self.poll_s, self.stable_s = poll_s, stable_s
        self.done: Done = done
        self.done_path = done_path
        self._stopped = threading.Event()
        self._arriving: dict[Path, _Arriving] = {}
        self._files: dict[str, Path] = {}
        self._judged: queue.SimpleQueue[str] = queue.SimpleQueue()
        place = (root.absolute(), key)
        self._taken = self._known.get(place)
        if self._taken is None:
            # what was there before the start is old, except where it would be taken away when done
            self._taken = dict(self._states()) if done == "leave" else {}
            self._known[place] = self._taken

    def __iter__(self) -> Iterator[Frame]:
        """Yield frames until it is stopped.

        Raises:
            DataError: the folder cannot be read.
            FaultError: a file that is done cannot be moved or deleted.
        """
        while not self._stopped.is_set():
            for file in self._complete():
                frame = self._frame(file)
                if frame is None:
                    continue
                yield frame
                self._clear()
                if self._stopped.is_set():
                    break
            self._clear()
            self._stopped.wait(self.poll_s)

    def stop(self) -> None:
        """End the iteration; from any thread."""
        self._stopped.set()

    def close(self) -> None:
        """Put away what was judged until now."""
        self._clear()

    def judged(self, frame_id: str) -> None:
        """The frame has its verdict, and it is journaled; returns at once."""
        if self.done != "leave":
            self._judged.put(frame_id)

    def _states(self) -> Iterator[tuple[Path, State]]:
        for file in self.listed():
            with suppress(FileNotFoundError):
                found = file.stat()
                yield file, (found.st_size, found.st_mtime_ns)

    def _complete(self) -> list[Path]:
        """Files that are complete and were not taken, the oldest first."""
        assert self._taken is not None
        now, states = time.monotonic(), dict(self._states())
        if states:  # nothing at all may be a drive that is away: nothing is forgotten then
            for gone in self._taken.keys() - states.keys():
                del self._taken[gone]
        arriving: dict[Path, _Arriving] = {}
        for file, state in states.items():
            if self._taken.get(file) == state:
                continue
            before = self._arriving.get(file)
            same = before is not None and before.state == state
            arriving[file] = before if before is not None and same else _Arriving(state, now)
        self._arriving = arriving
        complete = [
            file
            for file, found in arriving.items()
            if now - found.since >= (self.stable_s if found.state[0] else UNREADABLE_S)
        ]
        return sorted(complete, key=lambda file: (states[file][1], file))

    def _frame(self, file: Path) -> Frame | None:
        """The file as a frame; None where it may still be on its way."""
        assert self._taken is not None
        arriving = self._arriving[file]
        changed = datetime.fromtimestamp(arriving.state[1] / 1e9, UTC)
        name = printable(file.relative_to(self.root).as_posix())
        frame = self.read(file, f"{name}@{changed:%Y%m%dT%H%M%S.%f}")
        if frame.fault and time.monotonic() - arriving.since < UNREADABLE_S and file.exists():
            return None
        self._taken[file] = arriving.state
        del self._arriving[file]
        if self.done != "leave":
            self._files[frame.frame_id] = file
        return frame

    def _clear(self) -> None:
        """Put away the files that have their verdict."""
        while True:
            try:
                file = self._files.pop(self._judged.get_nowait(), None)
            except queue.Empty:
                return
            if file is None:
                continue
            try:
                with suppress(FileNotFoundError):
                    self._put_away(file)
            except OSError as error:
                raise FaultError(
                    f"a file that is done cannot be put away (done = '{self.done}')",
                    where=file,
                    found=error.strerror,
                ) from error

    def _put_away(self, file: Path) -> None:
        if self.done_path is None:
            file.unlink()
            return
        target = self.done_path / file.relative_to(self.root)
        target.parent.mkdir(parents=True, exist_ok=True)
        number = 1
        while target.exists():  # nothing is overwritten
            target = target.with_name(f"{file.stem}-{number}{file.suffix}")
            number += 1
        file.rename(target)
