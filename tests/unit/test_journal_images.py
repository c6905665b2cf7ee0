"""Pictures: which are kept, what a full disk does, and what is removed when."""

from __future__ import annotations

import errno
import os
import shutil
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from toy_line import inspection, toy_manifest, wait_until

from qc.imageio import read_image
from qc.journal import Journal, JournalWriter
from qc.journal_images import is_sampled
from qc.journal_verify import verify_journal
from qc.linefile import KeepTable
from qc.manifest import Manifest
from qc.types import Review, Verdict, utc_now

Opened = Callable[..., JournalWriter]
FREE = {"min_free_gb": 0.0}


@pytest.fixture
def manifest(tmp_path: Path) -> Manifest:
    return toy_manifest(tmp_path)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "line" / "j.db"


@pytest.fixture
def opened(path: Path, manifest: Manifest) -> Opened:
    def open_(**keep: float) -> JournalWriter:
        table = KeepTable(**(FREE | keep))
        return JournalWriter(path, manifest, "toy", keep=table, durability="normal")

    return open_


@pytest.fixture
def full(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """The disk takes no picture while `errno` is set."""
    state = {"errno": 0}
    write = os.write

    def fake(number: int, data: bytes) -> int:
        if state["errno"]:
            write(number, data[:10])
            raise OSError(state["errno"], os.strerror(state["errno"]))
        return write(number, data)

    monkeypatch.setattr("qc.journal_images.os.write", fake)
    monkeypatch.setattr("qc.journal_images.RETRY_S", 0.0)
    return state


def kept(path: Path) -> set[str]:
    # `rglob` fails where a folder goes while it looks
    names = [name for *_, found in os.walk(path.parent) for name in found]
    return {Path(name).stem for name in names if name.endswith(".png")}


def test_the_sample_is_drawn_by_the_id_and_is_fair() -> None:
    names = [f"part-{n}" for n in range(20_000)]
    drawn = [name for name in names if is_sampled(name, 0.1)]
    # 2000 expected, standard deviation 42: five of them
    assert 1790 < len(drawn) < 2210
    assert drawn == [name for name in names if is_sampled(name, 0.1)]
    assert set(drawn) < {name for name in names if is_sampled(name, 0.2)}
    assert not any(is_sampled(name, 0.0) for name in names[:1000])
    assert all(is_sampled(name, 1.0) for name in names[:1000])
    runs = sum(is_sampled(a, 0.1) and is_sampled(b, 0.1) for a, b in pairwise(names))
    assert 130 < runs < 270, "neighbours are drawn apart: 200 expected"


def test_the_row_says_whether_chance_drew_it(path: Path, opened: Opened) -> None:
    with opened(ok_sample=0.5) as writer:
        for n in range(40):
            writer.put(inspection(f"i{n}", Verdict.OK))
    rows = Journal(path).rows()
    assert {row.sampled for row in rows} == {True, False}
    for row in rows:
        assert row.sampled == is_sampled(row.inspection_id, 0.5)
        assert (row.image_path is not None) == row.sampled
    assert Journal(path).bundle(1).ok_sample == 0.5


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
def test_a_full_disk_costs_the_pictures_and_not_the_line(
    path: Path, opened: Opened, full: dict[str, int], number: int
) -> None:
    with opened() as writer:
        writer.put(inspection("before"))
        wait_until(lambda: kept(path) == {"before"})
        assert writer.images_why == ""
        full["errno"] = number
        for n in range(3):
            writer.put(inspection(f"lost{n}"))
        wait_until(lambda: Journal(path).counts()["ng"] == 4)
        assert os.strerror(number) in writer.images_why
        full["errno"] = 0
        writer.put(inspection("after"))
    assert writer.images_why == ""
    journal = Journal(path)
    have = {row.inspection_id: row.image_path is not None for row in journal.rows()}
    assert have == {"before": True, "lost0": False, "lost1": False, "lost2": False, "after": True}
    assert [e.kind for e in journal.events()] == ["images not kept", "images kept again"]
    assert os.strerror(number) in journal.events()[0].detail["why"]
    assert kept(path) == {"before", "after"} and not [*path.parent.rglob("*.tmp")]
    assert verify_journal(path, images=True).ok


def test_room_is_left_free(path: Path, opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    free = {"bytes": 3e9}

    class Usage:
        def __init__(self, *_: object) -> None:
            self.free = free["bytes"]

    monkeypatch.setattr("qc.journal_images.shutil.disk_usage", Usage)
    with opened(min_free_gb=1.0) as writer:
        for name, there in (("a", 3e9), ("b", 0.9e9), ("c", 1.05e9), ("d", 1.2e9)):
            free["bytes"] = there
            writer.put(inspection(name))
            wait_until(lambda name=name: len(Journal(path).query(limit=9)) > "abcd".index(name))
            short = name in "bc"  # and is kept again from a tenth above the limit on
            assert (writer.images_why != "") == short, writer.images_why
    assert kept(path) == {"a", "d"}
    assert [e.detail for e in Journal(path).events()] == [
        {"why": "the disk has less than 1 GB free (min_free_gb)"},
        {},
    ]


def test_room_that_comes_back_is_noticed_without_a_flagged_part(
    path: Path, opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = {"bytes": 0.0}
    monkeypatch.setattr(
        "qc.journal_images.shutil.disk_usage", lambda _: type("U", (), {"free": free["bytes"]})
    )
    with opened(min_free_gb=1.0) as writer:
        writer.put(inspection("a"))
        wait_until(lambda: writer.images_why != "")
        free["bytes"] = 2e9
        writer.put(inspection("b", Verdict.OK))
        wait_until(lambda: writer.images_why == "")


# what is removed


def fill(opened: Opened, verdicts: list[Verdict], days: int = 0) -> None:
    """i0, i1, ... captured so many days ago."""
    at = utc_now() - timedelta(days=days)
    with opened(ok_sample=1.0) as writer:
        for n, verdict in enumerate(verdicts):
            writer.put(inspection(f"i{n}", verdict, captured_at=at))


def test_old_pictures_go_by_their_class_and_what_was_reviewed_stays(
    path: Path, opened: Opened
) -> None:
    fill(opened, [Verdict.OK, Verdict.OK, Verdict.REVIEW, Verdict.REVIEW, Verdict.NG], days=10)
    for name, decision in (("i1", Verdict.OK), ("i3", Verdict.NG)):
        Journal(path).add_review(Review(name, "Ann", decision))
    with opened(ok_days=1, flagged_days=5, ng_days=20) as writer:
        writer.put(inspection("new", Verdict.REVIEW))
        wait_until(lambda: kept(path) == {"i1", "i3", "i4", "new"})
    journal = Journal(path)
    removed = {e.detail["group"]: e.detail["seqs"] for e in journal.events("pictures removed")}
    assert removed == {"ok": [1], "flagged": [3]}
    assert (
        journal.get("i0").image_path is not None and journal.image_file(journal.get("i0")) is None
    )
    outcome = verify_journal(path, images=True)
    assert outcome.ok and outcome.images == 4, "what the rules removed is not missed"
    with opened(ok_days=1, flagged_days=5, ng_days=9):
        wait_until(lambda: kept(path) == {"new"})
    day = (utc_now() - timedelta(days=10)).date().isoformat()
    assert not (path.parent / "j-images" / day).exists(), "nor is its empty folder"


def test_too_many_bytes_take_ok_first_then_review_then_ng(path: Path, opened: Opened) -> None:
    order = [Verdict.NG, Verdict.NG, Verdict.REVIEW, Verdict.FAULT, Verdict.OK, Verdict.OK]
    fill(opened, order)
    one = next(path.parent.rglob("*.png")).stat().st_size
    for left, names in (
        (5.5, {"i0", "i1", "i2", "i3", "i5"}),
        (3.5, {"i0", "i1", "i3"}),
        (1.5, {"i1"}),
    ):
        with opened(max_gb=left * one / 1e9):
            wait_until(lambda names=names: kept(path) == names)
    assert verify_journal(path, images=True).ok


def test_new_pictures_push_out_the_oldest_at_once(path: Path, opened: Opened) -> None:
    fill(opened, [Verdict.NG])
    one = next(path.parent.rglob("*.png")).stat().st_size
    with opened(max_gb=3.5 * one / 1e9) as writer:
        for n in range(1, 20):
            writer.put(inspection(f"i{n}"))
        wait_until(lambda: kept(path) == {"i17", "i18", "i19"})


def test_what_a_crash_left_half_is_removed(path: Path, opened: Opened) -> None:
    fill(opened, [Verdict.NG])
    day = next(path.parent.rglob("*.png")).parent
    (day / ".0123abcd.tmp").write_bytes(b"half")
    with opened():
        wait_until(lambda: not [*day.glob(".*.tmp")])
    assert kept(path) == {"i0"}


def test_a_removal_that_a_crash_cut_short_is_done_again(path: Path, opened: Opened) -> None:
    fill(opened, [Verdict.OK, Verdict.NG], days=10)
    detail = {"group": "ok", "why": "test", "seqs": [1], "bytes": 1, "after": 0}
    with opened() as writer:
        writer.event("pictures removed", detail)
    assert kept(path) == {"i0", "i1"}, "journaled, and then the process was killed"
    with opened(ok_days=1):
        wait_until(lambda: kept(path) == {"i1"})


def test_what_cannot_be_removed_is_said_and_stops_nothing(
    path: Path, opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(opened, [Verdict.OK], days=10)

    def refuse(self: Path, missing_ok: bool = False) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(self))

    monkeypatch.setattr(Path, "unlink", refuse)
    with opened(ok_days=1) as writer:
        wait_until(lambda: Journal(path).events("pictures not removed") != [])
        writer.put(inspection("new"))
    monkeypatch.undo()
    assert Journal(path).get("new").image_path is not None
    assert "ermission denied" in Journal(path).events("pictures not removed")[0].detail["why"]


def test_pictures_are_what_was_seen(path: Path, opened: Opened) -> None:
    given = inspection("a")
    with opened() as writer:
        writer.put(given)
    file = Journal(path).image_file(Journal(path).get("a"))
    assert file is not None and given.image is not None
    assert (read_image(file) == given.image).all()


# the disk


def test_a_verdict_does_not_wait_for_the_disk_but_the_end_does(
    path: Path, manifest: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on, synced, told = threading.Event(), [], []
    real = os.fsync

    def slow(number: int) -> None:
        go_on.wait(10)
        synced.append(str(Path(f"/proc/self/fd/{number}").readlink()))
        real(number)

    monkeypatch.setattr("qc.journal_images.os.fsync", slow)
    writer = JournalWriter(
        path, manifest, "toy", durability="full", on_written=lambda i: told.append(i.inspection_id)
    )
    for name in ("a", "b"):
        writer.put(inspection(name))
    wait_until(lambda: told == ["a", "b"])
    assert synced == [] and kept(path) == {"a", "b"}, "whole before its row, on the disk after it"
    ending = threading.Thread(target=writer.close)
    ending.start()
    time.sleep(0.05)
    assert ending.is_alive()
    go_on.set()
    ending.join(5)
    assert not ending.is_alive()
    files = {str(file) for file in path.parent.rglob("*.png")}
    day = next(path.parent.rglob("*.png")).parent
    assert len(files) == 2 and {*files, str(day), str(day.parent)} <= {*synced}


def test_a_disk_that_does_not_take_a_picture_is_said(
    path: Path, manifest: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(number: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with JournalWriter(path, manifest, "toy", durability="full") as writer:
        monkeypatch.setattr("qc.journal_images.os.fsync", broken)
        writer.put(inspection("a"))
    (event,) = Journal(path).events()
    assert event.kind == "images not kept"
    assert "the disk does not take the pictures: " in event.detail["why"]


def test_a_kept_picture_is_not_compressed(path: Path, opened: Opened) -> None:
    """Compressing took most of the time that a verdict waited for."""
    plain = np.full((64, 64, 3), (10, 20, 30), np.uint8)
    with opened() as writer:
        writer.put(inspection("a", image=plain))
    file = next(path.parent.rglob("*.png"))
    assert file.stat().st_size > plain.nbytes and (read_image(file) == plain).all()


def test_a_grey_picture_is_kept_as_one_channel_and_read_as_three(
    path: Path, opened: Opened
) -> None:
    grey = np.repeat(np.arange(64 * 64, dtype=np.uint8).reshape(64, 64, 1), 3, axis=2)
    almost = grey.copy()
    almost[3, 5, 2] ^= 1
    with opened() as writer:
        writer.put(inspection("grey", image=grey))
        writer.put(inspection("almost", image=almost))
    kept = {file.stem: file for file in path.parent.rglob("*.png")}
    assert (read_image(kept["grey"]) == grey).all()
    assert (read_image(kept["almost"]) == almost).all()
    assert kept["grey"].stat().st_size < kept["almost"].stat().st_size / 2.5


def test_a_folder_that_somebody_removed_costs_no_picture(path: Path, opened: Opened) -> None:
    """The file of the next picture was open in it already."""
    told: list[str] = []
    with opened() as writer:
        writer.on_written = lambda i: told.append(i.inspection_id)
        writer.put(inspection("a"))
        wait_until(lambda: told == ["a"] and [*path.parent.rglob("*.tmp")] != [])
        shutil.rmtree(path.parent / "j-images")
        writer.put(inspection("b"))
    assert kept(path) == {"b"} and not [*path.parent.rglob("*.tmp")]
    assert Journal(path).events() == []


def test_the_next_day_has_its_own_folder(path: Path, opened: Opened) -> None:
    today = utc_now()
    with opened() as writer:
        for n in range(3):
            writer.put(inspection(f"i{n}", captured_at=today + timedelta(days=n)))
            wait_until(lambda n=n: len(kept(path)) == n + 1)
    assert len([*(path.parent / "j-images").iterdir()]) == 3
    assert verify_journal(path, images=True).images == 3 and not [*path.parent.rglob("*.tmp")]
