"""Picture files as parts: which files of a folder show some, and a file as a frame.

What a folder source and `qc inspect` share, as the page of that source tells it.
"""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from qc.errors import DataError, printable
from qc.folders import walk
from qc.imageio import IMAGE_SUFFIXES, read_deep
from qc.types import Frame, utc_now

_LOT = re.compile(r"(lot[a-z0-9-]+)_.+", re.IGNORECASE)


def read_frame(file: Path, *, frame_id: str, source_id: str) -> Frame:
    """One file as a frame; where it cannot be read, the frame says why."""
    captured_at, monotonic_ns = utc_now(), time.monotonic_ns()
    image, deep, fault = None, None, None
    try:
        image, deep = read_deep(file, listen=True)
    except DataError as error:
        fault = error.message
    name = printable(file.stem)
    lot = _LOT.fullmatch(name)
    return Frame(
        image=image,
        frame_id=frame_id,
        source_id=source_id,
        captured_at=captured_at,
        monotonic_ns=monotonic_ns,
        part_id=name,
        lot=lot.group(1) if lot else None,
        fault=fault,
        deep=deep,
    )


def files(paths: Sequence[Path]) -> list[Path]:
    """Image files of files and folders mixed, in the order given, each once.

    A file that is named is never left out; of a folder come its images.

    Raises:
        DataError: a path does not exist, or a folder holds no image.
    """
    found: list[Path] = []
    for path in paths:
        try:
            found += [path] if path.is_file() else parts_of(path, "*")
        except OSError as error:
            raise DataError("cannot be read", where=path, found=error.strerror) from error
    return list(dict.fromkeys(found))


def parts_in(folder: Path, pattern: str) -> tuple[list[Path], list[Path]]:
    """The image files of a folder, and those of them that show parts and have such a name.

    Raises:
        DataError: no such folder, one that cannot be read, or a link in it that leads back.
    """
    if not folder.is_dir():
        what = "a file" if folder.exists() else "nothing"
        raise DataError("there is no such folder", where=folder, expected="a folder", found=what)
    found = walk(folder)
    if found.loops:
        raise found.loops[0]
    images = [file for file in found.files if file.suffix.lower() in IMAGE_SUFFIXES]
    photographs = {f.with_suffix("") for f in images if f.suffix.lower() in (".jpg", ".jpeg")}
    chosen = [
        file
        for file in images
        if fnmatchcase(file.name, pattern) and not _is_mask(file, photographs)
    ]
    return images, chosen


def parts_of(folder: Path, pattern: str) -> list[Path]:
    """The image files of a folder that show parts, in the order of their names.

    Args:
        folder: with the folders in it.
        pattern: which file names, with `*` and `?`.

    Raises:
        DataError: as for `parts_in`, or there is none.
    """
    images, chosen = parts_in(folder, pattern)
    if not chosen:
        raise DataError(
            "the folder holds no image",
            where=folder,
            expected=f"files {pattern} ending in {', '.join(IMAGE_SUFFIXES)}",
            found=f"{len(images)} image files, none of them a part by that name"
            if images
            else "none",
        )
    return sorted(chosen, key=lambda file: file.relative_to(folder).as_posix())


def _is_mask(file: Path, photographs: set[Path]) -> bool:
    if file.suffix.lower() != ".png":
        return False
    return file.stem.endswith("_mask") or file.with_suffix("") in photographs
