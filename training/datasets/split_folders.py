"""Layout `ROOT/<train|val|test>/<class>/image`: the folders say the split, and it is kept.

`valid` and `validation` are names of val. Masks and class folders are as in `class_folders`;
`groups.csv` in ROOT (columns `path` and `group`) says which images show the same piece. A group in
two of the folders is a leak, and training refuses it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from qc.errors import DataError
from qc.types import Sample
from training.datasets import class_folders
from training.datasets._annotated import Scan

_SPLIT_OF = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}


def detect(path: Path) -> bool:
    """Whether `path` holds a `train` folder of class folders beside val or test, and no masks."""
    if not path.is_dir() or (path / "ground_truth").is_dir():
        return False
    folders = _folders(path)
    splits = {_SPLIT_OF[f.name.lower()] for f in folders}
    return "train" in splits and len(splits) > 1 and all(map(class_folders.detect, folders))


def samples(path: Path) -> Iterator[Sample]:
    """The samples with their splits, sorted by split folder, class and file name.

    Args:
        path: the dataset's root folder.

    Raises:
        DataError: no such folder, two folders for one split, what `class_folders` refuses, or a
            wrong `groups.csv`.
    """
    yield from scan(path).grouped_samples()


def scan(path: Path) -> Scan:
    """The samples with their splits, and every file that does not fit.

    Args:
        path: the dataset's root folder.

    Raises:
        DataError: no such folder, or two folders for one split.
    """
    if not path.is_dir():
        raise DataError("dataset folder does not exist", where=path)
    folders = _folders(path)
    splits = [_SPLIT_OF[f.name.lower()] for f in folders]
    if "train" not in splits or len(set(splits)) < len(splits):
        raise DataError(
            "the folders do not say a split",
            where=path,
            expected="train, val and test",
            found=", ".join(f.name for f in folders) or "none of them",
        )
    scan = Scan(path)
    for folder, split in zip(folders, splits, strict=True):
        part = class_folders.scan(folder)
        for sample in part.samples:
            sample_id = f"{folder.name}/{sample.sample_id}"
            scan.samples.append(replace(sample, sample_id=sample_id, split=split))
        scan.errors += [(f"{folder.name}/{name}", error) for name, error in part.errors]
        scan.fatal += part.fatal
    return scan


def _folders(path: Path) -> list[Path]:
    return sorted(f for f in path.iterdir() if f.is_dir() and f.name.lower() in _SPLIT_OF)
