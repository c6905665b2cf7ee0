"""What annotated layouts share: the files below a folder, regions cut to their image, and errors.

An error that leaves the image usable is kept for the audit; one that does not stops the reading.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from qc.errors import DataError, printable
from qc.folders import walk
from qc.imageio import IMAGE_SUFFIXES
from qc.types import Region, Sample
from training.datasets._groups import GROUPS_FILE, read_groups

GOOD = "good"
"""Class of an image that is annotated as holding nothing."""

HIDDEN = (".", "_")
"""Beginnings of the names of folders that are left out."""

MAX_COORDINATE = 1e9
"""A larger number is no pixel coordinate and is refused, as are infinity and not-a-number."""

_OUTSIDE_PX = 0.5  # annotation tools round; less than half a pixel over the border is no error

Point = tuple[float, float]


@dataclass
class Scan:
    """What reading an annotated dataset brought: samples, and everything that is wrong.

    Args:
        root: the folder that sample ids are relative to.
        samples: in order.
        errors: what it is about (a path relative to `root`) and what is wrong with it.
        fatal: those of the errors that stop the reading.
        without_picture: parts that are no sample because nobody kept their picture; no error.
    """

    root: Path
    samples: list[Sample] = field(default_factory=list)
    errors: list[tuple[str, DataError]] = field(default_factory=list)
    fatal: list[DataError] = field(default_factory=list)
    without_picture: int = 0

    def note(self, path: str, error: DataError) -> None:
        """Keep an error that leaves the image usable."""
        self.errors.append((path, error))

    def refuse(self, path: str, error: DataError) -> None:
        """Keep an error that stops the reading."""
        self.note(path, error)
        self.fatal.append(error)

    def group(self) -> None:
        """Give samples without a group theirs of `groups.csv`; without it each is its own."""
        try:
            groups, wrong = read_groups(self.root, [s.sample_id for s in self.samples])
        except DataError as error:
            self.refuse(GROUPS_FILE, error)
            return
        for error in wrong:
            self.refuse(GROUPS_FILE, error)
        self.samples = [
            replace(s, group=groups.get(s.sample_id) or s.group or s.sample_id)
            for s in self.samples
        ]

    def grouped_samples(self) -> list[Sample]:
        """The samples with their groups.

        Raises:
            DataError: the first fatal error, a wrong `groups.csv` among them.
        """
        self.group()
        if self.fatal:
            raise self.fatal[0]
        return self.samples

    def as_rows(self) -> list[dict[str, str]]:
        """The errors as `{"path", "why"}`, in the order in which they were found."""
        return [{"path": printable(path), "why": str(error)} for path, error in self.errors]


def files_below(root: Path) -> list[Path]:
    """Every file below a folder, sorted; hidden files and folders with `.` or `_` are left out.

    Links that lead back or to nothing are left out too: `read_dataset` refuses them.

    Raises:
        DataError: no such folder, or one that cannot be read.
    """
    if not root.is_dir():
        raise DataError("dataset folder does not exist", where=root)
    return walk(root, HIDDEN).files


def is_image_name(file: Path) -> bool:
    """Whether the file's name ends as an image's does."""
    return file.suffix.lower() in IMAGE_SUFFIXES


def checked_region(
    label: str, points: Sequence[Point], is_box: bool, size_wh: tuple[int, int] | None
) -> tuple[Region | None, str | None]:
    """A region cut to its image, and what is wrong with it.

    Args:
        label: the class.
        points: a box's first and last corner, or a polygon's corners; pixels, edges not centres.
        is_box: which of the two.
        size_wh: the image's width and height, or None where that is not known.

    Returns:
        The region, or None where no area is left; and words for the error, or None. Corners that
        lie outside are moved to the border.
    """
    kind = "box" if is_box else "polygon"
    if is_box:
        (left, top), (right, bottom) = points
        if right <= left or bottom <= top:
            return None, f"{kind} of '{label}' without area; {corners_in_words(points)}"
        points = [(left, top), (right, top), (right, bottom), (left, bottom)]
    elif _area(points) == 0:
        return None, f"{kind} of '{label}' without area; {corners_in_words(points)}"
    if size_wh is None:
        return Region(label, tuple(points), is_box), None
    width, height = map(float, size_wh)
    inside = [(min(max(x, 0.0), width), min(max(y, 0.0), height)) for x, y in points]
    pairs = zip(points, inside, strict=True)
    moved = max(max(abs(x - u), abs(y - v)) for (x, y), (u, v) in pairs)
    region = Region(label, tuple(inside), is_box) if _area(inside) > 0 else None
    if region is not None and moved <= _OUTSIDE_PX:
        return region, None
    reach = "reaches" if region is not None else "lies"
    size = f"{width:g} x {height:g} pixels"
    return (
        region,
        f"{kind} of '{label}' {reach} outside the image of {size}; {corners_in_words(points)}",
    )


def _area(points: Sequence[Point]) -> float:
    """Area inside a closed polygon (shoelace formula), whatever its direction."""
    following = [*points[1:], points[0]]
    return abs(sum(x * v - u * y for (x, y), (u, v) in zip(points, following, strict=True))) / 2


def corners_in_words(points: Sequence[Point]) -> str:
    """The first four corners, for an error."""
    shown = " ".join(f"({x:g}, {y:g})" for x, y in points[:4])
    return f"corners {shown}" if len(points) <= 4 else f"corners {shown} ..."
