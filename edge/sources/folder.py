"""Frames from the image files of a folder, in the order of their names.

A file that cannot be read becomes a frame with its fault: it was captured, so it is accounted for.
Hidden files and masks (`x_mask.png`, or `x.png` beside `x.jpg`) are no pictures of parts. A byte of
a name that is not UTF-8 is written as `\\xff`, as no journal could hold it.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from types import TracebackType
from typing import Self

from qc.errors import DataError, printable
from qc.folders import walk
from qc.imageio import IMAGE_SUFFIXES, read_image
from qc.tables import Table
from qc.types import Frame, utc_now

_LOT = re.compile(r"(lot[a-z0-9-]+)_.+", re.IGNORECASE)


class Options(Table):
    """Keys of a folder in a line file; see `Source`."""

    path: Path
    pattern: str = "*"


class Source:
    """The images of one folder and the folders in it; a context manager that yields frames.

    Args:
        path: the folder.
        pattern: which file names, with `*` and `?`.
        source_id: the name of this source in the journal.

    Raises:
        DataError: no such folder, one that cannot be read, a link in it that leads back, or no
            image in it.
    """

    is_live = False

    def __init__(self, path: Path, *, pattern: str = "*", source_id: str = "folder") -> None:
        self.path = Path(path)
        self.pattern = pattern
        self.source_id = source_id
        self.files = _images(self.path, pattern)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Nothing is held open between two files."""

    def __iter__(self) -> Iterator[Frame]:
        for file in self.files:
            frame_id = printable(file.relative_to(self.path).as_posix())
            yield read_frame(file, frame_id=frame_id, source_id=self.source_id)


def read_frame(file: Path, *, frame_id: str, source_id: str) -> Frame:
    """One file as a frame; where it cannot be read, the frame says why."""
    captured_at, monotonic_ns = utc_now(), time.monotonic_ns()
    image, fault = None, None
    try:
        image = read_image(file, listen=True)
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
            found += [path] if path.is_file() else _images(path, "*")
        except OSError as error:
            raise DataError("cannot be read", where=path, found=error.strerror) from error
    return list(dict.fromkeys(found))


def _images(folder: Path, pattern: str) -> list[Path]:
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
