"""`qc export` as a user runs it again: with another recipe's tables, and for another target."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest
from program import Made, done, python, qc, recipe_with, refused


@pytest.mark.parametrize("scheme", ["int8", "float16"])
def test_another_recipe_gives_scheme_and_thresholds_and_nothing_else(
    made: Made, tmp_path: Path, scheme: str
) -> None:
    other = recipe_with(made, tmp_path, 'scheme = "int8"', f'scheme = "{scheme}"')
    text = other.read_text().replace("max_escape = 0.1", "max_escape = 0.3")
    other.write_text(
        text.replace('name = "tiny"', 'name = "other"').replace("seed = 1", "seed = 9")
    )
    out = tmp_path / "again.tflite"
    found = done(qc("export", made.run, "--recipe", other, "--out", out, "--json"))
    assert (found["bundle"], found["gate"], found["chosen"]) == (str(out), "pass", scheme)
    assert [row["scheme"] for row in found["candidates"]] == [scheme]
    shown = done(qc("show", out, "--json"))
    before = done(qc("show", made.bundle, "--json"))
    assert (before["scheme"], shown["scheme"]) == ("int8", scheme)
    assert (before["decision"]["max_escape"], shown["decision"]["max_escape"]) == (0.1, 0.3)
    assert shown["name"] == before["name"] == "tiny"
    assert shown["classes"] == before["classes"]
    assert not sorted(made.run.glob("other*"))


def test_what_nothing_passes_is_exit_1_and_the_whole_table(made: Made, tmp_path: Path) -> None:
    other = recipe_with(made, tmp_path, "min_map_correlation = -1.0", "min_map_correlation = 1.0")
    out = tmp_path / "never.tflite"
    ran = qc("export", made.run, "--recipe", other, "--out", out, "--json")
    assert ran.code == 1, ran.err
    assert (ran.json["gate"], ran.json["chosen"], ran.json["bundle"]) == ("fail", None, None)
    int8 = ran.json["candidates"][0]
    assert int8["scheme"] == "int8" and "maps correlate by" in int8["why_not"]
    assert "nothing that cpu can run passes the gate" in ran.err
    assert not out.exists()


PACKAGES = {"ethos-u55-128": ("ethosu", "ethos-u-vela"), "mcu": ("tflite_micro", "tflite-micro")}
WITHOUT = """
import sys
sys.modules["{}"] = None
from qc.cli import app
app()
"""


@pytest.mark.parametrize("target", PACKAGES)
def test_a_chip_has_its_estimate(made: Made, tmp_path: Path, target: str) -> None:
    if find_spec(PACKAGES[target][0]) is None:
        pytest.skip(f"{PACKAGES[target][1]} is not installed")
    out = tmp_path / "chip.tflite"
    found = done(qc("export", made.run, "--target", target, "--out", out, "--json"))
    (row,) = found["candidates"]
    assert (found["target"], found["chosen"], row["scheme"]) == (target, "int8", "int8")
    if target == "mcu":
        assert 1_000 < row["arena_bytes"] < 10_000_000
    else:
        assert row["cycles"] > 1_000 and row["latency_ms"] > 0 and 0 < row["npu_share"] <= 1
        assert row["cpu_latency_ms"] > 0
        assert b"TFL3" in Path(found["compiled"]).read_bytes()[:8]
    assert done(qc("show", out, "--json"))["target"] == target


@pytest.mark.parametrize("target", PACKAGES)
def test_without_its_tool_a_chip_is_refused_by_the_extra(made: Made, target: str) -> None:
    module, package = PACKAGES[target]
    before = sorted(made.run.iterdir())
    ran = python("-c", WITHOUT.format(module), "export", made.run, "--target", target, "--json")
    says = (f"target {target} needs {package}", "pip install 'attention-qc[targets]'")
    refused(ran, kind="usage", where="--target", says=says)
    assert sorted(made.run.iterdir()) == before
