"""Where frames come from and who is told: the folder source, the CSV and the folder of overlays."""

from __future__ import annotations

import csv
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from toy_line import FirstPixel, inspection, picture, seal

from edge.line import Line
from edge.sinks import csv_file, folder
from edge.sources.folder import Source, files, read_frame
from qc.bundle import Bundle
from qc.errors import DataError, FaultError
from qc.imageio import read_image, write_png
from qc.journal import JournalWriter
from qc.types import Verdict

HEADER = "time,part_id,lot,verdict,class,score,reason,inspection_id\n"


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


# csv


def test_rows_are_appended_under_one_header(tmp_path: Path, bundle: Bundle) -> None:
    path = tmp_path / "new" / "shift.csv"
    at = datetime(2025, 3, 4, 9, 30, 0, 123456, tzinfo=UTC)
    sink = csv_file.Sink(path, bundle)
    sink.write(inspection("a", part_id="P,1", lot="L", captured_at=at, defect_score=0.87654))
    assert path.read_text().endswith("because,a\n"), "each row is on the disk at once"
    sink.close()
    again = csv_file.Sink(path, bundle)
    nothing = {"prediction": None, "defect_class": None, "defect_score": None, "image": None}
    again.write(inspection("b", Verdict.FAULT, captured_at=at, reason='say "no"', **nothing))
    again.close()
    assert path.read_text() == (
        HEADER + '2025-03-04T09:30:00.123+00:00,"P,1",L,NG,scratch,0.8765,because,a\n'
        '2025-03-04T09:30:00.123+00:00,,,FAULT,,,"say ""no""",b\n'
    )


def test_a_torn_row_is_not_continued(tmp_path: Path, bundle: Bundle) -> None:
    path = tmp_path / "shift.csv"
    path.write_text(HEADER + "2025-03-04T09:3")
    sink = csv_file.Sink(path, bundle)
    sink.write(inspection("a"))
    sink.close()
    rows = list(csv.reader(path.open()))
    assert rows[1] == ["2025-03-04T09:3"] and rows[2][-1] == "a"


def test_a_csv_of_something_else_is_refused_and_kept(tmp_path: Path, bundle: Bundle) -> None:
    path = tmp_path / "other.csv"
    path.write_text("x,y\n1,2\n")
    with pytest.raises(DataError, match=r"other\.csv: .*expected time,part_id.*found x,y"):
        csv_file.Sink(path, bundle)
    assert path.read_text() == "x,y\n1,2\n"
    with pytest.raises(FaultError, match="the CSV cannot be opened"):
        csv_file.Sink(tmp_path, bundle)


def test_a_full_disk_is_a_fault_of_the_csv(bundle: Bundle) -> None:
    """/dev/full is a disk that is always full."""
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    sink = csv_file.Sink(Path("/dev/full"), bundle)
    with pytest.raises(FaultError, match=r"cannot be written.*No space left"):
        sink.write(inspection("a"))
    with pytest.raises(FaultError, match=r"cannot be closed.*No space left"):
        sink.close()


# folder


def test_flagged_parts_leave_a_picture(tmp_path: Path, bundle: Bundle) -> None:
    out = tmp_path / "flagged"
    sink = folder.Sink(out, bundle)
    sink.write(inspection("0123456789", Verdict.NG, part_id="../P 1"))
    sink.write(inspection("1123456789", Verdict.REVIEW))
    sink.write(inspection("2123456789", Verdict.OK))
    nothing = {"prediction": None, "defect_class": None, "defect_score": None}
    sink.write(inspection("3123456789", Verdict.FAULT, **nothing))
    sink.write(inspection("4123456789", Verdict.FAULT, image=None, **nothing))
    sink.close()
    names = sorted(p.name for p in out.iterdir())
    assert names == [
        "FAULT_part_31234567.png",
        "NG_..-P-1_01234567.png",
        "REVIEW_part_11234567.png",
    ]
    overlay = read_image(out / "NG_..-P-1_01234567.png")
    assert overlay.shape[1] == 360 and overlay.shape[0] > 360  # the picture and the band under it


def test_a_folder_that_cannot_be_made_is_a_fault(tmp_path: Path, bundle: Bundle) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(FaultError, match="the folder cannot be made"):
        folder.Sink(tmp_path / "file" / "out", bundle)


def test_a_line_from_folder_to_sinks(tmp_path: Path, parts: Path, bundle: Bundle) -> None:
    write_png(parts / "b" / "lot03_0002.png", picture(255))
    table, out = tmp_path / "t.csv", tmp_path / "out"
    with JournalWriter(tmp_path / "j", bundle.manifest, "toy 1.0") as journal:
        sinks = {"a": csv_file.Sink(table, bundle), "b": folder.Sink(out, bundle)}
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
    assert [p.name for p in out.iterdir()] == [f"NG_lot03-0002_{rows[2]['inspection_id'][:8]}.png"]
