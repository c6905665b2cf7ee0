"""Pictures of the same thing, told from strangers."""

from __future__ import annotations

import csv
import os
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest

from training.datasets import class_folders, drawn
from training.likeness import SIDE, alike, chains, outline
from training.looks import alike_pairs, look_at

ALONE = 24
DATA_ROOT = Path(
    os.environ.get("QC_DATA_ROOT", Path(__file__).parents[2].parent / "shared" / "data")
)
TILES = DATA_ROOT / "magnetic_tile"


def _grain(seed: int, size: int = 160) -> np.ndarray:
    """A surface with grain of many sizes, as a ground part has it."""
    rng = np.random.default_rng(seed)
    grey = sum(
        cv2.GaussianBlur(rng.normal(0, 1, (size, size)), (0, 0), sigma) * sigma
        for sigma in (1.5, 3, 6, 12)
    )
    grey = np.clip(120 + 30 * grey / np.std(grey), 0, 255).astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=2)


def _pairs(*more: np.ndarray) -> list[tuple[int, int]]:
    """Pairs among two dozen strangers and more pictures; all of one group each."""
    pictures = [_grain(seed) for seed in range(ALONE)] + list(more)
    outlines = np.stack([outline(p) for p in pictures])
    return alike(outlines, np.arange(len(pictures)))


def _jpeg(image: np.ndarray, quality: int) -> np.ndarray:
    ok, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    assert ok
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR))


def _uneven(image: np.ndarray) -> np.ndarray:
    """The lamp stands on the left."""
    light = np.linspace(1.3, 0.5, image.shape[1])[None, :, None]
    return np.clip(image * light, 0, 255).astype(np.uint8)


CHANGED = {
    "darker": lambda p: (p * 0.5).astype(np.uint8),
    "brighter": lambda p: np.clip(p * 1.2 + 10, 0, 255).astype(np.uint8),
    "gamma": lambda p: (255 * (p / 255) ** 1.6).astype(np.uint8),
    "uneven light": _uneven,
    "shifted": lambda p: np.roll(p, (9, -7), (0, 1)),
    "cropped": lambda p: p[6:, 5:],
    "half the size": lambda p: cv2.resize(p, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA),
    "JPEG": lambda p: _jpeg(p, 30),
    "mirrored": lambda p: p[:, ::-1],
    "upside down": lambda p: p[::-1],
    "half a turn": lambda p: p[::-1, ::-1],
    "a quarter": lambda p: np.rot90(p),
    "three quarters": lambda p: np.rot90(p, 3),
    "transposed": lambda p: p.transpose(1, 0, 2),
    "turned and dark": lambda p: (np.rot90(p, 3) * 0.6).astype(np.uint8),
}


@pytest.mark.parametrize("change", CHANGED)
def test_a_changed_copy_is_found_and_no_stranger(change: str) -> None:
    copy = np.ascontiguousarray(CHANGED[change](_grain(7)))
    assert _pairs(copy) == [(7, ALONE)]


def test_strangers_are_not_alike() -> None:
    assert _pairs() == []


HOLED = {(6, 6): "hole", (9, 1): "hole", (1, 14): "good", (7, 0): "good"}
"""Lot, number and kind of drawn parts that have little beyond a dark spot near the middle."""


@pytest.fixture(scope="module")
def plain_parts() -> tuple[list[np.ndarray], np.ndarray]:
    """Drawn parts at 256 pixels, and their lots: those of `HOLED` of two series, and others."""
    pictures, lots = [], []
    for seed in (2, 7):
        chosen = {**{(lot, 30): "good" for lot in range(10)}, **HOLED}
        for (index, number), kind in chosen.items():
            rng = np.random.default_rng([seed, 3, index, number])
            pictures.append(drawn.draw_part(rng, kind, drawn.make_lot(seed, index))[0])
            lots.append(10 * seed + index)
    return pictures, np.array(lots)


def test_plain_parts_with_a_dark_spot_each_are_not_alike(
    plain_parts: tuple[list[np.ndarray], np.ndarray],
) -> None:
    pictures, lots = plain_parts
    found = alike(np.stack([outline(p) for p in pictures]), lots)
    assert [(a, b) for a, b in found if lots[a] != lots[b]] == []


@pytest.mark.parametrize("change", CHANGED)
def test_a_changed_copy_of_a_plain_part_is_found(
    change: str, plain_parts: tuple[list[np.ndarray], np.ndarray]
) -> None:
    pictures = plain_parts[0]
    holed = [row for row in range(len(pictures)) if row % 14 >= 10]
    copies = [np.ascontiguousarray(CHANGED[change](pictures[row])) for row in holed]
    outlines = np.stack([outline(p) for p in pictures + copies])
    found = alike(outlines, np.arange(len(outlines)))
    missed = set(zip(holed, range(len(pictures), len(outlines)), strict=True)) - set(found)
    assert missed == set()


def test_few_pictures_are_compared_too() -> None:
    outlines = np.stack([outline(p) for p in (_grain(1), _grain(2), _grain(1) // 2)])
    assert alike(outlines, np.arange(3)) == [(0, 2)]
    assert alike(outlines[:1], np.arange(1)) == [] == alike(outlines[:0], np.arange(0))


def test_an_outline_does_not_change_with_the_light() -> None:
    picture = _grain(3)
    first, dark = outline(picture), outline((picture * 0.5).astype(np.uint8))
    assert first.shape == (SIDE, SIDE) and first.dtype == np.float16
    assert np.corrcoef(first.ravel(), dark.ravel())[0, 1] > 0.97


def test_chains_by_hand() -> None:
    assert chains([(5, 2), (2, 9), (4, 3), (7, 7)]) == [[2, 5, 9], [3, 4], [7]]
    assert chains([]) == []


@pytest.mark.skipif(
    not TILES.is_dir(), reason="magnetic_tile is not there; QC_DATA_ROOT names its parent folder"
)
def test_six_exposures_of_a_tile_are_found_without_names() -> None:
    """Exposures are told by the pictures alone; names and `groups.csv` are only the answer key.

    A tile is a run of exposures 1 to 6 of consecutive numbers. 180 of the 200 or so tiles that were
    taken six times are found whole, and no chain holds two pieces that were looked at and differ.
    """
    samples = class_folders.scan(TILES).samples
    found = chains(alike_pairs(look_at(samples)))
    exposures = Counter(
        "".join(sorted(Path(samples[row].sample_id).name[3] for row in chain)) for chain in found
    )
    assert exposures["123456"] >= 180
    with (TILES / "groups.csv").open(newline="", encoding="utf-8") as text:
        known = {row["path"]: row["group"] for row in csv.DictReader(text)}
    pieces = {frozenset(known[samples[row].sample_id] for row in chain) for chain in found}
    one = [{"6", "9"}, {"24", "31"}, {"38", "39"}, {"105", "109"}, {"118", "120"}]  # looked at
    assert [piece for piece in pieces if len(piece) > 1 and piece not in one] == []
