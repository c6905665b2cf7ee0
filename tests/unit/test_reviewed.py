"""Reviews of a journal as samples, on real journals of a few parts."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from station_journal import copy_of, fill, inspection, picture
from typer.testing import CliRunner

from qc.cli import app
from qc.errors import DataError, FaultError, QCError
from qc.imageio import read_sample
from qc.journal_read import Journal
from qc.journal_retention import REMOVED
from qc.types import Review, Verdict
from training.convert import convert
from training.datasets import load_samples, read_dataset, reviewed

NG = Verdict.NG


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """i-1 OK (not kept), i-2 and i-3 of lot L7, i-4 of a part without lot, i-5 without either."""
    entries = [
        inspection(1, Verdict.OK),
        inspection(2, NG),
        inspection(3, Verdict.REVIEW),
        inspection(4, NG, lot=None),
        inspection(5, NG, lot=None, part_id=None),
    ]
    return fill(tmp_path_factory.mktemp("line") / "line.journal", entries)


@pytest.fixture
def journal(plain: Path, tmp_path: Path) -> Path:
    return copy_of(plain, tmp_path)


def _review(path: Path, *reviews: tuple[str, str, str, str | None]) -> None:
    for inspection_id, reviewer, decision, defect_class in reviews:
        Journal(path).add_review(Review(inspection_id, reviewer, Verdict(decision), defect_class))


def _edit(path: Path, *statements: str) -> None:
    """Change a journal as only damage can: past its triggers."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        triggers = connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'")
        for (name,) in triggers.fetchall():
            connection.execute(f"DROP TRIGGER {name}")
        for statement in statements:
            connection.execute(statement)


def test_a_reviewed_inspection_is_a_sample(journal: Path) -> None:
    _review(
        journal,
        ("i-2", "Ann", "OK", None),
        ("i-3", "Ann", "NG", "dent"),
        ("i-4", "Ann", "NG", None),
        ("i-5", "Ann", "NG", "scratch"),
    )
    name, samples = load_samples(journal)
    assert name == "reviewed"
    assert [(s.sample_id, s.labels, s.group) for s in samples] == [
        ("i-2", ("good",), "L7"),
        ("i-3", ("dent",), "L7"),
        ("i-4", ("defect",), "P-4"),
        ("i-5", ("scratch",), "i-5"),
    ]
    assert {(s.split, s.mask_path) for s in samples} == {(None, None)}
    assert np.array_equal(read_sample(samples[0]), picture())
    named = load_samples(journal, options={"good": "fine", "defect": "other"})[1]
    assert [s.labels[0] for s in named] == ["fine", "dent", "other", "scratch"]


def test_the_latest_decision_of_a_reviewer_counts(journal: Path) -> None:
    _review(journal, ("i-2", "Ann", "NG", "dent"), ("i-2", " ann", "OK", None))
    _review(journal, ("i-3", "Ann", "OK", None), ("i-3", "Ann", "NG", "dent"))
    assert [s.labels[0] for s in load_samples(journal)[1]] == ["good", "dent"]


def test_reviewers_who_disagree_leave_no_sample(journal: Path) -> None:
    _review(journal, ("i-2", "Ann", "OK", None), ("i-2", "Bob", "NG", "dent"))
    _review(journal, ("i-3", "Ann", "NG", "scratch"), ("i-3", "Bob", "NG", "dent"))
    _review(journal, ("i-4", "Ann", "NG", None), ("i-4", "Bob", "NG", "dent"))
    reading = read_dataset(journal)
    assert [(s.sample_id, s.labels) for s in reading.samples] == [("i-4", ("dent",))]
    assert reading.fatal == []
    assert [row["path"] for row in reading.errors] == ["i-2", "i-3"]
    why = reading.errors[0]["why"]
    assert f"{journal} inspection i-2: reviewers disagree" in why and "Ann: OK, Bob: NG dent" in why
    _review(journal, ("i-2", "Bob", "OK", None))
    assert len(load_samples(journal)[1]) == 2


@pytest.fixture
def partly_kept(tmp_path: Path) -> Path:
    """Reviewed: i-1 never kept, i-2 removed by the rules of the line, i-3 kept; i-4 waits."""
    large = np.kron(picture(), np.ones((4, 4, 1), np.uint8))
    verdicts = (Verdict.OK, NG, Verdict.REVIEW, NG)
    entries = [replace(inspection(n, v), image=large) for n, v in enumerate(verdicts, 1)]
    journal = fill(tmp_path / "line.journal", entries)
    _review(journal, *((f"i-{n}", "Ann", "OK", None) for n in (1, 2, 3)))
    kept = Journal(journal)
    kept.add_event(REMOVED, {"group": "reviewed", "seqs": [2]})
    (journal.parent / str(kept.get("i-2").image_path)).unlink()
    return journal


def test_a_part_without_a_kept_picture_is_counted_and_is_no_error(partly_kept: Path) -> None:
    reading = read_dataset(partly_kept)
    assert [s.sample_id for s in reading.samples] == ["i-3"]
    assert (reading.errors, reading.without_picture) == ([], 2)


def test_a_picture_that_is_gone_against_the_rules_is_an_error(partly_kept: Path) -> None:
    _review(partly_kept, ("i-4", "Ann", "OK", None))
    load_samples(partly_kept)[1][1].image_path.unlink()
    reading = read_dataset(partly_kept)
    (gone,) = reading.errors
    assert gone["path"] == "i-4" and "the image is gone" in gone["why"]
    assert reading.without_picture == 2


def test_converting_and_auditing_say_how_many_have_no_picture(
    partly_kept: Path, tmp_path: Path
) -> None:
    said = convert(partly_kept, "class_folders", tmp_path / "out")
    assert (said["images"], said["without_picture"]) == (1, 2)
    assert said["notes"] == ["2 reviewed part(s) without a kept picture are left out"]
    running = CliRunner().invoke(app, ["data", "audit", str(partly_kept), "--json"])
    assert running.exit_code == 0, running.stderr
    found = json.loads(running.stdout)
    assert (found["annotation_errors"], found["without_picture"]) == ([], 2)
    assert found["cautions"][-1] in said["notes"]


def test_reviews_of_parts_without_a_picture_alone_are_no_dataset(journal: Path) -> None:
    _review(journal, ("i-1", "Ann", "OK", None))
    with pytest.raises(DataError, match=r"holds no image .*found 1 reviewed part\(s\) without a"):
        load_samples(journal)
    running = CliRunner().invoke(app, ["data", "audit", str(journal)])
    assert running.exit_code == 2 and "without a kept picture" in running.stderr


def test_a_defect_is_never_of_the_good_class(journal: Path) -> None:
    _review(journal, ("i-2", "Ann", "NG", "good"), ("i-3", "Ann", "NG", None))
    reading = read_dataset(journal, options={"defect": "good"})
    assert reading.samples == [] and len(reading.errors) == 2
    assert "NG with the class of good parts" in reading.errors[0]["why"]


def test_a_journal_without_reviews_holds_no_sample(journal: Path) -> None:
    with pytest.raises(DataError, match=r"holds no image \(read as reviewed\)"):
        load_samples(journal)


def test_what_is_no_journal_is_refused(tmp_path: Path) -> None:
    foreign = tmp_path / "other.db"
    with closing(sqlite3.connect(foreign)) as connection:
        connection.execute("CREATE TABLE parts (name TEXT)")
    assert reviewed.detect(foreign) and not reviewed.detect(tmp_path)
    with pytest.raises(DataError, match="the file is not a journal") as caught:
        load_samples(foreign)
    assert caught.value.where == str(foreign)
    assert not reviewed.detect(tmp_path / "gone")
    with pytest.raises(DataError, match="there is no journal"):
        reviewed.scan(tmp_path / "gone")


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE reviews SET decision = 'MAYBE'",
        "UPDATE reviews SET at = 'yesterday'",
        "UPDATE reviews SET reviewer = ' '",
        "UPDATE reviews SET reviewer = x'ff'",
        "UPDATE reviews SET defect_class = x'ff'",
        "UPDATE inspections SET lot = x'4c37'",
        "UPDATE inspections SET image_path = x'00'",
        "UPDATE inspections SET scores = '{'",
        "UPDATE inspections SET image_path = CAST(x'ff' AS TEXT)",
        "ALTER TABLE inspections DROP COLUMN frame_id",
        "DROP TABLE reviews",
    ],
)
def test_rows_that_are_not_valid_are_one_error(journal: Path, statement: str) -> None:
    _review(journal, ("i-2", "Ann", "OK", None))
    _edit(journal, statement)
    with pytest.raises(DataError) as caught:
        load_samples(journal)
    assert caught.value.where == str(journal)


def test_a_locked_journal_is_a_fault_and_no_damage(
    journal: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("qc.journal_read.BUSY_S", 0.01)
    with closing(sqlite3.connect(journal, isolation_level=None)) as connection:
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        connection.execute("BEGIN EXCLUSIVE")
        with pytest.raises(FaultError, match="locked"):
            load_samples(journal)


def test_the_journal_is_not_changed(journal: Path) -> None:
    _review(journal, ("i-2", "Ann", "OK", None))
    before = journal.read_bytes()
    load_samples(journal)
    assert journal.read_bytes() == before


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(at=st.floats(0, 1), data=st.binary(min_size=1, max_size=64), cut=st.booleans())
def test_only_our_errors_escape_from_a_damaged_file(
    plain: Path, tmp_path: Path, at: float, data: bytes, cut: bool
) -> None:
    spoilt = tmp_path / "spoilt.journal"
    if not (tmp_path / "whole").exists():
        whole = copy_of(plain, tmp_path)
        _review(whole, ("i-2", "Ann", "OK", None), ("i-3", "Ann", "NG", "dent"))
        (tmp_path / "whole").write_bytes(whole.read_bytes())
    whole_bytes = (tmp_path / "whole").read_bytes()
    where = 16 + int(at * (len(whole_bytes) - 16))
    rest = b"" if cut else whole_bytes[where + len(data) :]
    spoilt.write_bytes(whole_bytes[:where] + data + rest)
    assert reviewed.detect(spoilt)
    for change in (lambda: load_samples(spoilt), lambda: reviewed.scan(spoilt)):
        try:
            change()
        except DataError as error:
            assert str(spoilt) in str(error)


@settings(max_examples=20, deadline=None)
@given(data=st.binary(max_size=200))
def test_only_our_errors_escape_from_any_bytes(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    file = tmp_path_factory.mktemp("any") / "any.journal"
    file.write_bytes(b"SQLite format 3\0" + data)
    with pytest.raises(QCError, match=r"any\.journal"):
        load_samples(file)
