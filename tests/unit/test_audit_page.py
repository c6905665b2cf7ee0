"""The page of the audit: every finding with its picture, and nothing from outside."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from qc.errors import FaultError
from qc.imageio import write_png
from qc.types import Region, Sample
from training.audit import audit
from training.audit_page import write_page


@pytest.fixture
def samples(tmp_path: Path) -> list[Sample]:
    """Two equal pictures under two labels and in two splits, a boxed one, and one cut off."""
    rng = np.random.default_rng(0)
    found = []
    for number, label in enumerate(("good", "hole", "hole", "good", "good")):
        picture = rng.integers(0, 255, (40, 60, 3), np.uint8)
        write_png(tmp_path / f"{number}.png", picture)
        found.append(Sample(f"{number}.png", tmp_path / f"{number}.png", (label,), split="train"))
    (tmp_path / "1.png").write_bytes((tmp_path / "0.png").read_bytes())
    (tmp_path / "4.png").write_bytes(b"\x89PNG cut off")
    found[1] = replace(found[1], split="test")
    box = Region("hole", ((10, 10), (30, 10), (30, 30), (10, 30)), is_box=True)
    found[2] = replace(found[2], regions=(box,))
    return found


def _page(samples: list[Sample], folder: Path, name: str = "parts") -> str:
    write_page(folder / "page.html", name, audit(samples, "toy"), samples)
    return (folder / "page.html").read_text(encoding="utf-8")


def test_every_finding_is_on_the_page(samples: list[Sample], tmp_path: Path) -> None:
    page = _page(samples, tmp_path)
    assert "Not fit for training" in page
    for title in ("two splits: 1", "two labels: 1", "several names: 1", "cannot be read: 1"):
        assert title in page, title
    assert page.count("data:image/jpeg;base64,") == 6  # one pair in three sections
    assert "no picture" in page and "4.png" in page
    assert "could not" not in page and "None" not in page


def test_nothing_is_loaded_from_outside(samples: list[Sample], tmp_path: Path) -> None:
    page = _page(samples, tmp_path)
    assert not re.search(r'(src|href)="(?!data:)', page) and "<script" not in page


def test_names_are_escaped(samples: list[Sample], tmp_path: Path) -> None:
    samples[4] = replace(samples[4], sample_id="<script>alert(1)</script>.png")
    page = _page(samples, tmp_path, name="<b>parts</b>")
    assert "<script>" not in page and "<b>parts" not in page
    assert "&lt;script&gt;" in page and "&lt;b&gt;parts" in page


def test_a_set_that_is_right_says_so(samples: list[Sample], tmp_path: Path) -> None:
    page = _page([replace(samples[2], split=None), replace(samples[3], split=None)], tmp_path)
    assert "Nothing blocks training" in page and "Not fit" not in page
    assert "data:image" not in page


def test_a_page_that_cannot_be_written(samples: list[Sample], tmp_path: Path) -> None:
    with pytest.raises(FaultError, match="page cannot be written"):
        write_page(tmp_path, "parts", audit(samples, "toy"), samples)
