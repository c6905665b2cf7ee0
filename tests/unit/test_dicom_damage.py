"""DICOM files that are compressed, damaged, cut or hostile: a picture or one error, never more."""

from __future__ import annotations

import importlib.util
import os
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pydicom = pytest.importorskip("pydicom", reason="pydicom is not installed (extra dicom)")

from dicom_files import dataset, write  # noqa: E402
from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from pydicom.encaps import encapsulate, get_frame  # noqa: E402
from pydicom.uid import MPEG2MPML, DeflatedExplicitVRLittleEndian  # noqa: E402

from qc import imageio  # noqa: E402
from qc.errors import DataError, QCError, UsageError  # noqa: E402
from training import dicom, dicom_header, dicom_reader  # noqa: E402
from training.dicom import is_dicom, read_frame, read_header  # noqa: E402

SHIPPED = Path(pydicom.__file__).parent / "data"
FILES = SHIPPED / "test_files"
GREY = np.zeros((4, 4), "u2")


def _decoder(module: str) -> pytest.MarkDecorator:
    missing = importlib.util.find_spec(module) is None
    return pytest.mark.skipif(missing, reason=f"{module} is not installed (extra dicom)")


gdcm, openjpeg = _decoder("gdcm"), _decoder("openjpeg")


def _refused(path: Path, what: str, frame: int = 1, window: str = "full") -> str:
    with pytest.raises(DataError, match=what) as caught:
        read_frame(path, frame, window)
    assert caught.value.where == str(path)
    return caught.value.message


@pytest.mark.parametrize(
    "name",
    [
        "MR_small_RLE.dcm",
        "MR_small_bigendian.dcm",
        "MR_small_implicit.dcm",
        "MR_small_padded.dcm",
        pytest.param("MR_small_jp2klossless.dcm", marks=openjpeg),
        pytest.param("MR_small_jpeg_ls_lossless.dcm", marks=gdcm),
    ],
)
def test_lossless_compression_gives_the_same_picture(name: str) -> None:
    plain = read_frame(FILES / "MR_small.dcm")
    assert plain.std() > 20
    assert (read_frame(FILES / name) == plain).all()


@gdcm
@pytest.mark.parametrize(
    "name",
    [
        "SC_rgb_jpeg_gdcm.dcm",  # lossless JPEG
        "SC_rgb_dcmtk_+eb+cr.dcm",
        "SC_rgb_dcmtk_+eb+cy+n1.dcm",
        "SC_rgb_dcmtk_+eb+cy+np.dcm",
        "SC_rgb_dcmtk_+eb+cy+s4.dcm",
        "SC_rgb_jpeg_dcmtk.dcm",
        "SC_rgb_jpeg_lossy_gdcm.dcm",
        "SC_rgb_jls_lossy_line.dcm",
        "SC_rgb_jls_lossy_sample.dcm",
        "SC_ybr_full_422_uncompressed.dcm",
        pytest.param("SC_rgb_gdcm_KY.dcm", marks=openjpeg),
    ],
)
def test_compressed_colours_are_those_of_the_plain_picture(name: str) -> None:
    plain = read_frame(FILES / "SC_rgb_rle.dcm").astype(int)
    # bars of colour; subsampled chroma blurs where two of them meet, so their middles are compared
    assert np.abs(read_frame(FILES / name) - plain)[5::10, 50].max() <= 5


@gdcm
def test_untransformed_colours_of_a_jpeg_are_told_from_luma_and_chroma() -> None:
    plain = read_frame(FILES / "SC_rgb_jpeg_dcmd.dcm").astype(int)
    for name in ("SC_rgb_jpeg.dcm", "SC_jpeg_no_color_transform.dcm"):
        assert np.abs(read_frame(FILES / name) - plain).mean() < 1, name


def test_every_file_that_pydicom_ships_is_read_or_refused(
    capfd: pytest.CaptureFixture[str],
) -> None:
    files = [f for f in sorted(SHIPPED.rglob("*")) if f.is_file() and "__pycache__" not in f.parts]
    count: Counter[str] = Counter()
    for file in files:
        for window in ("voi", "full"):
            try:
                picture = read_frame(file, 1, window)
            except DataError as error:
                assert error.where == str(file) and "\n" not in error.message
                count[f"refused {window}"] += 1
            else:
                assert picture.dtype == np.uint8 and picture.ndim == 3
                count[f"read {window}"] += 1
    assert count["read full"] >= 60 and count["refused full"] >= 20
    assert count["read voi"] >= 40
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("MR_truncated.dcm", "truncated.*expected at least 8192 bytes.*pixel data of 8130"),
        ("badVR.dcm", "no whole number in NumberOfFrames"),
        ("JPGExtended.dcm", "extended JPEG of more than 8 bits.*12 bits"),
        ("reportsi.dcm", "holds no picture"),
        ("dicomdirtests/DICOMDIR", "holds no picture"),
        ("no_meta.dcm", "not DICOM; expected DICM at byte 128"),
        ("zipMR.gz", "not DICOM"),
        ("nothing.dcm", "cannot be read .No such file"),
    ],
)
def test_shipped_files_that_are_refused(name: str, what: str) -> None:
    if not (FILES / name).exists() and name != "nothing.dcm":
        pytest.skip(f"pydicom does not ship {name}")
    _refused(FILES / name, what)


@pytest.mark.parametrize(
    ("keywords", "what"),
    [
        ({"Rows": 0}, "size that is refused.*found 4 x 0 in 1"),
        ({"Rows": 60000, "Columns": 60000}, "size that is refused.*found 60000 x 60000 in 1"),
        ({"NumberOfFrames": 2**31 - 1}, "size that is refused.*in 2147483647"),
        ({"NumberOfFrames": 0}, "size that is refused"),
        ({"NumberOfFrames": 50000}, "truncated, or claims more.*at least 1600000 bytes"),
        ({"Rows": 8000, "Columns": 8000}, "truncated, or claims more"),
        ({"Columns": None}, "lacks Columns"),
        ({"BitsAllocated": None}, "lacks BitsAllocated"),
        ({"BitsStored": 17}, "bits are not read.*16 allocated, 17 stored"),
        ({"BitsStored": 12, "HighBit": 15}, "bits are not read.*12 stored, high bit 15"),
        ({"BitsAllocated": 24, "BitsStored": 24}, "bits are not read.*24 allocated"),
        ({"PixelRepresentation": 2}, "bits are not read"),
        ({"SamplesPerPixel": 3}, "kind that is not read.*MONOCHROME2, 3 sample"),
        ({"PhotometricInterpretation": "CMYK"}, "kind that is not read.*another, 1 sample"),
        ({"PhotometricInterpretation": "PALETTE COLOR"}, "palette is missing"),
        ({"PixelData": None}, "no pixel data"),
        ({"PixelData": b"\0" * 30}, "truncated"),
        ({"RescaleSlope": 0}, "rescale is not valid"),
        (
            {"syntax": MPEG2MPML, "PixelData": None},
            "transfer syntax is not read.*found MPEG2 Main Profile",
        ),
        ({"syntax": pydicom.uid.UID("1.2.3.4")}, "transfer syntax is not read.*missing or unknown"),
    ],
)
def test_a_header_that_cannot_be_is_refused(
    tmp_path: Path, keywords: dict[str, Any], what: str
) -> None:
    syntax = keywords.get("syntax")
    made = dataset(GREY, **{k: v for k, v in keywords.items() if k != "syntax"})
    if syntax is not None:
        made.file_meta.TransferSyntaxUID = syntax
    pydicom.dcmwrite(tmp_path / "a", made, implicit_vr=False, little_endian=True)
    began = time.monotonic()
    _refused(tmp_path / "a", what)
    assert time.monotonic() - began < 20  # nothing is decoded; the margin is for a busy machine


@pytest.mark.parametrize(
    ("keywords", "what"),
    [
        ({}, "no window of its own: choose another; expected window=full"),
        ({"WindowCenter": 5}, "a centre or a width, and not both"),
        ({"WindowCenter": 5, "WindowWidth": 0}, "window is not valid.*width at least 1"),
        ({"WindowCenter": 5, "WindowWidth": 9, "VOILUTFunction": "CURVE"}, "is not known"),
    ],
)
def test_a_window_that_cannot_be_is_refused(
    tmp_path: Path, keywords: dict[str, Any], what: str
) -> None:
    _refused(write(tmp_path / "a", GREY, **keywords), what, window="voi")


@pytest.mark.parametrize("window", ["", "soft", "40", "40,", "40,0", "nan,5", "40,inf"])
def test_an_unknown_window_is_refused(tmp_path: Path, window: str) -> None:
    _refused(write(tmp_path / "a", GREY), "window is not (known|valid)", window=window)


@pytest.mark.parametrize("frame", [0, -1, 3])
def test_a_frame_that_is_not_there_is_refused(tmp_path: Path, frame: int) -> None:
    _refused(write(tmp_path / "a", np.zeros((2, 4, 4), "u1")), "expected 1 to 2; found", frame)


def test_noise_behind_the_mark_is_refused(tmp_path: Path) -> None:
    noise = np.random.default_rng(1).bytes(4000)
    for file, data in (
        (tmp_path / "a", b"\0" * 128 + b"DICM" + noise),
        (tmp_path / "b", b"\0" * 128 + b"DICM"),
        (tmp_path / "c", b"\0" * 128 + b"DIC"),
        (tmp_path / "d", b""),
    ):
        file.write_bytes(data)
        _refused(file, "DICOM")
        assert is_dicom(file) == (file.name in "ab")
    _refused(tmp_path, "cannot be read")
    assert not is_dicom(tmp_path) and not is_dicom(tmp_path / "nothing")


def test_a_file_that_is_too_large_is_refused_packed_or_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    zeros = np.zeros((1000, 1000), "u2")
    write(tmp_path / "packed", zeros, syntax=DeflatedExplicitVRLittleEndian)
    write(tmp_path / "plain", zeros)
    assert (tmp_path / "packed").stat().st_size < 10_000
    assert read_frame(tmp_path / "packed", 1, "full").shape == (1000, 1000, 3)
    monkeypatch.setattr(imageio, "MAX_BYTES", 1_900_000)
    _refused(tmp_path / "packed", "deflated DICOM file is refused.*<= 1900000 bytes unpacked")
    _refused(tmp_path / "plain", "DICOM file is refused; expected <= 1900000 bytes; found 2000")


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("SC_rgb_small_odd_jpeg.dcm", marks=gdcm),
        pytest.param("SC_rgb_jpeg_gdcm.dcm", marks=gdcm),
        pytest.param("MR_small_jpeg_ls_lossless.dcm", marks=gdcm),
        pytest.param("MR_small_jp2klossless.dcm", marks=openjpeg),
        "MR_small_RLE.dcm",
    ],
)
@pytest.mark.parametrize("kept", [0.3, 0.9])
def test_a_compressed_picture_that_was_cut_is_refused(
    tmp_path: Path, name: str, kept: float
) -> None:
    made = pydicom.dcmread(FILES / name)
    data = get_frame(made.PixelData, 0, number_of_frames=1).rstrip(b"\0")
    made.PixelData = encapsulate([data[: int(len(data) * kept)]])
    made.save_as(tmp_path / "a")
    _refused(tmp_path / "a", "truncated|damaged")


def test_a_file_cut_anywhere_is_refused(tmp_path: Path) -> None:
    whole = write(tmp_path / "a", np.zeros((20, 20), "u1")).read_bytes()
    for end in range(0, len(whole), 7):
        (tmp_path / "b").write_bytes(whole[:end])
        _refused(tmp_path / "b", "DICOM")


def test_frames_may_be_read_by_several_threads(tmp_path: Path) -> None:
    frames = np.repeat(np.arange(40, dtype="u1")[:, None, None], 4, 1).repeat(4, 2)
    file = write(tmp_path / "a", frames)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda n: int(read_frame(file, n, "full").max()), range(1, 41)))
    assert found == list(range(40))


def test_a_file_written_anew_is_read_anew(tmp_path: Path) -> None:
    for value in (1, 2):
        file = write(tmp_path / "a", np.full((2, 2), value, "u1"))
        os.utime(file, ns=(value, value))
        assert read_frame(file, 1, "full").max() == value


@pytest.mark.parametrize(
    ("reader", "what"),
    [
        ("import sys; sys.stdin.readline(); import os; os.abort()", "crashed its decoder"),
        ('import sys; sys.stdin.readline(); print(\'{"bytes": 9, "shape": [3]}\')', "crashed"),
        ("raise SystemExit(1)", "crashed its decoder"),
        ("import time; time.sleep(60)", "took longer than 0.5 s"),
    ],
)
def test_a_reader_that_dies_or_hangs_costs_one_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reader: str, what: str
) -> None:
    file = write(tmp_path / "a", GREY)
    with monkeypatch.context() as patched:
        patched.setattr(dicom, "_START", reader)
        patched.setattr(dicom, "DEADLINE_S", 0.5 if "longer" in what else 60)
        patched.setattr(dicom, "_process", dicom._Process())
        _refused(file, what)
        patched.setattr(dicom, "_START", "from training.dicom_reader import serve; serve()")
        patched.setattr(dicom, "DEADLINE_S", 60)
        assert read_frame(file, 1, "full").max() == 0
        dicom._process.close()


def test_without_pydicom_the_extra_is_named_and_the_mark_is_still_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write(tmp_path / "a", GREY)
    monkeypatch.setitem(sys.modules, "pydicom", None)
    assert is_dicom(file)
    for ask in (read_frame, read_header):
        with pytest.raises(UsageError, match=r"'dicom' extra: pip install 'attention-qc\[dicom\]'"):
            ask(file)


def test_a_decoder_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    absent = ("absent", "absent", "python-gdcm")
    monkeypatch.setitem(dicom_header.DECODERS, "1.2.840.10008.1.2.4.80", absent)
    file = FILES / "MR_small_jpeg_ls_lossless.dcm"
    with pytest.raises(DataError, match="not installed; expected python-gdcm, which the 'dicom'"):
        dicom_reader.picture(file, 1, "full", imageio.MAX_PIXELS, imageio.MAX_BYTES)


def test_the_header_gives_what_was_asked_for_and_no_more(tmp_path: Path) -> None:
    file = write(tmp_path / "a", GREY, PatientID=" 7 ", PatientName="Who^Ever")
    assert read_header(file).values == {}
    assert read_header(file, ["PatientID", "AccessionNumber"]).values == {
        "PatientID": "7",
        "AccessionNumber": "",
    }


_MUTABLE = [
    name
    for name in ("CT_small.dcm", "MR_small_RLE.dcm", "examples_palette.dcm")
    if (FILES / name).exists()
] + [
    name
    for name, module in (
        ("SC_rgb_small_odd_jpeg.dcm", "gdcm"),
        ("JPEGLSNearLossless_08.dcm", "gdcm"),
        ("MR_small_jp2klossless.dcm", "openjpeg"),
    )
    if importlib.util.find_spec(module) is not None and (FILES / name).exists()
]


@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    name=st.sampled_from(_MUTABLE),
    changes=st.lists(
        st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=12
    ),
    kept=st.floats(0.02, 1),
    window=st.sampled_from(["voi", "full", "40,400"]),
)
def test_changed_bytes_give_a_picture_or_an_error_of_this_project(
    tmp_path_factory: pytest.TempPathFactory,
    name: str,
    changes: list[tuple[float, int]],
    kept: float,
    window: str,
) -> None:
    data = bytearray((FILES / name).read_bytes())
    for place, value in changes:
        data[132 + int(place * (len(data) - 132))] = value
    file = tmp_path_factory.mktemp("mutated") / "a"
    file.write_bytes(data[: max(int(len(data) * min(kept * 2, 1)), 1)])
    try:
        picture = read_frame(file, 1, window)
    except QCError as error:
        assert error.where == str(file)
    else:
        assert picture.dtype == np.uint8 and picture.ndim == 3 and picture.shape[2] == 3
