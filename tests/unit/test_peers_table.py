"""The tables of the peers' bench: ratios and bars by hand, and what is said where a peer is not."""

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
        import peers_table

        yield peers_table
    finally:
        sys.path.remove(str(BENCH))


def _entry(name: str, group: str, ms: list[float], **more: Any) -> dict[str, Any]:
    return {
        "name": name,
        "group": group,
        "runtime": "a runtime 1.0",
        "passes": 90,
        "p50_ms": sorted(ms)[len(ms) // 2],
        "p95_ms": max(ms),
        "fps": 1000 / ms[0],
        "round_ms": ms,
        "rss_mb": 40.0,
        **more,
    }


def _missing(name: str, group: str, why: str) -> dict[str, Any]:
    return {"name": name, "group": group, "why_not": why}


def _row(part: str, entries: list[dict[str, Any]], **key: Any) -> dict[str, Any]:
    return {
        "part": part,
        "size": 256,
        "threads": 1,
        "model": "cnn",
        "date": "2026-11-26",
        "commit": "abc1234",
        "seed": 0,
        "cpu": "a processor",
        "cores": 2,
        "load_before": 0.1,
        "load_after": 0.9,
        "rounds": 3,
        "entries": entries,
        **key,
    }


def _bars(table: Any, row: dict[str, Any]) -> list[list[str]]:
    return list(table.bars([row]))


def test_a_ratio_is_of_the_same_rounds(table: Any) -> None:
    found = table.ratio([20.0, 40.0, 90.0], [2.0, 2.0, 3.0])
    assert (found.middle, found.low, found.high) == (20.0, 10.0, 30.0)
    assert str(found) == "20.0 [10.0, 30.0]"
    assert str(table.ratio([1.0, 1.1], [1.0, 1.0])) == "1.05 [1.00, 1.10]"
    assert table.ratio([], []) is None


@pytest.mark.parametrize(("ms", "state"), [(20.0, "held"), (19.9, "**missed**")])
def test_the_fastest_of_anomalib_is_what_counts(table: Any, ms: float, state: str) -> None:
    row = _row(
        "latency",
        [
            _entry("CBAM CNN", "ours", [1.0, 1.0, 1.0]),
            _entry("a classifier", "classifier", [0.5, 0.5, 0.5]),
            _entry("slow", "anomalib", [99.0, 99.0, 99.0]),
            _entry("fast", "anomalib", [ms, ms, ms]),
        ],
    )
    ((what, wanted, measured, found),) = _bars(table, row)
    assert what == "fastest of anomalib ÷ CBAM CNN, 256 px, one thread"
    assert (wanted, found) == (">= 20", state)
    assert measured == f"{ms} [{ms}, {ms}] (fast)"
    assert not _bars(table, {**row, "threads": 2})


def test_a_peer_that_is_not_to_be_had_is_named_with_its_reason(table: Any) -> None:
    entries = [
        _entry("CBAM CNN", "ours", [1.0, 1.0]),
        _missing("fast", "anomalib", "environment anomalib: ERROR: no | space\nleft"),
    ]
    row = _row("latency", entries)
    ((_, _, measured, state),) = _bars(table, row)
    said = "not to be had: environment anomalib: ERROR: no / space left"
    assert (measured, state) == (said, "unknown")
    assert f"| fast | {said} | - | - | - | - | - |" in list(table.lines([row]))


def test_without_this_project_no_bar_is_held(table: Any) -> None:
    row = _row(
        "latency",
        [_missing("CBAM CNN", "ours", "no runtime"), _entry("fast", "anomalib", [9.0])],
    )
    ((_, _, measured, state),) = _bars(table, row)
    assert (measured, state) == ("not to be had: no runtime", "unknown")
    (line,) = [t for t in table.lines([row]) if t.startswith("| fast |")]
    assert line == "| fast | a runtime 1.0 | 9.00 | 9.00 | 111 | - | 40 |"


def test_the_map_against_gradcam_and_against_the_score_alone(table: Any) -> None:
    entries = [
        _entry("whole", "ours", [1.04, 1.06, 1.05]),
        _entry("alone", "alone", [1.0, 1.0, 1.0]),
        _entry("Grad-CAM in Keras", "gradcam", [20.8, 21.2, 21.0]),
        _entry("Grad-CAM as one graph", "gradcam graph", [9.36, 9.54, 9.45]),
    ]
    stepwise, graph, cost = _bars(table, _row("maps", entries))
    assert stepwise[2:] == ["20.0 [20.0, 20.0]", "held"]
    assert graph[2:] == ["9.0 [9.0, 9.0]", "**missed**"]
    assert cost[1:] == ["<= 1.05", "1.05 [1.04, 1.06]", "held"]
    missing = [entries[0], _missing("g", "gradcam", "why")]
    stepwise, graph, cost = _bars(table, _row("maps", missing))
    assert stepwise[2:] == ["not to be had: why", "unknown"]
    assert graph[2:] == ["not to be had: not in the bench", "unknown"]
    assert cost[2:] == ["not to be had: not in the bench", "unknown"]


@pytest.mark.parametrize(("fps", "state"), [(90.0, "held"), (89.0, "**missed**")])
def test_training_is_a_ratio_of_rates(table: Any, fps: float, state: str) -> None:
    entries = [
        {"name": "qc train", "group": "ours", "fps": fps, "round_fps": [fps, fps]},
        {"name": "plain", "group": "plain", "fps": 100.0, "round_fps": [100.0, 100.0]},
    ]
    row = _row("training", entries, augment="every kind", batch=32)
    ((what, _, _, found),) = _bars(table, row)
    assert what == "qc train ÷ plain fit, cnn at 256, every kind"
    assert found == state
    shown = [t for t in table.lines([row]) if t.startswith("| cnn at 256, batch 32, every kind |")]
    assert len(shown) == 2
    assert f"| qc train | {fps:.1f} | {fps:.1f} to {fps:.1f} |" in shown[0]


def test_the_start_is_held_against_the_better_way_of_tensorflow(table: Any) -> None:
    def program(name: str, group: str, seconds: float, mb: float) -> dict[str, Any]:
        took = {"start_s": [seconds] * 3, "rss_mb": [mb] * 3, "verdict": "OK"}
        return {"name": name, "group": group, **took}

    entries = [
        program("edge", "ours", 0.5, 100.0),
        program("interpreter", "tensorflow", 2.4, 450.0),
        program("keras", "tensorflow", 4.0, 390.0),
    ]
    row = _row("start", entries)
    seconds, memory = _bars(table, row)
    assert seconds[1:] == [">= 5", "4.80 [4.80, 4.80] (interpreter)", "**missed**"]
    assert memory[1:] == [">= 4", "3.90 [3.90, 3.90] (keras)", "**missed**"]
    assert "| edge | 0.50 | 0.50 to 0.50, 3 starts | 100 | OK |" in list(table.lines([row]))
