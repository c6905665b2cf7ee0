"""Deletion, insertion and random weights, with models whose map and score are known by hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from qc.types import Sample
from training.commands import evaluation_lines
from training.evaluate import Outputs
from training.faithfulness import (
    FIGURES,
    SAMPLE,
    faithfulness,
    hottest_first,
    map_similarity,
    mixed,
    most_alike,
)
from training.images import Images

SPOT = (1, 2)
"""The pixel that the score rests on; pictures are 4 x 4 and the map has a cell for each pixel."""


def _images(defects: int, fine: int = 1, groups: int = 8) -> Images:
    """Black good parts; on a defect the spot is white."""
    n = defects + fine
    pixels = np.zeros((n, 4, 4, 3), np.uint8)
    pixels[fine:, SPOT[0], SPOT[1]] = 255
    labels = np.array([0] * fine + [1] * defects)
    names = [("good", "dent")[k] for k in labels]
    samples = [
        Sample(f"{i}", Path(f"{i}.png"), (name,), group=f"lot{i % groups}")
        for i, name in enumerate(names)
    ]
    nothing = np.zeros((n, 4, 4), np.uint8)
    known = np.zeros(n, bool)
    return Images(tuple(samples), pixels, labels, nothing, known, known)


def _right(image: np.ndarray) -> np.ndarray:
    """Hot at the spot whatever the picture, the rest falls from the first pixel to the last."""
    evidence = -np.arange(16, dtype=np.float32).reshape(4, 4)
    evidence[SPOT] = 1
    return evidence


def _model(
    evidence: Callable[[np.ndarray], np.ndarray] | None, constant: float | None = None
) -> Callable[[np.ndarray], Outputs]:
    """The defect score is the brightness of the spot, or always the same."""

    def run(pixels: np.ndarray) -> Outputs:
        defect = pixels[:, SPOT[0], SPOT[1], 0] / np.float32(255)
        if constant is not None:
            defect = np.full_like(defect, constant)
        score = np.stack([1 - defect, defect, 0 * defect], axis=1)
        if evidence is None:
            return Outputs(score, None)
        maps = np.stack([evidence(p) for p in pixels])
        # the maps of good and of the class that is never likely are something else
        return Outputs(score, np.stack([-maps, maps, 0 * maps], axis=3))

    return run


def _checked(images: Images, run: Callable[[np.ndarray], Outputs], **more: Any) -> dict[str, Any]:
    return faithfulness(images, 0, run, more.pop("randomise", lambda seed: None), **more)


def test_a_right_map_by_hand() -> None:
    """16 cells, so 16 steps: the spot is the first. Gone: from 1 to 0 in 1/16, area 1/32."""
    found = _checked(_images(4), _model(_right))
    assert found["deletion"] == pytest.approx(1 / 32)
    assert found["insertion"] == pytest.approx(1 - 1 / 32)
    assert (found["score_whole"], found["score_removed"], found["n"]) == (1.0, 0.0, 4)


def test_a_random_order_is_the_one_measure_of_both() -> None:
    """With the spot at rank r, deletion is (r + 1/2) / 16 and insertion the rest: 1/2 each."""
    found = _checked(_images(64), _model(_right))
    assert found["deletion_random"] + found["insertion_random"] == pytest.approx(1)
    # the mean of 64 draws from 1/32 to 31/32 has a standard error of 0.036
    assert found["deletion_random"] == pytest.approx(0.5, abs=0.12)
    for name in ("deletion", "insertion"):
        low, high = found[f"{name}_gap_ci"]
        assert 0 < low < abs(found[name] - found[f"{name}_random"]) < high


def test_a_wrong_map_is_worse_than_a_random_order() -> None:
    """The spot is the coldest of all: it goes last, and comes last."""
    found = _checked(_images(64), _model(lambda image: -_right(image)))
    assert found["deletion"] == pytest.approx(1 - 1 / 32)
    assert found["insertion"] == pytest.approx(1 / 32)
    assert found["deletion_gap_ci"][1] < 0 and found["insertion_gap_ci"][1] < 0


def test_a_flat_map_is_a_random_order() -> None:
    """Else the spot, seventh in reading order, would always go at 6.5 / 16."""
    found = _checked(_images(64), _model(lambda image: np.zeros((4, 4), np.float32)))
    assert found["deletion"] == pytest.approx(0.5, abs=0.12)
    assert found["deletion"] + found["insertion"] == pytest.approx(1)
    low, high = found["deletion_gap_ci"]
    assert low < 0 < high


def test_a_score_that_never_moves_has_no_gap() -> None:
    found = _checked(_images(4), _model(_right, constant=0.25))
    areas = [found[k] for k in FIGURES if k.split("_")[0] in ("deletion", "insertion")]
    assert areas == [0.25, 0.25, (0, 0), 0.25, 0.25, (0, 0)]
    assert found["score_whole"] == found["score_removed"] == 0.25


def test_it_repeats_and_another_seed_draws_another_order() -> None:
    images, run = _images(8), _model(_right)
    assert _checked(images, run) == _checked(images, run)
    assert _checked(images, run) != _checked(images, run, seed=1)


def test_at_most_a_sample_is_looked_at_and_the_bar_reaches_its_end() -> None:
    told: list[tuple[int, int]] = []
    found = _checked(
        _images(SAMPLE + 20),
        _model(_right),
        randomise=lambda seed: _model(_right),
        progress=lambda done, total: told.append((done, total)),
    )
    assert found["n"] == SAMPLE
    assert [done for done, _ in told] == list(range(1, told[-1][1] + 1))
    assert len({total for _, total in told}) == 1


@pytest.mark.parametrize(
    ("images", "evidence"), [((0, 2), _right), ((2, 0), _right), ((2, 2), None)]
)
def test_without_defect_good_part_or_map_there_is_nothing(
    images: tuple[int, int], evidence: Callable[[np.ndarray], np.ndarray] | None
) -> None:
    found = _checked(_images(*images), _model(evidence))
    assert found == {**dict.fromkeys(FIGURES), "n": 0}


# what is taken out


def test_in_between_two_cells_it_is_linear() -> None:
    """Two cells over 8 pixels: the weight falls from centre (1.5) to centre (5.5) by a quarter."""
    black, white = np.zeros((4, 8, 3), np.uint8), np.full((4, 8, 3), 200, np.uint8)
    found = mixed(black, white, np.array([[True, False]]))
    assert found.dtype == np.uint8
    assert found[0, :, 0].tolist() == [200, 200, 175, 125, 75, 25, 0, 0]
    assert (mixed(black, white, np.ones((1, 2), bool)) == white).all()
    assert (mixed(white, black, np.zeros((1, 2), bool)) == white).all()


def test_equal_cells_come_in_any_order_and_hotter_ones_before() -> None:
    evidence = np.array([[1, 3], [1, 1]], np.float32)
    rng = np.random.default_rng(0)
    ranks = [hottest_first(evidence, rng) for _ in range(40)]
    assert all(r[0, 1] == 0 and sorted(r.ravel()) == [0, 1, 2, 3] for r in ranks)
    assert {int(r[0, 0]) for r in ranks} == {1, 2, 3}


def test_the_good_part_that_looks_most_alike() -> None:
    fine = np.stack([np.full((32, 32, 3), v, np.uint8) for v in (10, 100, 200)])
    seen = fine[[2, 0]] + np.uint8(20)
    seen[:, 4:8, 4:8] = 255
    assert most_alike(seen, fine).tolist() == [2, 0]


# random weights


def test_rank_correlation_by_hand() -> None:
    """Ranks 1.5, 1.5, 3 against 1, 2, 3: 1.5 / sqrt(1.5 * 2)."""
    rising = np.array([[[1.0, 2.0, 3.0]]])
    assert map_similarity(rising, rising**3) == pytest.approx(1)
    assert map_similarity(rising, -rising) == pytest.approx(-1)
    assert map_similarity(np.array([[[1.0, 1.0, 3.0]]]), rising) == pytest.approx(1.5 / 3**0.5)
    pair = np.concatenate([rising, rising])
    assert map_similarity(pair, np.concatenate([rising, -rising])) == pytest.approx(0)


def test_a_flat_map_is_like_a_flat_one_only() -> None:
    flat, rising = np.zeros((1, 1, 3)), np.array([[[1.0, 2.0, 3.0]]])
    assert map_similarity(flat, flat + 2) == 1
    assert map_similarity(flat, rising) == map_similarity(rising, flat) == 0
    assert map_similarity(rising, np.full((1, 1, 3), np.nan)) == 0


def _noise(seed: int) -> Callable[[np.ndarray], Outputs]:
    rng = np.random.default_rng(seed)
    return _model(lambda image: rng.random((4, 4)).astype(np.float32))


def test_a_map_that_ignores_the_weights_is_found_out() -> None:
    found = _checked(_images(8), _model(_right), randomise=lambda seed: _model(_right))
    assert found["randomised_similarity"] == pytest.approx(1)
    found = _checked(_images(8), _model(_right), randomise=_noise)
    # 40 correlations of 16 cells: standard error 0.04
    assert abs(found["randomised_similarity"]) < 0.2
    assert _checked(_images(8), _model(_right))["randomised_similarity"] is None


# for a person


def _said(check: dict[str, Any] | None) -> str:
    place = dict.fromkeys(("pointing", "aupro"))
    found = {
        "split": "test", "n": 9, "groups": 3, "auroc": None, "auroc_ci": None, "accuracy": 0.5,
        "macro_f1": 0.5, "calibration": {"ece": 0.1}, "escape": None, "localisation": place,
        "faithfulness": check, "confusion": {}, "map": None,
    }  # fmt: skip
    return "\n".join(evaluation_lines(found))


def test_a_good_map_is_told_in_two_lines_without_caution() -> None:
    said = _said(_checked(_images(64), _model(_right), randomise=_noise))
    assert "deletion 0.031 (random order 0." in said and "insertion 0.969" in said
    assert "likeness of the map under random weights" in said and "caution" not in said


def test_cautions_say_what_the_map_failed() -> None:
    wrong = _model(lambda image: -_right(image))
    said = _said(_checked(_images(64), wrong, randomise=lambda seed: wrong))
    for words in ("in deletion", "in insertion", "random weights 1.00", "the map stays alike"):
        assert words in said
    assert said.count("caution") == 3


def test_one_group_shows_nothing() -> None:
    said = _said(_checked(_images(8, groups=1), _model(_right)))
    assert said.count("not shown to be better") == 2
    assert "cannot be told of this model" in said


def test_what_was_not_checked_is_not_told() -> None:
    assert _said(None) == _said({"n": 0})
    assert "faithful" not in _said(None)
