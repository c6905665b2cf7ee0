"""Layout Pascal VOC: one XML file for each image, in a folder of its own or beside the image.

An image goes by the file name of its annotation without the ending, as VOC's own lists do: `7.xml`
is about `7.jpg`, in whatever folder below the root; the nearest one where the name occurs twice.
Official splits (`ImageSets`) and drawn masks (`Segmentation*`) are not read. An annotation without
an object says that the part is good; an image without annotation says nothing and is refused.

Boxes count pixels from 1 and hold both corners, as the VOC development kit says, so columns 1..W
are the edges 0..W here. A box whose corners share a row or a column would by the letter be one
pixel thin; it is taken for a slip of the hand: it keeps its class and is left out of the regions.

Source: Everingham et al., The Pascal Visual Object Classes (VOC) Challenge, IJCV 88, 2010.
"""

from __future__ import annotations

import os
import re
import xml.etree.ElementTree as ET
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from qc.errors import DataError
from qc.imageio import IMAGE_SUFFIXES
from qc.types import Region, Sample
from training.datasets.class_folders import _groups

GOOD = "good"
"""Class of an image that is annotated as holding nothing."""

MAX_COORDINATE = 1e9
"""A larger number is no pixel coordinate and is refused, as are infinity and not-a-number."""

_MAX_XML_BYTES = 16 * 1024 * 1024
_OUTSIDE_PX = 0.5  # annotation tools round; less than half a pixel over the border is no error
_SIDES = ("xmin", "ymin", "xmax", "ymax")
_VOC_ROOT = re.compile(rb"<annotation[\s>/]")

Point = tuple[float, float]


@dataclass
class Scan:
    """What reading an annotated dataset brought: samples, and everything that is wrong.

    Args:
        root: the folder that sample ids are relative to.
        samples: in order.
        errors: what it is about (a path relative to `root`) and what is wrong with it.
        fatal: those of the errors that stop the reading.
    """

    root: Path
    samples: list[Sample] = field(default_factory=list)
    errors: list[tuple[str, DataError]] = field(default_factory=list)
    fatal: list[DataError] = field(default_factory=list)

    def note(self, path: str, error: DataError) -> None:
        """Keep an error that leaves the image usable."""
        self.errors.append((path, error))

    def refuse(self, path: str, error: DataError) -> None:
        """Keep an error that stops the reading."""
        self.note(path, error)
        self.fatal.append(error)

    def grouped_samples(self) -> list[Sample]:
        """The samples with their groups from `groups.csv`; without it each is its own group.

        Raises:
            DataError: the first fatal error, or a wrong `groups.csv`.
        """
        if self.fatal:
            raise self.fatal[0]
        groups = _groups(self.root, [s.sample_id for s in self.samples])
        return [replace(s, group=groups.get(s.sample_id, s.sample_id)) for s in self.samples]

    def as_rows(self) -> list[dict[str, str]]:
        """The errors as `{"path", "why"}`, in the order in which they were found."""
        return [{"path": path, "why": str(error)} for path, error in self.errors]


def detect(path: Path) -> bool:
    """Whether `path` is a folder with a VOC annotation anywhere below."""
    return path.is_dir() and any(
        _VOC_ROOT.search(_head(file).replace(b"\0", b""))
        for file in files_below(path)
        if file.suffix.lower() == ".xml"
    )


def samples(path: Path) -> Iterator[Sample]:
    """One sample an image, sorted by the annotation's path; its labels are the boxes' classes.

    Args:
        path: the dataset's root folder.

    Raises:
        DataError: no annotation, one that is not readable or holds a DOCTYPE, a box without class
            or numbers, an annotation without its image or the reverse, or a wrong `groups.csv`.
    """
    yield from _scan(path).grouped_samples()


def annotation_errors(path: Path) -> list[dict[str, str]]:
    """Everything wrong with the annotations, as `{"path", "why"}`; an image goes by its sample id.

    Besides what `samples` refuses: boxes without area, boxes that reach outside the image by the
    size in the XML, a size that is missing, and a `filename` that names another image.

    Args:
        path: the dataset's root folder.

    Raises:
        DataError: no folder, or no annotation in it.
    """
    return _scan(path).as_rows()


def files_below(root: Path) -> list[Path]:
    """Every file below a folder, sorted; hidden files and folders with `.` or `_` are left out.

    Raises:
        DataError: no such folder, or one that cannot be read.
    """
    if not root.is_dir():
        raise DataError("dataset folder does not exist", where=root)

    def fail(error: OSError) -> None:
        raise DataError("folder cannot be read", where=error.filename, found=error.strerror)

    found: list[Path] = []
    for folder, inner, names in os.walk(root, onerror=fail):
        inner[:] = [name for name in inner if not name.startswith((".", "_"))]
        found += [Path(folder, name) for name in names if not name.startswith(".")]
    return sorted(found)


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
            return None, f"{kind} of '{label}' without area; corners {_words(points)}"
        points = [(left, top), (right, top), (right, bottom), (left, bottom)]
    elif _area(points) == 0:
        return None, f"{kind} of '{label}' without area; corners {_words(points)}"
    if size_wh is None:
        return Region(label, tuple(points), is_box), None
    width, height = size_wh
    inside = [(min(max(x, 0.0), width), min(max(y, 0.0), height)) for x, y in points]
    moved = max(abs(a - b) for p, q in zip(points, inside, strict=True) for a, b in zip(p, q))
    why = None
    if moved > _OUTSIDE_PX:
        why = (
            f"{kind} of '{label}' reaches outside the image of {width} x {height} pixels; "
            f"corners {_words(points)}"
        )
    return (Region(label, tuple(inside), is_box) if _area(inside) > 0 else None), why


def _area(points: Sequence[Point]) -> float:
    """Area inside a closed polygon (shoelace formula), whatever its direction."""
    following = [*points[1:], points[0]]
    return abs(sum(x * v - u * y for (x, y), (u, v) in zip(points, following, strict=True))) / 2


def _words(points: Sequence[Point]) -> str:
    shown = " ".join(f"({x:g}, {y:g})" for x, y in points[:4])
    return shown if len(points) <= 4 else f"{shown} ..."


def _head(file: Path) -> bytes:
    with file.open("rb") as stream:
        return stream.read(4096)


def _scan(path: Path) -> Scan:
    files = files_below(path)
    annotations = [f for f in files if f.suffix.lower() == ".xml"]
    if not annotations:
        raise DataError("no annotation", where=path, expected="XML files in Pascal VOC form")
    by_stem: defaultdict[str, list[Path]] = defaultdict(list)
    for file in files:
        folders = file.relative_to(path).parts[:-1]
        if is_image_name(file) and not any(f.startswith("Segmentation") for f in folders):
            by_stem[file.stem].append(file)
    scan, owner = Scan(path), dict[Path, Path]()
    for file in annotations:
        sample_id = file.relative_to(path).as_posix()
        try:
            image = _image_of(file, by_stem.get(file.stem, []))
            sample_id = image.relative_to(path).as_posix()
            if image in owner:
                raise DataError("two annotations for one image", where=file, found=owner[image])
            owner[image] = file
            labels, regions, wrong = _annotation(file)
        except DataError as error:
            scan.refuse(sample_id, error)
            continue
        for why in wrong:
            scan.note(sample_id, DataError(why, where=file))
        scan.samples.append(Sample(sample_id, image, labels, regions=regions))
    for image in sorted(i for found in by_stem.values() for i in found if i not in owner):
        what = "image without annotation (one of a good part has an annotation without object)"
        error = DataError(what, where=image, expected=f"a file {image.stem}.xml")
        scan.refuse(image.relative_to(path).as_posix(), error)
    return scan


def _image_of(annotation: Path, candidates: list[Path]) -> Path:
    """The image of that name which shares the most folders with the annotation."""
    if not candidates:
        expected = f"{annotation.stem}{'|'.join(IMAGE_SUFFIXES)} in any folder"
        raise DataError("annotation without its image", where=annotation, expected=expected)
    shared = [len(os.path.commonpath([annotation.parent, c.parent])) for c in candidates]
    nearest = [c for c, n in zip(candidates, shared, strict=True) if n == max(shared)]
    if len(nearest) > 1:
        found = ", ".join(map(str, nearest))
        raise DataError("several images for one annotation", where=annotation, found=found)
    return nearest[0]


def _annotation(file: Path) -> tuple[tuple[str, ...], tuple[Region, ...], list[str]]:
    """Labels and regions of one file, and what is wrong but leaves the image usable."""
    root = _parsed(file)
    wrong: list[str] = []
    named = Path((root.findtext("filename") or "").strip().replace("\\", "/")).name
    if named and file.stem not in (named, Path(named).stem):
        wrong.append(f"filename names another image; expected {file.stem}; found {named}")
    size = _size(root)
    if size is None:
        wrong.append("size of the image is missing or not positive: boxes are not checked by it")
    labels: set[str] = set()
    regions: list[Region] = []
    for number, thing in enumerate(root.iterfind("object"), 1):
        where = f"{file} object {number}"
        label = (thing.findtext("name") or "").strip()
        if not label:
            raise DataError("object without a class", where=where, expected="a <name>")
        left, top, right, bottom = (_number(thing, side, where) for side in _SIDES)
        labels.add(label)
        if right == left or bottom == top:
            corners = _words([(left, top), (right, bottom)])
            wrong.append(f"object {number}: box of '{label}' without area; corners {corners}")
            continue
        corners_of_edges = [(left - 1, top - 1), (right, bottom)]
        region, why = checked_region(label, corners_of_edges, True, size)
        if region is not None:
            regions.append(region)
        if why is not None:
            wrong.append(f"object {number}: {why} (as edges: VOC counts pixels from 1)")
    return tuple(sorted(labels)) or (GOOD,), tuple(regions), wrong


def _parsed(file: Path) -> ET.Element:
    """The XML's root element; entities are never expanded, as no DOCTYPE gets to the parser."""
    try:
        size = file.stat().st_size
        data = file.read_bytes() if size <= _MAX_XML_BYTES else b""
    except OSError as error:
        raise DataError(f"annotation cannot be read ({error.strerror})", where=file) from error
    if size > _MAX_XML_BYTES:
        raise DataError(
            "annotation is refused", where=file, expected=f"<= {_MAX_XML_BYTES} bytes", found=size
        )
    if b"<!DOCTYPE" in data.replace(b"\0", b""):  # UTF-16 hides it between zeros
        raise DataError("annotation is refused", where=file, expected="no DOCTYPE", found="one")
    try:
        root = ET.fromstring(data)
    except (ET.ParseError, LookupError, ValueError) as error:
        raise DataError(f"annotation is not readable XML ({error})", where=file) from error
    if root.tag != "annotation":
        raise DataError(
            "XML is no VOC annotation", where=file, expected="<annotation>", found=f"<{root.tag}>"
        )
    return root


def _size(root: ET.Element) -> tuple[int, int] | None:
    """Width and height as the XML says; None where it does not."""
    try:
        width, height = (int(root.findtext(f"size/{side}", "")) for side in ("width", "height"))
    except ValueError:
        return None
    return (width, height) if min(width, height) > 0 else None


def _number(thing: ET.Element, side: str, where: str) -> float:
    text = thing.findtext(f"bndbox/{side}")
    try:
        value = float(text or "")
    except ValueError:
        value = float("nan")
    if not -MAX_COORDINATE <= value <= MAX_COORDINATE:
        raise DataError(f"box without {side}", where=where, expected="a number", found=repr(text))
    return value
