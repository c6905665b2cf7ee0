"""One line at a time writes a journal: an advisory lock beside it, held as long as the process.

The lock is of the system (`flock`), so it ends with the process that holds it however that ends;
the file stays and means nothing by itself. The station does not take it: it may review meanwhile.
"""

from __future__ import annotations

import os
from pathlib import Path

from qc.errors import FaultError


def take_lock(journal: Path) -> int:
    """Take the lock of a journal.

    Returns:
        The open file to be closed where the lock is to end.

    Raises:
        FaultError: another writer holds it, or the system has no such lock.
        OSError: the file beside the journal cannot be made.
    """
    try:
        import fcntl
    except ImportError as error:
        raise FaultError("a line needs a system with flock", where=journal) from error
    file = Path(f"{journal}.lock")
    number = os.open(file, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.read(number, 32).decode("ascii", "replace").strip()
        os.close(number)
        raise FaultError(
            "another line writes this journal",
            where=journal,
            expected="a journal of its own for each line",
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
