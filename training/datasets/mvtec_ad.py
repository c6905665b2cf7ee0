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
from training.datasets._annotated import files_below, is_image_name
from training.datasets._groups import read_groups

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
    masks = {f.relative_to(path / _MASKS): f for f in files_below(path / _MASKS)}
    masks = {name: file for name, file in masks.items() if is_image_name(file)}
    found: list[Sample] = []
    for part in _PARTS:
        for file in filter(is_image_name, files_below(path / part)):
            name = file.relative_to(path / part)
            if len(name.parts) != 2:
                raise DataError(
                    "image outside a class folder", where=file, expected=f"{part}/<class>/<image>"
                )
            label, mask = name.parts[0], None
            if label != GOOD:
                mask = _mask_of(name, masks, file)
            sample_id = file.relative_to(path).as_posix()
            found.append(Sample(sample_id, file, (label,), mask_path=mask))
    if masks:
        raise DataError("mask without its image", where=min(masks.values()))
    groups = read_groups(path, [s.sample_id for s in found])
    for sample in found:
        group = groups.get(sample.sample_id, sample.sample_id)
        yield Sample(
            sample.sample_id, sample.image_path, sample.labels, sample.mask_path, group=group
        )


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
