"""Groups out of paths."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from qc.errors import DataError, UsageError
from qc.types import Sample
from training.grouping import group_by_folder, group_by_path, join_groups, refuse_torn


def _samples(*names: str) -> list[Sample]:
    return [Sample(name, Path(name), ("good",), group="old") for name in names]


@pytest.mark.parametrize(
    ("pattern", "groups"),
    [
        (r"(lot\d+)_", ["lot01", "lot02"]),
        (r"^([^/]+)/", ["good", "hole"]),
        (r"lot\d+", ["lot01", "lot02"]),
        (r"(lot\d+)_(\d)", ["lot01-4", "lot02-5"]),
        (r"(lot01)|lot02_(5)", ["lot01", "5"]),
    ],
)
def test_the_group_is_what_the_parentheses_hold(pattern: str, groups: list[str]) -> None:
    found = group_by_path(_samples("good/lot01_4.png", "hole/lot02_5.png"), pattern)
    assert [s.group for s in found] == groups
    assert [s.sample_id for s in found] == ["good/lot01_4.png", "hole/lot02_5.png"]


def test_a_path_without_a_group_is_named() -> None:
    with pytest.raises(DataError, match=r"b\.png: .*no group in 1 of 2 paths.*found b\.png"):
        group_by_path(_samples("lot01_a.png", "b.png"), r"(lot\d+)")
    with pytest.raises(DataError, match="no group in 1 of 1"):
        group_by_path(_samples("b.png"), r"(lot\d*)?")


def test_a_pattern_that_is_none() -> None:
    with pytest.raises(UsageError, match="not a regular expression"):
        group_by_path(_samples("a.png"), "(lot")


def test_the_folder_is_the_group() -> None:
    found = group_by_folder(_samples("good/lot01/a.png", "good/lot01/b.png", "hole/c.png"))
    assert [s.group for s in found] == ["good/lot01", "good/lot01", "hole"]
    with pytest.raises(DataError, match=r"b\.png: 1 of 2 images lie in no folder"):
        group_by_folder(_samples("x/a.png", "b.png"))


def test_groups_are_joined_by_pictures_and_by_each_other() -> None:
    """a and b are alike, b shares its group with c; d and e are of one group; f is alone."""
    groups = ["4", "2", "2", "3", "3", ""]
    samples = [
        replace(s, group=group) for s, group in zip(_samples(*"abcdef"), groups, strict=True)
    ]
    assert [s.group for s in join_groups(samples, [(0, 1)])] == ["2", "2", "2", "3", "3", "f"]
    assert [s.group for s in join_groups(samples, [])] == ["4", "2", "2", "3", "3", "f"]


def test_a_split_that_tears_pictures_apart_names_the_pairs() -> None:
    splits = ["train", "train", "val", "test", "test"]
    samples = [replace(s, split=split) for s, split in zip(_samples(*"abcde"), splits, strict=True)]
    refuse_torn(samples, [(0, 1), (3, 4)], "set")
    words = r"^set: this split leaks: 1 pair.*found b \(train\) and c \(val\)$"
    with pytest.raises(DataError, match=words):
        refuse_torn(samples, [(0, 1), (1, 2)], "set")
    with pytest.raises(DataError, match=r"4 pair.*; 1 pairs more$"):
        refuse_torn(samples, [(0, 2), (1, 2), (1, 3), (1, 4)], "set")
