"""The edges of the figures: what a slip in an index, an axis or a default would move."""

from __future__ import annotations

import numpy as np
import pytest

from qc import metrics
from qc.metrics import localisation


def _mask(size_hw: tuple[int, int], *pixels: tuple[int, int]) -> np.ndarray:
    mask = np.zeros(size_hw, bool)
    for y, x in pixels:
        mask[y, x] = True
    return mask


# rates


@pytest.mark.parametrize(
    ("count", "n", "confidence", "bound"),
    [
        (0, 299, 0.95, 1 - 0.05 ** (1 / 299)),  # none of n: (1 - p) ** n = 0.05
        (0, 1, 0.5, 0.5),
        (1, 2, 0.75, 0.75**0.5),  # at most one of two: 1 - p ** 2 = 0.25
        (9, 10, 0.9, 0.9 ** (1 / 10)),  # at most nine of ten: 1 - p ** 10 = 0.1
        (10, 10, 0.95, 1.0),
        (11, 10, 0.95, 1.0),
    ],
)
def test_the_upper_bound_solves_its_tail(
    count: int, n: int, confidence: float, bound: float
) -> None:
    assert metrics.upper_bound(count, n, confidence) == pytest.approx(bound, rel=1e-9)


def test_without_a_seed_all_take_the_same_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two models are compared pair by pair: the seed is 0 wherever none is told."""
    assert metrics.BOOTSTRAPS == 1000
    monkeypatch.setattr(metrics, "BOOTSTRAPS", 50)
    rng = np.random.default_rng(2)
    is_defect, score = rng.random(40) < 0.5, rng.random(40)
    groups = [str(i % 9) for i in range(40)]
    np.testing.assert_array_equal(metrics.group_draws(9), metrics.group_draws(9, 0))
    draws = metrics.auroc_draws(is_defect, score, groups)
    np.testing.assert_array_equal(draws, metrics.auroc_draws(is_defect, score, groups, 0))
    for interval, values in (
        (metrics.mean_interval, score),
        (metrics.share_interval, is_defect),
    ):
        assert interval(values, groups) == interval(values, groups, 0)
        assert interval(values, groups) != interval(values, groups, 1)


def test_calibration_has_15_bins_as_the_paper() -> None:
    """Confidences at the border of two of 15 bins: 8/15 belongs to the upper one.

    Together with 0.55, right and wrong would make up for each other.
    """
    score = np.array([[8 / 15 - 0.01, 7 / 15 + 0.01], [0.55, 0.45]])
    found = metrics.expected_calibration_error(score, np.array([0, 1]))
    assert found == pytest.approx((1 - (8 / 15 - 0.01)) / 2 + 0.55 / 2)
    wide = np.array([[0.99, 0.01], [14 / 15 + 0.001, 1 / 15 - 0.001]])  # both in the last bin
    found = metrics.expected_calibration_error(wide, np.array([0, 1]))
    assert found == pytest.approx((0.99 + 14 / 15 + 0.001) / 2 - 0.5)


# classes


def test_confusion_has_a_row_for_a_class_that_nobody_has_and_nobody_said() -> None:
    found = metrics.classification(np.eye(3)[[0, 1]], np.array([0, 1]), ["a", "b", "c"])
    assert found["confusion"] == {
        "a": {"a": 1, "b": 0, "c": 0},
        "b": {"a": 0, "b": 1, "c": 0},
        "c": {"a": 0, "b": 0, "c": 0},
    }
    # a class first in order that does not occur shifts no other
    later = metrics.classification(np.eye(3)[[1, 2]], np.array([1, 2]), ["a", "b", "c"])
    assert later["confusion"]["b"]["b"] == later["confusion"]["c"]["c"] == 1


def test_macro_f1_leaves_out_a_class_that_does_not_occur() -> None:
    truth = np.array([[1, 0, 0], [0, 1, 0]], bool)
    said = np.array([[1, 0, 0], [1, 0, 0]], bool)
    found = metrics.several_labels(truth, said)  # a: 2 / (1 + 2), b: 0 / (1 + 0), c: absent
    assert found["macro_f1"] == pytest.approx((2 / 3 + 0) / 2)


# places: heights and widths that differ, maps that differ


def test_a_cell_may_be_higher_than_wide() -> None:
    """2 x 3 cells of 4 x 2 pixels; the mask lies in the last row's first cell."""
    maps = np.zeros((1, 2, 3), np.float32)
    maps[0, 1, 0] = 1
    mask = _mask((8, 6), (7, 1))[None]
    assert metrics.points_at(maps, mask).tolist() == [True]
    found = localisation(maps, mask)
    assert found["pointing"] == 1 and found["pointing_chance"] == pytest.approx(1 / 6)
    assert found["mask_area"] == pytest.approx(1 / 48)
    assert found["energy_in_pixels"] == pytest.approx(1 / 8)
    assert found["pixel_ap"] > 0.1, "the map is enlarged to height x width, not the reverse"


def test_the_centre_of_a_large_even_grid() -> None:
    """8 x 8 cells of one pixel: the centre is rows and columns 3 and 4, and no other."""
    maps = np.zeros((1, 8, 8), np.float32)
    for pixels, share in {
        ((4, 4),): 1 / 4,
        ((3, 3), (4, 4)): 2 / 4,
        ((3, 4), (4, 3), (4, 4)): 3 / 4,
        ((2, 3), (5, 4), (3, 2), (4, 5)): 0.0,
    }.items():
        mask = _mask((8, 8), *pixels)[None]
        assert localisation(maps, mask)["pointing_centre"] == pytest.approx(share)


def test_the_interval_of_pointing_is_that_of_the_groups() -> None:
    """Of 8 parts in 2 groups one group is found: the interval is 0 to 1, of 8 groups it is not."""
    maps = np.tile(np.array([[1, 0], [0, 0]], np.float32), (8, 1, 1))
    found, missed = _mask((2, 2), (0, 0)), _mask((2, 2), (1, 1))
    masks = np.stack([found] * 4 + [missed] * 4)
    assert localisation(maps, masks, ["a"] * 4 + ["b"] * 4)["pointing_ci"] == (0, 1)
    alone = localisation(maps, masks)["pointing_ci"]
    assert alone is not None and 0 < alone[0] < 0.5 < alone[1] < 1


def test_maps_without_evidence_count_as_nought_in_the_mean() -> None:
    """Of 200 maps one has evidence, a little and all inside: 1 / 200."""
    maps = np.full((200, 2, 2), -1, np.float32)
    maps[7] = [[0.5, 0], [0, 0]]
    masks = np.tile(_mask((2, 2), (0, 0)), (200, 1, 1))
    # numpy hands out such small pieces of memory again: what is not written holds a 7
    left = [np.full(200, 7, np.float32) for _ in range(20)]
    del left
    assert metrics._share_inside(np.maximum(maps, 0), masks) == pytest.approx(1 / 200)


# the area under the overlap


def _areas(background: list[float], *regions: list[float]) -> float | None:
    """`aupro` of parts of one region each; the first part has the background."""
    width = len(background) + max(map(len, regions)) + 1
    maps = np.full((len(regions), 1, width), min(background), np.float32)
    masks = np.zeros((len(regions), 1, width), bool)
    maps[0, 0, : len(background)] = background
    for i, region in enumerate(regions):
        maps[i, 0, width - len(region) :] = region
        masks[i, 0, width - len(region) :] = True
    found = localisation(maps, masks)["aupro"]
    return None if found is None else float(found)


def test_every_part_has_its_regions_in_the_mean() -> None:
    """Found, found, missed: two thirds."""
    background = [i / 1000 for i in range(1000)]
    found = _areas(background, [2.0, 2.0], [3.0], [-1.0] * 3)
    assert found == pytest.approx(2 / 3, abs=0.01)
    first_missed = _areas(background, [-1.0], [3.0], [3.0])
    assert first_missed == pytest.approx(2 / 3, abs=0.01)


def test_a_region_as_hot_as_the_hottest_background_is_a_straight_line() -> None:
    """All of the background is one value and the region has it too: overlap equals the rate."""
    assert _areas([1.0] * 200, [1.0]) == pytest.approx(0.15, abs=0.001)


def test_the_curve_begins_with_what_is_above_all_background() -> None:
    """Half of the region is above all background, half below: 1/2 from the first rate on."""
    background = [i / 1000 for i in range(1000)]
    assert _areas(background, [5.0, -1.0]) == pytest.approx(0.5, abs=0.002)


def test_an_image_that_is_all_defect_has_no_rate_and_one_pixel_of_background_has() -> None:
    everywhere = np.ones((1, 2, 2), bool)
    assert localisation(np.zeros((1, 2, 2), np.float32), everywhere)["aupro"] is None
    all_but_one = everywhere.copy()
    all_but_one[0, 0, 0] = False
    found = localisation(all_but_one.astype(np.float32), all_but_one)["aupro"]
    assert found == pytest.approx(1.0)


def test_a_region_that_is_found_late_loses_its_share() -> None:
    """Found once a tenth of the background is above it: 20 of the 30 percent are left."""
    background = [i / 1000 for i in range(1000)]
    assert _areas(background, [0.9]) == pytest.approx(2 / 3, abs=0.01)
    assert _areas(background, [0.95, 0.75]) == pytest.approx((0.2 * 0.5 + 0.05) / 0.3, abs=0.01)
