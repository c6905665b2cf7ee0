"""The tables: one definition for two databases, one writer at a time, and version 1 taken over."""

from __future__ import annotations

import os
import re
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from old_journal import make_version_1
from toy_line import inspection, toy_manifest, unsealed

import qc
from qc.errors import DataError, FaultError
from qc.journal import Journal, JournalWriter
from qc.journal_chain import TABLES
from qc.journal_tables import journal_tables, postgresql_statements, sqlite_statements
from qc.journal_verify import verify_journal
from qc.types import Prediction, Review, Verdict


def test_postgresql_gets_the_same_tables() -> None:
    statements = postgresql_statements("line_1")
    text = "\n".join(statements)
    made = dict(re.findall(r"CREATE TABLE line_1\.(\w+) \((.*?)\n\)", text, re.DOTALL))
    assert set(made) == {"meta", *TABLES}
    assert "seq BIGINT NOT NULL" in made["inspections"] and "SERIAL" not in text
    assert "defect_score DOUBLE PRECISION" in made["inspections"]
    assert "hash BYTEA NOT NULL" in made["reviews"]
    assert "FOREIGN KEY(inspection_id) REFERENCES line_1.inspections (inspection_id)" in text
    assert "CHECK (verdict IN ('OK', 'NG', 'REVIEW', 'FAULT'))" in made["inspections"]
    assert "WHERE image_path IS NOT NULL" in text
    triggers = re.findall(r"CREATE TRIGGER (\w+) BEFORE UPDATE OR DELETE OR TRUNCATE", text)
    assert len(triggers) == len(made)


def test_sqlite_has_the_columns_of_the_definition() -> None:
    with closing(sqlite3.connect(":memory:")) as connection:
        for statement in sqlite_statements():
            connection.execute(statement)
        for name, table in journal_tables().tables.items():
            found = connection.execute(f"PRAGMA table_info({name})").fetchall()
            assert [row[1] for row in found] == [column.name for column in table.columns]
        plan = connection.execute("EXPLAIN QUERY PLAN SELECT * FROM drops WHERE seq = 1")
        assert "INTEGER PRIMARY KEY" in plan.fetchone()[3], "seq is SQLite's own row number"


def test_the_line_reads_the_statements_of_the_definition() -> None:
    written = Path(qc.__file__).with_name("journal.sql").read_text(encoding="utf-8")
    told = "python -m qc.journal_tables > qc/journal.sql"
    assert written.rstrip("\n").split("\n\n") == sqlite_statements(), told


def test_to_inspect_loads_no_sqlalchemy(tmp_path: Path) -> None:
    """Nor does a line with its journal, a new one or an old one: the edge has none of it."""
    path = tmp_path / "j.db"
    JournalWriter(path, toy_manifest(tmp_path), "toy").close()
    code = (
        "import sys; from pathlib import Path; import edge.commands, qc.cli; "
        "from qc.journal import Journal, JournalWriter; j = Journal(Path(sys.argv[1])); "
        "JournalWriter(j.path, j.bundle(1).manifest, 'toy').close(); "
        "JournalWriter(Path(sys.argv[1] + '2'), j.bundle(1).manifest, 'toy').close(); "
        "print(len(j.events()), 'sqlalchemy' in sys.modules, 'pyarrow' in sys.modules)"
    )
    words = [sys.executable, "-c", code, str(path)]
    ran = subprocess.run(words, capture_output=True, text=True, check=True)
    assert ran.stdout.split() == ["0", "False", "False"]


# version 1


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A journal of version 1: i1 to i3 with a picture of i2, two drops, one review."""
    path = tmp_path / "line" / "j.db"
    make_version_1(path, toy_manifest(tmp_path))
    return path


def test_a_reader_names_the_way_to_take_an_old_journal_over(old: Path) -> None:
    before = old.read_bytes()
    with pytest.raises(DataError, match=r"`qc journal migrate`.*version 3; found version 1"):
        Journal(old)
    assert old.read_bytes() == before


def test_an_old_journal_is_taken_over_with_all_its_rows(old: Path, tmp_path: Path) -> None:
    with JournalWriter(old, toy_manifest(tmp_path), "toy 2.0") as writer:
        writer.put(inspection("i4", Verdict.OK))
    journal = Journal(old)
    rows = journal.rows(newest_first=False)
    assert [(r.seq, r.inspection_id) for r in rows] == [(n, f"i{n}") for n in (1, 2, 3, 4)]
    assert rows[1].reason == "old reason 2" and rows[1].n_reviews == 1
    assert rows[1].evidence is not None and rows[1].evidence.tolist() == [[0.0, 1.0], [2.0, 4.0]]
    assert rows[1].image_path == "j-images/2025-03-04/i2.png" and rows[1].image_sha256 is None
    assert [r.bundle_seq for r in rows] == [None, None, None, 2]
    assert [r.runtime for r in rows] == [None, None, None, "toy 2.0"]
    assert journal.counts()["captured"] == 6 and journal.drops() == {"full": 2}
    (event,) = journal.events()
    counts = {"bundles": 1, "inspections": 3, "drops": 2, "reviews": 1}
    assert event.kind == "migrated"
    assert event.detail == {"from": 1, "to": 3, "rows": counts, "numbers_missing": 0}
    outcome = verify_journal(old, images=True)
    assert outcome.ok and outcome.rows == {**counts, "bundles": 2, "inspections": 4, "events": 1}
    with closing(sqlite3.connect(old)) as connection:
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            connection.execute("DELETE FROM inspections")
        names = {n for (n,) in connection.execute("SELECT name FROM sqlite_master")}
    assert not [name for name in names if name.startswith("old_")]


def test_a_migration_that_fails_leaves_the_old_journal(
    old: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> int:
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr("qc.journal_chain.Chain.append", fail)
    with pytest.raises(FaultError, match=r"cannot be opened.*disk is full"):
        JournalWriter(old, toy_manifest(tmp_path), "toy")
    monkeypatch.undo()
    with closing(sqlite3.connect(old)) as connection:
        assert connection.execute("SELECT count(*) FROM inspections").fetchone() == (3,)
        (version,) = connection.execute("SELECT value FROM meta WHERE key LIKE 's%'").fetchone()
    assert version == "1"
    JournalWriter(old, toy_manifest(tmp_path), "toy").close()
    assert verify_journal(old).ok


# one line for one journal


def test_a_second_line_on_one_journal_is_refused(tmp_path: Path) -> None:
    path, manifest = tmp_path / "j.db", toy_manifest(tmp_path)
    with JournalWriter(path, manifest, "toy") as writer:
        writer.put(inspection("a", Verdict.OK))
        found = f"process {os.getpid()} holds j.db.lock"
        with pytest.raises(FaultError, match=f"another line writes this journal.*{found}"):
            JournalWriter(path, manifest, "toy")
        code = (
            "import sys; from pathlib import Path; from qc.lock import take_lock; "
            "take_lock(Path(sys.argv[1]))"
        )
        words = [sys.executable, "-c", code, str(path)]
        ran = subprocess.run(words, capture_output=True, text=True, check=False)
        assert ran.returncode == 1 and found in ran.stderr
        writer.drop("toy", "b", "full")
    Journal(path).add_review(Review("a", "Ann", Verdict.OK))
    JournalWriter(path, manifest, "toy").close()
    assert Journal(path).counts()["captured"] == 2


def test_a_line_that_was_refused_holds_no_lock(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no journal" * 100)
    with pytest.raises(DataError):
        JournalWriter(tmp_path / "text", toy_manifest(tmp_path), "toy")
    assert not (tmp_path / "text.lock").exists()


# what judged


def test_each_row_leads_to_the_bundle_that_judged_it(tmp_path: Path) -> None:
    """Also while another takes over: rows of both may wait in one batch."""
    first = unsealed(bundle_id="one")
    classes = [{"name": n, "severity": s} for n, s in (("fine", "good"), ("hole", "major"))]
    decision = {"ok_below": {"hole": 0.1}, "ng_above": {"hole": 0.9}}
    second = unsealed(
        bundle_id="two",
        classes=classes,
        score={"dtype": "uint8", "scale": 1.0, "zero_point": 0, "name": "s", "shape": (1, 2)},
        attention=None,
        decision=decision | {"max_escape": 0.01, "max_overkill": 0.05},
    )
    two = Prediction(first_scores([0.5, 0.5]), None, 1)
    path = tmp_path / "j.db"
    with JournalWriter(path, first, "toy 1.0") as writer:
        writer.put(inspection("a", Verdict.OK, bundle_id="one"))
        writer.use(second, "toy 2.0")
        hole = {"bundle_id": "two", "prediction": two, "defect_class": "hole"}
        writer.put(inspection("b", Verdict.REVIEW, **hole))
        writer.put(inspection("late", Verdict.OK, bundle_id="one"))
    rows = Journal(path).rows(newest_first=False)
    assert [(r.bundle_seq, r.runtime) for r in rows] == [
        (1, "toy 1.0"), (2, "toy 2.0"), (1, "toy 1.0"),
    ]  # fmt: skip
    assert rows[1].scores == {"fine": 0.5, "hole": 0.5}
    bundle = Journal(path).bundle(2)
    assert bundle.manifest == second and bundle.runtime == "toy 2.0"
    assert bundle.manifest.decision.ok_below == {"hole": 0.1} and bundle.ok_sample == 0.0
    with pytest.raises(DataError, match="no such bundle; found 3"):
        Journal(path).bundle(3)


def first_scores(values: list[float]):  # type: ignore[no-untyped-def]
    import numpy as np

    return np.array(values, np.float32)
