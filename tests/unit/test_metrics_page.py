"""docs/metrics.md: each number of its examples is computed by the code that the commands use."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from export.parity import compare
from qc import metrics
from qc.agreement import cohen_interval, cohen_kappa, fleiss_kappa
from qc.decide import DecisionSpec, groups_needed
from qc.recipe import ExportTable
from qc.spc import p_chart
from training.evaluate import Outputs

PAGE = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text(encoding="utf-8")


def _section(title: str) -> str:
    """The text under a heading, line breaks and runs of blanks as one blank."""
    found = re.search(rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", PAGE, re.DOTALL | re.MULTILINE)
    assert found is not None, f"docs/metrics.md has no section '{title}'"
    return " ".join(found[1].split())


def _says(title: str, *sentences: str) -> None:
    text = _section(title)
    for sentence in sentences:
        assert sentence in text, f"'{title}' in docs/metrics.md does not say: {sentence}"


def _percent(value: float, digits: int = 1) -> str:
    return f"{100 * value:.{digits}f} %"


def _rate(count: int, n: int) -> tuple[str, str, str]:
    """A rate and the ends of its interval, as the page writes them."""
    rate, interval = metrics.rate_with_interval(count, n)
    assert rate is not None and interval is not None
    return _percent(rate), _percent(interval[0]), _percent(interval[1])


def test_escape_and_overkill() -> None:
    escape, low, high = _rate(10, 80)
    overkill, from_, to = _rate(9, 227)
    _says(
        "Escape and overkill",
        f"10 / 80 = {escape}, its 95 % interval reaches from {low} to {high}",
        f"9 / 227 = {overkill}, from {from_} to {to}",
    )


def test_an_interval_over_groups() -> None:
    def bound(count: int, n: int, digits: int = 1) -> str:
        return _percent(metrics.upper_bound(count, n, 0.95), digits)

    assert groups_needed(0.05, 0.95) == 59 and groups_needed(0.01, 0.95) == 299
    assert metrics.upper_bound(1, 92, 0.95) > 0.05 >= metrics.upper_bound(1, 93, 0.95)
    assert metrics.upper_bound(0, 59, 0.95) == pytest.approx(1 - 0.05 ** (1 / 59))
    _says(
        "An interval, over groups",
        f"the interval reaches to {_rate(0, 50)[2]}",
        f"0 of 59 groups bounds the escape rate at {bound(0, 59)}; 58 groups are not enough for "
        f"that ({bound(0, 58, 2)}). 0 of 299 bounds it at {bound(0, 299)}",
        f"1 of 59 escaped the bound is {bound(1, 59)}, and it takes 93 groups",
        f"no more than {bound(0, 17)} can be shown",
        f"For 0.1 % it takes {groups_needed(0.001, 0.95):,} groups",
    )


def test_auroc() -> None:
    is_defect = np.array([0, 0, 0, 1, 1, 1], bool)
    area = metrics.auroc(is_defect, np.array([0.1, 0.3, 0.4, 0.2, 0.6, 0.9]))
    _says("AUROC", f"7 of 9, an AUROC of {area:.3f}", f"{metrics.BOOTSTRAPS:,} times")


def test_macro_f1() -> None:
    truth = np.array([0] * 6 + [1] * 3 + [2])
    said = np.array([0] * 6 + [1, 1, 0] + [1])
    names = ["good", "scratch", "crack"]
    found = metrics.classification(np.eye(3)[said], truth, names)
    each = metrics.of_each_class(np.eye(3)[truth] > 0, np.eye(3)[said] > 0, np.eye(3)[said], names)
    f1 = [each[name]["f1"] for name in names]
    assert f1[2] == 0
    _says(
        "Macro-F1",
        f"F1 of good is 2 x 6 / (6 + 7) = {f1[0]:.3f}, of scratch 2 x 2 / (3 + 3) = {f1[1]:.3f}",
        f"Macro-F1 is {found['macro_f1']:.3f}, accuracy {found['accuracy']:.1f}",
    )


def test_the_pointing_game() -> None:
    maps = np.array([[[0.9, 0.1], [0.2, 0.1]], [[0.1, 0.8], [0.2, 0.7]]])
    masks = np.zeros((2, 4, 4), bool)
    masks[0, 0:2, 0] = masks[1, 2:4, 2:4] = True
    found = metrics.localisation(maps, masks)
    _says(
        "The pointing game",
        f"`pointing` is {found['pointing']:.0%}".replace("%", " %"),
        f"`pointing_chance` {found['pointing_chance']:.0%}".replace("%", " %"),
    )


def test_aupro() -> None:
    heat = np.arange(100, dtype=float).reshape(1, 10, 10) / 1000
    mask = np.zeros((1, 10, 10), bool)
    mask[0, 1:4, 1:4] = mask[0, 8, 8] = True
    heat[0, 1:4, 1:4], heat[0, 8, 8] = 1, -1
    found = metrics.localisation(heat, mask)
    _says(
        "AUPRO",
        f"AUPRO is {found['aupro']:.1f}, though 9 of 10",
        f"until {metrics.AUPRO_MAX_FPR:.0%}".replace("%", " %"),
    )


def test_verdict_agreement() -> None:
    def outputs(defect: list[float]) -> Outputs:
        return Outputs(np.array([[1 - d, d] for d in defect], np.float32), None)

    before = [0.1, 0.1, 0.2, 0.2, 0.5, 0.31, 0.5, 0.8, 0.9, 0.9]
    after = [0.1, 0.1, 0.2, 0.2, 0.5, 0.29, 0.5, 0.8, 0.9, 0.9]
    spec = DecisionSpec(
        ok_below={"bad": 0.3}, ng_above={"bad": 0.7}, max_escape=0.05, max_overkill=0.05
    )
    found = compare(
        np.array([0] * 5 + [1] * 5),
        outputs(before),
        outputs(after),
        decision=spec,
        classes=["good", "bad"],
        good="good",
        groups=[str(i) for i in range(10)],
    )
    assert found["overkill_rise"] == 0
    gate = ExportTable()
    assert gate.max_recall_drop == gate.max_overkill_rise == 0.01
    _says(
        "Verdict agreement",
        f"Agreement is {found['agreement']:.0%}, recall falls by".replace("%", " %"),
        f"recall falls by {found['recall_drop']:.0%} (1 of 5".replace("%", " %"),
        f"asks for {gate.min_agreement:.0%}, and at most 1 %".replace("99%", "99 %"),
    )


def test_kappa() -> None:
    table = np.array([[20, 5], [10, 15]])
    two = cohen_kappa(table)
    interval = cohen_interval(two, 50)
    assert interval is not None
    three = fleiss_kappa(np.array([[3, 0], [0, 3], [2, 1], [1, 2]]))
    _says(
        "Kappa",
        f"35 / 50 = {two['observed']:.2f}. By chance: 0.5 x 0.6 + 0.5 x 0.4 = "
        f"{two['expected']:.2f}. Kappa is {two['kappa']:.2f}, with a 95 % interval from "
        f"{interval[0]:.2f} to {interval[1]:.2f}",
        f"16 of 24 agree: {three['observed']:.3f}",
        f"chance gives {three['expected']:.1f}. Kappa is {three['kappa']:.3f}",
    )


def test_p_chart() -> None:
    centre, points = p_chart([("1", 12, 400), ("2", 13, 400), ("3", 5, 100), ("4", 35, 400)])
    assert centre is not None
    wide, narrow = points[2], points[3]
    assert [p.rules for p in points] == [(), (), (), (1,)]
    _says(
        "The p-chart",
        f"The centre is 65 / 1300 = {_percent(centre)}. With 400 parts the limits are "
        f"{_percent(narrow.low)} and {_percent(narrow.high)}, with 100 parts {_percent(wide.low)} "
        f"and {_percent(wide.high)}",
        f"The last day, {_percent(narrow.rate, 2)}, lies outside: rule 1",
    )


@pytest.mark.parametrize("sentence", ["16 of 24 agree: 0.668", "there is no such sentence"])
def test_a_wrong_number_is_found(sentence: str) -> None:
    with pytest.raises(AssertionError, match="does not say"):
        _says("Kappa", sentence)
