"""A journal that somebody changed: a row that makes no sense is one error with its number."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from toy_line import inspection, toy_manifest, wait_until

from qc.errors import DataError
from qc.journal import Filter, Journal, JournalWriter
from qc.linefile import KeepTable
from qc.types import Review, Verdict, utc_now

DEEP = "'" + "[" * 100_000 + "'"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("changed")
    with JournalWriter(folder / "j.db", toy_manifest(folder), "toy 1.0") as writer:
        writer.event("start", {"by": "test"})
        writer.put(inspection("i0", timings_ms={"total": 1.5}))
    Journal(folder / "j.db").add_review(Review("i0", "Ann", Verdict.NG))
    return folder / "j.db"


@pytest.fixture
def path(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(whole, tmp_path / "j.db"))


def _changed(path: Path, statement: str) -> Journal:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        query = "SELECT name FROM sqlite_master WHERE type = 'trigger'"
        for (name,) in connection.execute(query).fetchall():
            connection.execute(f"DROP TRIGGER {name}")
        connection.execute("PRAGMA ignore_check_constraints = ON")
        connection.execute(f"UPDATE {statement}")
    return Journal(path)


def _rows(journal: Journal) -> Any:
    return journal.query(Filter())


def _get(journal: Journal) -> Any:
    return journal.get("i0")


def _events(journal: Journal) -> Any:
    return journal.events()


def _reviews(journal: Journal) -> Any:
    return journal.reviews("i0")


def _bundle(journal: Journal) -> Any:
    return journal.bundle(1)


READS = [_rows, _get, _events, _reviews, _bundle]


@pytest.mark.parametrize(
    ("statement", "read", "says"),
    [
        ("inspections SET scores = '3'", _rows, "row 1 .*; found no table: '3'"),
        ("inspections SET scores = '[0.5]'", _get, "row 1 .*; found no table"),
        ("inspections SET timings = 'x'", _rows, "row 1 .*; found Expecting value"),
        ("inspections SET timings = 'null'", _rows, "row 1 .*; found no table: 'null'"),
        (f"inspections SET timings = {DEEP}", _rows, "row 1 .*; found maximum recursion"),
        ("inspections SET verdict = 'FINE'", _rows, "row 1 .*; found 'FINE' is not a valid"),
        ("inspections SET captured_at = 'noon'", _rows, "row 1 .*; found Invalid isoformat"),
        ("inspections SET captured_at = '2025-03-04'", _rows, "row 1 .*; found no time with a"),
        ("inspections SET map = x'00'", _get, "row 1 .*; found buffer size must be"),
        ("inspections SET map_h = NULL", _get, "row 1 .*; found "),
        ("inspections SET map_w = 3", _get, "row 1 .*; found cannot reshape"),
        ("events SET detail = '[]'", _events, "event 1 .*; found no table"),
        (f"events SET detail = {DEEP}", _events, "event 1 .*; found maximum recursion"),
        ("events SET at = '2025-03-04T12:00'", _events, "event 1 .*; found no time with a zone"),
        ("reviews SET at = 'noon'", _reviews, "review 1 .*; found Invalid isoformat"),
        ("reviews SET at = '2025-03-04'", _reviews, "review 1 .*; found no time with a zone"),
        ("reviews SET decision = 'MAYBE'", _reviews, "review 1 .*; found 'MAYBE' is not a valid"),
        ("bundles SET opened_at = x'00'", _bundle, "bundle 1 .*; found no time with a zone"),
        ("bundles SET manifest = '{}'", _bundle, "the manifest of bundle .* is not valid"),
    ],
)
def test_a_row_that_makes_no_sense_is_named(
    path: Path, statement: str, read: Callable[[Journal], Any], says: str
) -> None:
    journal = _changed(path, statement)
    with pytest.raises(DataError, match=says.replace(" .*;", " of the journal is not valid;")) as c:
        read(journal)
    assert c.value.where == str(path)


def test_what_is_changed_above_is_right_before(path: Path) -> None:
    journal = _changed(path, "events SET kind = kind")
    assert all(read(journal) for read in READS)


@pytest.mark.parametrize(
    "name",
    ["'../mine.png'", "'mine.png'", "'j-images/../mine.png'", "'j-images/../line/mine.png'",
     "'{root}/mine.png'", "x'6d696e65'", "'j-images/a' || char(0) || '/b.png'", "'j.db'"],
)  # fmt: skip
def test_no_other_file_is_removed_for_an_old_picture(tmp_path: Path, name: str) -> None:
    """The line removes old pictures by their names in the journal, which may have been changed."""
    path = tmp_path / "line" / "j.db"
    manifest, old = toy_manifest(tmp_path), utc_now() - timedelta(days=9)
    with JournalWriter(path, manifest, "toy 1.0", durability="normal") as writer:
        for n in range(3):
            writer.put(inspection(f"i{n}", captured_at=old))
    mine = [tmp_path / "mine.png", path.parent / "mine.png"]
    for file in mine:
        file.write_bytes(b"mine")
    pictures = sorted(path.parent.rglob("i?.png"))
    assert len(pictures) == 3
    _changed(path, f"inspections SET image_path = {name.format(root=tmp_path)} WHERE seq = 2")
    keep = KeepTable(ng_days=1, min_free_gb=0.0)
    with JournalWriter(path, manifest, "toy 1.0", keep=keep, durability="normal"):
        wait_until(lambda: not pictures[0].exists() and not pictures[2].exists())
    assert all(file.read_bytes() == b"mine" for file in mine) and pictures[1].exists()
