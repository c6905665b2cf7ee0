"""What cannot be written: the first error is told, also where its half cannot be cleaned up."""

from __future__ import annotations

import errno
import os
import sqlite3
from pathlib import Path

import numpy as np
import pytest

from edge.station.peoplefile import PeopleFile
from qc.errors import FaultError
from qc.journal_export import write_csv
from qc.journal_masks import masks_folder, store_mask
from qc.journal_open import open_journal
from qc.signature import new_key


@pytest.fixture
def no_folder(tmp_path: Path) -> Path:
    """A file that stands where a folder should: nothing is made in it, nothing removed."""
    file = tmp_path / "file"
    file.write_text("mine")
    return file


def read_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on nothing can be removed, as on a disk that was mounted anew for reading."""

    def refuse(self: Path, missing_ok: bool = False) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(self))

    monkeypatch.setattr(Path, "unlink", refuse)


def test_a_mask_whose_folder_is_a_file(tmp_path: Path) -> None:
    journal = tmp_path / "j.db"
    masks_folder(journal).write_text("mine")
    with pytest.raises(FaultError, match="the mask cannot be kept; found File exists") as caught:
        store_mask(journal, "i-1", np.ones((3, 3), np.bool_))
    assert Path(caught.value.where).parent == masks_folder(journal)
    assert masks_folder(journal).read_text() == "mine"


def test_of_a_mask_on_a_full_disk_nothing_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(number: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    journal = tmp_path / "j.db"
    with pytest.raises(FaultError, match="the mask cannot be kept; found No space left"):
        store_mask(journal, "i-1", np.ones((3, 3), np.bool_))
    assert list(masks_folder(journal).iterdir()) == []
    read_only(monkeypatch)
    with pytest.raises(FaultError, match="the mask cannot be kept; found No space left"):
        store_mask(journal, "i-1", np.ones((3, 3), np.bool_))


def test_an_export_into_a_file(no_folder: Path) -> None:
    out = no_folder / "out.csv"
    with pytest.raises(FaultError, match="the file cannot be written; found Not a dir") as caught:
        write_csv([], out)
    assert caught.value.where == str(out) and no_folder.read_text() == "mine"


def test_an_export_over_a_folder_leaves_the_folder_alone(tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    out.mkdir()
    with pytest.raises(FaultError, match="the file cannot be written; found "):
        write_csv([], out)
    assert [*tmp_path.iterdir()] == [out] and not [*out.iterdir()]


def test_people_whose_folder_is_a_file(no_folder: Path) -> None:
    path = no_folder / "people.db"
    with pytest.raises(FaultError, match="the file of people cannot be made; found") as caught:
        PeopleFile(path, make=True)
    assert caught.value.where == str(path) and no_folder.read_text() == "mine"


def test_a_key_whose_half_cannot_be_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = os.open

    def full(file: Path, *arguments: int) -> int:
        if file.suffix == ".pub":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(file))
        return made(file, *arguments)

    monkeypatch.setattr(os, "open", full)
    read_only(monkeypatch)
    with pytest.raises(FaultError, match="the key cannot be written; found No space left"):
        new_key(tmp_path / "plant")


def test_a_disk_without_write_ahead_logging_holds_no_journal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some network shares have none: SQLite then goes on with another way of journaling."""

    class Shared(sqlite3.Connection):
        def execute(self, sql: str, *values: object) -> sqlite3.Cursor:
            said = sql.replace("journal_mode=WAL", "journal_mode=MEMORY")
            return super().execute(said, *values)

    connect = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda *a, **k: connect(*a, **k, factory=Shared))
    path = tmp_path / "j.db"
    says = "the disk cannot hold a journal; expected write-ahead logging; found memory"
    with pytest.raises(FaultError, match=says) as caught:
        open_journal(path, "full")
    assert caught.value.where == str(path)
