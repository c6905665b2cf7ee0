"""The tables of the candidates bench: what was taken, against what, and rows without any choice."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

BENCH = Path(__file__).parents[1] / "bench"


@pytest.fixture(scope="module")
def table() -> Any:
    sys.path.insert(0, str(BENCH))
    try:
        import candidates_table

        yield candidates_table
    finally:
        sys.path.remove(str(BENCH))


def _candidate(scheme: str, size: int, ms: float | None, why_not: str | None) -> dict[str, Any]:
    return {
        "scheme": scheme,
        "bytes": size,
        "latency_ms": ms,
        "auroc": 0.9,
        "auroc_float": 0.91,
        "agreement": 0.995,
        "agreement_ci": [0.98, 1.0],
        "recall_drop": 0.005,
        "overkill_rise": 0.0,
        "map_correlation": 0.99,
        "why_not": why_not,
    }


def _row(candidates: list[dict[str, Any]], **key: Any) -> dict[str, Any]:
    return {
        "set": "magnetic_tile",
        "variant": "cnn-cbam",
        "fold": 1,
        "seed": 0,
        "epochs": 30,
        "protocol": "by group",
        "target": "cpu",
        "calibration_images": None,
        "qat": False,
        "val_images": 270,
        "val_groups": 23,
        "gate": "pass",
        "candidates": candidates,
        **key,
    }


def _passing(ms: float) -> list[dict[str, Any]]:
    return [
        _candidate("int8", 1024, 0.5, "verdicts agree on 90.0%, wanted 99.0%"),
        _candidate("mixed", 2048, ms, None) | {"left_float": ["a", "b"]},
        _candidate("float32", 4096, 2.0, "passes, but needs more: 2 ms, mixed 1"),
    ]


def _lines(table: Any, rows: list[dict[str, Any]], begin: str) -> list[str]:
    return [line for line in table.lines(rows) if line.startswith(begin)]


@pytest.mark.parametrize(
    ("ms", "variant", "verdict"),
    [
        (1.6, "cnn-cbam", "0.80 (held) | 0.8"),
        (1.62, "cnn-cbam", "0.81 (missed) | 0.8"),
        (1.4, "cct", "0.70 (held) | 0.7"),
        (1.6, "steel-cct", "0.80 (missed) | 0.7"),
    ],
)
def test_what_was_taken_is_set_against_float32(
    table: Any, ms: float, variant: str, verdict: str
) -> None:
    (line,) = _lines(table, [_row(_passing(ms), variant=variant)], f"| magnetic_tile, {variant} |")
    ours = f"| mixed (2 float) | {ms:.2f} | {verdict} | 2 | 0.50 | 99.5% [98.0%, 100.0%] |"
    assert line == f"| magnetic_tile, {variant} {ours} - |"
    row = _row(_passing(ms), variant=variant, test_agreement=0.981, test_agreement_ci=[0.97, 1.0])
    (line,) = _lines(table, [row], f"| magnetic_tile, {variant} |")
    assert line == f"| magnetic_tile, {variant} {ours} 98.1% [97.0%, 100.0%] |"


def test_every_candidate_is_there_with_the_reason(table: Any) -> None:
    rows = [_row(_passing(1.0))]
    assert _lines(table, rows, "| int8 |") == [
        "| int8 | 1 | 0.50 | 0.900 | 99.5% [98.0%, 100.0%] | 0.5% | 0.0% | 0.990 | "
        "verdicts agree on 90.0%, wanted 99.0% |"
    ]
    (bold,) = _lines(table, rows, "| **mixed (2 float)** |")
    assert bold.endswith("| taken |")
    (head,) = _lines(table, rows, "\n**magnetic_tile, cnn-cbam, cpu**")
    assert head.endswith("VAL 270 images of 23 groups, by group; gate: pass\n")
    noisy = _row(_passing(1.0), noise_agreement=0.964)
    (head,) = _lines(table, [noisy], "\n**magnetic_tile, cnn-cbam, cpu**")
    assert head.endswith("gate: pass; noise of one grey level leaves 96.4% of float's own\n")


def test_a_row_where_nothing_passed_or_could_be_built_is_shown_as_it_is(table: Any) -> None:
    broken = _candidate("int8", 0, None, "cannot | be built")
    broken |= dict.fromkeys(("bytes", "agreement", "auroc", "recall_drop"))
    del broken["overkill_rise"], broken["map_correlation"], broken["agreement_ci"]
    failed = _row([broken], gate="fail")
    assert "| magnetic_tile, cnn-cbam | none | - | - | - | - | - | - | - |" in list(
        table.lines([failed])
    )
    assert _lines(table, [failed], "| int8 |") == [
        "| int8 | - | - | - | - | - | - | - | cannot / be built |"
    ]
    refused = _row([], error={"message": "VAL cannot carry thresholds"})
    del refused["candidates"], refused["gate"]
    assert _lines(table, [refused], "No table") == ["No table: VAL cannot carry thresholds"]


def test_an_npu_has_its_estimates_and_no_place_among_what_the_cpu_took(table: Any) -> None:
    one = _candidate("int8", 1024, 0.25, None)
    one |= {"cycles": 125000, "sram_kb": 300.4, "npu_share": 0.97}
    rows = [_row([one], target="ethos-u55-128")]
    (line,) = _lines(table, rows, "| **int8** |")
    assert line.endswith("| taken | 125,000 | 300 | 97% |")
    assert not _lines(table, rows, "\n**Taken on the CPU**")


def test_calibration_sizes_stand_in_a_table_of_their_own(table: Any) -> None:
    rows = [_row([_candidate("int8", 1024, 0.5, None)], calibration_images=n) for n in (16, 512)]
    found = list(table.lines(rows))
    assert found[0] == "\n**Calibration images, int8 on VAL**\n"
    figures = "0.9000 | 0.9100 | 99.5% [98.0%, 100.0%] | 0.5% | 0.9900"
    assert found[-1] == f"| magnetic_tile, cnn-cbam | 512 | {figures} |"
    assert len(found) == 5
