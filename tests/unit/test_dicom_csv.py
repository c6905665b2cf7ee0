"""The layout of DICOM files with a table, on files of a few pixels."""

from __future__ import annotations

import hashlib
import hmac
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("pydicom", reason="pydicom is not installed (extra dicom)")

from dicom_files import write
from pydicom.uid import generate_uid

from qc.errors import DataError, RecipeError, UsageError
from qc.imageio import read_sample, write_png
from qc.types import Sample
from training.datasets import dicom_csv, load_samples, read_dataset
from training.dicom import DicomFrame
from training.split import crossing_groups, split_samples

SALT = "0123456789abcdef"
DIRECTORY, REPORT = "1.2.840.10008.1.3.10", "1.2.840.10008.5.1.4.1.1.88.11"


@pytest.fixture(autouse=True)
def salt(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment of a user who has set one."""
    monkeypatch.setenv("QC_SALT", SALT)


def _picture(file: Path, level: int = 0, **keywords: Any) -> Path:
    return write(file, np.full((4, 4), level, "u1"), **{"PatientID": file.stem, **keywords})


def _table(root: Path, *rows: str, head: str = "path,label", name: str = "labels.csv") -> Path:
    (root / name).write_text("\n".join([head, *rows]) + "\n")
    return root / name


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Files a, b and c, in two folders and with three endings; a and c are of one patient."""
    root = tmp_path / "set"
    _picture(root / "one/a.dcm", 10, PatientID="P1")
    _picture(root / "one/b", 20, PatientID="P2")
    _picture(root / "two/c.IMA", 30, PatientID="P1 ")
    _table(root, "one/a.dcm,good", "one/b,hole", "two/c.IMA,hole")
    return root


def _read(root: Path, **options: Any) -> list[Sample]:
    return load_samples(root, "dicom_csv", {"window": "full", **options})[1]


def _refused(root: Path, what: str, **options: Any) -> str:
    """The first error of reading, which the scan must list too."""
    with pytest.raises(DataError, match=what) as caught:
        _read(root, **options)
    listed = read_dataset(root, "dicom_csv", {"window": "full", **options}).errors
    assert str(caught.value) in [row["why"] for row in listed]
    return str(caught.value)


def _group(kind: str, value: str) -> str:
    told = hmac.new(SALT.encode(), f"{kind}\0{value}".encode(), hashlib.sha256)
    return f"{kind}-{told.hexdigest()[:16]}"


def test_files_are_told_by_their_mark_and_grouped_by_patient(root: Path) -> None:
    a, b, c = _read(root)
    assert [s.sample_id for s in (a, b, c)] == ["one/a.dcm", "one/b", "two/c.IMA"]
    assert [s.labels for s in (a, b, c)] == [("good",), ("hole",), ("hole",)]
    assert a.image_path == root / "one/a.dcm"
    assert a.source == DicomFrame(root / "one/a.dcm", 1, "full")
    assert [int(read_sample(s).max()) for s in (a, b, c)] == [10, 20, 30]
    assert (a.group, b.group, c.group) == (
        _group("patient", "P1"),
        _group("patient", "P2"),
        a.group,
    )


def test_the_layout_is_found(root: Path) -> None:
    assert dicom_csv.detect(root)
    assert not dicom_csv.detect(root / "one") and not dicom_csv.detect(root / "labels.csv")
    for file in ("one/a.dcm", "one/b", "two/c.IMA"):
        (root / file).write_bytes(b"text")
    assert not dicom_csv.detect(root)


def test_it_is_found_without_pydicom_and_names_the_extra(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pydicom", None)
    assert dicom_csv.detect(root)
    with pytest.raises(UsageError, match="'dicom' extra"):
        _read(root)


@pytest.mark.parametrize(
    "names",
    [
        ("one/a", "b", "two\\c.IMA"),
        ("a", "one/b", "c.IMA"),
        ("./one/a.dcm", "one/b", "./two/c.IMA"),
    ],
)
def test_a_row_may_name_its_file_in_short(root: Path, names: tuple[str, ...]) -> None:
    _table(root, *(f"{name},x{i}" for i, name in enumerate(names)))
    assert [s.labels for s in _read(root)] == [("x0",), ("x1",), ("x2",)]


def test_a_path_comes_before_a_name(root: Path) -> None:
    _picture(root / "b.dcm")
    _table(root, "b,top", "one/b,inner", "a,x", "c.IMA,x")
    assert {s.sample_id: s.labels[0] for s in _read(root)}["b.dcm"] == "top"
    _picture(root / "two/a.dcm")
    _refused(root, "line 4: row names several pictures.*found one/a.dcm, two/a.dcm")


def test_a_row_may_name_an_instance(root: Path) -> None:
    uids = [generate_uid() for _ in range(3)]
    for name, uid in zip(("one/a.dcm", "one/b", "two/c.IMA"), uids, strict=True):
        _picture(root / name, SOPInstanceUID=uid)
    head = "SOPInstanceUID;grade"
    _table(root, *(f"{uid};{grade}" for uid, grade in zip(uids, (1, 2, 3), strict=True)), head=head)
    told = {"key": "SOPInstanceUID", "label": "grade", "threshold": 2, "below": "mild"}
    assert [s.labels[0] for s in _read(root, **told)] == ["mild", "defect", "defect"]
    _table(root, *(f"{uid},1" for uid in uids), head="id,label")
    assert len(_read(root, key="id", names="SOPInstanceUID")) == 3
    _picture(root / "two/d.dcm", SOPInstanceUID=uids[0])
    _refused(root, "several pictures.*one/a.dcm, two/d.dcm", key="id", names="SOPInstanceUID")


@pytest.mark.parametrize("keyword", ["AccessionNumber", "StudyInstanceUID", "PatientID"])
def test_a_row_may_label_several_pictures(root: Path, keyword: str) -> None:
    for name, value in (("one/a.dcm", "1.1"), ("one/b", "1.2"), ("two/c.IMA", "1.1")):
        _picture(root / name, **{"PatientID": "P", keyword: value})
    _table(root, "1.1,hole", "1.2,good", head=f"{keyword},label")
    assert [s.labels[0] for s in _read(root, key=keyword)] == ["hole", "good", "hole"]


def test_what_may_group(root: Path) -> None:
    for name, study in (("one/a.dcm", "1.1"), ("one/b", "1.2"), ("two/c.IMA", "1.2")):
        _picture(root / name, StudyInstanceUID=study)
    _table(root, "one/a,x,L1", "one/b,x,L1", "c.IMA,x,L2", head="path,label,lot")
    assert [s.group for s in _read(root, group="study")] == [
        _group("study", v) for v in ("1.1", "1.2", "1.2")
    ]
    assert [s.group for s in _read(root, group="lot")] == [
        _group("group", v) for v in ("L1", "L1", "L2")
    ]
    assert [s.group for s in _read(root, group="file")] == ["one/a.dcm", "one/b", "two/c.IMA"]
    (root / "groups.csv").write_text("path,group\none/a.dcm,1\none/b,1\ntwo/c.IMA,2\n")
    assert [s.group for s in _read(root)] == ["1", "1", "2"]


def test_a_patient_never_stands_in_two_splits(tmp_path: Path) -> None:
    for i in range(24):
        _picture(tmp_path / f"{i}.dcm", PatientID=f"P{i // 4}")
    _table(tmp_path, *(f"{i},{'good' if i % 2 else 'hole'}" for i in range(24)))
    done = split_samples(_read(tmp_path))
    assert crossing_groups(done) == [] and len({s.group for s in done}) == 6


def test_frames(root: Path) -> None:
    film = np.arange(12, dtype="u1").reshape(3, 2, 2)
    write(root / "one/b", film, PatientID="P2")
    assert [s.sample_id for s in _read(root)] == ["one/a.dcm", "one/b", "two/c.IMA"]
    each = _read(root, frames="each")
    names = ["one/a.dcm#1", "one/b#1", "one/b#2", "one/b#3", "two/c.IMA#1"]
    assert [s.sample_id for s in each] == names
    assert len({s.group for s in each[1:4]}) == 1
    assert [int(read_sample(s).max()) for s in each[1:4]] == [3, 7, 11]
    each = _read(root, frames="each", group="file")
    assert [s.group for s in each[1:4]] == ["one/b"] * 3
    _refused(root, "a.dcm: no such frame; expected 1 to 1; found 2", frames=2)
    _picture(root / "one/a.dcm")
    write(root / "two/c.IMA", film, PatientID="P2")
    write(root / "one/a.dcm", film, PatientID="P2")
    names = [s.sample_id for s in _read(root, frames="2")]
    assert names == ["one/a.dcm#2", "one/b#2", "two/c.IMA#2"]


def test_the_salt_changes_the_names_and_nothing_else(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = [s.group for s in _read(root)]
    monkeypatch.delenv("QC_SALT")
    (tmp_path / "salt").write_text(SALT + "\n")
    assert [s.group for s in _read(root, salt_file=str(tmp_path / "salt"))] == before
    (tmp_path / "salt").write_text("another 16 bytes and more")
    after = [s.group for s in _read(root, salt_file=str(tmp_path / "salt"))]
    assert after[0] == after[2] != after[1] and not set(after) & set(before)


def test_without_a_good_salt_nothing_is_read(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "salt").write_text(SALT)
    (root / "salt").write_text(SALT)
    (tmp_path / "short").write_text("0123456789abcde\n")

    def refused(what: str, **options: Any) -> None:
        with pytest.raises(UsageError, match=what) as caught:
            _read(root, **options)
        assert SALT not in str(caught.value)

    refused("there are two salts", salt_file=str(tmp_path / "salt"))
    monkeypatch.setenv("QC_SALT", "short")
    refused("QC_SALT: the salt is too short.*at least 16 bytes; found 5")
    monkeypatch.delenv("QC_SALT")
    refused("grouping by patient needs a secret salt: make one.*salt_file=salt.txt or QC_SALT")
    refused("grouping by study needs", group="study")
    refused("the salt lies in the dataset", salt_file=str(root / "salt"))
    refused("too short", salt_file=str(tmp_path / "short"))
    refused("cannot be read", salt_file=str(tmp_path / "nothing"))
    assert len(_read(root, group="file")) == 3


@pytest.mark.parametrize(
    ("rows", "what"),
    [
        (["one/a,x", "one/b,x"], "c.IMA: picture without a row; expected one in labels.csv"),
        (["one/a,x", "one/b,x", "c.IMA,x", "d,x"], "line 5: row without its picture"),
        (["one/a,x", "one/b,x", "c.IMA,x", "one/b,x"], "line 5: row repeats.*that of line 3"),
        (["one/a,x", "one/b,x", "c.IMA,x", "b,x"], "line 5: row names the picture.*of line 3"),
        (["one/a,x", "one/b,", "c.IMA,x"], "line 3: row without a key, a label or a group"),
        (["one/a,x", ",x", "c.IMA,x"], "line 3: row without a key, a label or a group"),
        (["one/a,x,1", "one/b,x", "c.IMA,x"], "line 2: row has another number.*2; found 3"),
        (["one/a,x", "../set/one/b,x", "c.IMA,x"], "line 3: row without its picture"),
    ],
)
def test_rows_and_files_must_fit(root: Path, rows: list[str], what: str) -> None:
    _table(root, *rows)
    _refused(root, what)


def test_a_label_below_a_threshold_must_be_a_number(root: Path) -> None:
    _table(root, "one/a,1", "one/b,severe", "c.IMA,3")
    assert "severe" not in _refused(root, "line 3: label is no number", threshold=2)


def test_the_table_must_be_told_where_it_is_not_plain(root: Path) -> None:
    _table(root, "one/a,x", head="file,label")
    with pytest.raises(DataError, match=r"not one column 'path'.*path, label, or other names"):
        _read(root)
    _table(root, "one/a,x", head="path,lable")
    with pytest.raises(DataError, match=r"not one column 'label'; did you mean 'lable'"):
        _read(root)
    _table(root, "one/a,x", "one/b,x", "c.IMA,x")
    _table(root, "1,2", head="path,age", name="ages.csv")
    assert len(_read(root)) == 3  # the one with the columns
    _table(root, "one/a,y", "one/b,y", "c.IMA,y", name="other.csv")
    with pytest.raises(DataError, match=r"name it with --option labels=FILE.*ages.csv, labels"):
        _read(root)
    assert _read(root, labels="other.csv")[0].labels == ("y",)
    with pytest.raises(DataError, match=r"none\.csv: table cannot be read"):
        _read(root, labels="none.csv")


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"window": "bone"}, "key 'window'.*window is not known; expected voi, full or CENTER"),
        ({"window": "40,0"}, "key 'window'.*the width at least 1"),
        ({"frames": "all"}, "key 'frames'"),
        ({"frames": 0}, "key 'frames'"),
        ({"names": "PatientName"}, "key 'names'"),
        ({"above": "x"}, "above and below need a threshold"),
        ({"grup": "file"}, "unknown key 'grup', did you mean 'group'"),
    ],
)
def test_an_option_that_is_not_legal_is_refused(
    root: Path, options: dict[str, Any], what: str
) -> None:
    with pytest.raises(RecipeError, match=what):
        load_samples(root, "dicom_csv", options)


def test_a_file_without_a_patient_asks_for_another_group(root: Path) -> None:
    _picture(root / "one/b", PatientID="")
    message = _refused(root, "one/b: DICOM file has no PatientID to group by")
    assert "--option group=study, file or COLUMN" in message


def test_what_is_no_picture_is_left_out(root: Path) -> None:
    _picture(root / "DICOMDIR", file_class=DIRECTORY)
    bare: dict[str, Any] = {"Rows": None, "Columns": None, "PixelData": None}
    _picture(root / "report.dcm", file_class=REPORT, **bare)
    write_png(root / "note.png", np.zeros((2, 2), np.uint8))
    reading = read_dataset(root, "dicom_csv", {"window": "full"})
    assert len(reading.samples) == 3 and not reading.fatal
    assert [e["path"] for e in reading.errors] == ["report.dcm"]
    _table(root, "one/a,x", "one/b,x", "c.IMA,x", "report,x")
    _refused(root, "line 5: row without its picture; expected a DICOM picture of this name")
    _picture(root / "report.dcm", **bare)
    _refused(root, "report.dcm: DICOM header lacks Rows")  # it calls itself an image


def test_damaged_files_are_named(root: Path) -> None:
    _picture(root / "one/b", Rows=0)
    (root / "one/a.dcm").write_bytes(b"not DICOM at all" * 20)
    _refused(root, "one/a.dcm: file is not DICOM; expected DICM at byte 128")
    found = read_dataset(root, "dicom_csv", {"window": "full"})
    assert [s.sample_id for s in found.samples] == ["two/c.IMA"]
    assert [e["path"] for e in found.errors] == ["one/a.dcm", "one/b"]  # not their rows again
    (root / "two/c.IMA").write_bytes(b"\0" * 128 + b"DICM" + b"\xff" * 300)
    assert "two/c.IMA" in [e["path"] for e in read_dataset(root, "dicom_csv").errors]


def test_a_file_without_a_window_is_unreadable_and_not_guessed(root: Path) -> None:
    sample = load_samples(root, "dicom_csv")[1][0]
    with pytest.raises(DataError, match="no window of its own: choose another"):
        read_sample(sample)


def test_a_folder_without_dicom_is_refused(tmp_path: Path) -> None:
    _table(tmp_path, "a,x")
    with pytest.raises(DataError, match="holds no DICOM file"):
        _read(tmp_path)
    with pytest.raises(DataError, match="does not exist"):
        _read(tmp_path / "nothing")
