"""Arrays that other processes of this program see without a copy: on Linux, in memory with a file
descriptor. Elsewhere, and where /proc cannot be read, they are ordinary arrays, and have no place.
"""

from __future__ import annotations

import math
import os
import weakref
from typing import Any, NamedTuple

import numpy as np


class Place(NamedTuple):
    """Where another process finds an array while the one that made it lives."""

    path: str
    dtype: str
    shape: tuple[int, ...]
    offset: int


def empty(shape: tuple[int, ...], dtype: Any = np.uint8) -> np.ndarray:
    """An array that has a place, where that is possible; its values are 0 then."""
    if not math.prod(shape) or not hasattr(os, "memfd_create"):
        return np.empty(shape, dtype)
    try:
        file = os.memfd_create("attention-qc")
    except OSError:
        return np.empty(shape, dtype)
    try:
        mapped = np.memmap(f"/proc/{os.getpid()}/fd/{file}", dtype, "w+", shape=shape)
    except OSError:
        os.close(file)
        return np.empty(shape, dtype)
    weakref.finalize(mapped, os.close, file)
    return np.asarray(mapped)


def with_place(array: np.ndarray) -> np.ndarray:
    """The array itself where it has a place, else a copy that has one, where that is possible."""
    if place_of(array) is not None:
        return array
    copy = empty(array.shape, array.dtype)
    if place_of(copy) is None:
        return array
    copy[...] = array
    return copy


def place_of(array: np.ndarray) -> Place | None:
    """Where another process finds an array of `empty`, or a whole block of rows of one."""
    owner: Any = array.base
    while isinstance(owner, np.ndarray) and not isinstance(owner, np.memmap):
        owner = owner.base
    if not isinstance(owner, np.memmap) or not array.flags.c_contiguous:
        return None
    path = str(owner.filename)
    if not path.startswith(f"/proc/{os.getpid()}/fd/"):
        return None
    offset = array.ctypes.data - owner.ctypes.data
    return Place(path, array.dtype.str, array.shape, offset)


def at_place(place: Place) -> np.ndarray:
    """The array of another process.

    Raises:
        OSError: that process has ended.
    """
    return np.asarray(np.memmap(place.path, place.dtype, "r+", place.offset, place.shape))
