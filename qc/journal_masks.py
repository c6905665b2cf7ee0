"""Masks that people draw: kept beside the journal, and named by what they hold.

A review carries the SHA-256 of its mask, so the chain of the journal covers the mask too: a file
that was changed or exchanged is found. A mask is never changed; a new one is a new file.
"""

from __future__ import annotations

import os
import uuid
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray

from qc.errors import DataError, FaultError
from qc.imageio import png_bytes


def masks_folder(journal: Path) -> Path:
    """Where the masks of a journal's reviews are kept."""
    return journal.parent / f"{journal.stem}-masks"


def mask_file(journal: Path, inspection_id: str, digest: str) -> Path:
    """The file of one mask, whether it is there or not.

    Args:
        journal: the journal file.
        inspection_id: whose; a character that could lead elsewhere is quoted.
        digest: SHA-256 of the file, hexadecimal.
    """
    name = quote(inspection_id, safe="").replace(".", "%2E")
    return masks_folder(journal) / f"{name}-{digest[:8]}.png"


def store_mask(journal: Path, inspection_id: str, mask: NDArray[np.bool_]) -> str:
    """Keep a mask; the whole file or none of it, and on the disk when this returns.

    Args:
        journal: the journal file.
        inspection_id: whose.
        mask: `(H, W)`, true on the defect, at the kept picture's size.

    Returns:
        SHA-256 of the file, hexadecimal; the same mask has the same.

    Raises:
        FaultError: it cannot be written.
    """
    data = png_bytes(mask.astype(np.uint8) * np.uint8(255), where=inspection_id, compression=9)
    digest = sha256(data).hexdigest()
    file = mask_file(journal, inspection_id, digest)
    partial = file.with_name(f".{uuid.uuid4().hex}.tmp")
    try:
        file.parent.mkdir(exist_ok=True)
        with partial.open("xb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        partial.replace(file)
        number = os.open(file.parent, os.O_RDONLY)
        try:
            os.fsync(number)
        finally:
            os.close(number)
    except OSError as error:
        with suppress(OSError):
            partial.unlink()
        raise FaultError("the mask cannot be kept", where=file, found=error.strerror) from error
    return digest


def kept_mask(journal: Path, inspection_id: str, digest: str) -> Path:
    """The file of a review's mask, after a look that it is the one that was reviewed.

    Raises:
        DataError: it is gone, or not the one of this digest.
    """
    file = mask_file(journal, inspection_id, digest)
    try:
        found = sha256(file.read_bytes()).hexdigest()
    except OSError as error:
        raise DataError("the mask is gone", where=file, found=error.strerror) from error
    if found != digest:
        raise DataError(
            "the mask is not the one that was reviewed", where=file, expected=digest, found=found
        )
    return file
