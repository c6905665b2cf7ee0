"""One process at a time: an advisory lock beside a file, held as long as the process.

The lock is of the system (`flock`), so it ends with the process that holds it however that ends;
the file stays and means nothing by itself. A line takes that of its journal, not so the station: it
may review meanwhile. A training takes that of its run.
"""

from __future__ import annotations

import os
from pathlib import Path

from qc.errors import FaultError


def take_lock(
    place: Path,
    *,
    file: Path | None = None,
    taken: str = "another line writes this journal",
    expected: str = "a journal of its own for each line",
) -> int:
    """Take the lock of a place.

    Args:
        place: a journal, or what else one process alone may write.
        file: that is locked; None: beside the place, of its name and ".lock".
        taken: what an error says where another process holds it.
        expected: what it says should be.

    Returns:
        The open file to be closed where the lock is to end.

    Raises:
        FaultError: another process holds it, or the system has no such lock.
        OSError: the file cannot be made, or its disk knows no locks.
    """
    try:
        import fcntl
    except ImportError as error:
        raise FaultError("this needs a system with flock", where=place) from error
    file = file or Path(f"{place}.lock")
    number = os.open(file, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.read(number, 32).decode("ascii", "replace").strip()
        os.close(number)
        raise FaultError(
            taken,
            where=place,
            expected=expected,
            found=f"process {holder or 'unknown'} holds {file.name}",
        ) from None
    except OSError:
        os.close(number)
        raise
    try:
        os.ftruncate(number, 0)
        os.pwrite(number, f"{os.getpid()}\n".encode(), 0)
    except OSError:
        pass  # a full disk: the number is for people, the lock is held
    return number
