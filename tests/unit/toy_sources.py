"""Sources that do what is asked of them, for the tests of captures and lines."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from toy_line import frame, picture

from qc.types import Frame, Inspection

Step = Callable[["Camera"], Any]
"""What a camera does: its value is what it yields; None ends it."""


def shot(red: int = 0, size: int = 4, image: bool = True) -> Step:
    """A frame."""

    def give(camera: Camera) -> Frame:
        shown = picture(red)
        if size != 4:
            shown = shown.repeat(size // 4, axis=0).repeat(size // 4, axis=1)
        return camera.numbered(frame(camera.bench.next_number(), shown if image else None))

    return give


def breaks(camera: Camera) -> Frame:
    raise OSError("the cable is out")


def hangs(camera: Camera) -> Frame | None:
    """Until the bench lets go; then a late frame."""
    camera.bench.hung.set()
    camera.bench.let_go.wait(20)
    return shot(red=255)(camera)


def waits(camera: Camera) -> None:
    """Until it is told to end; this silence is no failure."""
    camera.expects_frames = False
    camera.bench.idle.set()
    camera.bench.over.wait(20)


class Bench:
    """Makes cameras; each follows the next script, the last one again and again."""

    def __init__(self, *scripts: list[Step], **more: Any) -> None:
        self.scripts, self.more = scripts, more
        self.made: list[Camera] = []
        self.number = 0
        self.hung, self.let_go = threading.Event(), threading.Event()
        self.idle, self.over = threading.Event(), threading.Event()

    def next_number(self) -> int:
        self.number += 1
        return self.number

    def make(self) -> Camera:
        script = self.scripts[min(len(self.made), len(self.scripts) - 1)]
        self.made.append(Camera(self, script, **self.more))
        return self.made[-1]


class Camera:
    """A live source that follows a script."""

    is_live = True

    def __init__(self, bench: Bench, script: list[Step], source_id: str = "toy") -> None:
        self.bench, self.script, self.source_id = bench, script, source_id
        self.closed = False
        self.expects_frames = True
        self.told: list[Inspection] = []

    def __enter__(self) -> Camera:
        return self

    def __exit__(self, *error: object) -> None:
        self.closed = True

    def __iter__(self) -> Iterator[Frame]:
        for step in self.script:
            given = step(self)
            if given is None:
                return
            yield given

    def numbered(self, given: Frame) -> Frame:
        return replace(given, source_id=self.source_id)

    def answered(self, inspection: Inspection) -> None:
        self.told.append(inspection)
