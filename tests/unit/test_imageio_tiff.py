"""TIFF of every make: read with the right pixels, or refused in words."""

from __future__ import annotations

import struct
import zlib

import cv2
import numpy as np
import pytest
from odd_images import picture, tiff_of, turned

from qc.errors import DataError
from qc.imageio import decode_image

RGB = picture()
GREY = RGB[..., 1]
GREY_RGB = np.repeat(GREY[..., None], 3, axis=2)
ALPHA = np.where(np.arange(RGB.shape[1]) < 9, 7, 255).astype(np.uint8)[None].repeat(len(RGB), 0)
RGBA = np.dstack([RGB, ALPHA])
GREY_ALPHA = np.dstack([GREY, ALPHA])


def deep(pixels: np.ndarray) -> np.ndarray:
    """8 bit as 16 bit: 255 becomes 65535."""
    return np.asarray(pixels, np.uint16) * 257


def read(data: bytes, expected: np.ndarray) -> None:
    np.testing.assert_array_equal(decode_image(data, "x"), expected)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("is_deep", [False, True])
@pytest.mark.parametrize("planar", [1, 2])
@pytest.mark.parametrize("block", [None, 5, (16, 32)], ids=["one strip", "strips", "tiles"])
def test_tiff(
    order: str, big: bool, is_deep: bool, planar: int, block: int | tuple[int, int] | None
) -> None:
    is_tiled = isinstance(block, tuple)
    for pixels, photometric, expected in [
        (GREY, 1, GREY_RGB),
        (GREY, 0, 255 - GREY_RGB),
        (GREY_ALPHA, 1, GREY_RGB),
        (RGB, 2, RGB),
        (RGBA, 2, RGB),
    ]:
        for deflate, predictor in [(False, 1), (True, 1), (True, 2)]:
            data = tiff_of(
                deep(pixels) if is_deep else pixels,
                photometric,
                order,
                big,
                planar,
                tile_hw=block if is_tiled else None,
                rows=None if is_tiled else block,
                deflate=deflate,
                predictor=predictor,
            )
            read(data, expected)


@pytest.mark.parametrize("compression", [1, 5, 32773], ids=["plain", "LZW", "PackBits"])
@pytest.mark.parametrize("is_deep", [False, True])
def test_tiff_as_opencv_writes_it(compression: int, is_deep: bool) -> None:
    for pixels, expected in [
        (GREY, GREY_RGB),
        (RGB[..., ::-1], RGB),
        (RGBA[..., [2, 1, 0, 3]], RGB),
    ]:
        stored = deep(pixels) if is_deep else np.ascontiguousarray(pixels)
        ok, data = cv2.imencode(".tif", stored, [cv2.IMWRITE_TIFF_COMPRESSION, compression])
        assert ok
        read(data.tobytes(), expected)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_tiff_is_turned_by_its_orientation(orientation: int) -> None:
    expected = turned(RGB, orientation)
    read(tiff_of(RGB, 2, tags=[(274, orientation)]), expected)
    read(tiff_of(deep(RGB), 2, tags=[(274, orientation)]), expected)


def test_a_reduced_picture_beside_the_page_is_no_page() -> None:
    read(tiff_of(RGB, 2, pages=2, reduced=[1]), RGB)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (tiff_of(RGB, 2, pages=3), "expected one page; found 3"),
        (tiff_of(RGB, 2, pages=2, reduced=[0]), "first page is a reduced"),
        (tiff_of(GREY.astype(np.float32), 1, tags=[(339, 3)]), "floating point"),
        (tiff_of(GREY.astype(np.int16), 1, tags=[(339, 2)]), "signed integers"),
        (tiff_of(GREY.astype(np.uint32), 1), "expected 1 or 8 or 16 bit; found 32 bit"),
        (tiff_of(GREY, 1, tags=[(258, 4)]), "found 4 bit"),
        (tiff_of(RGB, 2, tags=[(259, 34712)]), "found compression 34712"),
        (tiff_of(GREY, 1, tags=[(262, 32803)]), "photometric 32803"),
        (tiff_of(np.dstack([RGBA, ALPHA]), 2), "3 samples a pixel.*found 5"),
        (tiff_of(deep(RGB), 2, planar=2, tags=[(259, 5)]), "16 bit in planes"),
        (tiff_of(RGB, 2, rows=5, tags=[(278, 2)]), "expected 12 strips"),
        (tiff_of(RGB, 2)[:-1], "truncated"),
        (tiff_of(RGB, 2, tags=[(257, 65535), (278, 65535)]), "truncated; expected"),
        (tiff_of(RGB, 2, tile_hw=(16, 16), tags=[(322, 0)]), "size that is refused"),
        (tiff_of(RGB, 2, tile_hw=(16, 16), tags=[(322, 65535), (323, 65535)]), "refused"),
        (tiff_of(RGB, 2, tags=[(259, 5)]).replace(RGB.tobytes(), RGB.tobytes()[:1]), "truncated"),
        (b"II*\0\x08\0\0\0", "truncated"),
        (b"II*\0" + struct.pack("<IHI", 8, 0, 8), "no end"),
        (b"II+\0" + b"\xff" * 40, "truncated"),
    ],
)
def test_a_tiff_of_another_kind_is_refused(data: bytes, why: str) -> None:
    with pytest.raises(DataError, match=why):
        decode_image(data, "x")


def test_a_deflated_tiff_that_is_damaged_is_refused() -> None:
    data = tiff_of(RGB, 2, deflate=True)
    at = data.index(zlib.compress(RGB.tobytes()))
    for place in range(at, len(data), 7):
        altered = bytearray(data)
        altered[place] ^= 0x55
        with pytest.raises(DataError, match=r"damaged|truncated"):
            decode_image(bytes(altered), "x")
