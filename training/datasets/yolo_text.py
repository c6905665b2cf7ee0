"""Layout YOLO: `data.yaml` with the class names, images in `images`, a text file each in `labels`.

The label file of `images/a/7.jpg` is `labels/a/7.txt`: the last folder `images` of an image's path
becomes `labels`, so `train/images` with `train/labels` is read too. A line is a box (class, centre
x, centre y, width, height) or a polygon (class, x1, y1, x2, y2, ...) in fractions of the image. An
image without label file or with an empty one is "good"; a dataset without any label file is
refused, since a folder in the wrong place would else make every part good.

Only the names are taken from `data.yaml`: its paths and splits are not read. `classes.txt`, which
some tools leave among the labels, is passed over. Fractions become pixels by the decoded image, so
an annotated image is decoded here and one that cannot be is refused.

Source: the Ultralytics dataset format, docs.ultralytics.com/datasets.
"""

from __future__ import annotations

import reprlib
from collections.abc import Iterator
from pathlib import Path

from qc.errors import DataError
from qc.imageio import read_image
from qc.types import Region, Sample
from training.datasets._annotated import (
    GOOD,
    MAX_COORDINATE,
    Scan,
    checked_region,
    files_below,
    is_image_name,
)

__all__ = ["GOOD", "NAMES_FILE", "detect", "samples", "scan"]

NAMES_FILE = "data.yaml"
_IMAGES, _LABELS = "images", "labels"
_NOT_LABELS = "classes.txt"


def detect(path: Path) -> bool:
    """Whether `path` is a folder with `data.yaml` and a folder `images`, or one a level deeper."""
    return (path / NAMES_FILE).is_file() and any(
        folder.is_dir() for folder in [path / _IMAGES, *path.glob(f"*/{_IMAGES}")]
    )


def samples(path: Path) -> Iterator[Sample]:
    """One sample an image, sorted by path; its labels are the classes in its label file.

    Args:
        path: the folder with `data.yaml`.

    Raises:
        DataError: no folder, wrong `data.yaml`, no label file at all, a line that is neither box
            nor polygon or has an unknown class, a label file without its image or with two, an
            image outside `images`, an annotated image that is not readable, or wrong `groups.csv`.
    """
    yield from scan(path).grouped_samples()


def scan(path: Path) -> Scan:
    """The samples, and everything wrong with the annotations; an image goes by its sample id.

    Besides what `samples` refuses: boxes and polygons without area or outside the image.

    Args:
        path: the folder with `data.yaml`.

    Raises:
        DataError: no folder, wrong `data.yaml`, or no label file at all.
    """
    files = files_below(path)
    names = _names(path / NAMES_FILE)
    labels = {
        f
        for f in files
        if f.suffix.lower() == ".txt"
        and f.name != _NOT_LABELS
        and _LABELS in f.relative_to(path).parts[:-1]
    }
    if not labels:
        raise DataError(
            "no label file", where=path, expected=f"*.txt in a folder {_LABELS} beside {_IMAGES}"
        )
    scan, owner = Scan(path), dict[Path, Path]()
    for image in filter(is_image_name, files):
        sample_id = image.relative_to(path).as_posix()
        try:
            label_file = path / _label_path(image.relative_to(path), image)
            if label_file in owner:
                found = f"{owner[label_file].name} and {image.name}"
                raise DataError("two images for one label file", where=label_file, found=found)
            owner[label_file] = image
            found_labels: tuple[str, ...] = ()
            regions: tuple[Region, ...] = ()
            if label_file in labels:
                found_labels, regions = _marked(scan, sample_id, label_file, image, names)
        except DataError as error:
            scan.refuse(sample_id, error)
            continue
        scan.samples.append(Sample(sample_id, image, found_labels or (GOOD,), regions=regions))
    for label_file in sorted(labels - owner.keys()):
        orphan = DataError(
            "label file without its image",
            where=label_file,
            expected=f"an image of that name in a folder {_IMAGES}",
        )
        scan.refuse(label_file.relative_to(path).as_posix(), orphan)
    return scan


def _names(file: Path) -> dict[int, str]:
    """Class names by their number."""
    try:
        import yaml
    except ImportError as error:
        raise DataError(
            "reading this format needs PyYAML", where=file, expected="an installed pyyaml"
        ) from error
    try:
        content = yaml.safe_load(file.read_bytes())
    except OSError as error:
        raise DataError(f"{NAMES_FILE} cannot be read ({error.strerror})", where=file) from error
    except (LookupError, AttributeError) as error:  # PyYAML's own constructors fail on them
        what = f"{NAMES_FILE} has a tag that its text does not fit, such as !!bool maybe"
        raise DataError(what, where=file) from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        words = " ".join(str(error).split())
        raise DataError(f"{NAMES_FILE} is not readable YAML ({words})", where=file) from error
    names = content.get("names") if isinstance(content, dict) else None
    if isinstance(names, list):
        names = dict(enumerate(names))
    valid = isinstance(names, dict) and all(
        isinstance(k, int) and not isinstance(k, bool) and isinstance(v, str) and v.strip()
        for k, v in names.items()
    )
    if not names or not valid:
        raise DataError(
            f"{NAMES_FILE} has no class names",
            where=file,
            expected="names: a list of texts, or texts by their number",
            found=type(names).__name__ if not names else reprlib.repr(names)[:80],
        )
    return {number: name.strip() for number, name in names.items()}


def _label_path(relative: Path, image: Path) -> Path:
    folders = list(relative.parts[:-1])
    if _IMAGES not in folders:
        raise DataError(
            "image in a folder that this layout does not read",
            where=image,
            expected=f"images in a folder {_IMAGES}",
        )
    folders[len(folders) - 1 - folders[::-1].index(_IMAGES)] = _LABELS
    return Path(*folders, f"{relative.stem}.txt")


def _marked(
    scan: Scan, sample_id: str, label_file: Path, image: Path, names: dict[int, str]
) -> tuple[tuple[str, ...], tuple[Region, ...]]:
    """Labels and regions of one image; what is wrong but leaves it usable is noted."""
    try:
        lines = label_file.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"label file cannot be read ({error})", where=label_file) from error
    rows = [(f"{label_file} line {n}", line.split()) for n, line in enumerate(lines, 1)]
    marks = [(where, *_mark(row, names, where)) for where, row in rows if row]
    if not marks:
        return (), ()
    height, width = read_image(image).shape[:2]
    regions: list[Region] = []
    for where, label, points, is_box in marks:
        pixels = [(x * width, y * height) for x, y in points]
        region, why = checked_region(label, pixels, is_box, (width, height))
        if region is not None:
            regions.append(region)
        if why is not None:
            scan.note(sample_id, DataError(why, where=where))
    return tuple(sorted({label for _, label, _, _ in marks})), tuple(regions)


def _mark(
    row: list[str], names: dict[int, str], where: str
) -> tuple[str, list[tuple[float, float]], bool]:
    """Class, corners in fractions (first and last of a box), and whether it is a box."""
    number = int(row[0]) if row[0].isdecimal() and len(row[0]) < 10 else -1
    if number not in names:
        expected = f"one of {', '.join(map(str, sorted(names)[:20]))}"
        raise DataError("unknown class number", where=where, expected=expected, found=row[0][:20])
    label = names[number]
    try:
        numbers = [float(text) for text in row[1:]]
    except ValueError as error:
        raise DataError(f"line is not readable ({error})", where=where) from error
    if not all(-MAX_COORDINATE <= n <= MAX_COORDINATE for n in numbers):
        raise DataError("line holds what is no fraction", where=where, found=" ".join(row)[:80])
    if len(numbers) == 4:
        x, y, width, height = numbers
        corners = [(x - width / 2, y - height / 2), (x + width / 2, y + height / 2)]
        return label, corners, True
    if len(numbers) < 6 or len(numbers) % 2:
        raise DataError(
            "line is neither box nor polygon",
            where=where,
            expected="4 numbers after the class, or x y of at least 3 corners",
            found=f"{len(numbers)} numbers",
        )
    return label, list(zip(numbers[::2], numbers[1::2], strict=True)), False
