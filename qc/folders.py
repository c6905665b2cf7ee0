"""Walks a folder: nothing in it is left out unseen, and no link is followed for ever.

Links to files are files: data is often kept in one place and linked into sets. A link to a folder
is followed where it leads to other data, and refused where it leads back: to what is read anyway,
or around what is read.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from qc.errors import DataError, FaultError
from qc.imageio import IMAGE_SUFFIXES

SHOWN = 8
"""Names of a folder that an error lists."""


@dataclass
class Walk:
    """What is below a folder.

    Args:
        files: all that can be read, and all that is named as an image, sorted.
        loops: links to folders that lead back.
        others: what is neither a file nor a folder, and links that lead to nothing.
    """

    files: list[Path] = field(default_factory=list)
    loops: list[DataError] = field(default_factory=list)
    others: list[DataError] = field(default_factory=list)


def walk(root: Path, hidden: tuple[str, ...] = (".",)) -> Walk:
    """Everything below a folder; files whose name begins with `.` are left out.

    Args:
        root: the folder.
        hidden: beginnings of the names of folders that are left out.

    Raises:
        DataError: a folder cannot be read.
    """
    found = Walk()
    places = [os.path.realpath(root)]
    folders = [os.fspath(root)]
    while folders:
        folder = folders.pop()
        try:
            with os.scandir(folder) as listed:
                entries = sorted(listed, key=lambda entry: entry.name)
        except OSError as error:
            raise DataError("folder cannot be read", where=folder, found=error.strerror) from error
        for entry in entries:
            path = Path(folder, entry.name)
            if _is(entry.is_dir):
                if entry.name.startswith(hidden):
                    continue
                if entry.is_symlink():
                    real = os.path.realpath(entry.path)
                    if any(_overlap(real, place) for place in places):
                        found.loops.append(_loop(path, real))
                        continue
                    places.append(real)
                folders.append(entry.path)
            elif not entry.name.startswith("."):
                is_file = _is(entry.is_file)
                if is_file or path.suffix.lower() in IMAGE_SUFFIXES:
                    found.files.append(path)
                else:
                    found.others.append(_other(path, entry.is_symlink()))
    found.files.sort()
    return found


def lying(place: Path) -> tuple[str, list[str]]:
    """What lies at a place, in words for an error, and the names in a folder, sorted."""
    if not place.is_dir():
        return "a file", []
    try:
        names = sorted(entry.name for entry in place.iterdir())
    except OSError as error:
        return f"a folder that cannot be read ({error.strerror})", []
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return (", ".join(names[:SHOWN]) or "nothing") + more, names


def refuse_unwritable(*files: Path | None) -> None:
    """Refuse a result's file before the work for it is done; None: no such result is wanted.

    Raises:
        FaultError: there is no folder for the file, it cannot be written, or a folder is there.
    """
    for file in files:
        if file is None:
            continue
        folder = file.absolute().parent
        found = None
        if not folder.is_dir():
            found = f"no folder {folder}"
        elif file.is_dir():
            found = "a folder of that name"
        elif not os.access(file if file.exists() else folder, os.W_OK):
            found = "no right to write, or a read-only disk"
        if found is not None:
            expected = "a file that can be written"
            raise FaultError("cannot be written", where=file, expected=expected, found=found)


def leads_back(link: Path, root: Path) -> bool:
    """Whether an entry is a link to a folder around `root` or inside of it."""
    return link.is_symlink() and _overlap(os.path.realpath(link), os.path.realpath(root))


def _is(question: Callable[[], bool]) -> bool:
    """The answer about an entry; False where it leads nowhere, or in circles."""
    try:
        return question()
    except OSError:
        return False


def _overlap(one: str, other: str) -> bool:
    return os.path.commonpath([one, other]) in (one, other)


def _loop(path: Path, real: str) -> DataError:
    what = "link to a folder is not followed: it leads to data that is read anyway"
    return DataError(what, where=path, expected="a link that leads elsewhere", found=real)


def _other(path: Path, is_link: bool) -> DataError:
    found = "a link that leads to nothing" if is_link else "a pipe, a socket or a device"
    return DataError("cannot be read", where=path, expected="a file or a folder", found=found)
