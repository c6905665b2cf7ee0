"""`qc run --show`: the last part of each source in a window, where OpenCV has one."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Sequence
from typing import Self

import cv2

from edge.inspect import overlay_of
from edge.live import Watched
from qc.errors import FaultError, QCError

EVERY_MS = 100
"""Milliseconds between two looks at the line."""

STOP_S = 2.0

_QUIT = (ord("q"), 27)


class Window:
    """One window for each source, drawn by a thread of its own; a context manager.

    Closing a window, q or Escape end the showing and never the line.

    Args:
        line: what is shown; only read.
        source_ids: whose parts.

    Raises:
        FaultError: this OpenCV has no windows, or there is no display to open one on.
    """

    def __init__(self, line: Watched, source_ids: Sequence[str]) -> None:
        require_window()
        self.line = line
        self.source_ids = tuple(source_ids)
        self.problem = ""
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._work, name="window", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ending.set()
        self._thread.join(STOP_S)

    def _work(self) -> None:
        shown: dict[str, str] = {}
        try:
            while not self._ending.is_set():
                for source_id in self.source_ids:
                    self._show(source_id, shown)
                if cv2.waitKey(EVERY_MS) & 0xFF in _QUIT or any(_is_closed(s) for s in shown):
                    break
            cv2.destroyAllWindows()
        except (cv2.error, QCError) as error:
            self.problem = str(error)  # the line goes on without a window

    def _show(self, source_id: str, shown: dict[str, str]) -> None:
        inspection = self.line.latest(source_id)
        manifest = self.line.bundle.manifest
        if inspection is None or shown.get(source_id) == inspection.inspection_id:
            return
        if inspection.bundle_id != manifest.bundle_id:
            return  # a swap came between: the next part has the new scale
        overlay = overlay_of(inspection, manifest)
        if overlay is not None:
            cv2.imshow(source_id, cv2.cvtColor(overlay, cv2.COLOR_RGB2BGR))
            shown[source_id] = inspection.inspection_id


def require_window() -> None:
    """Refuse where no window can be opened, before anything starts.

    Raises:
        FaultError: says what to install or to set.
    """
    if not _has_gui(cv2.getBuildInformation()):
        raise FaultError(
            "--show needs an OpenCV with windows",
            expected="opencv-python in place of opencv-python-headless: "
            "pip uninstall opencv-python-headless && pip install opencv-python",
            found=f"OpenCV {cv2.__version__} without a window system; "
            "the page of [health] shows the same in a browser",
        )
    if sys.platform == "linux" and not any(map(os.environ.get, ("DISPLAY", "WAYLAND_DISPLAY"))):
        raise FaultError(
            "--show needs a display",
            expected="DISPLAY or WAYLAND_DISPLAY",
            found="neither; the page of [health] shows the same in a browser",
        )


def _has_gui(build: str) -> bool:
    """Whether a build's own account names a window system: a line of "GUI:" that is not NONE."""
    for line in build.splitlines():
        name, _, value = line.strip().partition(":")
        if name == "GUI":
            return value.strip() != "NONE"
    return False


def _is_closed(name: str) -> bool:
    return cv2.getWindowProperty(name, cv2.WND_PROP_VISIBLE) < 1
