"""Who is told in files: the CSV and the folder of overlays; and the message that they are told."""

from __future__ import annotations

import csv
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from toy_line import inspection, seal, unsealed
from toy_outbox import BUNDLE_ID, deliver, journal_rows, messages

from edge.message import Message, NeverTakenError, action_of, state_bytes
from edge.sinks import csv_file, folder
from qc.bundle import Bundle
from qc.errors import DataError, FaultError
from qc.imageio import read_image
from qc.journal import JournalWriter
from qc.linefile import ActionsTable
from qc.overlay import draw_overlay, scale_map
from qc.types import Inspection, Verdict

HEADER = "time,part_id,lot,verdict,class,score,reason,inspection_id\n"
AT = datetime(2025, 3, 4, 9, 30, 0, 123456, tzinfo=UTC)
NOTHING: dict[str, Any] = {"prediction": None, "defect_class": None, "defect_score": None}


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return seal(tmp_path / "toy.tflite")


def told(path: Path, *entries: Inspection) -> list[Message]:
    """What the journal of these inspections tells."""
    with JournalWriter(path, unsealed(bundle_id=BUNDLE_ID), "toy 1.0") as writer:
        for entry in entries:
            writer.put(entry)
    return messages(path)


def judged(name: str, verdict: Verdict = Verdict.NG, **changes: Any) -> Inspection:
    return inspection(name, verdict, **({"bundle_id": BUNDLE_ID} | changes))


# the message


def test_the_json_form(tmp_path: Path) -> None:
    values = {"captured_at": AT, "part_id": "Prüfling 1", "lot": "L", "timings_ms": {"total": 2.5}}
    (message,) = told(tmp_path / "line3.journal", judged("a", **values))
    assert json.loads(message.as_bytes()) == {
        "schema_version": 1,
        "event": "inspection",
        "inspection_id": "a",
        "seq": 1,
        "line": "line3",
        "source": "toy",
        "frame": "f-a",
        "part_id": "Prüfling 1",
        "lot": "L",
        "captured_at": "2025-03-04T09:30:00.123456+00:00",
        "verdict": "NG",
        "action": "pass",
        "reason": "because",
        "defect_class": "scratch",
        "defect_score": 0.875,
        "scores": {"good": 0.125, "scratch": 0.875, "dent": 0.0},
        "bundle_id": BUNDLE_ID,
        "timings_ms": {"total": 2.5},
        "image": "line3-images/2025-03-04/a.png",
    }
    assert message.as_bytes() == messages(tmp_path / "line3.journal")[0].as_bytes()
    assert "Prüfling".encode() in message.as_bytes()


def test_where_nothing_was_measured_there_is_null(tmp_path: Path) -> None:
    (message,) = told(tmp_path / "j", judged("a", Verdict.FAULT, image=None, **NOTHING))
    found = json.loads(message.as_bytes())
    for key in ("part_id", "lot", "defect_class", "defect_score", "scores", "image"):
        assert found[key] is None, key


def test_a_number_that_is_none_is_not_told_as_one(tmp_path: Path) -> None:
    (message,) = told(tmp_path / "j", judged("a", timings_ms={"total": float("inf")}))
    with pytest.raises(NeverTakenError, match="inspection a: no JSON can be made"):
        message.as_bytes()


def test_the_action_of_each_verdict() -> None:
    default, strict = ActionsTable(), ActionsTable(ng="hold", review="pass", fault="reject")
    found = {v: (action_of(v, default), action_of(v, strict)) for v in Verdict}
    assert found == {
        Verdict.OK: ("pass", "pass"),
        Verdict.NG: ("reject", "hold"),
        Verdict.REVIEW: ("hold", "pass"),
        Verdict.FAULT: ("hold", "reject"),
    }


def test_the_state_form() -> None:
    assert json.loads(state_bytes("l", "fail_safe", "hold", "why", AT)) == {
        "schema_version": 1,
        "event": "state",
        "line": "l",
        "state": "fail_safe",
        "action": "hold",
        "why": "why",
        "at": "2025-03-04T09:30:00.123456+00:00",
    }
    assert "at" not in json.loads(state_bytes("l", "lost", "hold", "gone"))


# csv


def test_rows_are_appended_under_one_header(tmp_path: Path, bundle: Bundle) -> None:
    path = tmp_path / "new" / "shift.csv"
    first, second = told(
        tmp_path / "j",
        judged("a", part_id="P,1", lot="L", captured_at=AT, defect_score=0.87654),
        judged("b", Verdict.FAULT, captured_at=AT, reason='say "no"', image=None, **NOTHING),
    )
    sink = csv_file.Sink(path, bundle)
    sink.write(first)
    assert path.read_text().endswith("because,a\n"), "each row is on the disk at once"
    sink.close()
    again = csv_file.Sink(path, bundle)
    again.write(second)
    again.close()
    assert path.read_text() == (
        HEADER + '2025-03-04T09:30:00.123+00:00,"P,1",L,NG,scratch,0.8765,because,a\n'
        '2025-03-04T09:30:00.123+00:00,,,FAULT,,,"say ""no""",b\n'
    )


def test_a_torn_row_is_not_continued(tmp_path: Path, bundle: Bundle) -> None:
    path = tmp_path / "shift.csv"
    path.write_text(HEADER + "2025-03-04T09:3")
    sink = csv_file.Sink(path, bundle)
    sink.write(*told(tmp_path / "j", judged("a")))
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


def test_a_full_disk_is_a_fault_of_the_csv(tmp_path: Path, bundle: Bundle) -> None:
    """/dev/full is a disk that is always full."""
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    sink = csv_file.Sink(Path("/dev/full"), bundle)
    with pytest.raises(FaultError, match=r"cannot be written.*No space left"):
        sink.write(*told(tmp_path / "j", judged("a")))
    with pytest.raises(FaultError, match=r"cannot be closed.*No space left"):
        sink.close()


# folder


def test_flagged_parts_leave_a_picture(tmp_path: Path, bundle: Bundle) -> None:
    out = tmp_path / "flagged"
    sink = folder.Sink(out, bundle)
    for message in told(
        tmp_path / "j",
        judged("0123456789", Verdict.NG, part_id="../P 1"),
        judged("1123456789", Verdict.REVIEW),
        judged("2123456789", Verdict.OK),
        judged("3123456789", Verdict.FAULT, **NOTHING),
        judged("4123456789", Verdict.FAULT, image=None, **NOTHING),
    ):
        sink.write(message)
    sink.close()
    names = sorted(p.name for p in out.iterdir())
    assert names == [
        "FAULT_part_31234567.jpg",
        "NG_..-P-1_01234567.jpg",
        "REVIEW_part_11234567.jpg",
    ]


def test_the_picture_is_the_kept_one_with_the_journaled_heat(
    tmp_path: Path, bundle: Bundle
) -> None:
    """On the scale of the bundle that judged, 0 to 4, and not on that of the sink's bundle."""
    entry = judged("0123456789", part_id="P")
    other = seal(tmp_path / "other.tflite", overlay={"lo": -50.0, "hi": 50.0})
    sink = folder.Sink(tmp_path / "out", other)
    (message,) = told(tmp_path / "j", entry)
    sink.write(message)
    assert entry.image is not None
    evidence = np.array([[0, 1], [2, 4]], np.float32)
    right, wrong = (
        draw_overlay(
            entry.image,
            scale_map(evidence, *scale),
            verdict="NG",
            defect_class="scratch",
            score=0.875,
            part_id="P",
            note="because",
        ).astype(int)
        for scale in ((0.0, 4.0), (-50.0, 50.0))
    )
    found = read_image(tmp_path / "out" / "NG_P_01234567.jpg")
    assert found.shape == right.shape
    lost, other = (np.abs(found - drawn).mean() for drawn in (right, wrong))
    assert lost < 3 and other > 4 * lost, "as drawn, but for what JPEG loses"


def test_a_picture_that_is_not_there_is_said(tmp_path: Path, bundle: Bundle) -> None:
    """Not kept at all; removed since; and damaged: no file, each is put aside, the next goes on."""
    entries = [judged(f"{n}123456789", part_id=f"P{n}") for n in range(3)]
    entries.append(judged("3123456789", image=None))
    path, out = tmp_path / "j", tmp_path / "out"
    kept = told(path, *entries)
    assert kept[0].image_file is not None and kept[1].image_file is not None
    kept[0].image_file.unlink()
    kept[1].image_file.write_bytes(b"no picture")
    sink = folder.Sink(out, bundle)
    with pytest.raises(
        NeverTakenError, match=r"expected the kept picture.*0123456789\.png is gone"
    ):
        sink.write(kept[0])
    with pytest.raises(DataError, match=r"1123456789\.png"):
        sink.write(kept[1])
    with pytest.raises(NeverTakenError, match="none was kept"):
        sink.write(kept[3])
    (said,) = deliver(path, flagged=sink)
    assert said.startswith("flagged: 3 put aside, the last 3123456789: ")
    assert [p.name for p in out.iterdir()] == ["NG_P2_21234567.jpg"]


def test_a_folder_that_cannot_be_made_is_a_fault(tmp_path: Path, bundle: Bundle) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(FaultError, match="the folder cannot be made"):
        folder.Sink(tmp_path / "file" / "out", bundle)


def test_a_csv_of_a_day_is_whole_and_in_order(tmp_path: Path, bundle: Bundle) -> None:
    path = journal_rows(tmp_path / "j", [f"i{n}" for n in range(300)])
    assert deliver(path, csv=csv_file.Sink(tmp_path / "t.csv", bundle)) == []
    rows = list(csv.DictReader((tmp_path / "t.csv").open()))
    assert [r["inspection_id"] for r in rows] == [f"i{n}" for n in range(300)]
