"""What a line reads: a source, which frames of it show a part, and what of a picture is judged."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Protocol

from qc.types import Deep, Frame, Image

STALL_S = 1.8
"""A source that is to give frames and gives none for this long is degraded."""


class Source(Protocol):
    """What frames come from: a context manager that yields them; made anew to be opened again.

    `is_live`: it cannot be held back, has no end of its own, and is taken up again when it fails.

    Optional:
    `expects_frames` (bool; left out: as `is_live`): False where silence is no failure, as of a
    camera that the machine triggers, or of uploads;
    `has_end` (bool; left out: not `is_live`): True where a live source ends as it should;
    `begin(bundle)`: told which bundle judges, before it is opened and after a change;
    `stop()`: asked from another thread to yield no more;
    `answered(inspection)`: told of what became of its frame once it is journaled, in the thread of
    the journal: it must return at once.
    """

    is_live: bool

    def __enter__(self) -> Any:
        """Open it."""
        ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> Any:
        """Close it."""
        ...

    def __iter__(self) -> Iterator[Frame]:
        """Yield frames until the source ends."""
        ...


class Trigger(Protocol):
    """Which frames of a source show a part.

    Optional:
    `named(frame)`: the frame that has just fired, with the part and lot that the trigger knows;
    `overdue(source_id)`: a frame with its fault for each part that was announced and whose frame
    did not come in time, each once; asked for by the thread that looks after the source;
    `close(source_id)`: it takes no more parts; the same for those that still wait.
    """

    def fires(self, frame: Frame) -> bool:
        """Whether a part is judged by this frame."""
        ...


class Region(Protocol):
    """Which part of a picture is judged."""

    def apply(self, image: Image) -> Image:
        """The part of a picture that is judged."""
        ...

    def apply_deep(self, deep: Deep) -> Deep:
        """The same part of what the picture was made of."""
        ...


@dataclass(frozen=True, slots=True)
class Feed:
    """One source as a line file describes it.

    Args:
        source: the first one to be opened.
        make: makes another, to open it again; None: what fails or ends is not taken up again.
        source_id: its name in the account.
        kind: file name of the plugin.
        trigger: which frames show a part; None: all.
        region: what of the picture is judged; None: all.
        read_code: takes the part's id from the picture; None: the source says it.
        stall_s: a source that expects frames and gives none for this long is degraded.
    """

    source: Source
    make: Callable[[], Source] | None = None
    source_id: str = ""
    kind: str = ""
    trigger: Trigger | None = None
    region: Region | None = None
    read_code: Callable[[Image], str | None] | None = None
    stall_s: float = STALL_S

    @property
    def name(self) -> str:
        """Its name in the account."""
        return self.source_id or str(getattr(self.source, "source_id", "source"))
