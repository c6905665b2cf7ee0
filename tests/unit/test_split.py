"""The split: whole groups, every class, the same answer each time, and a refusal to leak."""

from __future__ import annotations

import hashlib
import random
from collections import Counter
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from qc.errors import DataError, FaultError, UsageError
from qc.types import Sample
from training.split import (
    SPLITS,
    apply_split,
    crossing_groups,
    fold_samples,
    group_of,
    split_hash,
    split_samples,
    write_split,
)


def _sample(name: str, label: str = "good", group: str = "", split: str | None = None) -> Sample:
    return Sample(name, Path(name), (label,), group=group, split=split)


def _dataset(groups: int, per_group: int, classes: int) -> list[Sample]:
    return [
        _sample(f"{g}-{i}.png", f"class{g % classes}", f"piece{g}")
        for g in range(groups)
        for i in range(per_group)
    ]


def _write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_equal_groups_are_dealt_exactly() -> None:
    # 2 classes x 10 groups x 3 images: 6 + 2 + 2 groups of each class
    done = split_samples(_dataset(20, 3, 2))
    counts = Counter((s.labels[0], s.split) for s in done)
    assert counts == {
        (f"class{c}", split): n
        for c in (0, 1)
        for split, n in (("train", 18), ("val", 6), ("test", 6))
    }
    assert crossing_groups(done) == []


def test_other_shares_are_kept() -> None:
    done = split_samples(_dataset(20, 1, 1), shares=(0.5, 0.1, 0.4))
    assert Counter(s.split for s in done) == {"train": 10, "val": 2, "test": 8}


def test_the_answer_hangs_on_the_seed_and_on_nothing_else() -> None:
    samples = _dataset(30, 2, 3)
    first = split_samples(samples, seed=3)
    assert split_samples(samples, seed=3) == first
    shuffled = samples.copy()
    random.Random(0).shuffle(shuffled)
    again = split_samples([replace(s, split="test") for s in shuffled], seed=3)
    assert {s.sample_id: s.split for s in again} == {s.sample_id: s.split for s in first}
    assert split_hash(split_samples(samples, seed=4)) != split_hash(first)


def test_the_order_and_the_samples_are_kept() -> None:
    samples = _dataset(9, 2, 3)
    assert [replace(s, split=None) for s in split_samples(samples)] == samples


def test_a_class_stands_in_every_split_wherever_that_is_possible() -> None:
    """Against all 3^G deals: no class is missing in a split that could have had it."""
    rng = np.random.default_rng(1)
    for _ in range(25):
        names = [f"g{g}" for g in range(int(rng.integers(3, 7)))]
        samples = [
            _sample(f"{g}-{i}", f"c{rng.integers(3)}", g)
            for g in names
            for i in range(int(rng.integers(1, 5)))
        ]
        groups_of = {c: {s.group for s in samples if c in s.labels} for c in ("c0", "c1", "c2")}
        must = [groups for groups in groups_of.values() if len(groups) >= 3]

        def absent(split: dict[str, str], must: list[set[str]] = must) -> int:
            return sum(
                not any(split[g] == wanted for g in groups) for groups in must for wanted in SPLITS
            )

        found = absent({s.group: str(s.split) for s in split_samples(samples)})
        best = min(
            absent(dict(zip(names, deal, strict=True)))
            for deal in product(SPLITS, repeat=len(names))
        )
        assert found == best


def test_a_sample_without_group_is_its_own() -> None:
    assert group_of(_sample("a.png")) == "a.png"
    assert group_of(_sample("a.png", group="7")) == "7"
    assert {s.split for s in split_samples([_sample(c) for c in "abc"])} == set(SPLITS)


@pytest.mark.parametrize(
    "shares", [(0.6, 0.2, 0.3), (1.0, 0.0, 0.0), (1.2, -0.1, -0.1), (0.5, 0.5)]
)
def test_wrong_shares_are_refused(shares: tuple[float, ...]) -> None:
    with pytest.raises(UsageError, match="shares"):
        split_samples(_dataset(9, 1, 1), shares=shares)  # type: ignore[arg-type]


def test_fewer_than_three_groups_are_refused() -> None:
    with pytest.raises(DataError, match=r"at least 3 groups.*found 2 in 10 images"):
        split_samples(_dataset(2, 5, 1))


def test_crossing_groups_are_named_and_unsplit_samples_are_not() -> None:
    samples = [
        _sample("a", group="1", split="train"),
        _sample("b", group="1", split="val"),
        _sample("c", group="2", split="test"),
        _sample("d", group="2"),
    ]
    assert crossing_groups(samples) == ["1"]


def test_written_and_applied_is_the_same_split(tmp_path: Path) -> None:
    samples = _dataset(12, 2, 3)
    done = split_samples(samples)
    write_split(done, tmp_path / "s.csv")
    assert apply_split(samples, tmp_path / "s.csv") == done
    assert [p.name for p in tmp_path.iterdir()] == ["s.csv"]


def test_the_file_is_sorted_and_says_why(tmp_path: Path) -> None:
    samples = [
        _sample("b.png", "good", "1", "train"),
        _sample("a.png", "good", "1", "train"),
        _sample("c.png", "hole", "", "test"),
        _sample("d.png", "good", "2", "val"),
        _sample("e.png", "good", "3", "test"),
    ]
    write_split(samples, tmp_path / "s.csv")
    assert (tmp_path / "s.csv").read_bytes().decode() == (
        "sample_id,group,split,reason\n"
        "a.png,1,train,group of 2 images kept whole\n"
        "b.png,1,train,group of 2 images kept whole\n"
        "c.png,c.png,test,a group of its own; hole has only 1 group(s)\n"
        "d.png,2,val,a group of its own\n"
        "e.png,3,test,a group of its own\n"
    )


def test_writing_refuses_to_leak_and_leaves_the_old_file(tmp_path: Path) -> None:
    out = _write(tmp_path / "s.csv", "old")
    leaking = [_sample("a", group="1", split="train"), _sample("b", group="1", split="test")]
    with pytest.raises(DataError, match=r"more than one split \(1\); found 1"):
        write_split(leaking, out)
    with pytest.raises(DataError, match="have no split"):
        write_split([_sample("a")], out)
    assert out.read_text(encoding="utf-8") == "old"


def test_a_place_that_cannot_be_written_is_a_fault(tmp_path: Path) -> None:
    with pytest.raises(FaultError, match="cannot be written"):
        write_split([_sample("a", split="train")], tmp_path / "none" / "s.csv")


HEADER = "sample_id,group,split,reason\n"


@pytest.mark.parametrize(
    ("text", "what"),
    [
        (HEADER + "a,1,train,\nb,2,val,\n", r"lacks samples of the dataset \(1\); found c"),
        (HEADER + "a,1,train,\nb,2,val,\nc,3,test,\nd,4,test,\n", r"dataset lacks \(1\); found d"),
        (HEADER + "a,1,train,\nb,2,val,\nc,3,test,\nc,3,test,\n", r"twice \(1\); found c"),
        (HEADER + "a,1,train,\nb,2,Val,\nc,3,test,\n", r"line 3.*train, val, test; found 'Val'"),
        (HEADER + "a,1,train,\nb,2,val,\nc\n", r"line 4.*found ''"),
        (HEADER + "a,1,train,\nb,2,val,\nc,2,test,\n", r"this split leaks \(1\); found 2"),
        ("sample,split\na,train\n", "lacks a column; expected sample_id"),
        ("", "found nothing"),
    ],
)
def test_a_wrong_split_file_is_refused(tmp_path: Path, text: str, what: str) -> None:
    samples = [_sample("a", group="1"), _sample("b", group="2"), _sample("c")]
    path = _write(tmp_path / "s.csv", text)
    with pytest.raises(DataError, match=what) as caught:
        apply_split(samples, path)
    assert str(path) in caught.value.where


def test_a_split_may_join_groups_of_the_dataset_and_not_part_them(tmp_path: Path) -> None:
    samples = [_sample("a", group="1"), _sample("b", group="2"), _sample("c", group="2")]
    path = _write(tmp_path / "s.csv", HEADER + "a,1,val,\nb,1,val,\nc,1,val,\n")
    assert [(s.group, s.split) for s in apply_split(samples, path)] == [("1", "val")] * 3
    path = _write(tmp_path / "s.csv", HEADER + "a,1,train,\nb,2,val,\nc,9,val,\n")
    with pytest.raises(DataError, match=r"are several in the split \(1\); found 2 \(2, 9\)"):
        apply_split(samples, path)


def test_folds_by_hand() -> None:
    """Ten groups in five folds: each is TEST in one split, VAL in another, TRAIN in three."""
    samples = _dataset(10, 2, 2)
    splits = fold_samples(samples, folds=5, seed=1)
    assert fold_samples(list(reversed(samples)), folds=5, seed=1)[0] == splits[0][::-1]
    assert fold_samples(samples, folds=5, seed=2) != splits
    for split in splits:
        assert crossing_groups(split) == []
        assert Counter((s.split, s.labels[0]) for s in split) == {
            ("train", "class0"): 6,
            ("train", "class1"): 6,
            **{(name, f"class{c}"): 2 for name in ("val", "test") for c in (0, 1)},
        }
    by_sample = zip(*splits, strict=True)
    assert all(
        Counter(s.split for s in turns) == {"train": 3, "val": 1, "test": 1} for turns in by_sample
    )


def test_folds_that_cannot_be() -> None:
    with pytest.raises(UsageError, match=r"too few folds; expected at least 3.*found 2"):
        fold_samples(_dataset(10, 1, 1), folds=2)
    with pytest.raises(DataError, match="at least 5 groups; found 4 in 8 images"):
        fold_samples(_dataset(4, 2, 1), folds=5)


def test_a_split_without_groups_that_tears_the_datasets_groups_is_refused(tmp_path: Path) -> None:
    path = _write(tmp_path / "s.csv", "sample_id,split\na,train\nb,val\n")
    assert [s.split for s in apply_split([_sample("a"), _sample("b")], path)] == ["train", "val"]
    with pytest.raises(DataError, match="this split leaks"):
        apply_split([_sample("a", group="1"), _sample("b", group="1")], path)


def test_a_missing_or_binary_split_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        apply_split([_sample("a")], tmp_path / "none.csv")
    (tmp_path / "b.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match="cannot be read"):
        apply_split([_sample("a")], tmp_path / "b.csv")


def test_the_hash_is_of_names_and_splits_alone() -> None:
    samples = [_sample("b", split="val"), _sample("a", split="train")]
    expected = hashlib.sha256(b"a\ttrain\nb\tval\n").hexdigest()
    assert split_hash(samples) == expected
    assert split_hash([replace(s, group="x") for s in reversed(samples)]) == expected
    assert split_hash([samples[0], replace(samples[1], split="test")]) != expected
    with pytest.raises(DataError, match="have no split"):
        split_hash([_sample("a")])
