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
from collections.abc import Iterator
from pathlib import Path

from qc.errors import DataError
from qc.imageio import IMAGE_SUFFIXES
from qc.types import Region, Sample
from training.datasets._annotated import (
    GOOD,
    MAX_COORDINATE,
    Scan,
    checked_region,
    corners_in_words,
    files_below,
    is_image_name,
)

_MAX_XML_BYTES = 16 * 1024 * 1024
_SIDES = ("xmin", "ymin", "xmax", "ymax")
_VOC_ROOT = re.compile(rb"<annotation[\s>/]")


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
    yield from scan(path).grouped_samples()


def _head(file: Path) -> bytes:
    with file.open("rb") as stream:
        return stream.read(4096)


def scan(path: Path) -> Scan:
    """The samples, and everything wrong with the annotations; an image goes by its sample id.

    Besides what `samples` refuses: boxes without area, boxes that reach outside the image by the
    size in the XML, a size that is missing, and a `filename` that names another image.

    Args:
        path: the dataset's root folder.

    Raises:
        DataError: no folder, or no annotation in it.
    """
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
        missing = DataError(what, where=image, expected=f"a file {image.stem}.xml")
        scan.refuse(image.relative_to(path).as_posix(), missing)
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
            corners = corners_in_words([(left, top), (right, bottom)])
            wrong.append(f"object {number}: box of '{label}' without area; {corners}")
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
