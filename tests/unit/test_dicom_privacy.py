"""Nothing that names a patient leaves a DICOM file: not by an output, an artefact or an error.

Every element that may tell who somebody is holds a word that stands nowhere else; then the commands
run, on good files and on broken ones, and all that they print and write is searched for the words.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pydicom = pytest.importorskip("pydicom", reason="pydicom is not installed (extra dicom)")

from dicom_files import dataset, write  # noqa: E402
from pydicom.tag import Tag  # noqa: E402

from qc.errors import QCError  # noqa: E402
from training.datasets import load_samples  # noqa: E402
from training.run import plan_run, start_run  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # pydicom, as the tests write

WORD = "Zqx"
"""Stands in every text that tells of a patient, and in nothing else here."""

NUMBER = "77345198"
"""The same for dates, numbers and UIDs, which hold only digits."""

UID = f"1.2.826.0.1.{NUMBER}"
SALT = "WvSalt-0123456789abcdef-kept"

RECIPE = """
name = "tiny"
[data]
path = "set"
good = "good"
format = "dicom_csv"
options = {{window = "full", salt_file = "{salt}"}}
[model]
backbone = "inverted_residual"
size_hw = [64, 64]
[train]
epochs = 1
"""


def _telling(patient: int, picture: int) -> dict[str, Any]:
    """What a header tells of a person."""
    return {
        "PatientName": f"{WORD}Name^{patient}",
        "PatientID": f"{WORD}Id{patient}",
        "PatientBirthDate": NUMBER,
        "PatientAddress": f"{WORD} street 1",
        "OtherPatientIDs": f"{WORD}Other",
        "InstitutionName": f"{WORD} clinic",
        "ReferringPhysicianName": f"{WORD}Doctor",
        "OperatorsName": f"{WORD}Operator",
        "StudyDescription": f"{WORD} study",
        "SeriesDescription": f"{WORD} series",
        "AccessionNumber": f"{WORD}Acc{patient}",
        "StudyDate": NUMBER,
        "DeviceSerialNumber": f"{WORD}Serial",
        "SOPInstanceUID": f"{UID}.{patient}.{picture}",
        "StudyInstanceUID": f"{UID}.{patient}",
        "SeriesInstanceUID": f"{UID}.{patient}.9",
        "FrameOfReferenceUID": f"{UID}.7",
    }


def _private(made: Any) -> Any:
    block = made.private_block(0x0099, f"{WORD} maker", create=True)
    block.add_new(0x01, "LO", f"{WORD} private")
    block.add_new(0x02, "UN", f"{WORD} unknown".encode())
    return made


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Eight patients with three pictures of noise each, one of them good."""
    root, rng = tmp_path / "set", np.random.default_rng(3)
    rows = ["path,label,patient"]
    for patient in range(8):
        for picture in range(3):
            name = f"{patient}-{picture}.dcm"
            pixels = rng.integers(0, 256, (32, 32), "u1")
            write(root / name, pixels, **_telling(patient, picture))
            _private(pydicom.dcmread(root / name)).save_as(root / name)
            rows.append(f"{name},{'good' if picture else 'hole'},{WORD}Id{patient}")
    (root / "labels.csv").write_text("\n".join(rows) + "\n")
    (tmp_path / "salt.txt").write_text(SALT)
    return root


def _qc(root: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run `qc` beside the dataset, as a user does."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("QC_", "TF_"))}
    return subprocess.run(
        [sys.executable, "-m", "qc.cli", *map(str, arguments)],
        cwd=root.parent,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def _told(*options: str, salt: bool = True) -> list[str]:
    """The options on a command line."""
    given = [*options, *(["salt_file=salt.txt"] if salt else [])]
    return ["--format", "dicom_csv", *(word for o in given for word in ("--option", o))]


def _telltale(text: str) -> list[str]:
    """Words of a patient, or of the salt, in a text; whatever its case."""
    small = text.lower()
    return [w for w in (WORD.lower(), NUMBER, "wvsalt") if w in small]


def _artefacts(root: Path) -> Iterator[Path]:
    """Every file that was written beside the dataset and the salt."""
    for file in root.parent.rglob("*"):
        if file.is_file() and not file.is_relative_to(root) and file.name != "salt.txt":
            yield file


def _assert_silent(root: Path, *runs: subprocess.CompletedProcess[str]) -> None:
    for ran in runs:
        assert not _telltale(ran.stdout + ran.stderr), ran.stdout + ran.stderr
        assert "Traceback" not in ran.stderr
    for file in _artefacts(root):
        assert not _telltale(f"{file.name} {file.read_bytes().decode('latin-1')}"), file


def test_the_search_can_fail(root: Path) -> None:
    data = (root / "0-0.dcm").read_bytes().decode("latin-1")
    assert _telltale(data) == [WORD.lower(), NUMBER]
    assert data.count(WORD) > 10
    assert _telltale(SALT) == ["wvsalt"]


@pytest.mark.parametrize("group", ["patient", "study"])
def test_audit_and_split_tell_nothing(root: Path, group: str) -> None:
    told = _told("window=full", f"group={group}")
    page, split = root.parent / "page.html", root.parent / "split.csv"
    audit = _qc(root, "data", "audit", root, "--html", page, "--json", "-v", *told)
    assert audit.returncode == 0, audit.stderr
    assert '"groups": 8' in audit.stdout and page.is_file()
    dealt = _qc(root, "data", "split", root, "--out", split, "--json", "-v", *told)
    assert dealt.returncode == 0, dealt.stderr
    assert split.read_text().count(f"{group}-") == 24
    again = _qc(root, "data", "audit", root, "--split", split, "--json", *told)
    assert again.returncode == 0, again.stderr
    _assert_silent(root, audit, dealt, again)


def test_a_group_of_the_table_is_hashed_too(root: Path) -> None:
    split = root.parent / "split.csv"
    dealt = _qc(
        root, "data", "split", root, "--out", split, *_told("window=full", "group=patient_column")
    )
    assert dealt.returncode == 2 and "patient_column" in dealt.stderr
    text = (root / "labels.csv").read_text().replace(",patient\n", ",person\n")
    (root / "labels.csv").write_text(text)
    dealt = _qc(root, "data", "split", root, "--out", split, *_told("window=full", "group=person"))
    assert dealt.returncode == 0, dealt.stderr
    assert len({line.split(",")[1] for line in split.read_text().splitlines()[1:]}) == 8
    _assert_silent(root, dealt)


def test_a_plan_tells_nothing(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("QC_SALT", raising=False)
    recipe = root.parent / "tiny.toml"
    recipe.write_text(RECIPE.format(salt=(root.parent / "salt.txt").as_posix()))
    plan = plan_run(recipe, data=None, runs=root.parent / "runs")
    assert start_run(plan, recipe, resume=False)
    written = {file.name for file in _artefacts(root)}
    assert {"plan.json", "split.csv", "recipe.toml"} <= written
    assert not _telltale(repr(plan))
    _assert_silent(root)


def _broken(file: Path, **values: Any) -> None:
    """Put values into a file that their kind does not allow."""
    made = _private(dataset(np.zeros((8, 8), "u2"), **_telling(3, 3)))
    for keyword, value in values.items():
        vr = pydicom.datadict.dictionary_VR(keyword)
        tag = Tag(pydicom.datadict.tag_for_keyword(keyword))
        raw = pydicom.dataelem.RawDataElement(tag, vr, len(value), value.encode(), 0, False, True)
        made._dict[tag] = raw
    pydicom.dcmwrite(file, made, implicit_vr=False, little_endian=True)


BROKEN: dict[str, dict[str, str]] = {
    "photometric.dcm": {"PhotometricInterpretation": f"{WORD}MONO "},
    "frames.dcm": {"NumberOfFrames": f"{WORD}5"},
    "centre.dcm": {"WindowCenter": f"{WORD}40", "WindowWidth": "400 "},
    "function.dcm": {"WindowCenter": "40", "WindowWidth": "400 ", "VOILUTFunction": f"{WORD} "},
    "slope.dcm": {"RescaleSlope": f"{WORD}1"},
    "birth.dcm": {"PatientBirthDate": f"{WORD}1", "PatientID": f"{WORD}\\{WORD}{'x' * 90}"},
    "charset.dcm": {"SpecificCharacterSet": f"{WORD} ", "PatientID": f"{WORD}é"},
}


def test_errors_tell_nothing(root: Path) -> None:
    for name, values in BROKEN.items():
        _broken(root / name, **values)
    made = dataset(np.zeros((8, 8), "u2"), **_telling(3, 4))
    made.file_meta.TransferSyntaxUID = pydicom.uid.UID(f"{UID}.5")
    pydicom.dcmwrite(root / "syntax.dcm", made, implicit_vr=False, little_endian=True)
    whole = (root / "0-0.dcm").read_bytes()
    rows_of_two, rows_of_three = (
        b"\x28\x00\x10\x00US\x02\x00\x20\x00",
        b"\x28\x00\x10\x00US\x03\x00",
    )
    assert rows_of_two in whole
    (root / "rows.dcm").write_bytes(whole.replace(rows_of_two, rows_of_three + WORD.encode()))
    (root / "cut.dcm").write_bytes(whole[:-600])
    (root / "header.dcm").write_bytes(whole[:700])
    (root / "noise.dcm").write_bytes(whole[:300] + WORD.encode() * 200)
    (root / "text.dcm").write_bytes(WORD.encode() * 100)
    lines = [f"{n},good,x" for n in (*BROKEN, "rows", "syntax", "cut", "header", "noise", "text")]
    with (root / "labels.csv").open("a") as table:
        table.write("\n".join(lines) + "\n")
    page = ("--json", "--html", "page.html", "-v")
    runs = [
        _qc(root, "data", "audit", root, *page, *_told("window=voi")),
        _qc(root, "data", "audit", root, *_told("window=full", "group=study")),
        _qc(root, "data", "split", root, "--out", "split.csv", "-v", *_told("window=full")),
    ]
    assert [r.returncode for r in runs] == [1, 1, 2], [r.stderr for r in runs]
    assert sum(name in runs[0].stdout for name in (*BROKEN, "cut.dcm", "syntax.dcm")) >= 9
    _assert_silent(root, *runs)


def test_rows_that_fit_no_header_are_not_quoted(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = root / "labels.csv"
    monkeypatch.setenv("QC_SALT", SALT)
    for keyword in ("PatientID", "AccessionNumber", "StudyInstanceUID"):
        values = [f"{WORD}Id9", f"{WORD}Id9", f"{UID}.8", f"{WORD}Acc77"]
        for text, what, more in (
            (f"{keyword},label\n" + "".join(f"{v},good\n" for v in values), "line 3", {}),
            ("".join(f"{v},good\n" for v in values), "has not one column", {}),  # no header
            (f"{keyword},label\n{values[0]},{WORD}severe\n", "is no number", {"threshold": 2}),
        ):
            table.write_text(text)
            with pytest.raises(QCError, match=what) as caught:
                load_samples(root, "dicom_csv", {"key": keyword, "window": "full", **more})
            assert not _telltale(str(caught.value))
    table.write_text(f"PatientID,label\n{WORD}Id9,good\n{WORD}Id0,{WORD}x,y\n")
    ran = _qc(root, "data", "audit", root, "-v", "--json", *_told("key=PatientID"))
    assert ran.returncode == 2 and "line 3" in ran.stdout
    _assert_silent(root, ran)


def test_without_a_salt_nothing_is_told_or_written(root: Path) -> None:
    ran = _qc(root, "data", "split", root, "--out", "split.csv", *_told("window=full", salt=False))
    assert ran.returncode == 2 and "needs a secret salt" in ran.stderr
    assert list(_artefacts(root)) == []
    _assert_silent(root, ran)


def test_an_error_holds_nothing_in_its_causes(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QC_SALT", SALT)
    _broken(root / "0-0.dcm", **BROKEN["frames.dcm"])
    with pytest.raises(QCError) as caught:
        load_samples(root, "dicom_csv", {"window": "full"})
    error: BaseException | None = caught.value
    while error is not None:
        assert not _telltale(f"{error!r} {error.__dict__}")
        error = error.__cause__ or error.__context__
