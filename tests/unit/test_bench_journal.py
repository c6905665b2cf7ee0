"""The journal's bench: any number of rows, and words for a number that cannot be."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from qc.journal import Filter, Journal

FILE = Path(__file__).parents[1] / "bench" / "journal.py"


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The bench, with lots of ten rows."""
    spec = importlib.util.spec_from_file_location("journal_bench", FILE)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "LOT", 10)
    return module


@pytest.mark.parametrize(
    ("rows", "sizes"),
    [
        (1, [1, 0]),
        (7, [4, 3]),
        (20, [10, 10, 0]),
        (33, [10, 10, 7, 6, 0]),
        (40, [10, 10, 10, 10]),
    ],
)
def test_any_number_of_rows_is_written_and_listed(
    bench: ModuleType, tmp_path: Path, rows: int, sizes: list[int]
) -> None:
    path = tmp_path / "j.db"
    bench.fill(path, rows)
    assert Journal(path).sizes()["inspections"] == rows
    assert [bench.lot_size(n, rows) for n in range(len(sizes))] == sizes
    found = [Journal(path).query(Filter(lot=f"lot-{n:04d}"), limit=100) for n in range(len(sizes))]
    assert [len(lot) for lot in found] == sizes
    assert len(bench.listed(path, rows)["lot_s"]) == 5


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--rows", "0"], "--rows: expected at least 1, found 0"),
        (["--seconds", "0"], "--seconds: expected more than 0, found 0"),
        (["--seconds", "nan"], "--seconds: expected more than 0, found nan"),
        (["--kills", "-1"], "--kills: expected 0 or more, found -1"),
    ],
)
def test_a_number_that_cannot_be_is_refused(
    bench: ModuleType, words: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        bench.asked(words)
    assert ended.value.code == 2
    assert says in capsys.readouterr().err
