"""Walking a folder: links, loops, pipes, and names that are not text."""

from __future__ import annotations

import json
import os
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from edge import inspect_command
from edge.picture_files import files, read_frame
from edge.sources.folder import Source
from qc.errors import DataError, QCError, printable
from qc.folders import leads_back, walk
from qc.imageio import read_image, write_png
from qc.types import Inspection, Verdict, utc_now
from training.datasets import load_samples, read_dataset

GREY = np.full((8, 8), 90, np.uint8)


def _names(root: Path, files: list[Path]) -> list[str]:
    return [file.relative_to(root).as_posix() for file in files]


@pytest.fixture
def parts(tmp_path: Path) -> Path:
    """Class folders `good` and `hole` of two pictures each."""
    for kind in ("good", "hole"):
        (tmp_path / "parts" / kind).mkdir(parents=True)
        for i in range(2):
            write_png(tmp_path / "parts" / kind / f"{i}.png", GREY + i)
    return tmp_path / "parts"


def test_links_are_followed_where_they_lead_elsewhere(parts: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    (store / "inner").mkdir(parents=True)
    write_png(store / "inner" / "far.png", GREY)
    (parts / "good" / "linked.png").symlink_to(store / "inner" / "far.png")
    (parts / "scratch").symlink_to(store / "inner")
    found = walk(parts)
    assert not found.loops and not found.others
    wanted = ["good/0.png", "good/1.png", "good/linked.png", "hole/0.png", "hole/1.png"]
    assert _names(parts, found.files) == [*wanted, "scratch/far.png"]
    assert load_samples(parts)[1][-1].labels == ("scratch",)


@pytest.mark.parametrize("target", [".", "..", "../good", "../../parts/hole", "/"])
def test_links_that_lead_back_are_refused_by_name(parts: Path, target: str) -> None:
    link = parts / "good" / "again"
    link.symlink_to(target)
    assert leads_back(link, parts)
    found = walk(parts)
    assert [error.where for error in found.loops] == [str(link)]
    assert _names(parts, found.files) == ["good/0.png", "good/1.png", "hole/0.png", "hole/1.png"]
    with pytest.raises(DataError, match="not followed") as caught:
        load_samples(parts)
    assert caught.value.where == str(link)
    with pytest.raises(DataError, match="not followed"):
        Source(parts)


def test_a_class_that_is_a_link_to_the_dataset_is_no_class(parts: Path) -> None:
    (parts / "endless").symlink_to(parts)
    reading = read_dataset(parts)
    assert len(reading.samples) == 4
    assert [row["path"] for row in reading.errors] == ["endless"]
    assert len(reading.fatal) == 1


def test_a_folder_that_two_links_lead_to_is_read_once(parts: Path, tmp_path: Path) -> None:
    (tmp_path / "store" / "deep").mkdir(parents=True)
    write_png(tmp_path / "store" / "deep" / "far.png", GREY)
    (parts / "a").symlink_to(tmp_path / "store")
    (parts / "b").symlink_to(tmp_path / "store" / "deep")
    (tmp_path / "store" / "back").symlink_to(parts)
    found = walk(parts)
    assert [Path(error.where).name for error in found.loops] == ["b", "back"]
    assert [file.name for file in found.files].count("far.png") == 1


def test_what_is_no_file_is_listed_and_never_waited_for(parts: Path) -> None:
    os.mkfifo(parts / "good" / "pipe.png")
    os.mkfifo(parts / "good" / "pipe.txt")
    (parts / "good" / "gone.png").symlink_to("nowhere.png")
    (parts / "good" / "gone.txt").symlink_to("nowhere.txt")
    (parts / "good" / "self.png").symlink_to("self.png")
    (parts / "good" / "folder.png").mkdir()
    (parts / "good" / "null.png").symlink_to("/dev/zero")
    reading = read_dataset(parts)
    assert sorted(row["path"] for row in reading.errors) == ["good/gone.txt", "good/pipe.txt"]
    why = {}
    for sample in reading.samples:
        try:
            read_image(sample.image_path)
        except DataError as error:
            why[sample.image_path.name] = error.message
    assert sorted(why) == ["gone.png", "null.png", "pipe.png", "self.png"]
    assert "a pipe, a socket or a device" in why["pipe.png"] and "pipe" in why["null.png"]
    assert "No such file" in why["gone.png"] and "symbolic links" in why["self.png"]
    frames = {frame.part_id: frame.fault for frame in Source(parts)}
    assert {name for name, fault in frames.items() if fault} == {"gone", "null", "pipe", "self"}


def test_a_pipe_in_place_of_the_groups_is_never_waited_for(parts: Path) -> None:
    os.mkfifo(parts / "groups.csv")
    with pytest.raises(DataError, match="pipe"):
        load_samples(parts)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_folder_that_may_not_be_read_is_named(parts: Path) -> None:
    closed = parts / "good"
    closed.chmod(0)
    try:
        for read in (load_samples, Source, lambda folder: files([folder])):
            with pytest.raises(DataError, match="Permission denied") as caught:
                read(parts)
            assert caught.value.where == str(closed)
    finally:
        closed.chmod(0o755)


def test_hidden_files_are_no_pictures(parts: Path) -> None:
    for name in ("._0.png", ".hidden.png", "Thumbs.db", ".DS_Store"):
        (parts / "good" / name).write_bytes(b"\0\5\x16\7")
    (parts / ".cache").mkdir()
    write_png(parts / ".cache" / "x.png", GREY)
    assert len(load_samples(parts)[1]) == 4
    assert len(Source(parts).files) == 4


def test_endings_are_told_in_any_case(parts: Path) -> None:
    (parts / "good" / "0.png").rename(parts / "good" / "0.PNG")
    (parts / "good" / "1.png").rename(parts / "good" / "1.Jpeg")  # told by its content
    found = {frame.part_id: frame.fault for frame in Source(parts / "good")}
    assert found == {"0": None, "1": None}
    assert len(load_samples(parts)[1]) == 4


def _not_utf8(folder: Path) -> Path:
    try:
        file = Path(os.fsdecode(os.fsencode(folder) + b"/\xff\xe4.png"))
        write_png(file, GREY)
    except (OSError, QCError):
        pytest.skip("this file system takes no such name")
    return file


def test_a_name_that_is_not_utf8_is_refused_in_a_dataset(parts: Path) -> None:
    file = _not_utf8(parts / "good")
    assert read_image(file).shape == (8, 8, 3)
    reading = read_dataset(parts)
    assert len(reading.samples) == 4
    (row,) = reading.errors
    assert row["path"] == "good/\\xff\\xe4.png" and "not UTF-8" in row["why"]
    assert row["why"].isascii() and json.dumps(row).isascii()
    with pytest.raises(DataError, match="rename it"):
        load_samples(parts)


def test_a_name_that_is_not_utf8_is_judged_on_the_line(parts: Path) -> None:
    _not_utf8(parts / "good")
    frame = next(f for f in Source(parts) if "xff" in f.frame_id)
    assert frame.frame_id == "good/\\xff\\xe4.png" and frame.part_id == "\\xff\\xe4"
    assert frame.fault is None


def test_an_error_about_such_a_name_can_be_written_anywhere(tmp_path: Path) -> None:
    file = tmp_path / os.fsdecode(b"\xff.png")
    frame = read_frame(file, frame_id="x", source_id="y")
    assert frame.fault is not None
    with pytest.raises(DataError) as caught:
        read_image(file)
    caught.value.where.encode("utf-8")
    str(caught.value).encode("utf-8")
    assert caught.value.where.endswith("\\xff.png")


def test_printable_leaves_text_as_it_is() -> None:
    assert printable("Prüfling 7\n") == "Prüfling 7\n"
    assert printable("a\udce4\ud800b") == "a\\xe4\\ud800b"


def test_the_longest_name_can_be_written_and_read(tmp_path: Path) -> None:
    file = tmp_path / ("x" * 251 + ".png")
    write_png(file, GREY)
    assert read_image(file).shape == (8, 8, 3)
    with pytest.raises(DataError, match="too long"):
        read_image(tmp_path / ("x" * 252 + ".png"))


def test_the_overlay_of_a_part_with_an_odd_name_can_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inspect_command, "overlay_of", lambda *_: np.dstack([GREY] * 3))
    bundle = SimpleNamespace(manifest=None)
    for number, name in enumerate(("ü" * 127, "a\nb\\c", "...")):
        inspection = Inspection("1", "f", "s", utc_now(), Verdict.FAULT, "cut", "b", part_id=name)
        file = inspect_command._write_overlay(inspection, bundle, tmp_path, number)  # type: ignore[arg-type]
        assert file is not None and file.parent == tmp_path and file.is_file()
        assert "\n" not in file.name
