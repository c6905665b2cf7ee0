"""`qc evaluate --html` as a user runs it: a page, the same twice, and its tables as JSON."""

from __future__ import annotations

import shutil
from pathlib import Path

from program import Made, done, qc, refused


def test_the_report_of_a_bundle_is_the_same_twice(made: Made, tmp_path: Path) -> None:
    pages, answers = [], []
    for name in ("a.html", "b.html"):
        ran = qc(
            *("evaluate", made.bundle, "--run", made.run, "--data", made.parts),
            *("--no-faithfulness", "--html", tmp_path / name, "--json"),
        )
        answers.append(done(ran))
        pages.append((tmp_path / name).read_bytes())
    assert pages[0] == pages[1] and answers[0] == answers[1]
    found = answers[0]
    assert found["report"]["rates"]["escape"]["rate"] == found["escape"]
    assert found["report"]["calibration"]["after"] == found["calibration"]["ece"]
    assert len(found["report"]["robustness"]) == 6
    low, high = found["float_agreement_ci"]
    assert 0.5 < found["float_agreement"] <= 1 and low <= found["float_agreement"] <= high
    text = pages[0].decode()
    assert str(made.home) not in text  # no place of this machine
    share = f"{found['float_agreement']:.1%} of the bundle's verdicts are those of the float model"
    for words in ("Float against quantised", share, "not signed", "Where it comes from"):
        assert words in text


def test_a_bundle_whose_float_model_is_gone_is_judged_all_the_same(
    made: Made, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    shutil.copytree(made.run, run)
    (run / "model.keras").unlink()
    ran = qc(*("evaluate", made.bundle, "--run", run, "--data", made.parts), "--no-faithfulness")
    assert ran.code == 0 and "as float" not in ran.out + ran.err
    ran = qc("evaluate", made.bundle, "--run", made.run, "--data", made.parts, "--no-faithfulness")
    assert "of the verdicts, at the same thresholds" in ran.out + ran.err


def test_a_run_and_its_bundle_compared(made: Made, tmp_path: Path) -> None:
    page = tmp_path / "pair.html"
    sides = (made.run, made.bundle, "--run", made.run, "--data", made.parts)
    found = done(qc("compare", *sides, "--html", page, "--json"))
    assert found["names"][0] == made.run.name and found["names"][1].startswith("bundle ")
    assert found["split"] == "test" and found["n"] > 0
    # a run has no REVIEW: whatever the bundle leaves to a person is a flip
    review = round(found["differences"]["review"]["b"] * found["n"])
    assert found["differences"]["review"]["a"] == 0 and len(found["flips"]) >= review
    assert "Two models on the same parts" in page.read_text()


def test_metadata_without_a_report_are_refused(made: Made, tmp_path: Path) -> None:
    table = tmp_path / "more.csv"
    ran = qc("evaluate", made.bundle, "--metadata", table, "--json")
    refused(ran, kind="usage", where=table, says=("--html",))
