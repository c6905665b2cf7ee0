"""Search of a journal by keyset: the same inspections as a plain look at every row would give."""

from __future__ import annotations

import random
import sqlite3
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from unit.station_journal import START, fill, inspection

from qc import journal_search
from qc.errors import DataError
from qc.journal import Filter, Journal
from qc.journal_search import cells, judged, known, newest, scores_by_day, search, settled
from qc.types import Review, Verdict

Ask = Callable[[Journal, Filter], object]
WORDS = (Verdict.OK, Verdict.NG, Verdict.REVIEW, Verdict.FAULT)


@pytest.fixture(scope="module")
def journal(tmp_path_factory: pytest.TempPathFactory) -> Journal:
    """80 inspections of two cameras and three lots; a clock set back; reviews by two people."""
    choice = random.Random(0)
    entries = [
        inspection(
            n,
            WORDS[n % 4],
            captured_at=START + timedelta(minutes=choice.randrange(3000)),
            source_id=f"cam{n % 3 % 2}",
            lot=None if n % 5 == 0 else f"L{n % 3}",
            image=None,
            defect_score=None if n % 4 == 3 else n / 80,
        )
        for n in range(80)
    ]
    path = fill(tmp_path_factory.mktemp("j") / "line.journal", entries)
    book = Journal(path)
    for n in range(0, 40, 3):
        book.add_review(Review(f"i-{n}", "Ann", Verdict.NG if n % 2 else Verdict.OK))
    for n in range(0, 40, 6):
        book.add_review(Review(f"i-{n}", "Ben", Verdict.NG, "dent", blind=True))
    return book


FILTERS = [
    Filter(),
    Filter(lot="L1"),
    Filter(part_id="P-7"),
    Filter(source_id="cam1", verdicts=(Verdict.NG, Verdict.REVIEW)),
    Filter(since=START + timedelta(hours=5), until=START + timedelta(hours=30)),
    Filter(reviewed=True, lot="L0"),
    Filter(reviewed=False, verdicts=(Verdict.NG,)),
    Filter(reviewer="Ann"),
    Filter(reviewer="Ann", decision=Verdict.NG),
    Filter(decision=Verdict.OK, source_id="cam0"),
    Filter(bundle_id="abcdef0123456789", defect_class="scratch"),
    Filter(lot="no such lot"),
]


def expected(journal: Journal, wanted: Filter) -> list[str]:
    """By a look at every row."""
    found = []
    for row in journal.query(limit=1000):
        said = journal.reviews(row.inspection_id)
        hold = [
            wanted.since is None or row.captured_at >= wanted.since,
            wanted.until is None or row.captured_at < wanted.until,
            *(
                getattr(wanted, name) in (None, getattr(row, name))
                for name in ("lot", "part_id", "source_id", "bundle_id", "defect_class")
            ),
            wanted.verdicts is None or row.verdict in wanted.verdicts,
            wanted.reviewed is None or bool(said) == wanted.reviewed,
            wanted.reviewer is None or wanted.reviewer in {r.reviewer for r in said},
            wanted.decision is None or (bool(said) and said[-1].decision is wanted.decision),
        ]
        if all(hold):
            found.append((row.captured_at, row.seq, row.inspection_id))
    return [name for _, _, name in sorted(found, reverse=True)]


@pytest.mark.parametrize("few", [0, 2000])
@pytest.mark.parametrize("wanted", FILTERS, ids=str)
def test_the_pages_are_all_there_is_in_order(
    journal: Journal, monkeypatch: pytest.MonkeyPatch, wanted: Filter, few: int
) -> None:
    monkeypatch.setattr(journal_search, "FEW", few)
    names, after = [], None
    while True:
        page = search(journal, wanted, 7, after=after)
        assert len(page.rows) <= 7 and page.newer == (after is not None)
        names += [row.inspection_id for row in page.rows]
        if not page.older:
            break
        after = page.rows[-1].seq
    assert names == expected(journal, wanted)
    assert {row.inspection_id for row in journal.query(wanted, limit=1000)} == set(names)


def test_one_can_go_back_to_the_newer_page(journal: Journal) -> None:
    first = search(journal, Filter(), 7)
    second = search(journal, Filter(), 7, after=first.rows[-1].seq)
    back = search(journal, Filter(), 7, before=second.rows[0].seq)
    assert [r.seq for r in back.rows] == [r.seq for r in first.rows]
    assert back.older and not back.newer


def test_a_page_behind_no_inspection_is_refused(journal: Journal) -> None:
    with pytest.raises(DataError, match="no such inspection"):
        search(journal, Filter(), 7, after=999)


def test_the_counts_are_those_of_the_rows(journal: Journal) -> None:
    wanted = Filter(lot="L1")
    rows = journal.query(wanted, limit=1000)
    counted: Counter[tuple[datetime, str, Verdict]] = Counter()
    for cell in cells(journal, wanted):
        counted[cell.at, cell.source_id, cell.verdict] += cell.n
    expected = Counter(
        (
            r.captured_at.replace(minute=r.captured_at.minute // 10 * 10, second=0, microsecond=0),
            r.source_id,
            r.verdict,
        )
        for r in rows
    )
    assert counted == expected


def test_the_scores_of_each_day(journal: Journal) -> None:
    days = scores_by_day(journal, Filter())
    assert list(days) == ["2025-03-04", "2025-03-05", "2025-03-06"]
    rows = [r for r in journal.query(limit=1000) if r.defect_score is not None]
    assert sum(int(bins.sum()) for bins in days.values()) == len(rows)
    first = np.flatnonzero(days["2025-03-04"])
    scores = [r.defect_score for r in rows if r.captured_at.day == 4 and r.defect_score is not None]
    assert first.tolist() == sorted(int(score * 1000) for score in scores)


def test_the_last_decision_stands(journal: Journal) -> None:
    found = {one.inspection_id: one for one in settled(journal, Filter())}
    assert len(found) == 14
    assert (found["i-0"].decision, found["i-0"].found) == (Verdict.NG, "dent")
    assert found["i-0"].verdict is Verdict.OK
    assert found["i-9"].decision is Verdict.NG and found["i-9"].found is None
    assert len(settled(journal, Filter(lot="L1"))) < 14


def test_every_decision_of_each_person(journal: Journal) -> None:
    said, verdicts = judged(journal, Filter())
    assert len(said) == 21 and len(verdicts) == 14
    assert [(s.person, s.defect, s.blind) for s in said if s.part == "i-0"] == [
        ("Ann", False, False),
        ("Ben", True, True),
    ]


def test_what_a_person_may_choose_from(journal: Journal) -> None:
    assert known(journal) == {
        "bundle": ["abcdef0123456789"],
        "reviewer": ["Ann", "Ben"],
        "source": ["cam0", "cam1"],
        "lot": ["L0", "L1", "L2"],
        "class": ["scratch"],
    }


def test_the_newest(journal: Journal, tmp_path: Path) -> None:
    assert newest(journal) == max(row.captured_at for row in journal.query(limit=1000))
    assert newest(Journal(fill(tmp_path / "none.journal", []))) is None


@pytest.mark.parametrize("ask", [settled, cells, lambda journal, _: newest(journal)])
def test_a_time_that_was_changed_by_hand_is_named(ask: Ask, tmp_path: Path) -> None:
    path = fill(tmp_path / "line.journal", [inspection(n, Verdict.NG, image=None) for n in (0, 1)])
    Journal(path).add_review(Review("i-1", "Ann", Verdict.OK))
    for changed in ("yesterday", "9999-99-99T00:00:00.000000+00:00"):
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.execute("DROP TRIGGER IF EXISTS inspections_no_update")
            query = "UPDATE inspections SET captured_at = ? WHERE inspection_id = 'i-1'"
            connection.execute(query, [changed])
        said = "a row" if ask is cells else "row 2"
        with pytest.raises(DataError, match=f"{said} of the journal is not valid; found") as caught:
            ask(Journal(path), Filter())
        assert caught.value.where == str(path)
