"""Drawn parts: exact masks, the same bytes from the same seed, and no shortcut by brightness."""

from __future__ import annotations

import csv
import hashlib
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from qc.errors import DataError
from qc.imageio import read_image
from training.datasets import class_folders, drawn, layouts, load_samples
from training.datasets.drawn import KINDS, draw_dataset, draw_part, make_lot

SIZE = (112, 112)


def part(kind: str, seed: int = 5, lot: int = 0, size_hw: tuple[int, int] = SIZE):
    return draw_part(np.random.default_rng(seed), kind, make_lot(1, lot), size_hw)


def auroc(bad: np.ndarray, good: np.ndarray) -> float:
    """Share of (bad, good) pairs in the right order, ties half: the definition."""
    difference = bad[:, None] - good[None, :]
    return float((difference > 0).mean() + 0.5 * (difference == 0).mean())


def digests(root: Path) -> dict[str, str]:
    return {
        p.relative_to(root).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in root.rglob("*")
        if p.is_file()
    }


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size_hw", [(112, 112), (90, 160)])
def test_part_is_rgb_uint8_with_a_mask_of_its_size(kind: str, size_hw: tuple[int, int]) -> None:
    image, mask = part(kind, size_hw=size_hw)
    assert image.shape == (*size_hw, 3) and image.dtype == np.uint8
    assert mask.shape == size_hw and mask.dtype == np.bool_
    assert mask.any() == (kind != "good")


@pytest.mark.parametrize("kind", KINDS[1:])
def test_defect_changes_the_part_inside_its_mask_and_nowhere_else(kind: str) -> None:
    for seed in range(6):
        good, _ = part("good", seed, lot=seed % 3)
        bad, mask = part(kind, seed, lot=seed % 3)
        assert np.array_equal(good[~mask], bad[~mask])
        change = np.abs(good.astype(int) - bad.astype(int)).max(axis=2)[mask]
        # at least 8 levels before noise; the noise of one sensor moves both by the same draw
        assert (change >= 4).mean() > 0.97
        assert change.mean() > 10


def test_every_defect_of_many_parts_has_a_mask() -> None:
    for seed in range(80):
        _, mask = part(KINDS[1 + seed % 4], seed, lot=seed % 8, size_hw=(96, 96))
        assert 0.001 * mask.size <= mask.sum() < 0.3 * mask.size


def test_part_is_repeatable_and_seeds_differ() -> None:
    first, again, other = part("crack", 3)[0], part("crack", 3)[0], part("crack", 4)[0]
    assert np.array_equal(first, again)
    assert (first != other).mean() > 0.5


def test_kind_takes_the_same_draw_from_the_generator() -> None:
    after = set()
    for kind in KINDS:
        rng = np.random.default_rng(9)
        draw_part(rng, kind, make_lot(0, 0), (64, 64))
        after.add(int(rng.integers(2**60)))
    assert len(after) == 1


def test_lots_differ_and_are_repeatable() -> None:
    lots = [make_lot(2, k) for k in range(12)]
    assert lots == [make_lot(2, k) for k in range(12)]
    assert len({lot.name for lot in lots}) == 12 and lots[3].name == "lot03"
    assert {lot.texture for lot in lots} == {"brushed", "cast"}
    assert {lot.mark for lot in lots} == {"text", "logo", "ticks"}
    assert make_lot(3, 0) != lots[0]
    tones = [lot.tone for lot in lots]
    assert max(tones) - min(tones) > 0.1


def test_lots_spread_more_than_parts_of_one_lot() -> None:
    means = np.array(
        [[part("good", 10 * k + n, lot=k)[0].mean((0, 1)) for n in range(6)] for k in range(10)]
    )
    within = means.std(axis=1).mean()
    between = means.mean(axis=1).std(axis=0).mean()
    assert between > 1.5 * within


def test_no_threshold_on_brightness_finds_the_defects() -> None:
    statistics: dict[bool, list[list[float]]] = {True: [], False: []}
    for n in range(240):
        kind = "good" if n % 2 else KINDS[1 + n // 2 % 4]
        image, _ = part(kind, seed=1000 + n, lot=n // 2 % 10, size_hw=(128, 128))
        grey = image.mean(axis=2)
        row = [grey.mean(), grey.min(), grey.max(), grey.std(), image.min(), image.max()]
        statistics[kind == "good"].append([float(v) for v in row])
    good, bad = np.array(statistics[True]), np.array(statistics[False])
    for column, name in enumerate(["mean", "min", "max", "std", "lowest", "highest"]):
        value = auroc(bad[:, column], good[:, column])
        assert max(value, 1 - value) < 0.75, name


def test_the_difference_to_the_good_part_would_find_the_defects() -> None:
    """The same check can fail: what the defect changed separates the two perfectly."""
    changed = {kind: (part(kind)[0] != part("good")[0]).mean() for kind in KINDS}
    assert changed["good"] == 0
    assert all(changed[kind] > 0 for kind in KINDS[1:])


def test_unknown_kind_names_the_nearest() -> None:
    with pytest.raises(DataError, match="unknown kind 'scratsh'; did you mean 'scratch'"):
        part("scratsh")


def test_too_small_a_part_is_refused() -> None:
    with pytest.raises(DataError, match=r"too small.*48.*\(40, 112\)"):
        part("good", size_hw=(40, 112))


def test_dataset_is_read_as_class_folders(tmp_path: Path) -> None:
    steps: list[tuple[int, int]] = []
    root = draw_dataset(
        tmp_path / "parts",
        seed=4,
        lots=3,
        parts_per_lot=10,
        size_hw=(64, 80),
        first_lot=5,
        progress=lambda done, total: steps.append((done, total)),
    )
    assert root == tmp_path / "parts"
    assert steps == [(n, 30) for n in range(1, 31)]
    layout, samples = load_samples(root)
    assert layout == "class_folders" and len(samples) == 30
    assert Counter(s.group for s in samples) == {"lot05": 10, "lot06": 10, "lot07": 10}
    # 40 % of 10 parts are 4 defects: one of each kind in each lot
    assert Counter(s.labels[0] for s in samples) == {"good": 18} | dict.fromkeys(KINDS[1:], 3)
    for lot in ("lot05", "lot06", "lot07"):
        assert {s.labels[0] for s in samples if s.group == lot} == set(KINDS)
    for sample in samples:
        assert sample.image_path.name.startswith(sample.group + "_")
        assert read_image(sample.image_path).shape == (64, 80, 3)
        assert (sample.mask_path is None) == (sample.labels == ("good",))
        if sample.mask_path is not None:
            values = set(np.unique(read_image(sample.mask_path)))
            assert values == {0, 255}


def test_dataset_lists_its_groups(tmp_path: Path) -> None:
    draw_dataset(tmp_path, seed=0, lots=1, parts_per_lot=8, defect_share=0.5, size_hw=(64, 64))
    with (tmp_path / "groups.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 8 and {row["group"] for row in rows} == {"lot00"}
    assert all((tmp_path / row["path"]).is_file() for row in rows)


def test_same_seed_gives_the_same_bytes_and_another_does_not(tmp_path: Path) -> None:
    asked = {"lots": 2, "parts_per_lot": 10, "size_hw": (64, 64)}
    first = digests(draw_dataset(tmp_path / "a", seed=7, **asked))
    again = digests(draw_dataset(tmp_path / "b", seed=7, **asked))
    other = digests(draw_dataset(tmp_path / "c", seed=8, **asked))
    assert first == again
    pictures = {name for name in first if name.endswith(".png")}
    assert len(pictures) == 20 + 8
    assert not any(first[name] == other.get(name) for name in pictures)


def test_a_lot_does_not_depend_on_how_many_are_drawn(tmp_path: Path) -> None:
    small = {"parts_per_lot": 10, "size_hw": (64, 64)}
    both = digests(draw_dataset(tmp_path / "both", seed=7, lots=2, **small))
    second = digests(draw_dataset(tmp_path / "second", seed=7, lots=1, first_lot=1, **small))
    second.pop("groups.csv")
    assert len(second) == 14
    assert second.items() <= both.items()


def test_half_written_dataset_is_refused_when_read(tmp_path: Path) -> None:
    class StopError(Exception):
        pass

    def stop(done: int, total: int) -> None:
        if done == 7:
            raise StopError

    with pytest.raises(StopError):
        draw_dataset(tmp_path, seed=0, lots=1, parts_per_lot=10, size_hw=(64, 64), progress=stop)
    with pytest.raises(DataError):
        list(class_folders.samples(tmp_path))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"parts_per_lot": 5}, "2 defects in 5 parts"),
        ({"defect_share": 1.0}, "10 defects in 10 parts"),
        ({"defect_share": 0.0}, "0 defects in 10 parts"),
        ({"lots": 0}, "lots 0"),
        ({"seed": -1}, "seed -1"),
        ({"size_hw": (20, 64)}, "too small"),
    ],
)
def test_wrong_numbers_write_nothing(tmp_path: Path, wrong: dict, message: str) -> None:
    asked = {"seed": 0, "lots": 1, "parts_per_lot": 10, "size_hw": (64, 64)} | wrong
    with pytest.raises(DataError, match=message):
        draw_dataset(tmp_path / "parts", **asked)
    assert not (tmp_path / "parts").exists()


def test_folder_that_holds_something_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(DataError, match="not empty"):
        draw_dataset(tmp_path, seed=0)
    assert [p.name for p in tmp_path.iterdir()] == ["mine.txt"]


def test_drawn_is_no_layout() -> None:
    assert not hasattr(drawn, "detect") and not hasattr(drawn, "samples")
    assert "drawn" not in layouts()
