"""The journal: what goes in stays in, and a journal that cannot write is never silent."""

from __future__ import annotations

import dataclasses
import os
import sqlite3
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pytest
from toy_line import inspection, picture, toy_manifest

from qc.bundle import Manifest
from qc.errors import DataError, FaultError, QCError
from qc.imageio import read_image
from qc.journal import Journal, JournalWriter
from qc.types import Inspection, Prediction, Review, Verdict

TABLES = ("meta", "bundles", "inspections", "drops", "reviews")


@pytest.fixture
def manifest(tmp_path: Path) -> Manifest:
    return toy_manifest(tmp_path)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "line 1#?" / "shift.journal"


@pytest.fixture
def opened(path: Path, manifest: Manifest) -> Callable[..., JournalWriter]:
    return lambda **options: JournalWriter(path, manifest, "toy 1.0", **options)


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Mount something of one's own, where the machine permits it."""
    folder = tmp_path / "disk"
    folder.mkdir()

    def mount(*commands: str) -> Path:
        for command in commands:
            words = [*command.split(), str(folder)]
            try:
                subprocess.run(words, check=True, capture_output=True)
            except (OSError, subprocess.CalledProcessError) as error:
                pytest.skip(f"mounting is not permitted here: {error}")
        return folder

    yield mount
    if os.path.ismount(folder):
        subprocess.run(["umount", "-l", str(folder)], check=True)


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


def test_images_are_kept_of_the_verdicts_named(
    path: Path, opened: Callable[..., JournalWriter]
) -> None:
    with opened() as writer:
        writer.put(inspection("ok", Verdict.OK))
        writer.put(inspection("review", Verdict.REVIEW))
    with opened(keep_images={Verdict.OK}) as writer:
        writer.put(inspection("ok2", Verdict.OK))
        writer.put(inspection("ng2", Verdict.NG))
    kept = {row.inspection_id for row in Journal(path).rows() if row.image_path is not None}
    assert kept == {"review", "ok2"}
    assert {p.stem for p in path.parent.rglob("*.png")} == {"review", "ok2"}


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
    assert journal.reviews("a") == [first, second] and journal.get("a").n_reviews == 2
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
        with pytest.raises(DataError, match="thing: the .* is not a journal"):
            JournalWriter(path, manifest, "toy")
    assert before is None or path.read_bytes() == before


def test_another_schema_is_refused(path: Path, opened: Callable[..., JournalWriter]) -> None:
    opened().close()
    with sqlite3.connect(path) as connection:
        connection.execute("DROP TRIGGER meta_no_update")
        connection.execute("UPDATE meta SET value = '99' WHERE key = 'schema_version'")
    for attempt in (lambda: Journal(path), opened):
        with pytest.raises(DataError, match="expected version 1; found version 99"):
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


# what cannot be written


def test_a_folder_that_cannot_be_made_is_a_fault(tmp_path: Path, manifest: Manifest) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(FaultError, match=r"file/j: the journal cannot be opened") as caught:
        JournalWriter(tmp_path / "file" / "j", manifest, "toy")
    assert caught.value.exit_code == 3


def test_a_read_only_disk_is_a_fault_to_write_and_can_be_read(
    mounted: Callable[..., Path], manifest: Manifest
) -> None:
    disk = mounted("mount -t tmpfs -o size=4m tmpfs")
    with JournalWriter(disk / "j", manifest, "toy") as writer:
        writer.put(inspection("a"))
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    with pytest.raises(FaultError, match="disk/j: the journal cannot be opened"):
        JournalWriter(disk / "j", manifest, "toy")
    with pytest.raises(FaultError, match="disk/new: the journal cannot be opened"):
        JournalWriter(disk / "new", manifest, "toy")
    journal = Journal(disk / "j")
    assert journal.counts()["ng"] == 1
    with pytest.raises(FaultError, match="disk/j: the journal cannot be written"):
        journal.add_review(Review("a", "Ann", Verdict.OK))


@pytest.mark.parametrize("verdict", [Verdict.OK, Verdict.NG])
def test_a_full_disk_stops_the_writer_and_loses_nothing_journaled(
    mounted: Callable[..., Path], manifest: Manifest, verdict: Verdict
) -> None:
    """OK parts fill the disk with rows, NG parts with images."""
    disk = mounted("mount -t tmpfs -o size=600k tmpfs")
    noise = np.random.default_rng(0).integers(0, 256, (60, 60, 3), np.uint8)
    wide = Prediction(np.array([1, 0, 0], np.float32), np.ones((32, 32, 3), np.float32), 1)
    written: list[str] = []
    writer = JournalWriter(
        disk / "j", manifest, "toy", on_written=lambda i: written.append(i.inspection_id)
    )
    with pytest.raises(FaultError, match=r"disk/j: .*(disk is full|No space left)") as caught:
        for i in range(2000):
            writer.put(inspection(f"i{i}", verdict, image=noise, prediction=wide))
        writer.close()
    assert caught.value.exit_code == 3
    for _ in range(2):
        with pytest.raises(FaultError, match="disk/j"):
            writer.close()
    with pytest.raises(FaultError, match="disk/j"):
        writer.drop("toy", "d", "full")
    subprocess.run(["mount", "-o", "remount,size=2m", str(disk)], check=True)
    rows = Journal(disk / "j").rows(limit=3000, newest_first=False)
    assert len(rows) > 5 and [r.inspection_id for r in rows] == written


def test_a_failing_writer_keeps_what_came_before_and_frees_everyone(
    path: Path, opened: Callable[..., JournalWriter]
) -> None:
    entered, go_on = threading.Event(), threading.Event()

    def hold(_: Inspection) -> None:
        entered.set()
        go_on.wait(10)

    writer = opened(on_written=hold)
    with sqlite3.connect(path) as connection:
        connection.execute(
            "CREATE TRIGGER bad BEFORE INSERT ON inspections WHEN NEW.reason = 'bad' "
            "BEGIN SELECT RAISE(ABORT, 'the disk went away'); END"
        )
    writer.put(inspection("first", Verdict.OK))
    assert entered.wait(5)
    writer.put(inspection("before", Verdict.OK))
    writer.put(inspection("bad", Verdict.OK, reason="bad"))
    failures: list[FaultError] = []

    def fill(number: int) -> None:
        try:
            for i in range(100):
                writer.put(inspection(f"{number}-{i}", Verdict.OK))
        except FaultError as error:
            failures.append(error)

    writers = [threading.Thread(target=fill, args=(n,)) for n in range(3)]
    for thread in writers:
        thread.start()
    time.sleep(0.1)
    assert all(thread.is_alive() for thread in writers), "the queue is full and put waits"
    go_on.set()
    for thread in writers:
        thread.join(5)
        assert not thread.is_alive()
    assert len(failures) == 3 and all("the disk went away" in str(f) for f in failures)
    with pytest.raises(FaultError, match=r"shift\.journal: .*the disk went away"):
        writer.close()
    assert [r.inspection_id for r in Journal(path).rows()] == ["before", "first"]


def test_an_image_that_cannot_be_kept_is_a_fault(
    path: Path, opened: Callable[..., JournalWriter]
) -> None:
    failed = threading.Event()
    writer = opened(on_failed=failed.set)
    (path.parent / "shift-images").touch()
    writer.put(inspection("ok", Verdict.OK))
    writer.put(inspection("ng", Verdict.NG))
    assert failed.wait(5)
    with pytest.raises(FaultError, match=r"cannot be kept.*(exists|directory)"):
        writer.close()
    assert Journal(path).counts()["captured"] == 1


def test_what_fails_after_the_commit_is_not_swallowed(
    path: Path, opened: Callable[..., JournalWriter]
) -> None:
    def broken(_: Inspection) -> None:
        raise LookupError("nobody there")

    writer = opened(on_written=broken)
    writer.put(inspection("a"))
    with pytest.raises(FaultError, match="nobody there"):
        writer.close()
    assert Journal(path).counts()["ng"] == 1


def test_closing_twice_is_closing_once(path: Path, opened: Callable[..., JournalWriter]) -> None:
    writer = opened()
    writer.put(inspection("a"))
    writer.close()
    writer.close()
    with pytest.raises(FaultError, match="the journal is closed"):
        writer.put(inspection("b"))
    assert Journal(path).counts()["captured"] == 1


def test_a_close_that_gets_nowhere_ends_in_a_fault(
    opened: Callable[..., JournalWriter],
) -> None:
    stuck = threading.Event()
    writer = opened(on_written=lambda _: stuck.wait(10))
    writer.put(inspection("a"))
    time.sleep(0.05)
    writer.put(inspection("b"))
    start = time.monotonic()
    with pytest.raises(FaultError, match=r"did not finish.*within 0\.1 s"):
        writer.close(timeout_s=0.1)
    assert time.monotonic() - start < 2
    stuck.set()
    writer.close()


def test_slow_progress_is_waited_for(path: Path, opened: Callable[..., JournalWriter]) -> None:
    """Ten entries of 50 ms take longer than the 200 ms that may pass without one."""
    writer = opened(on_written=lambda _: time.sleep(0.05))
    for i in range(10):
        writer.put(inspection(f"i{i}", Verdict.OK))
    writer.close(timeout_s=0.2)
    assert Journal(path).counts()["ok"] == 10
