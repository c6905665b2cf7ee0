"""The tables of the accuracy bench: figures by hand, one draw for all, and no false difference."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

BENCH = Path(__file__).parents[1] / "bench"


@pytest.fixture(scope="module")
def table() -> Any:
    sys.path.insert(0, str(BENCH))
    try:
        import accuracy_table

        yield accuracy_table
    finally:
        sys.path.remove(str(BENCH))


def _row(scores: list[float], seed: int = 0, variant: str = "cnn-none") -> dict[str, Any]:
    labels = ["good", "good", "crack", "crack", "dent"]
    said = ["good", "crack", "crack", "good", "dent"]
    points = ["", "", "1", "0", "1"]
    groups = ["a", "b", "c", "d", "e"]
    key = {"set": "magnetic_tile", "variant": variant, "fold": 1, "seed": seed, "epochs": 2}
    cost = {"parameters": 1000, "mmacs": 2.0, "bytes": 2048, "exported": True, "good": "good"}
    parts = [list(p) for p in zip(groups, labels, said, scores, points, strict=True)]
    return {**key, **cost, "protocol": "by group", "parts": parts}


def test_figures_are_those_worked_out_by_hand(table: Any) -> None:
    row = _row([0.1, 0.4, 0.5, 0.3, 0.9])
    assert table.figure(row, "accuracy") == pytest.approx(3 / 5)
    # good: 1 right, 2 are, 2 said; crack the same; dent 1, 1, 1
    assert table.figure(row, "macro_f1") == pytest.approx((0.5 + 0.5 + 1) / 3)
    # of 2 x 3 pairs only good 0.4 against crack 0.3 is the wrong way round
    assert table.figure(row, "auroc") == pytest.approx(5 / 6)
    assert table.figure(row, "pointing") == pytest.approx(2 / 3)
    assert np.isnan(table.figure(row, "auroc", np.array([0, 1])))


def test_a_draw_takes_whole_groups_and_is_the_same_for_every_seed(table: Any) -> None:
    one, other = _row([0.1, 0.4, 0.5, 0.3, 0.9]), _row([0.2, 0.1, 0.5, 0.3, 0.9], seed=1)
    one["parts"][1][0] = other["parts"][1][0] = "a"
    for draw in range(20):
        chosen = table.drawn(one, draw)
        assert (chosen == table.drawn(other, draw)).all()
        assert (chosen == 0).sum() == (chosen == 1).sum()
    assert len({tuple(table.drawn(one, draw)) for draw in range(20)}) > 5


def test_a_variant_against_itself_is_no_difference(table: Any) -> None:
    rows = [_row([0.1, 0.4, 0.5, 0.3, 0.9], seed=s) for s in (0, 1)]
    assert table.paired(rows, rows, "auroc") == "+0.000 [+0.000, +0.000] of 2, not shown"
    assert table.paired(rows, [], "auroc") is None


def test_the_table_names_every_variant_its_cost_and_what_was_not_exported(table: Any) -> None:
    lost = {**_row([0.0] * 5, seed=1), "exported": False}
    text = "\n".join(table.lines([_row([0.1, 0.4, 0.5, 0.3, 0.9]), lost]))
    assert "**magnetic_tile, by group**" in text
    assert "| cnn-none | 1 (1 not exported) | 2 | 0.833 [" in text
    assert text.endswith("| 1,000 | 2 | 2 |")


def test_a_set_without_a_good_class_has_no_auroc(table: Any) -> None:
    row = {**_row([0.1, 0.4, 0.5, 0.3, 0.9]), "set": "neu_det", "variant": "steel"}
    text = "\n".join(table.lines([row]))
    assert "macro_f1 | accuracy" in text and "auroc" not in text and "pointing" not in text


def test_runs_of_other_length_are_a_line_of_their_own_and_in_no_pair(table: Any) -> None:
    short = [_row([0.1, 0.4, 0.5, 0.3, 0.9], variant=v) for v in ("cnn-cbam", "cnn-none")]
    long = {**_row([0.1, 0.2, 0.5, 0.3, 0.9], variant="cnn-cbam"), "epochs": 9}
    alone, both = (list(table.lines(rows)) for rows in (short, [long, *short]))
    heads = [line.split(" | ")[:3] for line in both if line.startswith("| cnn-")]
    assert heads == [["| cnn-none", "1", "2"], ["| cnn-cbam", "1", "2"], ["| cnn-cbam", "1", "9"]]
    assert [line for line in both if "against" in line] == [n for n in alone if "against" in n]
    assert any("cnn-cbam against cnn-none" in line for line in both)
