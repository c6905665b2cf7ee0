"""Every figure against one worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from qc.metrics import (
    auroc,
    auroc_interval,
    average_precision,
    classification,
    expected_calibration_error,
    latency_percentiles,
    localisation,
    mean_interval,
    rate_with_interval,
    share_interval,
)

LOCALISATION = {
    "pointing", "pointing_ci", "pointing_chance", "pointing_centre", "energy_in_mask",
    "energy_in_pixels", "mask_area", "pixel_ap", "aupro",
}  # fmt: skip


def _bools(*values: int) -> np.ndarray:
    return np.array(values, bool)


# rates


@pytest.mark.parametrize(
    ("count", "n", "low", "high"),
    [
        # tables of exact binomial limits, four places
        (0, 10, 0.0, 0.3085),
        (1, 10, 0.0025, 0.4450),
        (5, 10, 0.1871, 0.8129),
        (10, 10, 0.6915, 1.0),
        (4, 20, 0.0573, 0.4366),
        (10, 100, 0.0490, 0.1762),
    ],
)
def test_clopper_and_pearson(count: int, n: int, low: float, high: float) -> None:
    rate, interval = rate_with_interval(count, n)
    assert rate == count / n
    assert interval == pytest.approx((low, high), abs=5e-5)


@pytest.mark.parametrize("n", [1, 7, 59, 1000])
def test_no_escape_seen_is_not_no_escape(n: int) -> None:
    """With none of n the upper limit p solves (1 - p)^n = 0.025."""
    rate, interval = rate_with_interval(0, n)
    assert rate == 0 and interval == pytest.approx((0.0, 1 - 0.025 ** (1 / n)))


def test_a_rate_of_nothing_is_none() -> None:
    assert rate_with_interval(0, 0) == (None, None)


# ranking


def test_auroc_counts_a_tie_half() -> None:
    """Pairs (good, defect): .1<.5, .1<.9, .5=.5, .5<.9, so 3.5 of 4."""
    assert auroc(_bools(0, 0, 1, 1), np.array([0.1, 0.5, 0.5, 0.9])) == 3.5 / 4


def test_auroc_of_the_wrong_way_round_and_of_no_opinion() -> None:
    assert auroc(_bools(1, 0, 0), np.array([0.1, 0.5, 0.9])) == 0.0
    assert auroc(_bools(1, 0, 1, 0), np.full(4, 0.3)) == 0.5


def test_one_sided_data_has_no_auroc() -> None:
    for is_defect in (_bools(0, 0), _bools(1, 1), _bools()):
        assert auroc(is_defect, np.linspace(0, 1, len(is_defect))) is None


def test_average_precision_by_hand() -> None:
    """Ranks 1 and 3 are defects: precision 1 and 2/3, each for half of the recall."""
    found = average_precision(_bools(1, 0, 1), np.array([0.9, 0.8, 0.7]))
    assert found == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)
    assert average_precision(_bools(0, 0), np.array([0.1, 0.2])) is None


@pytest.fixture
def few_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("qc.metrics.BOOTSTRAPS", 150)


def _noisy(n: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    is_defect = np.arange(n) % 2 == 0
    return is_defect, rng.normal(0, 1, n) + is_defect


@pytest.mark.usefixtures("few_draws")
def test_the_interval_holds_the_auroc_and_repeats() -> None:
    is_defect, score = _noisy(60)
    groups = [str(i) for i in range(60)]
    found = auroc_interval(is_defect, score, groups)
    value = auroc(is_defect, score)
    assert found is not None and value is not None
    assert found[0] < value < found[1] and found[1] - found[0] > 0.1
    assert found == auroc_interval(is_defect, score, groups)
    assert found != auroc_interval(is_defect, score, groups, seed=1)


@pytest.mark.usefixtures("few_draws")
def test_copies_inside_a_group_tell_nothing_new() -> None:
    is_defect, score = _noisy(24)
    groups = [str(i) for i in range(24)]
    one = auroc_interval(is_defect, score, groups)
    five = auroc_interval(np.tile(is_defect, 5), np.tile(score, 5), groups * 5)
    as_if_new = auroc_interval(
        np.tile(is_defect, 5), np.tile(score, 5), [str(i) for i in range(120)]
    )
    assert one is not None and as_if_new is not None
    assert five == pytest.approx(one)
    assert as_if_new[1] - as_if_new[0] < 0.6 * (one[1] - one[0])


def test_each_draw_is_the_auroc_of_the_drawn_images(monkeypatch: pytest.MonkeyPatch) -> None:
    """Against scikit-learn, with ties and groups of several images, draw by draw."""
    rng = np.random.default_rng(4)
    is_defect, score = rng.random(40) < 0.4, rng.integers(0, 8, 40) / 8
    group = rng.integers(0, 9, 40)
    monkeypatch.setattr("qc.metrics.BOOTSTRAPS", 50)
    found = auroc_interval(is_defect, score, [str(g) for g in group], seed=3)
    draws = np.random.default_rng(3).multinomial(9, np.full(9, 1 / 9), 50)
    drawn = [np.repeat(np.arange(40), counts[group]) for counts in draws]
    values = [auroc(is_defect[rows], score[rows]) for rows in drawn]
    assert None not in values
    assert found == pytest.approx(tuple(np.quantile(np.array(values, float), [0.025, 0.975])))


@pytest.mark.usefixtures("few_draws")
def test_draws_without_both_kinds_are_left_out() -> None:
    """Two groups, one good, one defect: half of the draws hold only one kind."""
    assert auroc_interval(_bools(0, 1), np.array([0.2, 0.8]), ["a", "b"]) == (1.0, 1.0)
    assert auroc_interval(_bools(1, 1), np.array([0.2, 0.8]), ["a", "b"]) is None


@pytest.mark.parametrize("kind", ["share", "mean"])
def test_each_draw_is_the_mean_of_the_drawn_images(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Against a plain loop: groups are drawn, and every image of a drawn group counts once."""
    rng = np.random.default_rng(4)
    values = rng.random(40) < 0.4 if kind == "share" else rng.random(40)
    group = rng.integers(0, 9, 40)
    monkeypatch.setattr("qc.metrics.BOOTSTRAPS", 50)
    interval = share_interval if kind == "share" else mean_interval
    found = interval(values, [str(g) for g in group], seed=3)
    draws = np.random.default_rng(3).multinomial(9, np.full(9, 1 / 9), 50)
    means = [values[np.repeat(np.arange(40), counts[group])].mean() for counts in draws]
    assert found == pytest.approx(tuple(np.quantile(means, [0.025, 0.975])))


def test_one_group_has_no_interval() -> None:
    assert mean_interval(np.array([1.0, 2.0]), ["a", "a"]) is None
    assert share_interval(_bools(0, 1), ["a", "a"]) is None


def test_all_of_few_groups_is_not_certain() -> None:
    """Every draw would say 1; with g groups the exact lower limit p solves p^g = 0.025."""
    groups = ["a", "a", "a", "b", "b", "c"]
    limit = 0.025 ** (1 / 3)
    assert share_interval(_bools(1, 1, 1, 1, 1, 1), groups) == pytest.approx((limit, 1))
    assert share_interval(_bools(0, 0, 0, 0, 0, 0), groups) == pytest.approx((0, 1 - limit))


# classes


def test_calibration_error_by_hand() -> None:
    """Bin [.5, 1]: confidences .6 and .8, one right: gap .2. Bin [0, .5): .4, right: gap .6."""
    score = np.array([[0.6, 0.2, 0.2], [0.1, 0.8, 0.1], [0.3, 0.3, 0.4]])
    found = expected_calibration_error(score, np.array([0, 0, 2]), bins=2)
    assert found == pytest.approx(2 / 3 * 0.2 + 1 / 3 * 0.6)


def test_a_sure_and_right_model_has_no_calibration_error() -> None:
    assert expected_calibration_error(np.eye(3), np.arange(3)) == 0.0
    assert expected_calibration_error(np.eye(3), np.array([1, 2, 0])) == 1.0


def test_classes_by_hand_and_an_absent_class_does_not_count() -> None:
    """a: 2 of 3 found, 1 false: F1 2/3. b: found once, no false: 2/3 with 1 missed. c: absent."""
    labels = np.array([0, 0, 0, 1, 1])
    score = np.eye(3)[[0, 0, 2, 1, 0]]
    found = classification(score, labels, ["a", "b", "c"])
    assert found["accuracy"] == 3 / 5
    assert found["macro_f1"] == pytest.approx((2 / 3 + 2 / 3) / 2)
    assert found["confusion"] == {
        "a": {"a": 2, "b": 0, "c": 1},
        "b": {"a": 1, "b": 1, "c": 0},
        "c": {"a": 0, "b": 0, "c": 0},
    }


def test_a_class_never_found_is_a_zero_in_the_mean() -> None:
    found = classification(np.eye(2)[[0, 0]], np.array([0, 1]), ["a", "b"])
    assert found["macro_f1"] == pytest.approx((2 / 3 + 0) / 2)


def test_latency_percentiles() -> None:
    assert latency_percentiles([]) == (None, None)
    assert latency_percentiles([4.0]) == (4.0, 4.0)
    assert latency_percentiles(list(range(101))) == (50.0, 99.0)


# places


def _masks(*cells: list[tuple[int, int]], side: int = 4) -> np.ndarray:
    """One mask a list of the pixels in it."""
    masks = np.zeros((len(cells), side, side), bool)
    for mask, pixels in zip(masks, cells, strict=True):
        for y, x in pixels:
            mask[y, x] = True
    return masks


def test_without_a_mask_there_is_no_place() -> None:
    found = localisation(np.ones((2, 2, 2)), np.zeros((2, 4, 4), bool))
    assert found == {**dict.fromkeys(LOCALISATION), "n": 0}


def test_pointing_and_energy_by_hand() -> None:
    """Cells of 2 x 2 pixels; the third part is good and does not count here.

    First: the peak 5 of 8 lies in the one touched cell. Second: two cells are touched, evidence -4
    and 1; the peak 3 lies elsewhere; of the positive 4 there is 1 inside.
    """
    maps = np.array([[[0, 1], [2, 5]], [[3, -4], [1, 0]], [[9, 0], [0, 0]]], np.float32)
    found = localisation(maps, _masks([(3, 3)], [(0, 2), (2, 0), (3, 1)], []))
    assert found["pointing"] == 1 / 2
    assert found["pointing_chance"] == pytest.approx((1 / 4 + 2 / 4) / 2)
    assert found["energy_in_mask"] == pytest.approx((5 / 8 + 1 / 4) / 2)
    # one and then three pixels of 16 are masked: a quarter of the one cell, half of the other
    assert found["mask_area"] == pytest.approx((1 / 16 + 3 / 16) / 2)
    assert found["energy_in_pixels"] == pytest.approx((5 / 8 * 1 / 4 + 1 / 4 * 2 / 4) / 2)
    assert found["n"] == 2


def test_a_flat_map_has_the_energy_that_it_is_compared_with() -> None:
    masks = _masks([(0, 0), (0, 1), (1, 0)], [(3, 3)])
    found = localisation(np.full((2, 2, 2), 0.7, np.float32), masks)
    assert found["energy_in_mask"] == pytest.approx(found["pointing_chance"])
    assert found["energy_in_pixels"] == pytest.approx(found["mask_area"])


def test_the_centre_of_an_odd_grid_is_its_middle_cell() -> None:
    """Cells of 2 x 2 pixels in three rows: the middle one is pixels 2 and 3; one mask of two."""
    masks = _masks([(3, 2)], [(0, 0), (5, 5)], side=6)
    assert localisation(np.zeros((2, 3, 3)), masks)["pointing_centre"] == 1 / 2


def test_the_centre_of_an_even_grid_is_where_four_cells_meet() -> None:
    """4 x 4 cells of one pixel: the masks touch two, none and four of the middle four."""
    masks = _masks([(1, 1), (2, 2), (0, 3)], [(0, 1), (3, 2)], [(1, 1), (1, 2), (2, 1), (2, 2)])
    found = localisation(np.zeros((3, 4, 4)), masks)
    assert found["pointing_centre"] == pytest.approx((2 / 4 + 0 + 1) / 3)


def test_pointing_has_the_interval_of_its_groups() -> None:
    """Two lots of defects, one found, one not; the good part of a third lot has no say."""
    maps = np.array([[[1, 0], [0, 0]]] * 5, np.float32)
    masks = _masks([(0, 0)], [(0, 1)], [(3, 3)], [(2, 3)], [])
    found = localisation(maps, masks, ["a", "a", "b", "b", "c"])
    assert found["pointing"] == 1 / 2 and found["pointing_ci"] == (0, 1)
    assert localisation(maps[:2], masks[:2], ["a", "b"])["pointing_ci"] == pytest.approx(
        (0.025**0.5, 1)
    )


def test_no_positive_evidence_is_no_energy_in_the_mask() -> None:
    found = localisation(np.full((1, 2, 2), -1.0, np.float32), _masks([(0, 0)]))
    assert found["energy_in_mask"] == 0.0


def test_pixel_ap_ranks_all_pixels_of_all_parts() -> None:
    """Sizes are equal, so nothing is enlarged: ranks .9 (in), .8 (out), .7 (in), rest out."""
    maps = np.array([[[0.9, 0.8], [0.7, 0.1]], [[0.2, 0.0], [0.1, 0.1]]], np.float32)
    found = localisation(maps, _masks([(0, 0), (1, 0)], [], side=2))
    assert found["pixel_ap"] == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)


def _ramp() -> np.ndarray:
    """Background of 1000 different values below 1; a stripe of 24 pixels is left for defects."""
    values = np.full((32, 32), 0.0, np.float32)
    values.ravel()[:1000] = np.linspace(0, 0.999, 1000)
    return values


def test_aupro_of_a_perfect_and_of_a_blind_map() -> None:
    found = _ramp()
    mask = np.zeros((1, 32, 32), bool)
    mask.ravel()[1010:1024] = True
    found.ravel()[1010:1024] = 2.0
    # 200 steps over 1000 pixels: the curve is known to a hundredth
    assert localisation(found[None], mask)["aupro"] == pytest.approx(1.0, abs=0.01)
    assert localisation(-found[None], mask)["aupro"] == pytest.approx(0.0, abs=0.01)


def test_aupro_gives_every_region_the_same_weight() -> None:
    """A region of 12 pixels is above all background, one of 2 is below: the mean overlap is 1/2."""
    found = _ramp()
    mask = np.zeros((1, 32, 32), bool)
    flat_mask, flat = mask.reshape(-1), found.reshape(-1)
    flat_mask[1012:1024], flat[1012:1024] = True, 2.0
    flat_mask[:2], flat[:2] = True, -1.0
    assert localisation(found[None], mask)["aupro"] == pytest.approx(0.5, abs=0.01)


def test_aupro_of_a_ranking_by_hand() -> None:
    """A region of one value: found once 15 % of the background is above it: (30 - 15) / 30."""
    found = _ramp()
    mask = np.zeros((1, 32, 32), bool)
    mask.reshape(-1)[1012:1024] = True
    background = np.sort(found[~mask[0]])
    found.reshape(-1)[1012:1024] = background[int(0.85 * len(background))]
    assert localisation(found[None], mask)["aupro"] == pytest.approx(0.5, abs=0.01)


def test_aupro_where_the_background_is_one_value() -> None:
    """A map may be exactly 0 off the defect; one that finds all of it is still perfect."""
    mask = _masks([(0, 0), (0, 1)])
    assert localisation(mask.astype(np.float32), mask)["aupro"] == pytest.approx(1.0, abs=0.01)
