"""Pictures of DICOM files: numbers worked out by hand."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pydicom = pytest.importorskip("pydicom", reason="pydicom is not installed (extra dicom)")

from dicom_files import item, table, write  # noqa: E402
from pydicom.uid import (  # noqa: E402
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    RLELossless,
)

from training.dicom import DicomFrame, read_frame, read_header  # noqa: E402

BYTES = [0, 1, 2, 127, 128, 129, 254, 255]
CT = {"BitsStored": 12, "RescaleSlope": 1, "RescaleIntercept": -1024}


def _greys(file: Path, window: str = "full", frame: int = 1) -> list[int]:
    """The greys of a frame of one row, which must be the same in all three channels."""
    found = read_frame(file, frame, window)
    assert found.dtype == np.uint8 and found.flags.writeable and len(found) == 1
    assert (found == found[..., :1]).all()
    return [int(v) for v in found[0, :, 0]]


def _row(folder: Path, values: Sequence[int], kind: str = "u2", **keywords: Any) -> Path:
    """A file of one row of pixels."""
    return write(folder / "a.dcm", np.array([values], kind), **keywords)


def test_eight_bits_of_the_full_range_are_left_as_they_are(tmp_path: Path) -> None:
    file = _row(tmp_path, BYTES, "u1")
    assert _greys(file) == BYTES
    assert DicomFrame(file, 1, "full").read().shape == (1, 8, 3)


def test_monochrome1_is_inverted_after_the_window(tmp_path: Path) -> None:
    file = _row(tmp_path, BYTES, "u1", PhotometricInterpretation="MONOCHROME1")
    assert _greys(file) == [255 - v for v in BYTES]
    file = _row(tmp_path, [99, 100, 150, 200], "u1", PhotometricInterpretation="MONOCHROME1")
    # black up to 150 - 50, white from 150 + 50; 150 is half: 127.5 is rounded up
    assert _greys(file, "150.5,101") == [255, 255, 128, 0]


def test_the_window_is_the_linear_formula_of_the_standard_at_its_edges(tmp_path: Path) -> None:
    # C.11.2.1.2 with c = 40, w = 400: black up to 39.5 - 199.5 = -160, white above 239,
    # between them ((x - 39.5) / 399 + 0.5) * 255
    units = [-1024, -161, -160, -159, 0, 40, 238, 239, 240, 3071]
    greys = [0, 0, 0, 1, 102, 128, 254, 255, 255, 255]
    file = _row(tmp_path, [u + 1024 for u in units], **CT)
    assert _greys(file, "40,400") == greys
    assert _greys(_row(tmp_path, units, "i2"), "40,400") == greys
    own = {**CT, "WindowCenter": [40, 300], "WindowWidth": [400, 1500]}
    assert _greys(_row(tmp_path, [u + 1024 for u in units], **own), "voi") == greys  # the first


@pytest.mark.parametrize(
    ("function", "centre", "width", "greys"),
    [
        # 0.25 and 0.75 of 255 are 63.75 and 191.25
        ("LINEAR_EXACT", 100, 200, {0: 0, 50: 64, 100: 128, 150: 191, 200: 255, 255: 255}),
        ("LINEAR_EXACT", 100, 0.5, {99: 0, 100: 128, 101: 255}),
        # 255 / (1 + e^4) = 4.59, 255 / (1 + e^-1) = 186.4, 255 / (1 + e^-4) = 250.4
        ("SIGMOID", 100, 100, {0: 5, 100: 128, 125: 186, 200: 250}),
        ("LINEAR", 100, 1, {99: 0, 100: 255, 101: 255}),
        ("LINEAR", 100, 2, {98: 0, 99: 0, 100: 255}),
    ],
)
def test_the_functions_of_a_window(
    tmp_path: Path, function: str, centre: float, width: float, greys: dict[int, int]
) -> None:
    own = {"WindowCenter": centre, "WindowWidth": width, "VOILUTFunction": function}
    file = _row(tmp_path, list(greys), "u1", **own)
    assert _greys(file, "voi") == list(greys.values())


def test_twelve_bits_in_sixteen(tmp_path: Path) -> None:
    # 2048 / 4095 * 255 = 127.53; four bits above are no part of the value
    assert _greys(_row(tmp_path, [0, 2048, 4095], BitsStored=12)) == [0, 128, 255]
    assert _greys(_row(tmp_path, [0xF000, 0xF800, 0x1FFF], BitsStored=12)) == [0, 128, 255]
    signed = {"BitsStored": 12, "PixelRepresentation": 1}
    assert _greys(_row(tmp_path, [-2048, 0, 2047], "i2", **signed)) == [0, 128, 255]
    # without their sign above bit 12
    assert _greys(_row(tmp_path, [0x0800, 0, 0x07FF], "u2", **signed)) == [0, 128, 255]


def test_sixteen_bits_are_scaled_as_those_of_a_png(tmp_path: Path) -> None:
    values = [0, 128, 129, 32767, 32768, 65535]
    assert _greys(_row(tmp_path, values)) == [(v + 128) // 257 for v in values]
    assert _greys(_row(tmp_path, [-32768, -1, 0, 32767], "i2")) == [0, 127, 128, 255]
    assert _greys(_row(tmp_path, [0, 1 << 31, 2**32 - 1], "u4")) == [0, 128, 255]
    assert _greys(_row(tmp_path, [0, 99, 100, 300], "u4"), "200.5,201") == [0, 0, 0, 255]


def test_full_goes_by_the_bits_after_the_rescale_and_never_by_the_pixels(tmp_path: Path) -> None:
    assert _greys(_row(tmp_path, [1000, 1010], **CT)) == [62, 63]  # of 4095: 62.3 and 62.9
    falling = {"RescaleSlope": -2, "RescaleIntercept": 7}
    assert _greys(_row(tmp_path, BYTES, "u1", **falling)) == [255 - v for v in BYTES]
    assert _greys(_row(tmp_path, [0, 10], "u1", RescaleSlope=2.5), "13.5,26") == [0, 250]  # 0.98


def test_the_table_of_the_modality_replaces_the_rescale(tmp_path: Path) -> None:
    own = {"ModalityLUTSequence": [table(2, 8, [10, 20, 30])], "RescaleSlope": 9}
    file = _row(tmp_path, [0, 2, 3, 4, 200], "u1", **own)
    assert _greys(file) == [10, 10, 20, 30, 30]
    assert _greys(file, "20.5,21") == [0, 0, 128, 255, 255]


def test_the_files_own_table_comes_before_its_window(tmp_path: Path) -> None:
    own = {"VOILUTSequence": [table(-924, 10, [0, 512, 1023])], **CT}
    own |= {"WindowCenter": 40, "WindowWidth": 400}
    file = _row(tmp_path, [0, 100, 101, 102, 4000], **own)
    assert _greys(file, "voi") == [0, 0, 128, 255, 255]  # 512 / 1023 * 255 = 127.6


def test_frames_have_windows_and_rescales_of_their_own(tmp_path: Path) -> None:
    def groups(**keywords: Any) -> Any:
        shown = item(WindowCenter=keywords.pop("WindowCenter"), WindowWidth=101)
        return item(
            FrameVOILUTSequence=[shown], PixelValueTransformationSequence=[item(**keywords)]
        )

    frames = np.array([[[0, 50, 100, 200]]] * 3, "u1")
    own = {
        "PerFrameFunctionalGroupsSequence": [
            groups(WindowCenter=50.5, RescaleSlope=1, RescaleIntercept=0),
            groups(WindowCenter=50.5, RescaleSlope=0.5, RescaleIntercept=0),
            item(),
        ],
        "SharedFunctionalGroupsSequence": [
            groups(WindowCenter=100.5, RescaleSlope=1, RescaleIntercept=50)
        ],
    }
    file = write(tmp_path / "a", frames, **own)
    assert _greys(file, "voi", 1) == [0, 128, 255, 255]
    assert _greys(file, "voi", 2) == [0, 64, 128, 255]  # 25 and 50 after the rescale
    assert _greys(file, "voi", 3) == [0, 128, 255, 255]  # 50, 100, 150 in the shared window


def test_frames_count_from_one(tmp_path: Path) -> None:
    frames = np.arange(12, dtype="u2").reshape(3, 1, 4) * 1000
    file = write(tmp_path / "a", frames, BitsStored=16)
    assert read_header(file).frames == 3
    for number in (3, 1, 2):
        expected = [(int(v) + 128) // 257 for v in frames[number - 1, 0]]
        assert _greys(file, "full", number) == expected


def test_colour_by_pixel_and_by_plane_and_of_sixteen_bits(tmp_path: Path) -> None:
    rgb = np.arange(24, dtype="u1").reshape(2, 4, 3) * 10
    assert (read_frame(write(tmp_path / "a", rgb)) == rgb).all()  # no window is asked for
    planes = np.moveaxis(rgb, -1, 0).tobytes()
    file = write(tmp_path / "b", rgb, PlanarConfiguration=1, PixelData=planes)
    assert (read_frame(file) == rgb).all()
    deep = np.array([[[0, 32768, 65535]]], "u2")
    assert read_frame(write(tmp_path / "c", deep)).tolist() == [[[0, 128, 255]]]


def test_luma_and_chroma_become_rgb(tmp_path: Path) -> None:
    # R = Y + 1.402 (Cr - 128), G = Y - 0.3441 (Cb - 128) - 0.7141 (Cr - 128),
    # B = Y + 1.772 (Cb - 128): red is Y 76, Cb 85, Cr 255
    ybr = np.array([[[76, 85, 255], [100, 128, 128]]], "u1")
    file = write(tmp_path / "a", ybr, PhotometricInterpretation="YBR_FULL")
    assert read_frame(file).tolist() == [[[254, 0, 0], [100, 100, 100]]]
    halved = bytes([76, 100, 128, 128])  # two Y with one Cb and one Cr
    file = write(tmp_path / "b", ybr, PhotometricInterpretation="YBR_FULL_422", PixelData=halved)
    assert read_frame(file).tolist() == [[[76] * 3, [100] * 3]]


@pytest.mark.parametrize(("bits", "scale"), [(8, 1), (16, 257)])
def test_a_palette(tmp_path: Path, bits: int, scale: int) -> None:
    entries = {"Red": [255, 0, 10], "Green": [0, 255, 20], "Blue": [0, 0, 30]}
    own: dict[str, Any] = {"PhotometricInterpretation": "PALETTE COLOR"}
    for colour, values in entries.items():
        scaled = np.array([*values, 99][: 4 if bits == 8 else 3]) * scale  # bytes are padded
        name = f"{colour}PaletteColorLookupTable"
        own[f"{name}Descriptor"] = [3, 5, bits]
        own[f"{name}Data"] = scaled.astype(f"<u{bits // 8}").tobytes()
    file = _row(tmp_path, [0, 5, 6, 7, 200], "u1", **own)
    red, green, last = [255, 0, 0], [0, 255, 0], [10, 20, 30]
    assert read_frame(file)[0].tolist() == [red, red, green, last, last]


@pytest.mark.parametrize(
    "syntax",
    [ExplicitVRBigEndian, ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian, RLELossless],
)
def test_other_transfer_syntaxes_give_the_same_greys(tmp_path: Path, syntax: Any) -> None:
    values = np.array([[0, 32768, 65535, 1000]], "u2")
    if syntax == RLELossless:
        made = pydicom.dcmread(write(tmp_path / "a", values))
        made.compress(RLELossless)
        made.save_as(tmp_path / "a")
    elif syntax == ExplicitVRBigEndian:
        write(tmp_path / "a", values, syntax=syntax, PixelData=values.byteswap().tobytes())
    else:
        write(tmp_path / "a", values, syntax=syntax)
    assert _greys(tmp_path / "a") == [0, 128, 255, 4]
