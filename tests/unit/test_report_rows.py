"""The tables of a report, with numbers worked out by hand, on eight parts that a fake judged."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from reports import judged_parts

from qc.decide import EscapeBound
from qc.errors import DataError
from training import plots, report_rows
from training.report_page import standing
from training.robustness import KINDS, noisy, robustness, sample_rows
from training.slices import Slice, columns_of, exact, permuted, read_metadata, slices


def test_flow_counts_every_part_once() -> None:
    judged = judged_parts()
    good, bad = report_rows.flow(judged)
    assert [r["count"] for r in good["rates"].values()] == [2, 1, 1]  # OK, REVIEW, NG
    assert [r["count"] for r in bad["rates"].values()] == [1, 1, 2]
    assert (good["n"], bad["n"]) == (4, 4)
    rates = report_rows.rates(judged)
    assert rates["escape"]["rate"] == 0.25 and rates["overkill"]["rate"] == 0.25
    assert rates["review"] | {"parts": 0, "over_groups": 0, "low": 0, "high": 0} == {
        "count": 2,
        "n": 8,
        "rate": 0.25,
        "parts": 0,
        "over_groups": 0,
        "low": 0,
        "high": 0,
        "groups": 4,
        "groups_hit": 2,
        "groups_ci": rates["review"]["groups_ci"],
    }


def test_the_interval_is_the_wider_of_both() -> None:
    # one group alone: over groups nothing is known, over 20 parts something
    found = report_rows.rate_of(np.arange(20) < 10, ["a"] * 20)
    assert found is not None
    assert found["parts"] == pytest.approx((0.272, 0.728), abs=1e-3)  # Clopper and Pearson
    assert (found["low"], found["high"]) == (0.0, 1.0)
    assert report_rows.rate_of(np.zeros(0, bool), []) is None


def test_mistakes_doubtful_and_suspects() -> None:
    judged = judged_parts()
    # 4 scores 0.05 and is bad: off by 0.95; 3 scores 0.9 and is good: off by 0.9; 7 is misnamed
    assert report_rows.mistakes(judged) == [4, 3, 7]
    assert report_rows.doubtful(judged)[:3] == [5, 6, 2]  # 0.22 and 0.6: 0.02 off; 0.3: 0.1 off
    # against their labels: 7 is a crack by 0.99, 4 good by 0.95, 3 a crack by 0.9
    assert report_rows.suspects(judged) == [7, 4, 3]
    without = judged_parts(decision=False)
    assert set(without.verdicts) == {"OK", "NG"}
    assert report_rows.rates(without)["review"] is None
    assert report_rows.doubtful(without)[0] == 6  # 0.6


def test_operating_points_are_counted_from_verdicts() -> None:
    rejected, not_passed = plots.operating_points(judged_parts())
    assert rejected == {
        "name": "rejected (NG)",
        "hit": 0.5,
        "false": 0.25,
        "precision": pytest.approx(2 / 3),
    }
    assert (not_passed["hit"], not_passed["false"]) == (0.75, 0.5)


def test_what_it_cannot_say_names_the_class_without_parts() -> None:
    judged = judged_parts()
    figures = {"localisation": {"n": 0}}
    said = report_rows.cannot_say(judged, figures, judged.images.samples)
    assert any(line.startswith("dust: TEST has no such part") for line in said)
    assert any("thresholds were set without a confidence" in line for line in said)
    assert any("no mask, or no map" in line for line in said)
    assert any("59 groups" in line for line in said)  # 1 - 0.05 ** (1 / 59) <= 0.05


def test_a_promise_that_holds_is_not_doubted() -> None:
    bound = EscapeBound(confidence=0.95, bound=0.04, escaped=0, groups=80)
    judged = judged_parts(bound=bound)
    said = report_rows.cannot_say(judged, {"localisation": {"n": 1}}, judged.images.samples)
    assert not any("confidence" in line for line in said)


@pytest.mark.parametrize(
    ("escape", "overkill", "kind"),
    [
        ((0.25, 0.1, 0.4), (0.0, 0.0, 0.01), "bad"),
        ((0.01, 0.0, 0.2), (0.0, 0.0, 0.01), "warn"),
        ((0.01, 0.0, 0.04), (0.0, 0.0, 0.01), "fine"),
    ],
)
def test_standing(escape: tuple[float, ...], overkill: tuple[float, ...], kind: str) -> None:
    def rate(values: tuple[float, ...]) -> dict[str, float]:
        return {**dict(zip(("rate", "low", "high"), values, strict=True)), "n": 9, "groups": 3}

    rates = {"escape": rate(escape), "overkill": rate(overkill), "review": None}
    assert standing(judged_parts(), rates)["kind"] == kind
    assert standing(judged_parts(decision=False), rates)["kind"] == "warn"


def test_exact_is_fishers_tea_test() -> None:
    milk_first, said = np.arange(8) < 4, np.isin(np.arange(8), [0, 1, 2, 4])
    assert exact(milk_first, said) == pytest.approx(34 / 70)  # Fisher, 1935: 3 of 4 right
    assert exact(milk_first, milk_first) == pytest.approx(2 / 70)


def test_groups_are_dealt_out_whole() -> None:
    # two of four groups, every part of them wrong: 2 of the 6 deals are as far apart
    groups = np.repeat(list("abcd"), 50).tolist()
    inside = np.repeat([True, True, False, False], 50)
    assert permuted(inside, inside, groups) == pytest.approx(1 / 3, abs=0.02)
    assert exact(inside, inside) < 1e-9  # of parts it would look certain


def test_slices_are_corrected_for_looking_often() -> None:
    judged = judged_parts()
    columns = {"class": ["x", "y"] * 4, "shift": ["a"] * 4 + ["b"] * 4}
    found = slices(judged, columns)
    # the shift does not differ among bad parts only: it has one value there
    assert {(s.column, s.outcome) for s in found} == {("class", "escape"), ("class", "overkill")}
    assert all(s.p_holm >= s.p for s in found) and not any(s.marked for s in found)
    assert min(s.p_holm for s in found) == min(1.0, len(found) * min(s.p for s in found))


def test_a_difference_is_marked() -> None:
    judged = judged_parts(times=12, groups=96)
    camera = ["old" if v > 0.5 else "new" for v in judged.value]
    found = slices(judged, {"camera": camera})
    worst = found[0]
    assert isinstance(worst, Slice) and worst.marked
    assert (worst.column, worst.value, worst.outcome) == ("camera", "new", "escape")
    assert worst.rate == 0.5 and worst.rest == 0.0


def test_metadata(tmp_path: Path) -> None:
    judged = judged_parts()
    file = tmp_path / "more.csv"
    file.write_text("sample_id,camera\n0.png,left\n1.png,right\n")
    table = read_metadata(file, judged.images.samples)
    assert columns_of(judged, table)["camera"] == ["left", "right"] + [""] * 6
    for text, what in (("name,camera\na,b\n", "names the part"), ("path\nq.png\n", "none of")):
        file.write_text(text)
        with pytest.raises(DataError, match=what):
            read_metadata(file, judged.images.samples)


def test_half_of_the_parts_judged_again_are_bad() -> None:
    rows = sample_rows(np.arange(400) < 300)
    assert len(rows) == 100 and (rows < 300).sum() == 50
    assert len(sample_rows(np.arange(400) < 30)) == 100
    assert len(sample_rows(np.arange(400) < 390)) == 100


def test_robustness_judges_changed_pictures() -> None:
    judged = judged_parts()
    found = robustness(judged)
    assert list(found) == [kind.name for kind in KINDS]
    assert all(points[0].same == 1 and points[0].escape == 0.25 for points in found.values())
    # the fake calls dark pictures bad: 0.05 becomes 0.525, which is REVIEW, and 0.3 becomes 0.65
    assert found["darker"][-1].escape == 0 and found["darker"][-1].overkill == 0.5
    assert found == robustness(judged)


@pytest.mark.parametrize("grey", [True, False])
def test_noise_has_colour_where_the_picture_has(grey: bool) -> None:
    picture = np.full((64, 64, 3), 100, np.uint8)
    if not grey:
        picture[0, 0] = 1, 2, 3
    found = noisy(picture, 4.0, np.random.default_rng(2)).astype(float) - picture
    assert found.shape == picture.shape and abs(found.std() - 4) < 0.2
    assert (found[..., 0] == found[..., 1]).all() == grey
    assert (found[..., 1] == found[..., 2]).all() == grey


def test_the_float_model_is_held_to_the_same_thresholds() -> None:
    judged = judged_parts()
    assert judged.as_float is None  # of a run there is no other
    same = replace(judged, exact=lambda: judged.outputs)
    assert same.as_float is not None and same.as_float.all()
    moved = replace(judged.outputs, score=judged.outputs.score.copy())
    moved.score[0] = [0.0, 1.0, 0.0, 0.0]  # a good part becomes NG
    other = replace(judged, exact=lambda: moved).as_float
    assert other is not None and other.tolist() == [judged.verdicts[0] == "NG", *[True] * 7]
    assert judged.verdicts[0] != "NG"
