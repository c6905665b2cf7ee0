"""The report as a page: the same bytes twice, nothing from outside, names escaped."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from reports import CLASSES, judged_parts

from qc.errors import FaultError
from qc.recipe import Recipe
from training.evaluate import measure
from training.judged import Judged
from training.report_page import facts, write_report
from training.robustness import robustness
from training.run import RunPlan
from training.slices import columns_of, slices

_LISTS = (
    *("cross_split", "exact_duplicates", "near_duplicates"),
    *("label_conflicts", "shortcuts", "blocking"),
)
AUDIT: dict[str, Any] = {
    **{key: [] for key in _LISTS},
    "leakage": {"random": None, "grouped": None},
    "cautions": ["class <dent> has 1 images of 1 group(s)"],
}


@pytest.fixture
def plan(tmp_path: Path) -> RunPlan:
    """A run of which the report reads the versions and the hash of the model."""
    run = tmp_path / "run"
    run.mkdir()
    (run / "plan.json").write_text(json.dumps({"versions": {"keras": "3.0"}}))
    (run / "model.keras").write_bytes(b"model")
    recipe = Recipe.model_validate(
        {
            "name": "parts",
            "data": {"path": "parts", "good": "good"},
            "model": {"backbone": "inverted_residual", "size_hw": [32, 32]},
            "train": {"epochs": 1},
        }
    )
    return RunPlan(run, recipe, tmp_path, CLASSES, judged_parts().images.samples, "f" * 64)


def _page(judged: Judged, plan: RunPlan, file: Path, *, robust: bool = True) -> str:
    named = {"classes": judged.classes, "good": judged.good, "decision": judged.decision}
    figures = measure(judged.images, judged.outputs, split="test", task=judged.task, **named)
    columns = columns_of(judged, {})
    differences = slices(judged, columns)
    worse = robustness(judged) if robust else None
    write_report(
        file,
        judged,
        {**figures, "faithfulness": None, "report": facts(judged, differences, worse)},
        plan=plan,
        bundle=None,
        audit=AUDIT,
        columns=columns,
        differences=differences,
        robust=worse,
        map_cautions=[],
    )
    return file.read_text(encoding="utf-8")


def test_same_inputs_same_bytes_and_nothing_from_outside(plan: RunPlan, tmp_path: Path) -> None:
    page = _page(judged_parts(), plan, tmp_path / "a.html")
    assert page == _page(judged_parts(), plan, tmp_path / "b.html")
    assert not re.search(r'(src|href)="(?!data:)', page) and "<script" not in page
    text = re.sub(r"base64,[^\"]*", "", page)
    assert "None" not in text and not re.search(r"\bnan\b", text)
    for words in (
        "Of 1,000 bad parts like these about 250 pass as good",
        "What was asked for is not reached",
        "250 (0 to 806)",  # one good part of four under review: Clopper and Pearson
        "The worst mistakes: 3",
        "Labels that may be wrong: 3",
        "Dust: TEST has no such part",
        "On the defect",
        "Class &lt;dent&gt; has",
        "9372c470eeadd5ecd9c3c74c2b3cb633f8e2f2fad799250a0f70d652b6b825e4",  # of b"model"
    ):
        assert words in page, words


def test_a_run_and_what_was_left_out(plan: RunPlan, tmp_path: Path) -> None:
    page = _page(judged_parts(decision=False), plan, tmp_path / "a.html", robust=False)
    assert "A model without thresholds" in page and "This was not checked" in page
    assert "Sealed thresholds" not in page


def test_several_defects_and_a_model_without_a_map(plan: RunPlan, tmp_path: Path) -> None:
    judged = replace(judged_parts(), task="multilabel")
    judged = replace(judged, outputs=replace(judged.outputs, attention=None))
    page = _page(judged, plan, tmp_path / "a.html", robust=False)
    assert "exactly the right defects" in page and "there is no confusion matrix" in page
    assert "there is no map, or no mask" in page and "where the model looked" not in page


def test_names_are_escaped(plan: RunPlan, tmp_path: Path) -> None:
    judged = judged_parts()
    first = replace(judged.images.samples[4], sample_id="<script>1</script>.png")
    samples = (*judged.images.samples[:4], first, *judged.images.samples[5:])
    spoilt = replace(judged, images=replace(judged.images, samples=samples))
    page = _page(spoilt, plan, tmp_path / "a.html", robust=False)
    assert "<script>" not in page and "&lt;script&gt;" in page


def test_a_place_that_cannot_be_written_is_named(plan: RunPlan, tmp_path: Path) -> None:
    with pytest.raises(FaultError, match="page cannot be written"):
        _page(judged_parts(), plan, tmp_path, robust=False)
