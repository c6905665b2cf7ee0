"""The tables and plots of the scaling bench: what limits a point, and the same bytes twice."""

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
        import scaling_table

        yield scaling_table
    finally:
        sys.path.remove(str(BENCH))


def _point(fps: float, decode: float, interpreter: float, used: float, **key: Any) -> Any:
    stages = {"disk": 0.1, "decode": decode, "resize": 0.5, "interpreter": interpreter}
    rates = {"fps": fps, "round_fps": [fps - 1, fps, fps + 1]}
    return {**key, **rates, "processor_ms": used, "stages_ms": stages}


def _row(question: str, points: list[Any]) -> dict[str, Any]:
    return {
        "question": question,
        "model": "cnn",
        "input": 224,
        "rounds": 3,
        "date": "2026-11-26",
        "commit": "abc1234",
        "seed": 0,
        "cores": 2,
        "load_before": 0.1,
        "load_after": 0.9,
        "points": points,
    }


@pytest.mark.parametrize(
    ("point", "what", "share"),
    [
        (_point(90.0, 10.0, 2.0, 12.0, sources=1), "decode", 0.9),
        (_point(300.0, 10.0, 2.0, 3.0, sources=8), "interpreter", 0.75),
        (_point(100.0, 10.0, 2.0, 18.0, sources=4), "processor", 0.9),
        (_point(200.0, 1.0, 4.0, 5.0, threads=1), "interpreter", 0.9),
    ],
)
def test_the_longest_of_reading_judging_and_processor_limits(
    table: Any, point: Any, what: str, share: float
) -> None:
    name, reached = table.limit(point, 2)
    assert name == what
    assert reached == pytest.approx(share)


def test_a_line_for_each_point(table: Any) -> None:
    size = _row("size", [_point(90.0, 10.0, 2.0, 12.0, side=512, format="jpg")])
    line = "| 512 x 512 JPG | 90 | 89 to 91 | 0.10 | 10.00 | 0.50 | 2.00 | 12.00 | decode (90%) |"
    found = list(table.lines([size]))
    assert line in found
    assert "2026-11-26, commit abc1234, seed 0, 2 cores" in found[0]
    sources = _row("sources", [_point(9.0, 1.0, 1.0, 1.0, sources=n) for n in (1, 3)])
    names = [t.split(" | ")[0] for t in table.lines([sources]) if "source" in t and "|" in t]
    assert names == ["| 1 source", "| 3 sources"]


@pytest.mark.parametrize("question", ["threads", "size", "sources"])
def test_a_plot_has_the_same_bytes_twice(table: Any, question: str, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    keys = {
        "threads": [{"threads": 1}, {"threads": 2}],
        "size": [{"side": s, "format": f} for f in ("png", "jpg") for s in (64, 2048)],
        "sources": [{"sources": n} for n in (1, 8)],
    }[question]
    rows = [_row(question, [_point(50.0 + n, 9.0, 2.0, 8.0, **k) for n, k in enumerate(keys)])]
    first, second = tmp_path / "a.svg", tmp_path / "b.svg"
    table.plot(question, rows, first)
    table.plot(question, rows, second)
    assert first.read_bytes() == second.read_bytes()
    changed = [_row(question, [_point(80.0 + n, 9.0, 2.0, 8.0, **k) for n, k in enumerate(keys)])]
    table.plot(question, changed, second)
    assert first.read_bytes() != second.read_bytes()


def test_curves_are_told_apart_by_format_or_model(table: Any) -> None:
    points = [
        _point(9.0, 1.0, 1.0, 1.0, side=s, format=f) for f in ("png", "jpg") for s in (64, 128)
    ]
    assert table.curves([_row("size", points)]) == {
        "PNG": ([64, 128], [9.0, 9.0]),
        "JPG": ([64, 128], [9.0, 9.0]),
    }
    threads = _row("threads", [_point(9.0, 1.0, 1.0, 1.0, threads=2)])
    assert table.curves([threads]) == {"cnn": ([2], [9.0])}
