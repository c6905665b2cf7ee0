"""Who makes the pictures of a batch: processes beside the training, or threads of it.

Python runs one thread of a process at a time, and a training on a GPU wants more pictures than that
gives; on a CPU, threads that make pictures take cores from the step whenever they please. So
processes make them, with the least claim to a core. They hold no copy of the samples and write
into the batch itself (`training/shared.py`); to start one takes 0.7 s of a core and 90 MB.
"""

from __future__ import annotations

import io
import os
import pickle
import subprocess
import sys
import threading
import traceback
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import cv2
import numpy as np

from qc.cores import usable_cores
from qc.errors import FaultError
from training import shared
from training.python_process import start_python
from training.rows import Rows

WORTH = 5000
"""Pictures from which on a training begins processes for them."""

_START = "from training.makers import serve; serve()"
_PATIENCE_S = 10.0
_NICE = 19


def worthwhile_processes(pictures: int, gpus: int) -> int:
    """How many processes a training wants for its pictures; 0: threads.

    Args:
        pictures: of all epochs.
        gpus: that train, for which a CPU's cores are free.
    """
    cores = usable_cores()
    if pictures < WORTH or cores < 2:
        return 0
    return min(cores, 16 if gpus else 4)


class Makers:
    """Fill rows of batches.

    Args:
        rows: what they fill.
        processes: as many, where memory can be shared; 0: threads.
        threads: where there are no processes; None: one for each core, four at most.
    """

    def __init__(self, rows: Rows, processes: int, threads: int | None = None) -> None:
        self._rows = rows
        self._sent = _as_sent(rows) if processes else None
        self._begun: list[subprocess.Popen[bytes]] = []
        self._own = threading.local()
        number = processes if self._sent else threads or min(usable_cores(), 4)
        # for pictures of this size OpenCV's own threads cost cores and bring nothing
        self._pool = ThreadPoolExecutor(number, "makers", cv2.setNumThreads, (1,))

    def submit(self, batch: int, first: int, drawn: Sequence[tuple[int, int]]) -> Future[None]:
        """Have rows filled, as `Rows.fill` does; a FaultError where a process has ended."""
        fill = self._rows.fill if self._sent is None else self._ask
        return self._pool.submit(fill, batch, first, drawn)

    def close(self) -> None:
        """Finish what has begun, and end the processes."""
        self._pool.shutdown(cancel_futures=True)
        for process in self._begun:
            with suppress(OSError):
                process.stdin.close()  # type: ignore[union-attr] - a pipe
            try:
                process.wait(_PATIENCE_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            process.stdout.close()  # type: ignore[union-attr] - a pipe
        self._begun.clear()

    def _ask(self, *told: Any) -> None:
        """Each thread of the pool has a process of its own."""
        if not hasattr(self._own, "process"):
            self._own.process = self._begin()
        process = self._own.process
        try:
            process.stdin.write(pickle.dumps(told))
            process.stdin.flush()
            error = pickle.load(process.stdout)
        except (OSError, EOFError, ValueError, pickle.UnpicklingError) as gone:
            with suppress(subprocess.TimeoutExpired):
                process.wait(_PATIENCE_S)
            raise FaultError(
                "a process that makes pictures of the training has ended",
                expected="that it runs as long as the training; does the machine have the memory?",
                found=f"exit status {process.returncode}",
            ) from gone
        if error is not None:
            raise error

    def _begin(self) -> subprocess.Popen[bytes]:
        # in a process group of its own: what ends the training at the keyboard is not told to it
        process = start_python(_START, "makes pictures", process_group=0)
        self._begun.append(process)
        with suppress(OSError):  # that it has ended is seen when it is asked
            process.stdin.write(self._sent)  # type: ignore[union-attr] - a pipe
        return process


class _Pickler(pickle.Pickler):
    """Sends the place of an array where it has one."""

    def reducer_override(self, value: Any) -> Any:
        place = shared.place_of(value) if type(value) is np.ndarray else None
        return NotImplemented if place is None else (shared.at_place, (place,))


def _as_sent(rows: Rows) -> bytes | None:
    """The rows for other processes; None where they would not fill the same memory."""
    if any(shared.place_of(kept) is None for kept in (rows.pixels, rows.scores, rows.maps)):
        return None
    sent = io.BytesIO()
    _Pickler(sent).dump(rows)
    return sent.getvalue()


def serve() -> None:
    """A process: fill the rows that stdin tells, until it ends."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints is no answer
    with suppress(OSError):
        os.nice(_NICE)
    cv2.setNumThreads(1)
    asked = sys.stdin.buffer
    with suppress(EOFError, BrokenPipeError):
        rows = pickle.load(asked)
        while True:
            told = pickle.load(asked)
            pickle.dump(_filled(rows, told), answers)
            answers.flush()


def _filled(rows: Rows, told: tuple[Any, ...]) -> Exception | None:
    try:
        rows.fill(*told)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is raised where it was asked
        error.add_note(traceback.format_exc())
        return error
    return None
