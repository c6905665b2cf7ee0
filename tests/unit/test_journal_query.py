"""Looking things up in a journal and taking them out of it, by hand and by program."""

from __future__ import annotations

import csv
import json
import sqlite3
import sys
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from old_journal import make_version_1
from toy_line import inspection, toy_manifest
from typer.testing import CliRunner

from qc.cli import app
from qc.errors import UsageError
from qc.journal import Filter, Journal, JournalWriter
from qc.journal_export import FACTS
from qc.types import Review, Verdict

NOON = datetime(2025, 3, 4, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """i0 to i11: a lot for each four, a minute between them, every third NG."""
    folder = tmp_path_factory.mktemp("query")
    with JournalWriter(folder / "j.db", toy_manifest(folder), "toy 1.0") as writer:
        for n in range(12):
            given: dict[str, Any] = {
                "captured_at": NOON + timedelta(minutes=n),
                "lot": f"lot{n // 4}",
                "part_id": f"p{n}",
                "source_id": "left" if n % 2 else "right",
                "defect_class": "dent" if n == 5 else "scratch",
                "timings_ms": {"total": 1.5},
            }
            writer.put(inspection(f"i{n}", Verdict.OK if n % 3 else Verdict.NG, **given))
        fault = {"prediction": None, "defect_class": None, "defect_score": None, "image": None}
        writer.put(inspection("i12", Verdict.FAULT, bundle_id="other", captured_at=NOON, **fault))
    Journal(folder / "j.db").add_review(Review("i3", "Ann", Verdict.NG))
    return folder / "j.db"


@pytest.mark.parametrize(
    ("wanted", "numbers"),
    [
        ({}, [*range(13)]),
        ({"lot": "lot1"}, [4, 5, 6, 7]),
        ({"part_id": "p5"}, [5]),
        ({"verdicts": [Verdict.NG]}, [0, 3, 6, 9]),
        ({"verdicts": [Verdict.NG, Verdict.FAULT], "lot": "lot2"}, [9]),
        ({"source_id": "left", "lot": "lot0"}, [1, 3]),
        ({"bundle_id": "other"}, [12]),
        ({"defect_class": "dent"}, [5]),
        ({"since": NOON + timedelta(minutes=9)}, [9, 10, 11]),
        ({"until": NOON + timedelta(minutes=1)}, [0, 12]),
        ({"since": NOON, "until": NOON}, []),
        ({"after_seq": 11}, [11, 12]),
        ({"reviewed": True}, [3]),
        ({"verdicts": []}, []),
    ],
)
def test_what_is_asked_for_is_found(path: Path, wanted: dict[str, Any], numbers: list[int]) -> None:
    rows = Journal(path).query(Filter(**wanted))
    assert [row.inspection_id for row in rows] == [f"i{n}" for n in numbers]
    assert all(row.evidence is None for row in rows)


def test_pages_follow_each_other(path: Path) -> None:
    journal = Journal(path)
    seen, seq = [], 0
    while page := journal.after(seq, limit=5):
        seen += [row.inspection_id for row in page]
        seq = page[-1].seq
    assert seen == [f"i{n}" for n in range(13)]
    assert journal.after(0, limit=1)[0].evidence is not None, "a sink may draw the map"
    newest = journal.query(Filter(lot="lot1"), limit=2, newest_first=True)
    assert [row.inspection_id for row in newest] == ["i7", "i6"]


def test_a_clock_that_is_set_back_loses_no_row(tmp_path: Path) -> None:
    times = [0, 10, 20, -3600, -3590, 30]
    with JournalWriter(tmp_path / "j.db", toy_manifest(tmp_path), "toy") as writer:
        for n, seconds in enumerate(times):
            at = NOON + timedelta(seconds=seconds)
            writer.put(inspection(f"i{n}", Verdict.OK, captured_at=at))
    journal = Journal(tmp_path / "j.db")
    assert [row.inspection_id for row in journal.query()] == [f"i{n}" for n in range(6)]
    hour = Filter(since=NOON - timedelta(hours=1), until=NOON)
    assert [row.inspection_id for row in journal.query(hour)] == ["i3", "i4"]
    assert len(journal.query(Filter(since=NOON))) == 4
    assert [row.inspection_id for row in journal.after(3)] == ["i3", "i4", "i5"]


def test_a_time_without_zone_is_refused() -> None:
    with pytest.raises(UsageError, match="needs its zone"):
        Filter(since=datetime(2025, 3, 4))


@pytest.mark.parametrize(
    ("wanted", "index"),
    [
        ({"lot": "x"}, "lot"),
        ({"lot": "x", "verdicts": [Verdict.NG], "since": NOON, "after_seq": 3}, "lot"),
        ({"part_id": "x", "lot": "x", "since": NOON, "until": NOON}, "part_id"),
        ({"since": NOON}, "facts"),
        ({"since": NOON, "until": NOON, "verdicts": [Verdict.NG]}, "facts"),
        ({"since": NOON, "verdicts": [Verdict.NG]}, "verdict"),
        ({"verdicts": [Verdict.NG, Verdict.REVIEW], "reviewed": False}, "verdict"),
    ],
)
@pytest.mark.parametrize("order", ["ASC", "DESC"])
def test_an_index_serves_what_is_asked_and_no_rows_are_sorted(
    path: Path, wanted: dict[str, Any], index: str, order: str
) -> None:
    where, values = Filter(**wanted).sql()
    with closing(sqlite3.connect(path)) as connection:
        query = f"EXPLAIN QUERY PLAN SELECT reason FROM inspections i{where} ORDER BY seq {order}"
        plan = " ".join(row[3] for row in connection.execute(query, values))
    assert f"INDEX inspections_{index} " in plan
    assert "SCAN" not in plan and "TEMP" not in plan, plan


# the command line


def run(*words: object, code: int = 0) -> dict[str, Any]:
    done = CliRunner().invoke(app, ["journal", *map(str, words), "--json"])
    assert done.exit_code == code, done.output
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_query_lists(path: Path) -> None:
    found = run("query", path, "--lot", "lot1", "--verdict", "ok", "--verdict", "NG", "--limit", 2)
    assert [row["inspection_id"] for row in found["rows"]] == ["i4", "i5"]
    assert found["next_after"] == 6
    first = found["rows"][0]
    assert first["captured_at"] == "2025-03-04T12:04:00.000000+00:00"
    assert first["scores"] == {"good": 0.125, "scratch": 0.875, "dent": 0.0}
    assert first["runtime"] == "toy 1.0" and first["bundle_seq"] == 1
    found = run("query", path, "--since", "2025-03-04T13:09:00+01:00", "--class", "scratch")
    assert [row["inspection_id"] for row in found["rows"]] == ["i9", "i10", "i11"]
    assert run("query", path, "--until", "2025-03-04")["rows"] == []
    words = ["journal", "query", str(path), "--part", "p5"]
    shown = CliRunner().invoke(app, words)
    assert shown.exit_code == 0 and "p5" in shown.stderr and "dent" in shown.stderr
    assert shown.stdout == ""


def test_events_are_told_as_json_and_an_empty_detail_is_left_out(tmp_path: Path) -> None:
    with JournalWriter(tmp_path / "j.db", toy_manifest(tmp_path), "toy 1.0") as writer:
        writer.event("stop", {"why": None, "dropped": {}, "part": "größe\n1", "clean": True})
        writer.event("logout", {})
    shown = CliRunner().invoke(app, ["journal", "query", str(tmp_path / "j.db"), "--events"])
    assert shown.exit_code == 0, shown.output
    stop, logout, count = shown.stderr.splitlines()
    kind, _, detail = stop[len("1 2025-03-04 12:00:00 ") :].partition(": ")
    assert kind == "stop"
    assert detail == '{"clean": true, "dropped": {}, "part": "größe\\n1", "why": null}'
    assert logout.endswith(" logout")
    assert count == "2 events"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("query", "--verdict", "NGG"), "did you mean 'NG'"),
        (("query", "--since", "noon"), "--since is no time"),
        (("query", "--events", "--lot", "a", "--verdict", "NG"), "found --lot, --verdict"),
        (("query", "--events", "--newest", "--after", "3"), "found --after with --newest"),
        (("export",), "--csv FILE or --parquet FILE"),
    ],
)
def test_what_cannot_be_meant_is_said(path: Path, words: tuple[str, ...], message: str) -> None:
    error = run(words[0], path, *words[1:], code=2)["error"]
    assert message in error["message"]


def test_verify_prints_the_head_and_fails_where_something_does_not_fit(
    path: Path, tmp_path: Path
) -> None:
    good = run("verify", path)
    assert good["ok"] and good["rows"]["inspections"] == 13 and good["images"] is None
    assert run("verify", path, "--expect", good["head"])["ok"]
    assert run("verify", path, "--expect", "0" * 63 + "1", code=1)["n_findings"] == 1
    assert run("verify", path, "--images")["images"] == 4
    copy = tmp_path / "copy.db"
    with closing(sqlite3.connect(path)) as here, closing(sqlite3.connect(copy)) as there:
        here.backup(there)
        there.execute("DROP TRIGGER inspections_no_update")
        there.execute("UPDATE inspections SET verdict = 'OK' WHERE seq = 7")
        there.commit()
    bad = run("verify", copy, code=1)
    assert bad["findings"] == [
        {"table": "inspections", "seq": 7, "what": "does not fit its hash: it was changed"}
    ]
    told = CliRunner().invoke(app, ["journal", "verify", str(copy)])
    assert told.exit_code == 1 and "inspections row 7" in told.stderr


def test_csv_holds_every_row(path: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    assert run("export", path, "--csv", out)["rows"] == 13
    with out.open(newline="", encoding="utf-8") as stream:
        rows = [*csv.DictReader(stream)]
    assert [*rows[0]] == [*FACTS] and len(rows) == 13
    assert json.loads(rows[0]["scores"])["scratch"] == 0.875 and rows[3]["reviews"] == "1"
    assert rows[12]["scores"] == "" and rows[12]["verdict"] == "FAULT"
    assert run("export", path, "--csv", path, code=2)["error"]["kind"] == "usage"
    assert [*tmp_path.iterdir()] == [out]


def test_parquet_holds_every_row_with_its_types(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason="the parquet extra is not installed")
    monkeypatch.setattr("qc.journal_export.BATCH", 5)
    out = tmp_path / "out.parquet"
    assert run("export", path, "--parquet", out, "--lot", "lot1")["rows"] == 4
    assert run("export", path, "--parquet", out)["rows"] == 13
    assert parquet.ParquetFile(out).num_row_groups == 3
    rows = parquet.read_table(out).to_pylist()
    assert rows[5]["captured_at"] == NOON + timedelta(minutes=5)
    assert dict(rows[5]["scores"]) == {"good": 0.125, "scratch": 0.875, "dent": 0.0}
    assert rows[12]["defect_score"] is None and rows[12]["seq"] == 13
    assert rows[1]["sampled"] is False and rows[0]["sampled"] is None


def test_parquet_names_its_extra_where_it_is_missing(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    error = run("export", path, "--parquet", tmp_path / "x", code=2)["error"]
    assert "attention-qc[parquet]" in error["message"]
    assert not [*tmp_path.iterdir()]


def test_migrate_brings_an_old_journal_up_to_date(tmp_path: Path) -> None:
    path = tmp_path / "line" / "j.db"
    make_version_1(path, toy_manifest(tmp_path))
    assert "qc journal migrate" in run("query", path, code=2)["error"]["message"]
    for _ in range(2):
        assert run("migrate", path)["rows"]["inspections"] == 3
    assert run("verify", path)["ok"] and len(run("query", path)["rows"]) == 3
    assert run("migrate", tmp_path / "none.db", code=2)["error"]["kind"] == "data"
    assert not (tmp_path / "none.db").exists()
