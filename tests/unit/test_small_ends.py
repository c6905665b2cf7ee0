"""What rarely happens to the small parts of a line: locked files, failing tasks, foreign keys."""

from __future__ import annotations

import os
import sqlite3
import stat
import threading
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from toy_line import frame, picture

from edge.clerk import NOTES, Clerk
from edge.codes import read_code
from edge.progress import Place, Progress, PutAside, progress_file
from edge.station.research import NOTICE, NoticedJSON, key_file, noticed, read_key
from qc.errors import DataError, FaultError, QCError, RecipeError
from qc.lock import take_lock
from qc.recipe import read_recipe
from qc.types import Inspection, Prediction, Sample, Verdict, utc_now

# progress of the sinks


def test_progress_is_kept_with_what_was_put_aside(tmp_path: Path) -> None:
    file = progress_file(tmp_path / "j.db")
    assert file.name == "j.db.sinks.db"
    first, second = Progress(file), Progress(file)
    assert first.place("mqtt") is None and first.put_aside("mqtt") == []
    aside = [PutAside("mqtt", 3, "c", "too long"), PutAside("mqtt", 4, "d", "no such field")]
    first.keep("mqtt", Place(4, "d"), aside)
    assert second.place("mqtt") == Place(4, "d") and second.put_aside("mqtt") == aside
    assert second.place("csv") is None and second.put_aside("csv") == []
    first.close()
    second.close()


def test_progress_that_cannot_be_written_is_a_fault_and_nothing_of_it_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge.progress.BUSY_S", 0.05)
    file = tmp_path / "p.db"
    progress = Progress(file)
    progress.keep("csv", Place(1, "a"))
    with pytest.raises(FaultError, match=r"p\.db: the progress of the sinks cannot be written"):
        progress.keep("csv", Place(2, "b"), [PutAside("csv", 2, "b", None)])  # type: ignore[arg-type]
    assert progress.place("csv") == Place(1, "a") and progress.put_aside("csv") == []
    other = sqlite3.connect(file, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(FaultError, match="cannot be written; found database is locked"):
        progress.keep("csv", Place(2, "b"))
    other.execute("ROLLBACK")
    progress.keep("csv", Place(2, "b"))
    assert progress.place("csv") == Place(2, "b")
    other.execute("DROP TABLE progress")
    other.execute("DROP TABLE put_aside")
    other.close()
    reads: tuple[Callable[[str], Any], ...] = (progress.place, progress.put_aside)
    for read in reads:
        with pytest.raises(FaultError, match=r"cannot be read; found no such table"):
            read("csv")
    progress.close()


def test_progress_in_a_file_of_another_kind_is_a_fault(tmp_path: Path) -> None:
    file = tmp_path / "p.db"
    file.write_bytes(b"no database" * 100)
    with pytest.raises(FaultError, match=r"p\.db: the progress of the sinks cannot be opened"):
        Progress(file)


# the clerk


def test_a_task_that_fails_is_told_and_the_next_is_done() -> None:
    failed: list[Exception] = []
    done = threading.Event()
    clerk = Clerk(failed.append)
    clerk.start()
    wrong = OSError("disk full")

    def fail() -> None:
        raise wrong

    clerk.tell(fail)
    clerk.tell(done.set)
    clerk.close(5)
    assert done.is_set() and failed == [wrong]
    clerk.tell(lambda: failed.append(OSError("too late")))
    assert failed == [wrong], "after its end nothing is done, and nobody is told"


def test_a_clerk_that_does_not_keep_up_is_told_of() -> None:
    failed: list[Exception] = []
    clerk = Clerk(failed.append)  # it has not begun
    for _ in range(NOTES):
        clerk.tell(lambda: None)
    assert not failed
    clerk.tell(lambda: None)
    assert len(failed) == 1 and f"the journal does not answer; found {NOTES} wait" in str(failed[0])
    clerk.close(0)


# codes


def test_a_detector_that_fails_is_an_error_of_the_part(monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken:
        def detectAndDecodeMulti(self, grey: object) -> object:  # noqa: N802 - OpenCV's name
            return cv2.cvtColor(np.zeros((2, 2), np.uint8), cv2.COLOR_BGR2GRAY)

    monkeypatch.setattr("edge.codes.cv2.QRCodeDetector", Broken)
    with pytest.raises(DataError, match="the detector of codes failed"):
        read_code(np.zeros((40, 40, 3), np.uint8))


# the lock of a journal


def test_one_process_holds_a_journal_until_it_lets_go(tmp_path: Path) -> None:
    journal = tmp_path / "j.db"
    held = take_lock(journal)
    assert (tmp_path / "j.db.lock").read_text() == f"{os.getpid()}\n"
    with pytest.raises(FaultError, match=rf"another line writes.*process {os.getpid()} holds"):
        take_lock(journal)
    os.close(held)
    again = take_lock(journal)
    (tmp_path / "j.db.lock").write_text("")
    with pytest.raises(FaultError, match="process unknown holds"):
        take_lock(journal)
    os.close(again)
    with pytest.raises(OSError, match="No such file"):
        take_lock(tmp_path / "gone" / "j.db")


def test_a_disk_that_is_full_does_not_keep_the_lock_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("qc.lock.os.pwrite", full)
    held = take_lock(tmp_path / "j.db")
    with pytest.raises(FaultError, match="another line writes"):
        take_lock(tmp_path / "j.db")
    os.close(held)


# research


def test_the_key_of_research_is_made_once_for_its_owner_alone(tmp_path: Path) -> None:
    journal = tmp_path / "j.db"
    key = read_key(journal)
    assert len(key) == 32 and read_key(journal) == key
    assert read_key(tmp_path / "other.db") != key
    assert stat.S_IMODE(key_file(journal).stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("text", "says"),
    [("not hexadecimal", "expected hexadecimal"), ("", "found 0"), ("ab" * 31, "found 31")],
)
def test_a_file_that_is_no_key_is_refused(tmp_path: Path, text: str, says: str) -> None:
    file = key_file(tmp_path / "j.db")
    file.write_text(text)
    with pytest.raises(DataError, match=f"this is no key.*{says}") as caught:
        read_key(tmp_path / "j.db")
    assert caught.value.where == str(file) and file.read_text() == text


def test_a_key_that_cannot_be_made_is_a_fault(tmp_path: Path) -> None:
    with pytest.raises(FaultError, match="no key for research mode"):
        read_key(tmp_path / "gone" / "j.db")


def test_every_object_and_every_layer_bears_the_notice() -> None:
    assert NoticedJSON({"a": 1}).body.startswith(b'{"notice":"NOT FOR DIAGNOSTIC USE"')
    assert NoticedJSON([1]).body == b"[1]"
    layer = np.zeros((60, 300, 4), np.uint8)
    drawn = noticed(layer)
    assert drawn.shape == layer.shape and drawn[40:].any() and not layer.any(), NOTICE


# values


def _inspection(**changes: Any) -> Inspection:
    facts: dict[str, Any] = {
        "inspection_id": "i",
        "frame_id": "f",
        "source_id": "s",
        "captured_at": utc_now(),
        "verdict": Verdict.FAULT,
        "reason": "r",
        "bundle_id": "b",
    }
    return Inspection(**facts | changes)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: frame(0, [[1]]), "expected a numpy array; found list"),
        (lambda: frame(0, picture()[..., :2]), r"expected \(H, W, 3\) uint8; found \(4, 4, 2\)"),
        (lambda: frame(0, picture().astype(float)), "found .* float64"),
        (lambda: frame(0, picture()[:0]), r"found \(0, 4, 3\)"),
        (lambda: Sample("", Path("a"), ("x",)), "expected a name"),
        (lambda: Sample("a", Path("a"), ()), "labels of a is not valid; expected at least one"),
        (lambda: Sample("a", Path("a"), ("x",), split="dev"), "split of a .* found dev"),
        (lambda: Prediction(np.zeros((1, 2), np.float32), None, 0), r"expected shape \(K,\)"),
        (
            lambda: Prediction(np.zeros(2, np.float32), np.zeros((2, 2, 3), np.float32), 0),
            r"expected shape \(h, w, 2\); found \(2, 2, 3\)",
        ),
        (lambda: _inspection(inspection_id=""), "expected a name; found nothing"),
        (lambda: _inspection(captured_at=datetime(2026, 1, 1)), "a time with its zone"),
        (lambda: _inspection(verdict=Verdict.OK), "a prediction behind every verdict but FAULT"),
    ],
)
def test_a_value_that_cannot_be_is_refused_where_it_is_made(
    make: Callable[[], object], says: str
) -> None:
    with pytest.raises(QCError, match=says):
        make()
    assert _inspection().verdict is Verdict.FAULT


# recipes

RECIPE = """
name = "tiles"
[data]
path = "parts"
good = "fine"
[model]
backbone = "mobilenet_v2"
size_hw = [64, 96]
{model}
[train]
epochs = 5
{train}
[train.augment]
{augment}
[decision]
{decision}
"""


@pytest.mark.parametrize(
    ("table", "legal", "wrong", "says"),
    [
        ("model", "block_options = {}\nblock = 'none'", "block_options = {a = 1}\nblock = 'none'",
         "block_options are of a block"),
        ("model", "stride = 8", "stride = 8\npyramid = true\nblock_at = 1", "block_at"),
        ("train", "mixup = 0.2\nmask_weight = 0", "mixup = 0.2\nmask_weight = 0.1", "mixup needs"),
        ("decision", "confidence = 0.9\nmax_escape = 0.01", "confidence = 0.9\nmax_escape = 0",
         "no number of parts shows with confidence that max_escape is 0"),
        ("decision", "max_escape = 0", "confidence = 0.9\nseverity_escape = {critical = 0}",
         "no number of parts"),
        ("augment", "quarter_turns = false", "quarter_turns = true", "only a square"),
    ],
)  # fmt: skip
def test_values_that_do_not_go_together_are_refused(
    tmp_path: Path, table: str, legal: str, wrong: str, says: str
) -> None:
    file = tmp_path / "tiles.toml"
    empty = dict.fromkeys(("model", "train", "augment", "decision"), "")
    file.write_text(RECIPE.format(**empty | {table: legal}))
    assert read_recipe(file).name == "tiles"
    file.write_text(RECIPE.format(**empty | {table: wrong}))
    with pytest.raises(RecipeError, match=says):
        read_recipe(file)
