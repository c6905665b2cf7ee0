"""Layout of masks in a tree of their own: `images/<class>/x.jpg` with `masks/<class>/x.png`.

Without class folders, as `images/x.jpg` with `masks/x.png`, the mask says the class: `defect` where
it holds a pixel, `good` where it is empty or absent. The set KolektorSDD2 has both in one folder,
`train/7.png` with `train/7_GT.png`; there a mask that is absent is refused.

The folder of images is `images`, `image`, `imgs` or `img`; that of masks is `masks`, `mask`,
`ground_truth` or `gt`. A mask has its image's name, with any image's ending and `_mask` or `_GT`
before it where wanted. `train`, `val` and `test` are kept as the split, above both folders or first
below them; where one of the three is missing, training needs a split file. A folder `labels` is not
read: what lies there are class numbers as a rule, and those of a few classes look empty.

Masks that say the class are decoded here. One that is neither empty nor above 127 anywhere (0 and 1
in place of 0 and 255) is refused, since its part would pass for good.

Source of the last form: Bozic, Tabernik, Skocaj: "Mixed supervision for surface-defect detection",
Computers in Industry 129, 2021.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from qc.errors import DataError
from qc.imageio import MASK_THRESHOLD, read_image
from qc.types import Sample
from training.datasets._annotated import GOOD, Scan, files_below, is_image_name

_IMAGES = ("images", "image", "imgs", "img")
_MASKS = ("masks", "mask", "ground_truth", "gt")
_ENDINGS = ("", "_mask", "_GT", "_gt")
_BESIDE = ("_GT", "_gt")
_SPLITS = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
_NOT_OURS = "data.yaml"


class Options(BaseModel):
    """What this layout can be told.

    Args:
        defect: class of an image whose mask holds a pixel, where no folder says the class.
        good: class of one whose mask is empty or absent.
    """

    model_config = ConfigDict(extra="forbid")

    defect: str = Field(default="defect", min_length=1)
    good: str = Field(default=GOOD, min_length=1)


@dataclass(frozen=True)
class _Tree:
    """Images with their masks: two folders, or the same one twice."""

    images: Path
    masks: Path
    split: str | None

    @property
    def is_one(self) -> bool:
        return self.images == self.masks


def detect(path: Path) -> bool:
    """Whether `path` holds images and masks in one of these forms, and is no YOLO set."""
    try:
        if not path.is_dir() or (path / _NOT_OURS).exists():
            return False
        return any(map(is_image_name, (f for t in _trees(path) for f in files_below(t.images))))
    except (DataError, OSError):
        return False


def samples(path: Path, options: Options | None = None) -> Iterator[Sample]:
    """The samples, sorted by path within each split.

    Args:
        path: the dataset's root folder.
        options: names of the classes that masks stand for.

    Raises:
        DataError: no such folders, an image deeper than a class folder or outside of one, a mask
            without its image or with two, two masks for one image, no mask at all, one that is not
            readable where it says the class, or a wrong `groups.csv`.
    """
    yield from scan(path, options).grouped_samples()


def scan(path: Path, options: Options | None = None) -> Scan:
    """The samples, and every file that does not fit.

    Besides what `samples` refuses: an image without a mask, where others of its class have one.

    Args:
        path: the dataset's root folder.
        options: names of the classes that masks stand for.

    Raises:
        DataError: no folder, no such folders in it, or no mask at all.
    """
    if not path.is_dir():
        raise DataError("dataset folder does not exist", where=path)
    trees = _trees(path)
    if not trees:
        raise DataError(
            "no images with masks in a tree of their own",
            where=path,
            expected=f"folders {_IMAGES[0]} and {_MASKS[0]}, or train/7.png with train/7_GT.png",
        )
    scan = Scan(path)
    for tree in trees:
        _read(scan, tree, options or Options())
    if not scan.errors and all(s.mask_path is None for s in scan.samples):
        folders = " or ".join(str(tree.masks) for tree in trees)
        raise DataError("no mask at all", where=path, expected=f"masks in {folders}")
    return scan


def _trees(path: Path) -> list[_Tree]:
    """Folders of images and masks, with the split that the folders say."""
    pair = _pair(path)
    if pair is not None:
        inner = _folders(pair[0])
        if not inner or not all(f.name.lower() in _SPLITS for f in inner):
            return [_Tree(*pair, None)]
        return [_Tree(f, pair[1] / f.name, _SPLITS[f.name.lower()]) for f in inner]
    parts = [f for f in _folders(path) if f.name.lower() in _SPLITS]
    pairs = [(_pair(f), _SPLITS[f.name.lower()]) for f in parts]
    if any(pair for pair, _ in pairs):
        return [_Tree(*pair, split) for pair, split in pairs if pair]
    if any(_is_beside(f) for part in parts for f in part.iterdir()):
        return [_Tree(f, f, _SPLITS[f.name.lower()]) for f in parts]
    return []


def _folders(path: Path) -> list[Path]:
    return sorted(f for f in path.iterdir() if f.is_dir() and not f.name.startswith((".", "_")))


def _pair(path: Path) -> tuple[Path, Path] | None:
    """The folder of images and that of masks; None unless there is one of each."""
    folders = _folders(path)
    images = [f for f in folders if f.name.lower() in _IMAGES]
    masks = [f for f in folders if f.name.lower() in _MASKS]
    return (images[0], masks[0]) if len(images) == len(masks) == 1 else None


def _is_beside(file: Path) -> bool:
    return is_image_name(file) and file.stem.endswith(_BESIDE)


def _read(scan: Scan, tree: _Tree, told: Options) -> None:
    """Add the samples of one tree, and what does not fit."""
    images = [f for f in files_below(tree.images) if is_image_name(f)]
    masks = images
    if tree.is_one:
        masks = [f for f in images if _is_beside(f)]
        images = [f for f in images if not _is_beside(f)]
    elif tree.masks.is_dir():
        masks = [f for f in files_below(tree.masks) if is_image_name(f)]
    else:
        masks = []
        missing = DataError("no folder of masks for a folder of images", where=tree.masks)
        scan.refuse(tree.images.relative_to(scan.root).as_posix(), missing)
    by_name: defaultdict[tuple[Path, str], list[Path]] = defaultdict(list)
    for mask in masks:
        name = mask.relative_to(tree.masks)
        by_name[name.parent, name.stem].append(mask)
    names = {image: image.relative_to(tree.images) for image in images}
    has_classes = any(len(name.parts) == 2 for name in names.values())
    owner: dict[Path, Path] = {}
    bare: list[Sample] = []
    for image, name in names.items():
        sample_id = image.relative_to(scan.root).as_posix()
        try:
            if len(name.parts) != (2 if has_classes else 1):
                expected = f"{tree.images}/{'<class>/' if has_classes else ''}{image.name}"
                what = "image in a folder that this layout does not read"
                raise DataError(what, where=image, expected=expected)
            found = _mask_of(image, name, by_name, owner)
            if found is None and tree.is_one:
                expected = f"{image.stem}_GT.png beside it"
                raise DataError("image without its mask", where=image, expected=expected)
            if has_classes:
                label = name.parts[0]
            else:
                holds = found is not None and _holds_defect(found)
                label = told.defect if holds else told.good
        except DataError as error:
            scan.refuse(sample_id, error)
            continue
        sample = Sample(sample_id, image, (label,), mask_path=found, split=tree.split)
        scan.samples.append(sample)
        if found is None and has_classes:
            bare.append(sample)
    for mask in sorted(set(masks) - owner.keys()):
        orphan = DataError("mask without its image", where=mask)
        scan.refuse(mask.relative_to(scan.root).as_posix(), orphan)
    masked = {s.labels for s in scan.samples if s.mask_path is not None}
    for sample in (s for s in bare if s.labels in masked):
        what = f"no mask, though others of class {sample.labels[0]} have one"
        scan.note(sample.sample_id, DataError(what, where=sample.image_path))


def _mask_of(
    image: Path,
    name: Path,
    by_name: dict[tuple[Path, str], list[Path]],
    owner: dict[Path, Path],
) -> Path | None:
    """The one mask of an image, which has no other image."""
    keys = [(name.parent, name.stem + ending) for ending in _ENDINGS]
    found = [mask for key in keys for mask in by_name.get(key, [])]
    others = [owner[mask] for mask in found if mask in owner]
    owner.update(dict.fromkeys(found, image))
    if others:
        listed = f"{others[0].name} and {image.name}"
        raise DataError("two images for one mask", where=found[0], found=listed)
    if len(found) > 1:
        listed = ", ".join(mask.name for mask in found)
        raise DataError("two masks for one image", where=image, found=listed)
    return found[0] if found else None


def _holds_defect(mask: Path) -> bool:
    """Whether a mask says that the part is no good one."""
    brightest = int(read_image(mask).max())
    if 0 < brightest <= MASK_THRESHOLD:
        raise DataError(
            "mask is neither empty nor does it hold a defect",
            where=mask,
            expected=f"0, and above {MASK_THRESHOLD} where the defect is",
            found=f"values up to {brightest}",
        )
    return brightest > 0
