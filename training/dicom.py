"""Pictures of DICOM files: grey by a window, or colour, as RGB uint8 like any other image.

The window says how the numbers of a grey picture become eight bits:

    voi            the file's own window or table, as a viewer shows it. A file without one is an
                   error, not a guess. This is the default: it fails aloud, where `full` would
                   quietly turn a CT (4096 of 65536 values) into one flat grey.
    CENTER,WIDTH   one window for all, in the values of the modality, such as "40,400" for the soft
                   tissue of a CT. The choice where files of several scanners meet: a window that
                   somebody turned by hand differs from file to file, and a model can learn that.
    full           all that the header's bits can hold: for 8 bit pictures, and pictures of 10 to 16
                   bits that fill their range. Never the smallest and largest pixel of a picture.

Colour pictures have no window and are shown as they are. MONOCHROME1 is inverted, so that in every
picture a larger grey is brighter on a viewer. Frames count from 1, as the standard counts them.

The file is read by a process of its own (`training.dicom_reader`), which a damaged file may crash
without harm. What of a header reaches this process is what `read_header` was asked for.

Limits, said plainly: damage in the middle of uncompressed pixels cannot be seen. Where a file has
several windows, the first one counts. See `training.dicom_header` for what is refused.
"""

from __future__ import annotations

import atexit
import json
import os
import subprocess
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from qc import imageio
from qc.console import need
from qc.errors import DataError
from qc.types import Image
from training.python_process import start_python

VOI = "voi"
"""The default window: the file's own."""

DEADLINE_S = 120.0
"""A file that takes longer is given up."""

_MAGIC_AT, _MAGIC = 128, b"DICM"
_START = "from training.dicom_reader import serve; serve()"


@dataclass(frozen=True, slots=True)
class Header:
    """The few facts that were asked of a file.

    Args:
        kind: "picture", "directory" (the DICOMDIR of a disc) or "other" (a report, a plan).
        frames: at least 1.
        values: by keyword; empty where the header has none.
    """

    kind: str
    frames: int
    values: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class DicomFrame:
    """One frame of a DICOM file, to be read when it is needed.

    Args:
        path: the file.
        frame: counted from 1.
        window: "voi", "full" or "CENTER,WIDTH".
    """

    path: Path
    frame: int = 1
    window: str = VOI

    def read(self) -> Image:
        """The frame as RGB `(H, W, 3)` uint8; raises DataError where it cannot be read."""
        return read_frame(self.path, self.frame, self.window)


def is_dicom(path: Path) -> bool:
    """Whether a file has the DICOM mark; needs no pydicom, and a file without one is not read."""
    try:
        with path.open("rb") as file:
            file.seek(_MAGIC_AT)
            return file.read(len(_MAGIC)) == _MAGIC
    except OSError:
        return False


def need_dicom() -> None:
    """Refuse where pydicom is not installed.

    Raises:
        UsageError: names the extra that brings it.
    """
    need("dicom", "pydicom")


def read_header(path: Path, keywords: Sequence[str] = ()) -> Header:
    """What a file holds, without reading a pixel.

    Args:
        path: the file.
        keywords: DICOM keywords whose values are wanted, such as "PatientID"; nothing else of the
            header is given.

    Raises:
        DataError: not DICOM, damaged, or a picture that is not read.
        UsageError: pydicom is not installed.
    """
    says, _ = _asked(path, {"do": "header", "keywords": list(keywords)})
    return Header(says["kind"], says["frames"], says["values"])


def read_frame(path: Path, frame: int = 1, window: str = VOI) -> Image:
    """Read one frame as RGB `(H, W, 3)` uint8.

    Args:
        path: the file.
        frame: counted from 1.
        window: "voi", "full" or "CENTER,WIDTH"; see the top of this file.

    Raises:
        DataError: not DICOM, damaged or truncated, more than 64 megapixels, of a kind that is not
            read, or without a window where it was to have its own.
        UsageError: pydicom is not installed.
    """
    says, data = _asked(path, {"do": "picture", "frame": frame, "window": window})
    pixels = np.frombuffer(data, np.uint8).reshape(says["shape"])
    return pixels.copy() if pixels.ndim == 3 else np.repeat(pixels[..., None], 3, axis=2)


def _asked(path: Path, request: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
    need_dicom()
    limits = {"max_pixels": imageio.MAX_PIXELS, "max_bytes": imageio.MAX_BYTES}
    says, data = _process.ask({"path": str(path.absolute()), **limits, **request}, path)
    if "error" in says:
        raise DataError(says["error"], where=path)
    return says, data


class _Process:
    """The process that reads; begun with the first question, begun anew after a crash."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._owner = 0

    def ask(self, request: Mapping[str, Any], path: Path) -> tuple[dict[str, Any], bytes]:
        """The answer and its bytes; raises DataError where the process died over the file."""
        with self._lock:
            process = self._running()
            late = threading.Event()
            timer = threading.Timer(DEADLINE_S, _give_up, (process, late))
            timer.start()
            try:
                found = _exchange(process, request)
            finally:
                timer.cancel()
            if found is not None:
                return found
            self._process = None
            process.kill()
            process.communicate()
        what = f"took longer than {DEADLINE_S:g} s" if late.is_set() else "crashed its decoder"
        raise DataError(f"DICOM file {what}: it is damaged, or not standard", where=path)

    def _running(self) -> subprocess.Popen[bytes]:
        """The process; a fork of this one may not share it."""
        if self._process is not None and self._owner == os.getpid():
            return self._process
        purpose = "reads DICOM files"
        self._process = start_python(_START, purpose, stderr=subprocess.DEVNULL)
        self._owner = os.getpid()
        return self._process

    def close(self) -> None:
        """End the process; the next question begins another."""
        with self._lock:
            if self._process is not None and self._owner == os.getpid():
                self._process.kill()
                self._process.communicate()
            self._process = None


def _exchange(
    process: subprocess.Popen[bytes], request: Mapping[str, Any]
) -> tuple[dict[str, Any], bytes] | None:
    """Ask and listen; None where the process ended meanwhile."""
    assert process.stdin is not None and process.stdout is not None  # both are pipes
    try:
        process.stdin.write(json.dumps(request).encode() + b"\n")
        process.stdin.flush()
        line = process.stdout.readline()
        if not line.endswith(b"\n"):
            return None
        says: dict[str, Any] = json.loads(line)
        data = process.stdout.read(says["bytes"])
    except OSError:
        return None
    return (says, data) if len(data) == says["bytes"] else None


def _give_up(process: subprocess.Popen[bytes], late: threading.Event) -> None:
    late.set()
    process.kill()


_process = _Process()
atexit.register(_process.close)
