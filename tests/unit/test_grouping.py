"""Groups out of paths."""

from __future__ import annotations

from pathlib import Path

import pytest

from qc.errors import DataError, UsageError
from qc.types import Sample
from training.grouping import group_by_path


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
