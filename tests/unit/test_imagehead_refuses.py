"""Headers of images that lie or break off: each is refused in its own words."""

from __future__ import annotations

import re
import struct

import cv2
import numpy as np
import pytest
from odd_images import PNG_MAGIC, bmp_file, bmp_rows, chunk, picture, png_of, tiff_of

from qc.errors import DataError
from qc.imageio import decode_image

RGB = picture()
PNG = png_of(RGB, 2)
BMP = bmp_file((40, 24), 24, bmp_rows(RGB[..., ::-1], 24))
TIFF = tiff_of(RGB, 2)


def _jpeg() -> bytes:
    ok, data = cv2.imencode(".jpg", RGB)
    assert ok
    return data.tobytes()


JPEG = _jpeg()


def segment(marker: int) -> bytes:
    """One segment of the JPEG, with its marker."""
    at = JPEG.index(bytes([0xFF, marker]))
    return JPEG[at : at + 2 + int.from_bytes(JPEG[at + 2 : at + 4])]


def altered(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def renamed(tag: int) -> bytes:
    """The TIFF, where one field has the number of another that says nothing."""
    field = struct.pack("<HH", tag, 3)
    assert TIFF.count(field) == 1
    return TIFF.replace(field, struct.pack("<HH", 40_000, 3))


def long_field(tag: int, values: int) -> bytes:
    at = TIFF.index(struct.pack("<H", tag), 8)
    return TIFF[: at + 4] + struct.pack("<I", values) + TIFF[at + 8 :]


HEADER = chunk(b"IHDR", struct.pack(">IIBBBBB", 40, 24, 8, 2, 0, 0, 0))
SOF, SOS = segment(0xC0), segment(0xDA)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (PNG_MAGIC + HEADER[:9], "image header is truncated"),
        (PNG.replace(b"IHDR", b"IHDX"), "PNG does not begin with its header; found b'IHDX'"),
        (PNG_MAGIC + b"\0\0\0\x0e" + PNG[12:], "PNG does not begin with its header; found b'IHDR'"),
        (PNG[:-12], "PNG is truncated: its end is missing"),
        (PNG[:-1], "PNG is truncated: its end is missing"),
        (PNG[:-16], "its end is missing, or a length of chunk b'IDAT' is wrong"),
        (altered(PNG, 29), "PNG is damaged: checksum of chunk b'IHDR'"),
        (altered(PNG, PNG.index(b"IDAT") + 9), "PNG is damaged: checksum of chunk b'IDAT'"),
        (altered(PNG, len(PNG) - 1), "PNG is damaged: checksum of chunk b'IEND'"),
        (b"\xff\xd8" + SOF, "JPEG is truncated: no picture data"),
        (b"\xff\xd8\xff\xd9", "JPEG ends before its picture data"),
        (b"\xff\xd8" + SOF + b"\xff\xd9", "JPEG ends before its picture data"),
        (b"\xff\xd8" + SOF[:8], "image header is truncated"),
        (b"\xff\xd8" + SOF + JPEG[2:], "JPEG is damaged: two frame headers"),
        (JPEG.replace(SOF, b""), "JPEG has no frame header"),
        (JPEG[:-2], "JPEG is truncated: its end marker is missing"),
        (JPEG[:-2] + JPEG, "JPEG is truncated: another begins before its end"),
        (BMP[:20], "image header is truncated"),
        (BMP[:14] + b"\x29" + BMP[15:], "BMP is damaged; expected a header of 12"),
        (BMP[:-1], f"BMP is truncated; expected {len(BMP)} bytes; found {len(BMP) - 1}"),
        (BMP[:10] + b"\x35" + BMP[11:], f"BMP is truncated; expected {len(BMP) - 1} bytes"),
        (TIFF[:40], "image header is truncated"),
        (renamed(256), "TIFF has no width or height"),
        (renamed(257), "TIFF has no width or height"),
        (renamed(258), "expected 8 or 16 bit; found 1 bit"),
        (long_field(273, 2**31), "TIFF is truncated or damaged: field 273"),
        (TIFF[:8] + b"\xff\xff" + TIFF[10:], "TIFF is damaged: a page of 65535 fields"),
        (tiff_of(RGB, 2, tags=[(284, 3)]), "found planar 3, predictor 1"),
        (tiff_of(RGB, 2, tags=[(317, 3)]), "found planar 1, predictor 3"),
        (tiff_of(RGB, 6), "found photometric 6, compression 1"),
        (
            tiff_of(np.dstack([RGB, RGB[..., 0]]), 5, tags=[(259, 7)]),
            "photometric 5, compression 7",
        ),
    ],
)
def test_a_header_that_lies_is_refused_in_its_own_words(data: bytes, says: str) -> None:
    with pytest.raises(DataError, match=re.escape(says)) as caught:
        decode_image(data, "a/b.png")
    assert caught.value.where == "a/b.png"


@pytest.mark.parametrize("data", [PNG, JPEG, BMP, TIFF])
def test_what_is_altered_above_is_right_before(data: bytes) -> None:
    assert decode_image(data, "x").shape == (24, 40, 3)
