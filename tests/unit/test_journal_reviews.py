"""Reviews in the journal: what version 3 says of one, an older journal, and two people at once."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from old_journal import make_version_2
from toy_line import inspection, toy_manifest

from qc.errors import DataError, FaultError, StaleError
from qc.journal import Journal, JournalWriter
from qc.journal_chain import START, row_hash
from qc.journal_verify import verify_journal
from qc.types import Review, Verdict


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    with JournalWriter(tmp_path / "j.db", toy_manifest(tmp_path), "toy") as writer:
        writer.put(inspection("a", Verdict.NG))
    return Journal(tmp_path / "j.db")


# version 2


@pytest.mark.parametrize("by_a_line", [True, False])
def test_a_version_2_journal_is_taken_over_in_place(tmp_path: Path, by_a_line: bool) -> None:
    path = tmp_path / "line" / "j.db"
    make_version_2(path, toy_manifest(tmp_path))
    with pytest.raises(DataError, match="version 3; found version 2"):
        Journal(path)
    with closing(sqlite3.connect(path)) as connection:
        old = connection.execute("SELECT hash FROM reviews").fetchone()
    writer = JournalWriter(path, toy_manifest(tmp_path), "toy")
    with writer:
        if by_a_line:
            writer.put(inspection("i2", Verdict.OK))
    journal = Journal(path)
    assert verify_journal(path).ok
    with journal.connection() as connection:
        assert tuple(connection.execute("SELECT hash FROM reviews").fetchone()) == old
    (event,) = journal.events()
    assert event.kind == "migrated" and event.detail == {"from": 2, "to": 3}
    (review,) = journal.reviews("i1")
    assert (review.reviewer, review.role, review.before, review.blind) == ("Ann", None, None, False)
    journal.add_review(Review("i1", "Bob", Verdict.NG, role="reviewer", blind=True))
    assert verify_journal(path).ok
    with closing(sqlite3.connect(path)) as connection:
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            connection.execute("UPDATE meta SET value = '2' WHERE key = 'schema_version'")
        connection.rollback()
        connection.execute("DROP TRIGGER reviews_no_update")
        connection.execute("UPDATE reviews SET blind = 0 WHERE seq = 2")
        connection.commit()
    assert [str(f) for f in verify_journal(path).findings] == [
        "reviews row 2: does not fit its hash: it was changed"
    ]


def test_a_row_of_version_2_has_the_hash_that_version_2_gave_it() -> None:
    """Made by hand: sha256sum of 32 zero bytes and of
    ["reviews",{"at":"...","decision":"OK","inspection_id":"a","link":1,...,"seq":1}]."""
    old = {
        "seq": 1, "link": 1, "inspection_id": "a", "reviewer": "Ann", "decision": "OK",
        "defect_class": None, "note": "", "at": "2025-03-04T09:30:00.000000+00:00",
    }  # fmt: skip
    told = "2e57b283086456b8f4259f0d70643a839403a90a604dfeb7b64894f9e43a2513"
    new = {"role": None, "before": None, "mask_sha256": None, "blind": None}
    assert row_hash(START, "reviews", old).hex() == told
    assert row_hash(START, "reviews", old | new).hex() == told
    assert row_hash(START, "reviews", old | {"blind": 0}).hex() != told


# what a review says


def test_the_journal_says_what_was_decided_before(journal: Journal) -> None:
    first = Review("a", "Ann", Verdict.OK, role="engineer", mask_sha256="ab" * 32)
    second = Review("a", "Bob", Verdict.NG, "dent", blind=True, before=Verdict.NG)
    journal.add_review(first)
    journal.add_review(second)
    told = [replace(first, before=Verdict.NG), replace(second, before=Verdict.OK)]
    assert journal.reviews("a") == told
    newest, oldest = journal.all_reviews()
    assert (newest.seq, newest.review, newest.verdict) == (2, told[1], Verdict.NG)
    assert oldest.review == told[0] and len(oldest.hash) == 64
    assert journal.all_reviews(before_seq=2, limit=5) == [oldest]
    assert journal.all_reviews(limit=1) == [newest]


def test_the_second_of_two_people_at_once_is_told(journal: Journal) -> None:
    journal.add_review(Review("a", "Ann", Verdict.OK), seen=0)
    with pytest.raises(StaleError, match="Ann decided OK on this part meanwhile"):
        journal.add_review(Review("a", "Bob", Verdict.NG), seen=0)
    with pytest.raises(StaleError) as told:
        journal.add_review(Review("a", "Bob", Verdict.NG, blind=True), seen=0)
    assert "Ann" not in str(told.value) and "OK" not in told.value.message
    with pytest.raises(StaleError):
        journal.add_review(Review("a", "Bob", Verdict.NG), seen=2)
    assert [r.reviewer for r in journal.reviews("a")] == ["Ann"]
    journal.add_review(Review("a", "Bob", Verdict.NG), seen=1)
    assert verify_journal(journal.path).ok


# events of the station


def test_a_station_adds_events_to_the_same_chain_while_a_line_writes(
    journal: Journal, tmp_path: Path
) -> None:
    with JournalWriter(journal.path, toy_manifest(tmp_path), "toy") as writer:
        journal.add_event("login", {"name": "Ann"})
        writer.put(inspection("b", Verdict.OK))
        writer.event("start", {})
        journal.add_event("logout", {"name": "Ann"})
    assert {e.kind for e in journal.events()} == {"login", "logout", "start"}
    assert verify_journal(journal.path).ok
    with pytest.raises(DataError, match="what JSON holds"):
        journal.add_event("login", {"at": object()})
    journal.path.unlink()
    with pytest.raises(FaultError, match="cannot be written"):
        journal.add_event("login", {})
    assert not journal.path.exists()


def test_while_a_journal_is_held_a_review_does_not_rewrite_its_file(journal: Journal) -> None:
    log = journal.path.with_name("j.db-wal")
    journal.add_review(Review("a", "Ann", Verdict.OK))
    assert not log.exists(), "the last connection has put the log away"
    with journal.held_open():
        before = journal.path.read_bytes()
        journal.add_review(Review("a", "Ann", Verdict.NG))
        assert log.exists() and journal.path.read_bytes() == before
        assert [r.decision.value for r in Journal(journal.path).reviews("a")] == ["OK", "NG"]
    assert not log.exists() and verify_journal(journal.path).ok


def test_holding_a_journal_that_is_gone_makes_none(journal: Journal) -> None:
    journal.path.unlink()
    with journal.held_open():
        assert not journal.path.exists()
    assert not journal.path.exists()
