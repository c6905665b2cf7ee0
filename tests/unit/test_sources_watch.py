"""A folder that is watched: each new file once, when it is complete, and where it goes then."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from toy_line import inspection, picture, wait_until

from edge.sources import _watch
from edge.sources.folder import Source
from qc.errors import DataError, FaultError, UsageError
from qc.imageio import write_png
from qc.types import Frame


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    write_png(tmp_path / "in" / "old.png", picture())
    return tmp_path / "in"


class Watching:
    """A watched folder that is read in a thread; each frame is answered where `answers`."""

    def __init__(self, folder: Path, **options: Any) -> None:
        self.source = Source(folder, watch=True, poll_s=0.02, **({"stable_s": 0.06} | options))
        self.frames: list[Frame] = []
        self.error: Exception | None = None
        self.thread = threading.Thread(target=self._work)

    def _work(self) -> None:
        try:
            with self.source:
                for frame in self.source:
                    self.frames.append(frame)
                    self.source.answered(inspection("i", frame_id=frame.frame_id))
        except (DataError, FaultError) as error:
            self.error = error

    @property
    def parts(self) -> list[str | None]:
        return [f.part_id for f in self.frames]


@contextmanager
def watching(folder: Path, **options: Any) -> Iterator[Watching]:
    watch = Watching(folder, **options)
    watch.thread.start()
    yield watch
    watch.source.stop()
    watch.thread.join(2)
    assert not watch.thread.is_alive(), "it does not stop"


def test_new_files_are_taken_once_each(folder: Path) -> None:
    with watching(folder) as watch:
        write_png(folder / "a.png", picture(1))
        wait_until(lambda: watch.parts == ["a"])
        (folder / "lot2").mkdir()
        write_png(folder / "lot2" / "b.png", picture(2))
        write_png(folder / "a_mask.png", picture())
        wait_until(lambda: watch.parts == ["a", "b"])
        time.sleep(0.15)
        write_png(folder / "a.png", picture(3))  # a camera that always writes the same name
        wait_until(lambda: watch.parts == ["a", "b", "a"])
    assert len({f.frame_id for f in watch.frames}) == 3 and watch.source.is_live
    first, last = watch.frames[0].image, watch.frames[2].image
    assert first is not None and last is not None and (first[0, 0, 0], last[0, 0, 0]) == (1, 3)
    assert sorted(f.name for f in folder.iterdir()) == ["a.png", "a_mask.png", "lot2", "old.png"]


def test_a_file_that_is_being_written_is_waited_for(folder: Path, tmp_path: Path) -> None:
    write_png(tmp_path / "whole.png", picture(9))
    data = (tmp_path / "whole.png").read_bytes()
    with watching(folder) as watch:
        with (folder / "slow.png").open("wb") as file:
            for byte in range(0, len(data), 8):
                file.write(data[byte : byte + 8])
                file.flush()
                time.sleep(0.02)
            # now the writer pauses for longer than stable_s before the end
        (folder / "half.png").write_bytes(data[:-12])
        time.sleep(0.3)
        assert watch.parts == ["slow"]
        with (folder / "half.png").open("ab") as file:
            file.write(data[-12:])
        wait_until(lambda: watch.parts == ["slow", "half"])
    assert [f.fault for f in watch.frames] == [None, None]


def test_a_file_that_stays_unreadable_is_a_fault(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_watch, "UNREADABLE_S", 0.2)
    with watching(folder) as watch:
        (folder / "empty.png").touch()
        (folder / "text.jpg").write_text("no picture")
        wait_until(lambda: sorted(filter(None, watch.parts)) == ["empty", "text"])
        time.sleep(0.3)
    assert len(watch.frames) == 2 and all(f.fault for f in watch.frames)


def test_what_is_done_is_moved_and_nothing_is_overwritten(folder: Path, tmp_path: Path) -> None:
    with watching(folder, done="move", done_path=tmp_path / "out") as watch:
        wait_until(lambda: (tmp_path / "out" / "old.png").exists())  # what was there is taken too
        write_png(folder / "old.png", picture(4))
        wait_until(lambda: (tmp_path / "out" / "old-1.png").exists())
    assert watch.parts == ["old", "old"] and list(folder.iterdir()) == []


def test_what_is_done_is_deleted_after_its_verdict(folder: Path) -> None:
    source = Source(folder, watch=True, poll_s=0.01, stable_s=0.02, done="delete")
    with source:
        frames = iter(source)
        frame = next(frames)
        assert (folder / "old.png").exists(), "it has no verdict yet"
        source.answered(inspection("i", frame_id=frame.frame_id))
        source.stop()
        assert next(frames, None) is None
    assert not (folder / "old.png").exists()


def test_a_folder_that_was_away_is_not_judged_again(folder: Path, tmp_path: Path) -> None:
    with watching(folder) as watch:
        write_png(folder / "a.png", picture())
        wait_until(lambda: watch.parts == ["a"])
        folder.rename(tmp_path / "away")
        wait_until(lambda: watch.error is not None)
        assert "there is no such folder" in str(watch.error)
    (tmp_path / "away").rename(folder)
    write_png(folder / "b.png", picture())  # came while nobody looked
    with watching(folder) as again:
        wait_until(lambda: again.parts == ["b"])
        (tmp_path / "away").mkdir()
        names = [f.name for f in folder.iterdir()]
        for name in names:  # an unmounted drive is an empty folder
            (folder / name).rename(tmp_path / "away" / name)
        time.sleep(0.15)
        for name in names:
            (tmp_path / "away" / name).rename(folder / name)
        time.sleep(0.25)
        assert again.parts == ["b"]


def test_a_file_that_cannot_be_put_away_is_a_fault(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file is in the way")
    with watching(folder, done="move", done_path=tmp_path / "out") as watch:
        wait_until(lambda: watch.error is not None)
    assert "cannot be put away (done = 'move')" in str(watch.error)


def test_keys_that_do_not_fit_are_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="watch = true"):
        Source(folder, done="delete")
    with pytest.raises(UsageError, match=r"done_path where done is 'move'.*done_path = nothing"):
        Source(folder, watch=True, done="move")
    with pytest.raises(UsageError, match="outside of the watched folder"):
        Source(folder, watch=True, done="move", done_path=folder / "done")
    with pytest.raises(DataError, match="no such folder"):
        Source(tmp_path / os.fspath("missing"), watch=True)
