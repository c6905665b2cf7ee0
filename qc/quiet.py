"""Hides what native libraries print on stderr, which belongs to the user.

A TFLite runtime announces its delegates from C++, past `sys.stderr`: only redirecting the file
descriptor helps.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress


class Captured:
    """What was printed; complete once the context has ended, also by an exception."""

    text: str = ""


@contextmanager
def quiet_stderr(enabled: bool = True) -> Iterator[Captured]:
    """Send file descriptor 2 into a temporary file and always put it back.

    The descriptor belongs to the whole process: what another thread prints meanwhile is hidden too,
    so keep the block short. Where there is no stderr or no temporary file, nothing is hidden.

    Args:
        enabled: False leaves stderr alone.
    """
    captured = Captured()
    file = None
    saved = -1
    if enabled:
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
