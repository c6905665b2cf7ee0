"""A journal that cannot write: never silent, never hanging, and what was journaled stays."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from toy_line import inspection, toy_manifest, wait_until

from qc.errors import FaultError
from qc.journal import Journal, JournalWriter
from qc.linefile import KeepTable
from qc.manifest import Manifest
from qc.types import Inspection, Prediction, Review, Verdict


@pytest.fixture
def manifest(tmp_path: Path) -> Manifest:
    return toy_manifest(tmp_path)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "line" / "shift.journal"


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
            if i < 10:
                wait_until(lambda i=i: len(written) > i)  # then as fast as it goes
        writer.close()
    assert caught.value.exit_code == 3
    for _ in range(2):
        with pytest.raises(FaultError, match="disk/j"):
            writer.close()
    with pytest.raises(FaultError, match="disk/j"):
        writer.drop("toy", "d", "full")
    subprocess.run(["mount", "-o", "remount,size=2m", str(disk)], check=True)
    rows = Journal(disk / "j").rows(limit=3000, newest_first=False)
    assert len(rows) >= 10 and [r.inspection_id for r in rows] == written


def test_a_disk_that_fills_up_costs_pictures_before_rows(
    mounted: Callable[..., Path], manifest: Manifest
) -> None:
    disk = mounted("mount -t tmpfs -o size=3m tmpfs")
    noise = np.random.default_rng(0).integers(0, 256, (300, 300, 3), np.uint8)
    keep = KeepTable(min_free_gb=0.0015)
    with JournalWriter(disk / "j", manifest, "toy", keep=keep) as writer:
        for i in range(30):
            writer.put(inspection(f"i{i}", image=noise))
        wait_until(lambda: Journal(disk / "j").counts()["ng"] == 30)
        assert "min_free_gb" in writer.images_why
        kept = [*disk.rglob("*.png")]
        assert 1 <= len(kept) < 10
        for file in kept[1:]:
            file.unlink()
        writer.put(inspection("again", image=noise))
    assert writer.images_why == ""
    assert Journal(disk / "j").get("again").image_path is not None
    kinds = [event.kind for event in Journal(disk / "j").events()]
    assert kinds == ["images not kept", "images kept again"]


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
            for i in range(300):
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


def test_an_image_that_cannot_be_kept_does_not_stop_the_line(
    path: Path, opened: Callable[..., JournalWriter]
) -> None:
    with opened() as writer:
        (path.parent / "shift-images").touch()
        for name in ("a", "b"):
            writer.put(inspection(name))
        wait_until(lambda: writer.images_why != "")
    assert "cannot be written" in writer.images_why
    journal = Journal(path)
    assert [row.image_path for row in journal.rows()] == [None, None]
    assert [e.kind for e in journal.events()] == ["images not kept"]


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


def test_pictures_that_wait_are_bounded_in_bytes(
    path: Path, opened: Callable[..., JournalWriter], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("qc.journal.QUEUE_BYTES", 2 * 4 * 4 * 3)
    entered, go_on = threading.Event(), threading.Event()

    def hold(_: Inspection) -> None:
        entered.set()
        go_on.wait(10)

    writer = opened(on_written=hold)
    writer.put(inspection("written", Verdict.OK))
    assert entered.wait(5)
    given: list[str] = []

    def fill() -> None:
        for name in ("a", "b", "c"):
            writer.put(inspection(name, Verdict.OK))
            given.append(name)

    thread = threading.Thread(target=fill)
    thread.start()
    wait_until(lambda: len(given) == 1)
    time.sleep(0.05)
    assert given == ["a"], "one picture of 48 bytes is being written, one waits: no third"
    go_on.set()
    thread.join(5)
    writer.close()
    assert Journal(path).counts()["ok"] == 4
