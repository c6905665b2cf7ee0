"""Layout `ROOT/<class>/[Imgs/]image`: the folder's name is the class.

The mask of `X.jpg` is `X.png` beside it; the mask of any image, PNG too, may be named `X_mask.png`.
`groups.csv` in ROOT (columns `path` and `group`, others ignored, paths relative with `/`) says
which images show the same physical piece; without it every image is a group of its own.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from qc.errors import DataError
from qc.folders import leads_back
from qc.imageio import IMAGE_SUFFIXES
from qc.types import Sample
from training.datasets._annotated import HIDDEN, Scan

_IMAGE_FOLDER = "Imgs"
_MASK_ENDING = "_mask"
_NO_CLASS = re.compile(
    r"(^|[\W_])(images?|imgs?|masks?|gt)([\W_]|$)|^(JPEGImages|train|val|valid|validation|test)$",
    re.I,
)
_ANNOTATION_SUFFIXES = frozenset([".xml", ".json", ".npz", ".npy"])


def detect(path: Path) -> bool:
    """Whether `path` is a folder with at least one class folder that holds images.

    Annotation files (XML, JSON, arrays) beside or inside, folders `images` and `labels` side by
    side, or a folder `ground_truth` mean another layout, as do folders whose names say images,
    masks or a split instead of a class.
    """
    if not path.is_dir():
        return False
    folders = _class_folders(path)
    names = {folder.name for folder in folders}
    if {"images", "labels"} <= names or "ground_truth" in names:
        return False
    for folder in [path, *folders]:
        if any(entry.suffix.lower() in _ANNOTATION_SUFFIXES for entry in folder.iterdir()):
            return False
    return any(_image_files(folder) for folder in folders if not _NO_CLASS.search(folder.name))


def samples(path: Path) -> Iterator[Sample]:
    """The samples, sorted by class folder and file name.

    Args:
        path: the dataset's root folder.

    Raises:
        DataError: no folder, no class folder, an empty class, a mask without its image or two masks
            for one image, images in a folder that is not read, or a wrong `groups.csv`.
    """
    yield from scan(path).grouped_samples()


def scan(path: Path) -> Scan:
    """The samples, and every file that does not fit.

    Args:
        path: the dataset's root folder.

    Raises:
        DataError: no folder, or no class folder.
    """
    if not path.is_dir():
        raise DataError("dataset folder does not exist", where=path)
    folders = _class_folders(path)
    if not folders:
        raise DataError("no class folder", where=path, expected="one folder per class")
    scan = Scan(path)
    for folder in folders:
        images = _images_of(folder, scan)
        if not images:
            error = DataError(
                f"empty class '{folder.name}': no image in it or in its {_IMAGE_FOLDER} folder",
                where=folder,
                expected=f"at least one of *{', *'.join(IMAGE_SUFFIXES)}",
            )
            scan.refuse(folder.name, error)
        for image, mask in images:
            sample_id = image.relative_to(path).as_posix()
            scan.samples.append(Sample(sample_id, image, (folder.name,), mask_path=mask))
    return scan


def _class_folders(path: Path) -> list[Path]:
    """The folders, without links that lead back: they would be read twice, or for ever."""
    folders = (p for p in path.iterdir() if p.is_dir() and not p.name.startswith(HIDDEN))
    return sorted(p for p in folders if not leads_back(p, path))


def _image_files(folder: Path) -> list[Path]:
    """Files with an image's ending directly in the class folder or in its `Imgs` folder."""
    places = [folder, folder / _IMAGE_FOLDER]
    return sorted(
        entry
        for place in places
        if place.is_dir()
        for entry in place.iterdir()
        if _is_image_name(entry) and not entry.is_dir()
    )


def _is_image_name(entry: Path) -> bool:
    return entry.suffix.lower() in IMAGE_SUFFIXES and not entry.name.startswith(".")


def _images_of(folder: Path, scan: Scan) -> list[tuple[Path, Path | None]]:
    """Images with their masks; masks are taken out of the images."""

    def refuse(file: Path, what: str, **facts: object) -> None:
        name = file.relative_to(scan.root).as_posix()
        scan.refuse(name, DataError(what, where=file, **facts))

    for place in sorted(folder.iterdir()):
        if place.is_dir() and place.name != _IMAGE_FOLDER and _holds_images(place):
            refuse(
                place,
                "images in a folder that this layout does not read",
                expected=f"images in {folder.name} or {folder.name}/{_IMAGE_FOLDER}",
            )
    files = _image_files(folder)
    stems = {f.with_suffix("") for f in files if f.suffix.lower() != ".png"}
    masks: dict[Path, Path] = {}
    images: list[Path] = []
    for file in files:
        stem, is_png = file.with_suffix(""), file.suffix.lower() == ".png"
        if is_png and stem.name.endswith(_MASK_ENDING):
            owner = stem.with_name(stem.name.removesuffix(_MASK_ENDING))
        elif is_png and stem in stems:
            owner = stem
        else:
            images.append(file)
            continue
        if owner in masks:
            refuse(file, "two masks for one image", found=f"{masks[owner].name} and {file.name}")
        masks[owner] = file
    for stem in sorted(masks.keys() - {f.with_suffix("") for f in images}):
        what = f"mask without an image (a name ending in {_MASK_ENDING}.png is a mask)"
        refuse(masks[stem], what)
    return [(image, masks.get(image.with_suffix(""))) for image in images]


def _holds_images(folder: Path) -> bool:
    return any(map(_is_image_name, folder.iterdir()))
