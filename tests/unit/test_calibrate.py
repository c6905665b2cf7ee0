"""The images the quantiser sees: stratified, repeatable, with the full range in each."""

from __future__ import annotations

import hashlib
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from export.calibrate import calibration_hash, choose_stratified, representative
from qc.errors import DataError
from qc.types import Sample


def _samples(**counts: int) -> list[Sample]:
    return [
        Sample(f"{label}/{i:03}", Path("none"), (label,))
        for label, n in counts.items()
        for i in range(n)
    ]


def _counts(samples: list[Sample]) -> dict[str, int]:
    return dict(Counter(s.labels[0] for s in samples))


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        (1, {"a": 1}),
        (3, {"a": 1, "b": 1, "c": 1}),
        (6, {"a": 3, "b": 2, "c": 1}),
        (9, {"a": 6, "b": 2, "c": 1}),
        (13, {"a": 10, "b": 2, "c": 1}),
        (99, {"a": 10, "b": 2, "c": 1}),
    ],
)
def test_classes_take_turns_until_they_are_empty(count: int, expected: dict[str, int]) -> None:
    """Ten of a, two of b, one of c: a rare class is taken whole before a common one repeats."""
    chosen = choose_stratified(_samples(a=10, b=2, c=1), count, seed=0)
    assert _counts(chosen) == expected
    assert len({s.sample_id for s in chosen}) == len(chosen)


def test_the_seed_chooses_and_the_order_given_does_not() -> None:
    samples = _samples(a=40, b=40)
    first = choose_stratified(samples, 10, seed=1)
    assert first == choose_stratified(samples[::-1], 10, seed=1)
    other = choose_stratified(samples, 10, seed=2)
    assert {s.sample_id for s in other} != {s.sample_id for s in first}
    assert _counts(other) == _counts(first) == {"a": 5, "b": 5}


def test_within_a_class_it_is_chance_and_not_the_name() -> None:
    """Over many seeds each of ten is chosen 50 times of 100, give or take four deviations of 5."""
    drawn = Counter(
        s.sample_id for seed in range(100) for s in choose_stratified(_samples(a=10), 5, seed)
    )
    assert len(drawn) == 10 and all(30 <= n <= 70 for n in drawn.values())


def test_more_wanted_is_more_of_the_same() -> None:
    samples = _samples(a=8, b=3)
    assert choose_stratified(samples, 9, 0)[:4] == choose_stratified(samples, 4, 0)


def test_nothing_to_choose_from_is_an_error() -> None:
    with pytest.raises(DataError, match="nothing to choose from; expected samples; found none"):
        choose_stratified([], 10, seed=0)


def test_the_hash_is_of_the_ids_in_no_order() -> None:
    samples = _samples(a=2, b=1)
    found = calibration_hash(samples)
    assert found == hashlib.sha256(b"a/000\na/001\nb/000").hexdigest()
    assert found == calibration_hash(samples[::-1])
    assert found != calibration_hash(samples[:2])


def test_each_input_has_black_and_white_and_else_the_picture() -> None:
    pixels = np.full((3, 4, 5, 3), 100, np.uint8)
    pixels[:, 0, 2] = 7
    inputs = list(representative(pixels))
    assert len(inputs) == 3
    for one in inputs:
        assert len(one) == 1 and one[0].shape == (1, 4, 5, 3) and one[0].dtype == np.float32
        assert (one[0][0, 0, 0] == 0).all() and (one[0][0, 0, 1] == 255).all()
        changed = one[0][0] != pixels[0]
        assert changed.sum() == 6, "two pixels of three channels"
    assert (pixels[:, 0, :2] == 100).all(), "the pictures themselves are left alone"


def test_within_a_class_groups_take_turns() -> None:
    """Of a group of ninety and nine groups of one, ten samples come from all ten groups."""
    many = [Sample(f"a{i}", Path(f"a{i}.png"), ("good",), group="large") for i in range(90)]
    few = [Sample(f"b{i}", Path(f"b{i}.png"), ("good",), group=f"small{i}") for i in range(9)]
    chosen = choose_stratified([*many, *few], 10, seed=3)
    assert sorted(s.group or "" for s in chosen) == ["large", *(f"small{i}" for i in range(9))]
    more = choose_stratified([*many, *few], 20, seed=3)
    assert sum(s.group == "large" for s in more) == 11
    assert chosen != choose_stratified([*many, *few], 10, seed=4)
