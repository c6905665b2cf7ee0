"""Where frames come from: the folder source, and a line from it to its sinks."""

from __future__ import annotations

import csv
from datetime import UTC
from pathlib import Path

import numpy as np
import pytest
from toy_line import FirstPixel, picture, seal

from edge.line import Line
from edge.picture_files import files, read_frame
from edge.sinks import csv_file, folder
from edge.sources.folder import Source
from qc.bundle import Bundle
from qc.errors import DataError
from qc.imageio import write_png
from qc.journal import JournalWriter


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return seal(tmp_path / "toy.tflite")


@pytest.fixture
def parts(tmp_path: Path) -> Path:
    """Three parts in two folders, two masks, a hidden file, a text, and one damaged picture."""
    root = tmp_path / "parts"
    for name in ("b/lot03_0001.png", "a/x.jpg.png", "z.png"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        write_png(root / name, picture(7))
    write_png(root / "z_mask.png", picture())
    (root / "photo.JPG").write_bytes(b"\xff\xd8 not a photograph")
    write_png(root / "photo.png", picture())
    write_png(root / ".hidden.png", picture())
    (root / "notes.txt").write_text("no picture")
    return root


def test_frames_come_in_order_and_damage_is_a_fault(parts: Path) -> None:
    with Source(parts, source_id="cam") as source:
        found = list(source)
    assert not source.is_live
    assert [f.frame_id for f in found] == ["a/x.jpg.png", "b/lot03_0001.png", "photo.JPG", "z.png"]
    assert [f.part_id for f in found] == ["x.jpg", "lot03_0001", "photo", "z"]
    assert [f.lot for f in found] == [None, "lot03", None, None]
    assert {f.source_id for f in found} == {"cam"}
    assert [f.image is None for f in found] == [False, False, True, False]
    assert found[2].fault == "JPEG is truncated: no picture data"
    assert found[0].image is not None
    np.testing.assert_array_equal(found[0].image, picture(7))
    assert found[0].monotonic_ns <= found[1].monotonic_ns
    assert found[0].captured_at.tzinfo is UTC


@pytest.mark.parametrize(
    ("name", "lot"),
    [
        ("lot03_0001", "lot03"),
        ("Lot-7_a_b", "Lot-7"),
        ("lot_1", None),
        ("slot3_1", None),
        ("lot03", None),
        ("exp1_num_2", None),
    ],
)
def test_the_lot_stands_in_the_name_or_nowhere(tmp_path: Path, name: str, lot: str | None) -> None:
    found = read_frame(tmp_path / f"{name}.png", frame_id="f", source_id="s")
    assert found.lot == lot and found.fault is not None  # there is no such file


def test_a_file_that_disappears_is_a_fault_not_a_gap(parts: Path) -> None:
    source = Source(parts)
    (parts / "z.png").unlink()
    last = list(source)[-1]
    assert last.frame_id == "z.png" and "No such file" in (last.fault or "")


def test_the_pattern_chooses(parts: Path) -> None:
    assert [f.frame_id for f in Source(parts, pattern="lot*")] == ["b/lot03_0001.png"]
    with pytest.raises(DataError, match=r"expected files q\* ending in"):
        Source(parts, pattern="q*")


def test_a_folder_without_parts_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"missing: there is no such folder.*found nothing"):
        Source(tmp_path / "missing")
    with pytest.raises(DataError, match=r"holds no image.*found none"):
        Source(tmp_path)
    write_png(tmp_path / "a_mask.png", picture())
    with pytest.raises(DataError, match="found 1 image files, none of them a part"):
        Source(tmp_path)
    with pytest.raises(DataError, match="found a file"):
        Source(tmp_path / "a_mask.png")


def test_files_and_folders_mixed(parts: Path) -> None:
    mask, text = parts / "z_mask.png", parts / "notes.txt"
    assert files([mask, parts / "a", text, parts / "a", mask]) == [
        mask,
        parts / "a" / "x.jpg.png",
        text,
    ]
    with pytest.raises(DataError, match="gone: there is no such"):
        files([parts / "gone"])


def test_a_line_from_folder_to_sinks(tmp_path: Path, parts: Path, bundle: Bundle) -> None:
    write_png(parts / "b" / "lot03_0002.png", picture(255))
    table, out = tmp_path / "t.csv", tmp_path / "out"
    with JournalWriter(tmp_path / "j", bundle.manifest, "toy 1.0") as journal:
        sinks = {"csv": csv_file.Sink(table, bundle), "folder": folder.Sink(out, bundle)}
        report = Line(bundle, FirstPixel(), Source(parts), journal, sinks=sinks).run()
    assert (report.captured, report.ok, report.ng, report.fault) == (5, 3, 1, 1)
    assert report.sink_errors == ()
    rows = list(csv.DictReader(table.open()))
    assert [(r["part_id"], r["verdict"]) for r in rows] == [
        ("x.jpg", "OK"),
        ("lot03_0001", "OK"),
        ("lot03_0002", "NG"),
        ("photo", "FAULT"),
        ("z", "OK"),
    ]
    assert [p.name for p in out.iterdir()] == [f"NG_lot03-0002_{rows[2]['inspection_id'][:8]}.jpg"]
