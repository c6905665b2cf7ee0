"""The journal: what goes in stays in, and a journal that cannot write is never silent."""

from __future__ import annotations

import dataclasses
import json
import sqlite3
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pytest
from toy_line import inspection, picture, toy_manifest, unsealed

from qc.errors import DataError, QCError
from qc.imageio import read_image
from qc.journal import Journal, JournalWriter
from qc.journal_entry import inspection_row
from qc.linefile import KeepTable
from qc.manifest import Manifest
from qc.types import Inspection, Prediction, Review, Verdict

TABLES = ("meta", "bundles", "inspections", "drops", "events", "reviews")


@pytest.fixture
def manifest(tmp_path: Path) -> Manifest:
    return toy_manifest(tmp_path)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "line 1#?" / "shift.journal"


@pytest.fixture
def opened(path: Path, manifest: Manifest) -> Callable[..., JournalWriter]:
    return lambda **options: JournalWriter(path, manifest, "toy 1.0", **options)


def test_an_inspection_comes_back_as_it_was(
    path: Path, opened: Callable[..., JournalWriter]
) -> None:
    tokyo = datetime(2025, 3, 5, 1, 30, 0, 5, tzinfo=timezone(timedelta(hours=9)))
    given = inspection(
        "a1",
        captured_at=tokyo,
        part_id="P 7",
        lot="lot03",
        timings_ms={"infer": 2.0, "total": 3.5},
        bundle_id="x",
    )
    with opened() as writer:
        writer.put(given)
    row = Journal(path).get("a1")
    assert (row.seq, row.frame_id, row.source_id) == (1, "f-a1", "toy")
    assert (row.part_id, row.lot, row.bundle_id, row.reason) == ("P 7", "lot03", "x", "because")
    assert row.captured_at == tokyo and row.captured_at.utcoffset() == timedelta(0)
    assert row.verdict is Verdict.NG and row.defect_class == "scratch" and row.defect_score == 0.875
    assert row.scores == {"good": 0.125, "scratch": 0.875, "dent": 0.0}
    assert row.timings_ms == {"infer": 2.0, "total": 3.5} and row.n_reviews == 0
    assert row.evidence is not None and row.evidence.dtype == np.float32
    np.testing.assert_array_equal(row.evidence, [[0, 1], [2, 4]])  # scratch's map, not dent's
    assert row.image_path == "shift-images/2025-03-04/a1.png"  # the day in UTC
    file = Journal(path).image_file(row)
    assert file is not None
    np.testing.assert_array_equal(read_image(file), picture(224))


def test_a_fault_has_no_numbers(path: Path, opened: Callable[..., JournalWriter]) -> None:
    nothing = {"prediction": None, "image": None, "defect_class": None, "defect_score": None}
    nan = Prediction(np.array([np.nan, 0, 0], np.float32), None, 1)
    with opened() as writer:
        writer.put(inspection("none", Verdict.FAULT, **nothing))
        writer.put(inspection("nan", Verdict.FAULT, **{**nothing, "prediction": nan}))
    for name in ("none", "nan"):
        row = Journal(path).get(name)
        assert row.scores is None and row.evidence is None and row.defect_score is None
        assert row.image_path is None and Journal(path).image_file(row) is None


def test_images_of_flagged_parts_and_of_a_sample_are_kept(
    path: Path, opened: Callable[..., JournalWriter]
) -> None:
    with opened() as writer:
        writer.put(inspection("ok", Verdict.OK))
        writer.put(inspection("review", Verdict.REVIEW))
    with opened(keep=KeepTable(ok_sample=1.0)) as writer:
        writer.put(inspection("ok2", Verdict.OK))
        writer.put(inspection("ng2", Verdict.NG))
    rows = Journal(path).rows()
    kept = {row.inspection_id for row in rows if row.image_path is not None}
    assert kept == {"review", "ok2", "ng2"}
    assert {p.stem for p in path.parent.rglob("*.png")} == kept
    assert {row.inspection_id: row.sampled for row in rows} == {
        "ok": False, "review": None, "ok2": True, "ng2": None,
    }  # fmt: skip


def test_counts_add_up_and_drops_have_causes(
    path: Path, opened: Callable[..., JournalWriter]
) -> None:
    with opened() as writer:
        for i, verdict in enumerate([Verdict.OK] * 3 + [Verdict.NG] * 2 + [Verdict.FAULT]):
            writer.put(inspection(f"i{i}", verdict))
        for i, cause in enumerate(["full", "full", "stopped", "full"]):
            writer.drop("toy", f"d{i}", cause)
    journal = Journal(path)
    assert journal.counts() == {
        "captured": 10, "ok": 3, "ng": 2, "review": 0, "fault": 1, "dropped": 4,
    }  # fmt: skip
    assert journal.drops() == {"full": 3, "stopped": 1}


def test_rows_are_filtered_ordered_and_paged(
    path: Path, opened: Callable[..., JournalWriter]
) -> None:
    verdicts = [Verdict.OK, Verdict.NG, Verdict.REVIEW, Verdict.NG, Verdict.NG]
    with opened() as writer:
        for i, verdict in enumerate(verdicts):
            writer.put(inspection(f"i{i}", verdict))
    journal = Journal(path)
    journal.add_review(Review("i3", "Ann", Verdict.OK))

    def ids(**options: object) -> list[str]:
        return [row.inspection_id for row in journal.rows(**options)]  # type: ignore[arg-type]

    assert ids() == ["i4", "i3", "i2", "i1", "i0"]
    assert ids(newest_first=False, limit=2, offset=1) == ["i1", "i2"]
    assert ids(verdicts=[Verdict.NG]) == ["i4", "i3", "i1"]
    assert ids(verdicts=[Verdict.NG, Verdict.REVIEW], reviewed=False) == ["i4", "i2", "i1"]
    assert ids(reviewed=True) == ["i3"]
    assert ids(verdicts=[]) == [] and ids(limit=0) == []
    assert journal.count() == 5 and journal.count([Verdict.NG]) == 3
    assert journal.count([Verdict.NG], reviewed=False) == 2 and journal.count(reviewed=True) == 1


def test_a_second_review_is_a_second_row(path: Path, opened: Callable[..., JournalWriter]) -> None:
    at = datetime(2025, 3, 4, 12, tzinfo=UTC)
    first = Review("a", "Ann", Verdict.NG, "dent", "deep", at)
    second = Review("a", "Bob", Verdict.OK, at=at + timedelta(hours=1))
    with opened() as writer:
        writer.put(inspection("a"))
    journal = Journal(path)
    journal.add_review(first)
    journal.add_review(second)
    told = [
        dataclasses.replace(first, before=Verdict.NG),
        dataclasses.replace(second, before=Verdict.NG),
    ]
    assert journal.reviews("a") == told and journal.get("a").n_reviews == 2
    assert journal.reviews("b") == []
    with pytest.raises(DataError, match="no such inspection; found b"):
        journal.add_review(Review("b", "Ann", Verdict.OK))
    with pytest.raises(DataError, match="no such inspection; found b"):
        journal.get("b")


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("statement", ["UPDATE {} SET rowid = rowid", "DELETE FROM {}"])
def test_nothing_can_be_changed_or_removed(
    path: Path, opened: Callable[..., JournalWriter], table: str, statement: str
) -> None:
    with opened() as writer:
        writer.put(inspection("a"))
        writer.drop("toy", "d", "full")
        writer.event("stop", {})
    Journal(path).add_review(Review("a", "Ann", Verdict.OK))
    with sqlite3.connect(path) as connection:
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            connection.execute(statement.format(table))
        assert connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0] >= 1


def test_opening_again_appends(
    path: Path, opened: Callable[..., JournalWriter], manifest: Manifest
) -> None:
    for name in ("a", "b"):
        with opened() as writer:
            writer.put(inspection(name))
    journal = Journal(path)
    assert [(r.seq, r.inspection_id) for r in journal.rows()] == [(2, "b"), (1, "a")]
    assert journal.manifest(manifest.bundle_id) == manifest
    with pytest.raises(DataError, match="no such bundle; found other"):
        journal.manifest("other")
    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT runtime FROM bundles").fetchall() == [("toy 1.0",)] * 2


def test_readers_see_the_rows_while_the_line_writes(
    path: Path, opened: Callable[..., JournalWriter]
) -> None:
    seen: list[int] = []
    failed: list[Exception] = []
    done = threading.Event()

    def read() -> None:
        try:
            journal = Journal(path)
            while not done.is_set():
                counts = journal.counts()
                assert counts["captured"] == counts["ok"]
                assert len(journal.rows(limit=5)) == min(5, counts["ok"]) or counts["ok"] < 5
                seen.append(counts["ok"])
        except (QCError, AssertionError) as error:
            failed.append(error)

    with opened() as writer:
        readers = [threading.Thread(target=read) for _ in range(3)]
        for reader in readers:
            reader.start()
        for i in range(200):
            writer.put(inspection(f"i{i}", Verdict.OK))
            time.sleep(0.001)
    done.set()
    for reader in readers:
        reader.join(10)
    assert not failed and Journal(path).counts()["ok"] == 200
    assert len(set(seen)) > 3, "the readers saw the journal grow"


def test_on_written_comes_after_image_and_row(
    path: Path, opened: Callable[..., JournalWriter]
) -> None:
    told: list[tuple[str, bool, str]] = []

    def on_written(given: Inspection) -> None:
        row = Journal(path).get(given.inspection_id)
        there = Journal(path).image_file(row) is not None
        told.append((row.inspection_id, there, threading.current_thread().name))

    with opened(on_written=on_written) as writer:
        for name in ("a", "b", "c"):
            writer.put(inspection(name))
        writer.drop("toy", "d", "full")
    assert told == [(name, True, "journal") for name in ("a", "b", "c")]


# what is not a journal


def test_a_missing_journal_is_said(path: Path) -> None:
    with pytest.raises(DataError, match=r"shift\.journal: there is no journal.*found nothing"):
        Journal(path)


@pytest.mark.parametrize("what", ["text", "database", "folder", "empty"])
def test_another_file_is_no_journal_and_stays_as_it_was(
    tmp_path: Path, manifest: Manifest, what: str
) -> None:
    path = tmp_path / "thing"
    if what == "text":
        path.write_text("part,verdict\n" * 200)
    elif what == "folder":
        path.mkdir()
    elif what == "empty":
        path.touch()
    else:
        with sqlite3.connect(path) as connection:
            connection.execute("CREATE TABLE parts (id)")
    before = path.read_bytes() if path.is_file() else None
    with pytest.raises(DataError, match="thing"):
        Journal(path)
    if what != "empty":
        with pytest.raises(DataError, match=r"thing: the .* is not a journal"):
            JournalWriter(path, manifest, "toy")
    assert before is None or path.read_bytes() == before


def test_another_schema_is_refused(path: Path, opened: Callable[..., JournalWriter]) -> None:
    opened().close()
    with sqlite3.connect(path) as connection:
        connection.execute("DROP TRIGGER meta_no_update")
        connection.execute("UPDATE meta SET value = '99' WHERE key = 'schema_version'")
    for attempt in (lambda: Journal(path), opened):
        with pytest.raises(
            DataError, match=r"newer program .*expected version 3; found version 99"
        ):
            attempt()


def test_a_damaged_journal_is_an_error_not_a_crash(
    path: Path, opened: Callable[..., JournalWriter]
) -> None:
    with opened() as writer:
        for i in range(100):
            writer.put(inspection(f"i{i}", Verdict.OK))
    data = bytearray(path.read_bytes())
    data[4096 * 8 :] = b"\xaa" * (len(data) - 4096 * 8)
    path.write_bytes(data)
    with pytest.raises(QCError, match=r"shift\.journal"):
        Journal(path).rows(limit=1000)


def test_an_image_path_that_leads_out_of_the_folder_is_not_followed(
    path: Path, opened: Callable[..., JournalWriter]
) -> None:
    with opened() as writer:
        writer.put(inspection("a"))
    journal = Journal(path)
    (path.parent.parent / "secret.png").write_bytes(b"x")
    row = dataclasses.replace(journal.get("a"), image_path="../secret.png")
    assert journal.image_file(row) is None


def test_an_id_that_is_a_path_is_refused(path: Path, opened: Callable[..., JournalWriter]) -> None:
    with opened() as writer:
        for name in ("../a", "a/b", "..\\a", "a\0"):
            with pytest.raises(DataError, match="cannot name a file"):
                writer.put(inspection(name))


def test_scores_are_json_whatever_the_classes_are_called(tmp_path: Path) -> None:
    names = ('sound "as new"', "Riß\n", "\\dent")
    manifest = unsealed().model_copy(
        update={
            "classes": tuple(
                one.model_copy(update={"name": name})
                for one, name in zip(unsealed().classes, names, strict=True)
            )
        }
    )
    score = np.array([1e-7, 0.1, 1.0], np.float32)
    entry = inspection("a", defect_class=names[1], prediction=Prediction(score, None, 1))
    row = inspection_row(entry, manifest, None, None)
    assert row["scores"] == json.dumps(dict(zip(names, score.tolist(), strict=True)))
    bad = Prediction(np.array([np.nan, 0, 0], np.float32), None, 1)
    assert inspection_row(inspection("b", prediction=bad), manifest, None, None)["scores"] is None
