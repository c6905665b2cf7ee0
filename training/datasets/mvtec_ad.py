"""Layout of MVTec AD: `train/good`, `test/<class>`, and a mask of each defect in `ground_truth`.

The mask of `test/<class>/X.png` is `ground_truth/<class>/X_mask.png` (or `X.png`). The official
split is for one-class methods: its TRAIN holds no defect. It is not kept; a split by group is drawn
from all images. `groups.csv` in ROOT says which images show the same piece.

Source: Bergmann, Fauser, Sattlegger, Steger: "MVTec AD", CVPR 2019.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from qc.errors import DataError
from qc.types import Sample
from training.datasets._annotated import Scan, files_below, is_image_name

GOOD = "good"
_MASKS = "ground_truth"
_PARTS = ("train", "test")


def detect(path: Path) -> bool:
    """Whether `path` holds `train/good`, `test` and `ground_truth`."""
    wanted = (path / "train" / GOOD, path / "test", path / _MASKS)
    return all(folder.is_dir() for folder in wanted)


def samples(path: Path) -> Iterator[Sample]:
    """The samples, sorted by path; the class is the folder's name.

    Args:
        path: the folder of one object, such as `bottle`.

    Raises:
        DataError: no image, an image outside a class folder, a defect without its mask, a mask
            without its image, or a wrong `groups.csv`.
    """
    yield from scan(path).grouped_samples()


def scan(path: Path) -> Scan:
    """The samples, and every file that does not fit.

    Args:
        path: the folder of one object.

    Raises:
        DataError: a folder is missing.
    """
    masks = {f.relative_to(path / _MASKS): f for f in files_below(path / _MASKS)}
    masks = {name: file for name, file in masks.items() if is_image_name(file)}
    scan = Scan(path)
    for part in _PARTS:
        for file in filter(is_image_name, files_below(path / part)):
            name = file.relative_to(path / part)
            sample_id = file.relative_to(path).as_posix()
            try:
                if len(name.parts) != 2:
                    expected = f"{part}/<class>/<image>"
                    what = "image outside a class folder"
                    raise DataError(what, where=file, expected=expected)
                label = name.parts[0]
                mask = None if label == GOOD else _mask_of(name, masks, file)
            except DataError as error:
                scan.refuse(sample_id, error)
                continue
            scan.samples.append(Sample(sample_id, file, (label,), mask_path=mask))
    for name, file in sorted(masks.items()):
        error = DataError("mask without its image", where=file)
        scan.refuse(f"{_MASKS}/{name.as_posix()}", error)
    return scan


def _mask_of(name: Path, masks: dict[Path, Path], image: Path) -> Path:
    """Take the mask of an image out of `masks`."""
    for ending in ("_mask.png", ".png"):
        mask = masks.pop(name.with_name(name.stem + ending), None)
        if mask is not None:
            return mask
    raise DataError(
        "defect without its mask",
        where=image,
        expected=f"{_MASKS}/{name.parent.as_posix()}/{name.stem}_mask.png",
    )
