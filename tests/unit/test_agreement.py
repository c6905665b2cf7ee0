"""Agreement of people, against published examples and numbers worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest

from qc.agreement import Judged, agreement, cohen_interval, cohen_kappa, fleiss_kappa, mcnemar

COHEN = np.array([[0.25, 0.13, 0.12], [0.12, 0.02, 0.16], [0.03, 0.15, 0.02]])
"""Cohen 1960, table 1: shares of two judges; po = 0.29, pc = 0.35, kappa = -0.09."""

FLEISS = np.array(
    [
        [0, 0, 0, 0, 14],
        [0, 2, 6, 4, 2],
        [0, 0, 3, 5, 6],
        [0, 3, 9, 2, 0],
        [2, 2, 8, 1, 1],
        [7, 7, 0, 0, 0],
        [3, 2, 6, 3, 0],
        [2, 5, 3, 2, 2],
        [6, 5, 2, 1, 0],
        [0, 2, 2, 3, 7],
    ]
)
"""The worked example of Wikipedia, "Fleiss' kappa": P = 0.378, Pe = 0.213, kappa = 0.210."""


def test_cohens_own_example() -> None:
    found = cohen_kappa(COHEN)
    assert found["observed"] == pytest.approx(0.29)
    assert found["expected"] == pytest.approx(0.35)
    assert found["kappa"] == pytest.approx(-0.06 / 0.65)


def test_cohens_kappa_of_counts_with_its_interval() -> None:
    """20 and 15 agreed of 50: po 0.7; pe 0.5 * 0.6 + 0.5 * 0.4 = 0.5; kappa 0.4."""
    found = cohen_kappa(np.array([[20, 5], [10, 15]]))
    assert found["kappa"] == pytest.approx(0.4)
    error = (0.7 * 0.3 / 50) ** 0.5 / 0.5
    assert cohen_interval(found, 50) == pytest.approx(
        (0.4 - 1.96 * error, 0.4 + 1.96 * error), 1e-4
    )


def test_fleiss_worked_example() -> None:
    found = fleiss_kappa(FLEISS)
    assert found["observed"] == pytest.approx(0.378, abs=5e-4)
    assert found["expected"] == pytest.approx(0.213, abs=5e-4)
    assert found["kappa"] == pytest.approx(0.210, abs=5e-4)


def test_kappa_is_not_defined_where_all_is_one_category() -> None:
    assert cohen_kappa(np.array([[9, 0], [0, 0]]))["kappa"] is None
    assert fleiss_kappa(np.array([[3, 0], [3, 0]]))["kappa"] is None
    assert fleiss_kappa(np.array([[1, 0], [0, 1]]))["kappa"] is None
    assert cohen_interval(cohen_kappa(np.zeros((2, 2))), 0) is None


def judged(text: str, person: str) -> list[Judged]:
    return [Judged(f"p{n}", person, word == "N") for n, word in enumerate(text) if word in "ON"]


def test_the_page_by_hand() -> None:
    """Ann and Ben and Cas on six parts; two of three decide what is true."""
    said = judged("NNNOOO", "Ann") + judged("NNOOON", "Ben") + judged("NNNOO.", "Cas")
    verdicts = {"p0": "NG", "p1": "OK", "p2": "NG", "p3": "NG", "p4": "REVIEW", "p5": "OK"}
    found = agreement(said, verdicts)
    assert (found["parts"], found["twice"]) == (6, 6)
    first = found["pairs"][0]
    assert (first["first"], first["second"], first["table"]) == ("Ann", "Ben", [[2, 1], [1, 2]])
    assert first["kappa"] == pytest.approx((4 / 6 - 0.5) / 0.5)
    rates = {r["name"]: r for r in found["raters"]}
    # p5 is split: the last decision, Ben's NG, stands
    assert (rates["Ann"]["miss"]["count"], rates["Ann"]["miss"]["n"]) == (1, 4)
    assert (rates["Ben"]["miss"]["count"], rates["Ben"]["false_alarm"]["count"]) == (1, 0)
    assert rates["Cas"]["miss"]["rate"] == 0.0
    # of the model: missed p1 and p5, rejected p3; p4 it left to people
    model = rates["model"]
    assert model["is_model"] and model["n"] == 5
    assert (model["miss"]["count"], model["miss"]["n"]) == (2, 4)
    assert (model["false_alarm"]["count"], model["false_alarm"]["n"]) == (1, 1)
    assert found["fleiss"] is not None


def test_of_each_person_the_last_decision_counts() -> None:
    said = [*judged("N", "Ann"), *judged("N", "Ben"), *judged("O", "Ann")]
    found = agreement(said, {})
    assert found["pairs"][0]["table"] == [[0, 0], [1, 0]]
    assert found["fleiss"] is None


def test_blind_counts_the_first_decision_and_the_blind_ones_only() -> None:
    seen = Judged("p0", "Cas", False)
    said = [*judged("N", "Ann"), seen, Judged("p0", "Ben", True, blind=True)]
    found = agreement(said, {}, blind=True)
    assert found["people"] == ["Ann", "Ben"]
    assert agreement(said, {})["people"] == ["Ann", "Ben", "Cas"]


def test_no_reviews_is_no_agreement() -> None:
    found = agreement([], {})
    assert found["pairs"] == [] and found["raters"] == [] and found["twice"] == 0


@pytest.mark.parametrize(("a", "b"), [(0, 0), (1, 0), (5, 5), (1, 9), (30, 12)])
def test_mcnemar_is_the_binomial_test(a: int, b: int) -> None:
    expected = binomtest(a, a + b).pvalue if a + b else 1.0
    assert mcnemar(a, b) == pytest.approx(expected)
