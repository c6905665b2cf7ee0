"""Hides what native libraries print on stderr, which belongs to the user.

A TFLite runtime announces its delegates from C++, past `sys.stderr`: only redirecting the file
descriptor helps.
"""

from __future__ import annotations

import os
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_ONE_AT_A_TIME = threading.RLock()


class Captured:
    """What was printed; complete once the context has ended, also by an exception."""

    text: str = ""


@contextmanager
def quiet_stderr(enabled: bool = True) -> Iterator[Captured]:
    """Send file descriptor 2 into a temporary file and always put it back.

    The descriptor belongs to the whole process: what another thread prints meanwhile is hidden too,
    so keep the block short. A second thread that comes meanwhile is not waited for and captures
    nothing. Where there is no stderr or no temporary file, nothing is hidden.

    Args:
        enabled: False leaves stderr alone.
    """
    if not enabled or not _ONE_AT_A_TIME.acquire(blocking=False):
        yield Captured()
        return
    try:
        with _quiet() as captured:
            yield captured
    finally:
        _ONE_AT_A_TIME.release()


@contextmanager
def _quiet() -> Iterator[Captured]:
    captured = Captured()
    file = None
    saved = -1
    with suppress(OSError):
        file = tempfile.TemporaryFile()  # noqa: SIM115 - closed below
        saved = os.dup(2)
    if file is None or saved < 0:
        yield captured
        return
    _flush()
    os.dup2(file.fileno(), 2)
    try:
        yield captured
    finally:
        _flush()
        os.dup2(saved, 2)
        os.close(saved)
        with file:
            file.seek(0)
            captured.text = file.read().decode("utf-8", "replace")


def _flush() -> None:
    if sys.stderr is not None:
        sys.stderr.flush()
