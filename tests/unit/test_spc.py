"""The statistics of the station's charts, against numbers worked out by hand and against scipy."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import binomtest

from qc.binomial import exact_interval, rate
from qc.spc import histogram_quantiles, p_chart, pareto, stability_index, western_electric


@pytest.mark.parametrize(
    ("count", "n"), [(0, 1), (1, 1), (0, 59), (3, 20), (20, 20), (7, 1000), (2500, 50_000)]
)
@pytest.mark.parametrize("confidence", [0.9, 0.95])
def test_the_exact_interval_is_that_of_scipy(count: int, n: int, confidence: float) -> None:
    found = exact_interval(count, n, confidence)
    expected = binomtest(count, n).proportion_ci(confidence, method="exact")
    assert found == pytest.approx((expected.low, expected.high), rel=1e-7, abs=1e-12)


def test_the_exact_interval_by_hand() -> None:
    """Nothing in n: the upper end p has (1 - p)^n = 0.025."""
    found = exact_interval(0, 10)
    assert found is not None
    assert found == pytest.approx((0.0, 1 - 0.025**0.1), abs=1e-12)
    assert exact_interval(0, 0) is None
    assert rate(0, 0) == {"count": 0, "n": 0, "rate": None, "low": None, "high": None}
    with pytest.raises(ValueError, match="0 to 3"):
        exact_interval(4, 3)


def test_a_p_chart_by_hand() -> None:
    """Mean (4 + 6 + 20) / 300 = 0.1; sigma of 100 parts sqrt(0.1 * 0.9 / 100) = 0.03."""
    centre, points = p_chart([("a", 4, 100), ("none", 0, 0), ("b", 6, 100), ("c", 20, 100)])
    assert centre == pytest.approx(0.1)
    assert [p.label for p in points] == ["a", "b", "c"]
    assert points[0].low == pytest.approx(0.01) and points[0].high == pytest.approx(0.19)
    assert [p.rules for p in points] == [(), (), (1,)]
    assert points[2].rate == 0.2


def test_the_limits_follow_the_number_of_parts_and_stay_within_0_and_1() -> None:
    _, points = p_chart([("few", 1, 9), ("many", 90, 901)])  # 91 of 910 = 0.1
    sigma = math.sqrt(0.09 / 9)
    assert points[0].high == pytest.approx(0.1 + 3 * sigma) and points[0].low == 0.0
    assert points[1].high == pytest.approx(0.1 + 3 * math.sqrt(0.09 / 901))


def test_a_process_without_defects_has_no_signal() -> None:
    centre, points = p_chart([(str(n), 0, 50) for n in range(12)])
    assert centre == 0.0
    assert all(p.rules == () for p in points)
    assert p_chart([("a", 0, 0)]) == (None, [])


@pytest.mark.parametrize(
    ("z", "at", "rules"),
    [
        ([0, 3.1], 1, (1,)),
        ([0, -3.1], 1, (1,)),
        ([0, 3.0], 1, ()),  # on the limit is not beyond it
        ([2.1, 0, 2.1], 2, (2,)),
        ([2.1, 0, -2.1], 2, ()),  # not the same side
        ([2.1, 2.1, 0], 2, ()),  # the point itself must lie out
        ([1.1, 1.1, -0.5, 1.1, 1.1], 4, (3,)),
        ([1.1, 1.1, -0.5, 1.1, 0.9], 4, ()),
        ([0.1] * 8, 7, (4,)),
        ([0.1] * 7, 6, ()),
        ([-0.1] * 3 + [0.1] * 5, 7, ()),
        ([2.5, 2.5], 1, (2,)),
    ],
)
def test_the_western_electric_rules(z: list[float], at: int, rules: tuple[int, ...]) -> None:
    assert western_electric(z)[at] == rules


def test_a_pareto_by_hand() -> None:
    rows = pareto({"dent": 1, "scratch": 6, "crack": 3, "never": 0})
    assert [(r["name"], r["count"], r["share"]) for r in rows] == [
        ("scratch", 6, 0.6),
        ("crack", 3, 0.3),
        ("dent", 1, 0.1),
    ]
    assert [r["sum"] for r in rows] == pytest.approx([0.6, 0.9, 1.0])
    assert pareto({}) == []


def test_quantiles_of_a_histogram_are_right_to_half_a_bin() -> None:
    values = np.random.default_rng(0).beta(2, 5, 20_000)
    bins = np.bincount((values * 1000).astype(int), minlength=1000)
    found = histogram_quantiles(bins, [0.1, 0.5, 0.9])
    assert found == pytest.approx(np.quantile(values, [0.1, 0.5, 0.9]).tolist(), abs=0.0006)


def test_the_stability_index_by_hand() -> None:
    """Halves of 50 and 50 become 80 and 20: 0.3 ln 1.6 - 0.3 ln 0.4 = 0.3 ln 4."""
    before, now = np.array([50, 50]), np.array([80, 20])
    assert stability_index(before, now, 2) == pytest.approx(0.3 * math.log(4))
    assert stability_index(before, before) == 0.0
    same_shape = np.array([5, 5])
    assert stability_index(before, same_shape) == pytest.approx(0.0)
    assert math.isfinite(stability_index(np.array([10, 0]), np.array([0, 10])))
