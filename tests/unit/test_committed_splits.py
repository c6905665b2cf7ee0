"""The committed splits fit the real sets, and the pictures say that they do not leak."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import pytest

from training.datasets import load_samples
from training.grouping import refuse_torn
from training.looks import alike_pairs, look_at, refuse_unreadable
from training.split import apply_split

ROOT = Path(__file__).parents[2]
DATA_ROOT = Path(os.environ.get("QC_DATA_ROOT", ROOT.parent / "shared" / "data"))

SIZES = {
    "bccd": {"train": 218, "val": 73, "test": 73},
    "magnetic_tile": {"train": 767, "val": 270, "test": 307},
    "neu_det": {"train": 1085, "val": 358, "test": 357},
    "pneumonia_mnist": {"train": 3890, "val": 516, "test": 624},
}


def test_every_committed_split_is_tried() -> None:
    assert {p.stem for p in (ROOT / "data" / "splits").glob("*.csv")} == set(SIZES)


@pytest.mark.parametrize("name", SIZES)
def test_no_picture_of_one_thing_stands_in_two_splits(name: str) -> None:
    if not (DATA_ROOT / name).is_dir():
        pytest.skip(f"{name} is not there; QC_DATA_ROOT names its parent folder")
    _, samples = load_samples(DATA_ROOT / name)
    samples = apply_split(samples, ROOT / "data" / "splits" / f"{name}.csv")
    looks = look_at(samples)
    refuse_unreadable(looks)
    refuse_torn(samples, alike_pairs(looks), name)
    assert Counter(s.split for s in samples) == SIZES[name]
