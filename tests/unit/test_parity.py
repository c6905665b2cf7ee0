"""Does int8 judge as float does: the figures and the gate by hand."""

from __future__ import annotations

import numpy as np
import pytest

from export.parity import compare, why_not
from qc.decide import DecisionSpec
from qc.recipe import ExportTable
from training.evaluate import Outputs

CLASSES = ("hole", "good", "crack")
"""The good class is not the first, so that no place is taken for granted."""

DECISION = DecisionSpec(
    ok_below={"hole": 0.3, "crack": 0.3},
    ng_above={"hole": 0.7, "crack": 0.7},
    max_escape=0.0,
    max_overkill=0.0,
)
LABELS = np.array([1, 1, 0, 2])


def _outputs(*defect: float, maps: list[np.ndarray] | None = None) -> Outputs:
    """Scores whose defect score is given, all of it a hole's."""
    score = np.array([[d, 1 - d, 0.0] for d in defect], np.float32)
    return Outputs(score, None if maps is None else np.stack(maps))


def _compare(exact: Outputs, quantised: Outputs, labels: np.ndarray = LABELS) -> dict[str, float]:
    found = compare(
        labels,
        exact,
        quantised,
        decision=DECISION,
        classes=CLASSES,
        good="good",
        groups=list("abcd"),
    )
    for name in ("agreement", "recall_drop", "overkill_rise"):
        low, high = found.pop(f"{name}_ci")
        assert low <= found[name] <= high
    return found


def test_the_same_outputs_agree() -> None:
    same = _outputs(0.1, 0.5, 0.6, 0.9)
    assert _compare(same, same) == {
        "agreement": 1.0,
        "recall": 1.0,
        "recall_drop": 0.0,
        "overkill": 0.0,
        "overkill_rise": 0.0,
        "auroc": 1.0,
        "auroc_float": 1.0,
    }


def test_figures_by_hand() -> None:
    """Float: OK REVIEW REVIEW NG. int8: OK REVIEW OK NG, so one of four differs.

    Of two defects int8 passes one that float flags. Pairs in int8: .1 < .2, .1 < .8, .5 > .2,
    .5 < .8, so 3 of 4.
    """
    found = _compare(_outputs(0.1, 0.5, 0.6, 0.9), _outputs(0.1, 0.5, 0.2, 0.8))
    assert found == {
        "agreement": 0.75,
        "recall": 0.5,
        "recall_drop": 0.5,
        "overkill": 0.0,
        "overkill_rise": 0.0,
        "auroc": 0.75,
        "auroc_float": 1.0,
    }


def test_a_good_part_that_only_int8_rejects_is_a_rise_of_overkill() -> None:
    found = _compare(_outputs(0.1, 0.5, 0.6, 0.9), _outputs(0.1, 0.75, 0.6, 0.9))
    assert found["overkill"] == found["overkill_rise"] == 0.5
    assert found["recall_drop"] == 0.0 and found["agreement"] == 0.75


def test_a_flag_gained_is_a_drop_below_zero() -> None:
    found = _compare(_outputs(0.1, 0.1, 0.2, 0.9), _outputs(0.1, 0.1, 0.4, 0.9))
    assert found["recall_drop"] == -0.5 and found["agreement"] == 0.75


def _maps(*rows: list[float]) -> list[np.ndarray]:
    return [np.array(row, np.float32).reshape(2, 2, 1) for row in rows]


def test_the_correlation_is_the_mean_over_the_pictures() -> None:
    """First: a line, 1. Second: turned over, -1. Third: (1, 0, 0, -1) with (1, 0, -1, 0): 1/2."""
    exact = _maps([0, 1, 2, 3], [3, 0, 0, 0], [1, 0, 0, -1], [1, 0, 0, -1])
    int8 = _maps([5, 7, 9, 11], [0, 1, 1, 1], [1, 0, -1, 0], [1, 0, -1, 0])
    score = (0.1, 0.1, 0.9, 0.9)
    found = _compare(_outputs(*score, maps=exact), _outputs(*score, maps=int8))
    assert found["map_correlation"] == pytest.approx((1 - 1 + 0.5 + 0.5) / 4, abs=1e-6)


def test_a_map_without_shape_correlates_with_nothing() -> None:
    exact, flat = _maps(*[[0, 1, 2, 3]] * 4), _maps(*[[2, 2, 2, 2]] * 4)
    score = (0.1, 0.1, 0.9, 0.9)
    found = _compare(_outputs(*score, maps=exact), _outputs(*score, maps=flat))
    assert found["map_correlation"] == 0.0


def test_without_a_map_there_is_no_correlation() -> None:
    score = (0.1, 0.1, 0.9, 0.9)
    exact = _outputs(*score, maps=_maps(*[[0, 1, 2, 3]] * 4))
    assert "map_correlation" not in _compare(exact, _outputs(*score))


# the gate


def _figures(**changes: float) -> dict[str, float]:
    figures = {"agreement": 1.0, "recall_drop": 0.0, "overkill_rise": 0.0, "map_correlation": 1.0}
    return figures | {"auroc": 0.95, "auroc_float": 0.95} | changes


def test_what_is_good_enough_passes() -> None:
    table = ExportTable()
    assert why_not(_figures(), table) is None
    assert why_not(_figures(auroc=0.9401), table) is None
    assert why_not(_figures(auroc=0.99), table) is None, "better is no drop"
    limits = {"agreement": 0.99, "recall_drop": 0.01, "overkill_rise": 0.01}
    assert why_not(_figures(**limits, map_correlation=0.95), table) is None
    without = _figures()
    del without["map_correlation"]
    assert why_not(without, table) is None, "a model without a map has none to compare"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"agreement": 0.985}, "verdicts agree on 98.5%, wanted 99.0%"),
        ({"recall_drop": 0.011}, "recall drops by 1.1%, allowed 1.0%"),
        ({"overkill_rise": 0.02}, "overkill rises by 2.0%, allowed 1.0%"),
        ({"overkill_rise": 0.01036}, "overkill rises by 1.04%, allowed 1.0%"),
        ({"agreement": 0.98996}, "verdicts agree on 98.996%, wanted 99.0%"),
        ({"map_correlation": 0.949}, "maps correlate by 0.949, wanted 0.95"),
        ({"auroc": 0.93}, "AUROC drops by 0.0200, allowed 0.01"),
    ],
)
def test_what_is_not_says_why(change: dict[str, float], said: str) -> None:
    assert why_not(_figures(**change), ExportTable()) == said
    both = why_not(_figures(**{"auroc": 0.5, "agreement": 0.1} | change), ExportTable())
    assert both is not None and both.count(";") == (
        1 if set(change) <= {"auroc", "agreement"} else 2
    )


def test_a_gate_of_zero_lets_nothing_be_lost() -> None:
    strict = ExportTable(max_auroc_drop=0, min_agreement=1, max_recall_drop=0, max_overkill_rise=0)
    assert why_not(_figures(), strict) is None
    assert why_not(_figures(auroc=0.9499), strict) is not None
    assert why_not(_figures(agreement=0.999), strict) is not None
    assert why_not(_figures(recall_drop=0.001), strict) is not None
