"""The polygon that is judged, and the part's name in its picture."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from edge.codes import read_code
from edge.region import GREY, Region
from qc.errors import DataError
from qc.types import Image

# region


def _numbered(height: int, width: int) -> Image:
    return np.arange(height * width * 3, dtype=np.uint8).reshape(height, width, 3)


def test_a_rectangle_is_a_crop() -> None:
    image = _numbered(6, 8)
    cut = Region([(2, 1), (7, 1), (7, 5), (2, 5)]).apply(image)
    np.testing.assert_array_equal(cut, image[1:5, 2:7])
    whole = Region([(0, 0), (8, 0), (8, 6), (0, 6)]).apply(image)
    np.testing.assert_array_equal(whole, image)


def test_outside_of_the_polygon_is_grey_and_the_frame_is_left_alone() -> None:
    image = np.full((10, 10, 3), 7, np.uint8)
    cut = Region([(0, 0), (10, 0), (0, 10)]).apply(image)  # the upper left triangle
    assert cut.shape == (10, 10, 3)
    for y in range(10):
        for x in range(10):
            if x + y < 9:
                assert cut[y, x].tolist() == [7] * 3, (x, y)
            if x + y > 9:
                assert cut[y, x].tolist() == [GREY] * 3, (x, y)
    assert (image == 7).all()


@pytest.mark.parametrize("corner", [(9, 2), (-1, 2), (2, 7), (2, -0.5)])
def test_a_corner_outside_of_the_frame_is_refused_with_both(corner: tuple[float, float]) -> None:
    region = Region([(1, 1), corner, (3, 4)])
    with pytest.raises(DataError, match=r"inside the frame.*within 8 x 6 .*found \(1, 1\), "):
        region.apply(_numbered(6, 8))


def test_what_is_no_polygon_is_refused() -> None:
    for polygon in ([(0, 0), (1, 1)], [(0, 0), (1, 1), (float("nan"), 2)]):
        with pytest.raises(DataError, match="no polygon"):
            Region(polygon)
    with pytest.raises(DataError, match="no area"):
        Region([(0, 0), (5, 0), (9, 0)])


# codes

_LEFT = [f"{code:07b}" for code in (0x0D, 0x19, 0x13, 0x3D, 0x23, 0x31, 0x2F, 0x3B, 0x37, 0x0B)]
_EVEN = (
    0,
    0b001011,
    0b001101,
    0b001110,
    0b010011,
    0b011001,
    0b011100,
    0b010101,
    0b010110,
    0b011010,
)


def _ean13(digits: str) -> Image:
    """An EAN-13 as the standard draws it (ISO/IEC 15420): white paper, black bars, quiet zones."""
    right = [code.translate(str.maketrans("01", "10")) for code in _LEFT]
    even = [code[::-1] for code in right]
    first = zip(digits[1:7], f"{_EVEN[int(digits[0])]:06b}", strict=True)
    bits = "101" + "".join((even if p == "1" else _LEFT)[int(d)] for d, p in first)
    bits += "01010" + "".join(right[int(d)] for d in digits[7:]) + "101"
    bars = np.array([255 * (bit == "0") for bit in bits], np.uint8)
    drawn = np.tile(bars.repeat(3), (120, 1))
    return _on_paper(drawn)


def _qr(text: str) -> Image:
    return _on_paper(cv2.QRCodeEncoder.create().encode(text).repeat(6, axis=0).repeat(6, axis=1))


def _on_paper(drawn: np.ndarray) -> Image:
    framed = cv2.copyMakeBorder(drawn, 60, 60, 60, 60, cv2.BORDER_CONSTANT, value=255)
    return np.repeat(framed[..., None], 3, axis=2)


def _on_a_part(code: Image, angle: float = 0.0) -> Image:
    """The code's label, turned, on a larger part, seen through a lens by a sensor."""
    rng = np.random.default_rng(3)
    seen = rng.normal(110, 8, (1024, 1280, 3)).clip(0, 255).astype(np.uint8)
    height, width = code.shape[:2]
    turn = cv2.getRotationMatrix2D((width / 2, height / 2), angle, 1.0)
    turn[:, 2] += (640 - width / 2, 512 - height / 2)
    cv2.warpAffine(code, turn, (1280, 1024), dst=seen, borderMode=cv2.BORDER_TRANSPARENT)
    blurred = cv2.GaussianBlur(seen, (0, 0), 1.0)
    return (blurred + rng.normal(0, 3, seen.shape)).clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize("angle", [0, 12, 90])
def test_a_qr_code_is_read(angle: float) -> None:
    assert read_code(_on_a_part(_qr("PART-0042/lot7"), angle)) == "PART-0042/lot7"


@pytest.mark.parametrize("angle", [0, 12, 90])
@pytest.mark.parametrize("digits", ["4006381333931", "9780306406157"])
def test_a_bar_code_is_read(digits: str, angle: float) -> None:
    assert read_code(_on_a_part(_ean13(digits), angle)) == digits


def test_no_code_is_none_and_two_are_refused() -> None:
    assert read_code(_on_a_part(np.full((50, 50, 3), 255, np.uint8))) is None
    assert read_code(np.zeros((1, 1, 3), np.uint8)) is None
    twice = np.concatenate([_qr("A-1"), _qr("A-1")], axis=1)
    assert read_code(twice) == "A-1"
    with pytest.raises(DataError, match=r"several codes in one picture.*found A-1, B-2"):
        read_code(np.concatenate([_qr("A-1"), _qr("B-2")], axis=1))
