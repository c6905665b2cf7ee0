"""Writes class folders: `<class>/image`, and the mask of `X.jpg` in `X_mask.png`.

Where every sample has a split that says TRAIN and another, the folders of the splits come first,
and the layout is `split_folders`. Class folders know neither boxes nor outlines: they are filled.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from qc.errors import DataError, UsageError
from qc.imageio import write_png
from qc.types import Sample
from training.regions import mask_of
from training.writers._job import Job
from training.writers._names import UNSAFE, Names, parts_of, shortened

_MASK_ENDING = "_mask"
_MAX_NAME_BYTES = 200


def write(job: Job) -> None:
    """Write the samples of a job.

    Raises:
        UsageError: a good class is named: class folders keep every class under its name.
        DataError: a sample of several classes, a class that cannot be a folder's name, or an image
            or mask that cannot be read.
        FaultError, OSError: the folder cannot be written.
    """
    if job.good is not None:
        raise UsageError("class folders keep every class under its own name", where="--good")
    _check(job.samples)
    splits = {s.split for s in job.samples}
    with_splits = job.has_splits and "train" in splits and len(splits) > 1
    if with_splits:
        job.format = "split_folders"
        job.notes["every image has a split: the folders of the splits come first"] = 1
    elif job.has_splits:
        job.notes["splits are left out: TRAIN and another are needed to be read again"] = 1
    names = Names()
    for sample in job.samples:
        folders, stem, suffix = parts_of(sample)
        (label,) = sample.labels
        name = shortened("_".join([*(f for f in folders if f != label), stem]))
        before = [str(sample.split)] if with_splits else []
        job.paths.append(names.take([*before, label], name, suffix, avoid=_MASK_ENDING))
    for sample, path, size_hw in job.images():
        job.labels[path.as_posix()] = sample.labels
        mask = mask_of(sample, size_hw)
        if mask is None:
            continue
        job.masks += 1
        if sample.mask_path is None:
            job.notes["{n} box(es) or outline(s) became masks"] += len(sample.regions)
        elif sample.regions:
            job.notes["{n} box(es) or outline(s) are left out: a mask says the place"] += len(
                sample.regions
            )
        write_png(
            job.root / path.with_name(f"{path.stem}{_MASK_ENDING}.png"), mask.astype(np.uint8) * 255
        )


def _check(samples: Sequence[Sample]) -> None:
    """Refuse what class folders cannot say, before anything is written."""
    several = [s for s in samples if len(s.labels) != 1]
    if several:
        raise DataError(
            f"{len(several)} image(s) have several classes; a class folder says one",
            where=several[0].sample_id,
            expected="one class",
            found=", ".join(several[0].labels),
        )
    for name in sorted({s.labels[0] for s in samples}):
        legal = (
            name.isprintable()
            and not set(name) & set(UNSAFE)
            and name == name.strip()
            and not name.startswith((".", "_"))
            and not name.endswith(".")
            and 0 < len(name.encode()) <= _MAX_NAME_BYTES
        )
        if not legal:
            expected = f"printable, none of {UNSAFE}, not beginning with . or _, no . or blank last"
            raise DataError("class cannot be a folder's name", where=repr(name), expected=expected)
