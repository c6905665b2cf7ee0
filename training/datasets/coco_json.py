"""Layout COCO: one JSON file with `images`, `annotations` and `categories`.

The dataset is that file, or a folder with exactly one such file and the images below it. An image
is found by its `file_name`, in any folder below the root whose path ends with it; the root of
`annotations/x.json` is the folder around `annotations`. An image with no annotation is "good".

An outline (`segmentation`) goes before its box. Run lengths are decoded here, in twenty lines,
since the usual library is a compiled extension that every machine would have to install. Of a mask
only the outer contours become polygons: a hole in it is filled. Crowds are read like single things.

Source: Lin et al., Microsoft COCO: Common Objects in Context, 2014; cocodataset.org/#format-data.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any, TypeGuard

import cv2
import numpy as np
from numpy.typing import NDArray

from qc.errors import DataError
from qc.imageio import MAX_PIXELS
from qc.types import Region, Sample
from training.datasets._annotated import (
    GOOD,
    MAX_COORDINATE,
    Scan,
    checked_region,
    files_below,
    is_image_name,
)

__all__ = ["GOOD", "decode_rle", "detect", "samples", "scan"]

_KEYS = ("images", "annotations", "categories")
_ANNOTATIONS_FOLDER = "annotations"
_MAX_RLE_DIGITS = 12  # five bits each; more would be a run longer than any image


def detect(path: Path) -> bool:
    """Whether `path` is a COCO file, or a folder with at least one below."""
    if path.is_dir():
        return bool(_coco_files(path))
    return path.is_file() and path.suffix.lower() == ".json" and _has_keys(path)


def samples(path: Path) -> Iterator[Sample]:
    """One sample an image, in the order of the file; its labels are its annotations' categories.

    Args:
        path: the JSON file, or a folder with exactly one.

    Raises:
        DataError: none or several COCO files, JSON that is not readable or lacks a key, an
            annotation of an unknown image or category or of a wrong shape, an image that is not
            there, or a wrong `groups.csv`.
    """
    yield from scan(path).grouped_samples()


def decode_rle(counts: list[int] | str, size_hw: tuple[int, int]) -> NDArray[np.uint8]:
    """The mask `(H, W)` of 0 and 1 that run lengths stand for.

    Args:
        counts: lengths of the runs of 0 and 1 in turn, column by column; or the same as COCO
            compresses it: five bits a character, from the fourth on less the one before last.
        size_hw: height and width.

    Raises:
        DataError: the runs do not fill the mask exactly, or the text is no such code.
    """
    height, width = size_hw
    runs = _uncompressed(counts) if isinstance(counts, str) else counts
    if not all(_is_whole(n) and n >= 0 for n in runs) or sum(runs) != height * width:
        raise DataError(
            "run lengths do not fill their mask",
            expected=f"whole numbers that add up to {height} x {width}",
            found=f"{len(runs)} runs",
        )
    values = np.arange(len(runs), dtype=np.int64) % 2
    return np.repeat(values.astype(np.uint8), runs).reshape((height, width), order="F")


def _uncompressed(text: str) -> list[int]:
    runs: list[int] = []
    value = digits = 0
    for character in text:
        code = ord(character) - 48
        if not 0 <= code < 64 or digits >= _MAX_RLE_DIGITS:
            raise DataError("compressed run lengths are damaged", found=repr(text[:20]))
        value |= (code & 31) << (5 * digits)
        digits += 1
        if code & 32:
            continue
        if code & 16:
            value -= 1 << (5 * digits)
        runs.append(value + (runs[-2] if len(runs) > 2 else 0))
        value = digits = 0
    if digits:
        raise DataError("compressed run lengths are cut off", found=repr(text[-20:]))
    return runs


def _coco_files(folder: Path) -> list[Path]:
    return [f for f in files_below(folder) if f.suffix.lower() == ".json" and _has_keys(f)]


def _has_keys(file: Path) -> bool:
    """Whether the three keys stand anywhere in the text: a damaged file is still a COCO file."""
    data = file.read_bytes()
    return data.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{") and all(
        f'"{key}"'.encode() in data for key in _KEYS
    )


def _located(path: Path) -> tuple[Path, Path]:
    """The JSON file and the root folder."""
    if not path.is_dir():
        if not path.is_file():
            raise DataError("dataset does not exist", where=path)
        folder = path.parent
        return path, folder.parent if folder.name == _ANNOTATIONS_FOLDER else folder
    found = _coco_files(path)
    if len(found) != 1:
        raise DataError(
            "folder must hold one COCO file; or name the file itself",
            where=path,
            expected=f"one .json with {', '.join(_KEYS)}",
            found=", ".join(f.relative_to(path).as_posix() for f in found) or "none",
        )
    return found[0], path


def scan(path: Path) -> Scan:
    """The samples, and everything wrong with the annotations; an image goes by its sample id.

    Besides what `samples` refuses: boxes and outlines without area or outside the image by the size
    in the JSON, annotations without either, and images of the folder that the JSON does not list
    (not looked for where `path` is the JSON file: others may list them).

    Args:
        path: the JSON file, or a folder with exactly one.

    Raises:
        DataError: no such path, or none or several COCO files in it.
    """
    file, root = _located(path)
    scan = Scan(root)
    try:
        content = _content(file)
    except DataError as error:
        scan.refuse(file.name, error)
        return scan
    on_disk: defaultdict[str, list[Path]] = defaultdict(list)
    for image in files_below(root):
        if is_image_name(image):
            on_disk[image.name].append(image.relative_to(root))
    names = _categories(scan, content["categories"], file)
    marks: defaultdict[int | str, list[tuple[str, Any]]] = defaultdict(list)
    known = {i["id"] for i in content["images"] if isinstance(i, dict) and _is_id(i.get("id"))}
    for index, entry in enumerate(content["annotations"]):
        where = f"{file} annotations[{index}]"
        try:
            _check_reference(entry, "image_id", known, where)
            _check_reference(entry, "category_id", names, where)
            marks[entry["image_id"]].append((where, entry))
        except DataError as error:
            scan.refuse(file.name, error)
    used: set[Path] = set()
    seen: set[int | str] = set()
    for index, entry in enumerate(content["images"]):
        where, sample_id = f"{file} images[{index}]", file.name
        try:
            image = _image_of(entry, on_disk, where)
            sample_id = image.as_posix()
            if entry["id"] in seen or image in used:
                found = f"id {entry['id']}, {sample_id}"
                raise DataError("image is listed twice", where=where, found=found)
            seen.add(entry["id"])
            used.add(image)
            labels, regions = _marked(scan, sample_id, entry, marks[entry["id"]], names)
            scan.samples.append(Sample(sample_id, root / image, labels, regions=regions))
        except DataError as error:
            scan.refuse(sample_id, error)
    if path.is_dir():
        for image in sorted({i for found in on_disk.values() for i in found} - used):
            unlisted = DataError("image is not listed and not read", where=file, found=image)
            scan.note(image.as_posix(), unlisted)
    return scan


def _content(file: Path) -> dict[str, list[Any]]:
    try:
        content = json.loads(file.read_bytes().decode("utf-8-sig"))
    except OSError as error:
        raise DataError(f"COCO file cannot be read ({error.strerror})", where=file) from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"COCO file is not readable JSON ({error})", where=file) from error
    for key in _KEYS:
        value = content.get(key) if isinstance(content, dict) else None
        if not isinstance(value, list):
            raise DataError(
                f"COCO file lacks its list '{key}'",
                where=file,
                expected=", ".join(_KEYS),
                found=type(value).__name__ if isinstance(content, dict) else "no object",
            )
    return dict(content)


def _categories(scan: Scan, entries: list[Any], file: Path) -> dict[int | str, str]:
    names: dict[int | str, str] = {}
    for index, entry in enumerate(entries):
        key = entry.get("id") if isinstance(entry, dict) else None
        name = entry.get("name") if isinstance(entry, dict) else None
        if not _is_id(key) or key in names or not isinstance(name, str) or not name.strip():
            error = DataError(
                "category is not valid",
                where=f"{file} categories[{index}]",
                expected="an id that occurs once, and a name",
                found=_short(entry),
            )
            scan.refuse(file.name, error)
        else:
            names[key] = name.strip()
    return names


def _check_reference(entry: Any, key: str, known: Any, where: str) -> None:
    value = entry.get(key) if isinstance(entry, dict) else None
    if not _is_id(value) or value not in known:
        raise DataError(
            f"annotation of an unknown {key}",
            where=where,
            expected="one that the file lists",
            found=_short(entry if value is None else value),
        )


def _image_of(entry: Any, on_disk: dict[str, list[Path]], where: str) -> Path:
    """The listed image's path relative to the root."""
    name = entry.get("file_name") if isinstance(entry, dict) else None
    if not isinstance(name, str) or not name or not _is_id(entry.get("id")):
        raise DataError(
            "image entry is not valid",
            where=where,
            expected="id and file_name",
            found=_short(entry),
        )
    wanted = PurePosixPath(name.replace("\\", "/")).parts or (name,)
    fitting = [p for p in on_disk.get(wanted[-1], []) if p.parts[-len(wanted) :] == wanted]
    exact = [p for p in fitting if p.parts == wanted]
    if len(exact or fitting) != 1:
        raise DataError(
            "listed image is not there once",
            where=where,
            expected=f"one file {name} below the dataset's folder",
            found=", ".join(p.as_posix() for p in fitting) or "none",
        )
    return (exact or fitting)[0]


def _marked(
    scan: Scan,
    sample_id: str,
    image: dict[str, Any],
    marks: list[tuple[str, Any]],
    names: dict[int | str, str],
) -> tuple[tuple[str, ...], tuple[Region, ...]]:
    """Labels and regions of one image; what is wrong but leaves it usable is noted."""
    size = _pair(image.get("width"), image.get("height"))
    labels: set[str] = set()
    regions: list[Region] = []
    for where, entry in marks:
        label = names[entry["category_id"]]
        labels.add(label)
        try:
            found = list(_regions(label, entry, size))
        except DataError as error:
            raise DataError(error.message, where=where) from error
        regions += [region for region, _ in found if region is not None]
        for _, why in found:
            if why is not None:
                scan.note(sample_id, DataError(why, where=where))
    return tuple(sorted(labels)) or (GOOD,), tuple(regions)


def _regions(
    label: str, entry: dict[str, Any], size_wh: tuple[int, int] | None
) -> Iterator[tuple[Region | None, str | None]]:
    """The outlines of one annotation, or else its box."""
    outline, box = entry.get("segmentation"), entry.get("bbox")
    if isinstance(outline, dict):
        yield from _contours(label, outline, size_wh)
    elif outline:
        if not isinstance(outline, list):
            raise DataError("segmentation is not valid", expected="polygons", found=_short(outline))
        for polygon in outline:
            numbers = _numbers(polygon, "polygon")
            if len(numbers) % 2 or len(numbers) < 6:
                found = f"{len(numbers)} numbers"
                raise DataError("polygon is not valid", expected="x y of 3 corners", found=found)
            points = list(zip(numbers[::2], numbers[1::2], strict=True))
            yield checked_region(label, points, False, size_wh)
    elif box:
        numbers = _numbers(box, "bbox")
        if len(numbers) != 4:
            raise DataError("bbox is not valid", expected="x y width height", found=_short(box))
        x, y, width, height = numbers
        yield checked_region(label, [(x, y), (x + width, y + height)], True, size_wh)
    else:
        yield None, f"annotation of '{label}' has neither segmentation nor bbox"


def _contours(
    label: str, rle: dict[str, Any], size_wh: tuple[int, int] | None
) -> Iterator[tuple[Region | None, str | None]]:
    """Outer contours of a run-length mask, through the centres of its border pixels."""
    given, counts = rle.get("size"), rle.get("counts")
    size = _pair(*given) if isinstance(given, list) and len(given) == 2 else None
    if size is None or not isinstance(counts, list | str) or size[0] * size[1] > MAX_PIXELS:
        expected = f"counts, and a size of at most {MAX_PIXELS} pixels"
        found = f"size {_short(given)}"
        raise DataError("run-length mask is not valid", expected=expected, found=found)
    if size_wh is not None and (size[1], size[0]) != size_wh:
        expected = f"{size_wh[1]} x {size_wh[0]} (height x width)"
        raise DataError(
            "run-length mask has another size than its image", expected=expected, found=given
        )
    mask = decode_rle(counts, size)
    contours, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    if not contours:
        yield None, f"mask of '{label}' without area"
    for contour in contours:
        points = [(float(x) + 0.5, float(y) + 0.5) for x, y in contour[:, 0]]
        points += points[-1:] * (3 - len(points))  # a thing of one or two pixels
        yield Region(label, tuple(points), is_box=False), None


def _pair(first: object, second: object) -> tuple[int, int] | None:
    """Two positive whole numbers, or None."""
    if _is_whole(first) and _is_whole(second) and min(first, second) > 0:
        return first, second
    return None


def _numbers(values: Any, what: str) -> list[float]:
    if not isinstance(values, list) or not all(
        isinstance(v, int | float)
        and not isinstance(v, bool)
        and -MAX_COORDINATE <= v <= MAX_COORDINATE
        for v in values
    ):
        raise DataError(f"{what} is not valid", expected="numbers", found=_short(values))
    return [float(v) for v in values]


def _is_whole(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_id(value: object) -> TypeGuard[int | str]:
    return _is_whole(value) or isinstance(value, str)


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
