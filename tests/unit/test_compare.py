"""Two fakes on the same eight parts: differences, flips and the test counted by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from reports import by_brightness, judged_parts

from qc import metrics
from qc.errors import DataError
from training.compare import compared, flips, write_comparison
from training.judged import Judged


def _other() -> Judged:
    """As `judged_parts`, but part 4, a crack that escaped, is found, and 2 is passed."""
    judged = judged_parts()
    pixels = judged.images.pixels.copy()
    pixels[4], pixels[2] = 10, 240
    return replace(judged, outputs=by_brightness(pixels))


def test_differences_by_hand() -> None:
    found = compared(("old", judged_parts()), ("new", _other()))
    rows = found["differences"]
    assert (rows["escape"]["a"], rows["escape"]["b"], rows["escape"]["difference"]) == (
        *(0.25, 0.0, -0.25),
    )
    assert rows["overkill"]["difference"] == 0.0 and rows["overkill"]["interval"] == (0.0, 0.0)
    assert rows["review"]["difference"] == -0.125
    assert rows["auroc"]["difference"] > 0
    assert found["mcnemar"] == {"only_a": 0, "only_b": 1, "p": 1.0}
    assert [(f["sample_id"], f["a"], f["b"]) for f in found["flips"]] == [
        *(("4.png", "OK", "NG"), ("2.png", "REVIEW", "OK")),
    ]
    assert not any(row["beyond_chance"] for row in rows.values())


def test_a_difference_in_many_groups_is_beyond_chance() -> None:
    judged = judged_parts(times=12, groups=96)
    better = replace(
        judged,
        outputs=by_brightness(
            np.where(judged.images.masks[..., None], 0, 255).astype(np.uint8).repeat(3, axis=3)
        ),
    )
    found = compared(("a", judged), ("b", better))
    assert found["differences"]["escape"]["beyond_chance"]
    assert found["differences"]["auroc"]["b"] == 1.0
    assert found["differences"]["auroc"]["interval"][0] > 0
    same = compared(("a", judged), ("a", judged))
    assert not any(row["beyond_chance"] for row in same["differences"].values())
    assert same["flips"] == [] and same["mcnemar"]["p"] == 1.0


def test_draws_are_paired_and_the_interval_is_theirs() -> None:
    judged = judged_parts()
    one, two = (metrics.auroc_draws(judged.is_defect, judged.value, judged.groups) for _ in "ab")
    assert np.array_equal(one, two, equal_nan=True)
    interval = metrics.auroc_interval(judged.is_defect, judged.value, judged.groups)
    assert interval == metrics.interval_of(one)
    assert metrics.interval_of(np.full(3, np.nan)) is None


def test_other_parts_are_refused() -> None:
    judged = judged_parts()
    with pytest.raises(DataError, match="same parts of TEST"):
        compared(("a", judged), ("b", judged_parts(times=2)))


def test_the_page_shows_the_flips(tmp_path: Path) -> None:
    a, b = judged_parts(), _other()
    assert flips(a, b) == [4, 2]
    pages = []
    for name in ("a.html", "b.html"):
        write_comparison(tmp_path / name, compared(("<old>", a), ("new", b)), a, b)
        pages.append((tmp_path / name).read_text())
    assert pages[0] == pages[1]
    assert pages[0].count("data:image/jpeg") == 4 and "judged otherwise: 2" in pages[0]
    assert "has thresholds" not in pages[0]
    run = judged_parts(decision=False)
    write_comparison(tmp_path / "c.html", compared(("run", run), ("new", b)), run, b)
    assert "Only B has thresholds" in (tmp_path / "c.html").read_text()
    assert "<old>" not in pages[0] and "&lt;old&gt;" in pages[0]
