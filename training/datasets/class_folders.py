"""Layout `ROOT/<class>/[Imgs/]image`: the folder's name is the class.

The mask of `X.jpg` is `X.png` beside it; the mask of any image, PNG too, may be named `X_mask.png`.
`groups.csv` in ROOT (columns `path` and `group`, others ignored, paths relative with `/`) says
which images show the same physical piece; without it every image is a group of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from qc.errors import DataError
from qc.imageio import IMAGE_SUFFIXES
from qc.types import Sample
from training.datasets._groups import read_groups

_IMAGE_FOLDER = "Imgs"
_MASK_ENDING = "_mask"
_ANNOTATION_SUFFIXES = frozenset([".xml", ".json", ".npz", ".npy"])


def detect(path: Path) -> bool:
    """Whether `path` is a folder with at least one class folder that holds images.

    Annotation files (XML, JSON, arrays) beside or inside, folders `images` and `labels` side by
    side, or a folder `ground_truth` mean another layout.
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
    return any(_image_files(folder) for folder in folders)


def samples(path: Path) -> Iterator[Sample]:
    """The samples, sorted by class folder and file name.

    Args:
        path: the dataset's root folder.

    Raises:
        DataError: no folder, no class folder, an empty class, a mask without its image or two masks
            for one image, images in a folder that is not read, or a wrong `groups.csv`.
    """
    if not path.is_dir():
        raise DataError("dataset folder does not exist", where=path)
    folders = _class_folders(path)
    if not folders:
        raise DataError("no class folder", where=path, expected="one folder per class")
    found: list[tuple[str, str, Path, Path | None]] = []
    for folder in folders:
        images = _images_of(folder)
        if not images:
            raise DataError(
                f"empty class '{folder.name}': no image in it or in its {_IMAGE_FOLDER} folder",
                where=folder,
                expected=f"at least one of *{', *'.join(IMAGE_SUFFIXES)}",
            )
        for image, mask in images:
            found.append((image.relative_to(path).as_posix(), folder.name, image, mask))
    groups = read_groups(path, [row[0] for row in found])
    for sample_id, label, image, mask in found:
        yield Sample(
            sample_id=sample_id,
            image_path=image,
            labels=(label,),
            mask_path=mask,
            group=groups.get(sample_id, sample_id),
        )


def _class_folders(path: Path) -> list[Path]:
    return sorted(p for p in path.iterdir() if p.is_dir() and not p.name.startswith((".", "_")))


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


def _images_of(folder: Path) -> list[tuple[Path, Path | None]]:
    """Images with their masks; masks are taken out of the images."""
    for place in folder.iterdir():
        if (
            place.is_dir()
            and place.name != _IMAGE_FOLDER
            and any(map(_is_image_name, _list(place)))
        ):
            raise DataError(
                "images in a folder that this layout does not read",
                where=place,
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
            raise DataError(
                "two masks for one image", where=file, found=f"{masks[owner].name} and {file.name}"
            )
        masks[owner] = file
    orphans = sorted(masks[stem] for stem in masks.keys() - {f.with_suffix("") for f in images})
    if orphans:
        raise DataError(
            f"mask without an image (a name ending in {_MASK_ENDING}.png is a mask)",
            where=orphans[0],
        )
    return [(image, masks.get(image.with_suffix(""))) for image in images]


def _list(folder: Path) -> list[Path]:
    return list(folder.iterdir())
