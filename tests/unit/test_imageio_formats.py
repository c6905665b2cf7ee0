"""Every kind of picture file: read with the right pixels, or refused in words.

The files are built by `odd_images`, from the pixels that are expected.
"""

from __future__ import annotations

import struct

import cv2
import numpy as np
import pytest
from odd_images import (
    ARITHMETIC_JPEG,
    animated_png,
    bmp_file,
    bmp_rows,
    chunk,
    exif,
    four_ink_jpeg,
    jpeg_with_exif,
    picture,
    png_of,
    turned,
)

from qc.errors import DataError
from qc.imageio import decode_image

RGB = picture()
GREY = RGB[..., 1]
GREY_RGB = np.repeat(GREY[..., None], 3, axis=2)
ALPHA = np.where(np.arange(RGB.shape[1]) < 9, 7, 255).astype(np.uint8)[None].repeat(len(RGB), 0)
RGBA = np.dstack([RGB, ALPHA])
GREY_ALPHA = np.dstack([GREY, ALPHA])
SIZE_WH = (RGB.shape[1], RGB.shape[0])


def deep(pixels: np.ndarray) -> np.ndarray:
    """8 bit as 16 bit: 255 becomes 65535."""
    return np.asarray(pixels, np.uint16) * 257


def jpeg(pixels: np.ndarray = RGB, *options: int) -> bytes:
    bgr = pixels if pixels.ndim == 2 else pixels[..., ::-1]
    ok, data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, 95, *options])
    assert ok
    return data.tobytes()


def read(data: bytes, expected: np.ndarray) -> None:
    np.testing.assert_array_equal(decode_image(data, "x"), expected)


# --- PNG


@pytest.mark.parametrize(
    ("pixels", "colour", "expected"),
    [
        (GREY, 0, GREY_RGB),
        (RGB, 2, RGB),
        (GREY_ALPHA, 4, GREY_RGB),
        (RGBA, 6, RGB),
    ],
    ids=["grey", "rgb", "grey and alpha", "rgba"],
)
@pytest.mark.parametrize("depth", [8, 16])
@pytest.mark.parametrize("interlaced", [False, True])
def test_png(
    pixels: np.ndarray, colour: int, expected: np.ndarray, depth: int, interlaced: bool
) -> None:
    stored = pixels if depth == 8 else deep(pixels)
    read(png_of(stored, colour, depth=depth, interlaced=interlaced), expected)


@pytest.mark.parametrize("depth", [1, 2, 4, 8])
@pytest.mark.parametrize("has_transparent_entry", [False, True])
def test_png_of_a_palette(depth: int, has_transparent_entry: bool) -> None:
    index = (np.add.outer(np.arange(9), np.arange(13)) % (1 << depth)).astype(np.uint8)
    palette = np.random.default_rng(depth).integers(0, 256, (1 << depth, 3), np.uint8)
    before = [chunk(b"PLTE", palette.tobytes())]
    before += [chunk(b"tRNS", b"\0")] if has_transparent_entry else []
    read(png_of(index, 3, before, depth=depth), palette[index])


@pytest.mark.parametrize("depth", [1, 2, 4])
def test_png_of_few_greys(depth: int) -> None:
    grey = (np.add.outer(np.arange(9), np.arange(13)) % (1 << depth)).astype(np.uint8)
    expected = np.repeat((grey * (255 // ((1 << depth) - 1)))[..., None], 3, axis=2)
    read(png_of(grey, 0, depth=depth), expected)


@pytest.mark.parametrize(
    "colour", [chunk(b"gAMA", struct.pack(">I", 30000)), chunk(b"sRGB", b"\0")]
)
def test_png_pixels_are_as_stored_whatever_their_colour_space(colour: bytes) -> None:
    read(png_of(RGB, 2, [colour]), RGB)


def test_of_an_animated_png_its_picture_is_read() -> None:
    read(animated_png(RGB, RGB[::-1]), RGB)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_png_is_turned_by_its_exif(orientation: int) -> None:
    segment = [chunk(b"eXIf", exif(orientation, ">"))]
    read(png_of(RGB, 2, before=segment), turned(RGB, orientation))
    read(png_of(RGB, 2, after=segment), turned(RGB, orientation))


def test_png_with_a_chunk_that_must_be_understood_is_refused() -> None:
    with pytest.raises(DataError, match=r"chunk that is not known.*CgBI"):
        decode_image(png_of(RGB, 2, [chunk(b"CgBI", b"\x50\0\x20\2")]), "x")


# --- JPEG


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_jpeg_is_turned_by_its_exif(orientation: int, order: str) -> None:
    upright = decode_image(jpeg(), "x")
    read(jpeg_with_exif(jpeg(), exif(orientation, order)), turned(upright, orientation))


@pytest.mark.parametrize(
    "tiff",
    [
        b"",
        b"II*\0\xff\xff\xff\xff",
        b"XX*\0\x08\0\0\0",
        exif(6)[:15],
        exif(0),
        exif(9),
        b"II*\0" + struct.pack("<IH", 8, 65535),
        np.random.default_rng(0).bytes(300),
    ],
    ids=["empty", "beyond", "magic", "cut", "orientation 0", "9", "too many", "noise"],
)
def test_a_damaged_exif_costs_no_picture(tiff: bytes) -> None:
    read(jpeg_with_exif(jpeg(), tiff), decode_image(jpeg(), "x"))


@pytest.mark.parametrize(
    "option",
    [
        (cv2.IMWRITE_JPEG_PROGRESSIVE, 1),
        (cv2.IMWRITE_JPEG_OPTIMIZE, 1),
        (cv2.IMWRITE_JPEG_RST_INTERVAL, 2),
    ],
    ids=["progressive", "optimised", "restart markers"],
)
def test_the_way_a_jpeg_is_coded_changes_no_pixel(option: tuple[int, int]) -> None:
    read(jpeg(RGB, *option), decode_image(jpeg(), "x"))


def test_grey_jpeg() -> None:
    found = decode_image(jpeg(GREY), "x")
    assert (found[..., 0] == found[..., 2]).all()
    # quality 95 rounds coefficients by half of up to 10 levels: edges of the patches ring
    assert np.abs(found.astype(int) - GREY_RGB).mean() < 3


def test_arithmetic_jpeg() -> None:
    expected = np.full((16, 16, 3), 60, np.uint8)
    expected[:, 8:] = 200
    read(ARITHMETIC_JPEG, expected)


def test_adobe_cmyk_jpeg_gives_its_colours() -> None:
    # as stored: 255 is no ink. White; red = no cyan; half black; black
    inks = np.array([[[255, 255, 255, 255], [255, 0, 0, 255]], [[255, 255, 255, 128], [0] * 4]])
    found = decode_image(four_ink_jpeg(inks.astype(np.uint8), 0), "x")[4::8, 4::8]
    expected = [[[255, 255, 255], [255, 0, 0]], [[128, 128, 128], [0, 0, 0]]]
    # one level of the cosine transform, one of the product with black
    assert np.abs(found.astype(int) - expected).max() <= 2


def test_adobe_ycck_jpeg_gives_its_colours() -> None:
    # Y Cb Cr (ITU-R BT.601) of the complements of stored cyan, magenta and yellow: white is stored
    # as 255 each, so as the YCC of black; red as that of cyan
    inks = np.array([[[0, 128, 128, 255], [179, 171, 1, 255]]], np.uint8)
    found = decode_image(four_ink_jpeg(inks, 2), "x")[4::8, 4::8]
    assert np.abs(found.astype(int) - [[[255, 255, 255], [255, 0, 0]]]).max() <= 4


def test_four_inks_without_the_adobe_marker_are_refused() -> None:
    with pytest.raises(DataError, match="Adobe marker"):
        decode_image(four_ink_jpeg(np.zeros((1, 1, 4), np.uint8), None), "x")


@pytest.mark.parametrize(
    ("marker", "depth", "found"),
    [
        (0xC1, 12, "12 bit, sequential"),
        (0xC3, 8, "8 bit, lossless"),
        (0xC5, 8, "hierarchical"),
        (0xF7, 8, "JPEG-LS"),
    ],
)
def test_a_jpeg_of_another_kind_is_refused_by_name(marker: int, depth: int, found: str) -> None:
    data = bytearray(jpeg())
    at = data.index(b"\xff\xc0")
    data[at + 1], data[at + 4] = marker, depth
    with pytest.raises(DataError, match=f"not read; expected 8 bit.*found.*{found}"):
        decode_image(bytes(data), "x")


@pytest.mark.parametrize(
    "after",
    [b"junk", b"junk\xff\xd9", jpeg(RGB[::-1]), jpeg(RGB[::-1])[:300]],
    ids=["junk", "junk with an end marker", "second picture", "cut second picture"],
)
def test_what_follows_a_jpeg_is_ignored(after: bytes) -> None:
    read(jpeg() + after, decode_image(jpeg(), "x"))


@pytest.mark.parametrize("progressive", [0, 1])
def test_a_jpeg_cut_anywhere_is_refused_even_with_another_behind_it(progressive: int) -> None:
    data = jpeg(RGB, cv2.IMWRITE_JPEG_PROGRESSIVE, progressive)
    scan = data.index(b"\xff\xda") + 12
    for length in range(0, len(data) - 1, 23):
        for after in (b"", data) if length >= scan else (b"",):
            with pytest.raises(DataError):
                decode_image(data[:length] + after, "x")


def test_a_jpeg_that_ends_before_its_pixels_do_is_refused() -> None:
    data = bytearray(jpeg(np.zeros((8, 8), np.uint8)))
    at = data.index(b"\xff\xc0")
    data[at + 5 : at + 9] = struct.pack(">HH", 4000, 4000)
    with pytest.raises(DataError, match="less than its size; expected 4000 x 4000"):
        decode_image(bytes(data), "x")


def test_a_jpeg_of_endless_scans_is_refused() -> None:
    data = jpeg(RGB, cv2.IMWRITE_JPEG_PROGRESSIVE, 1)
    scan = data[data.rindex(b"\xff\xda") : -2]
    with pytest.raises(DataError, match="at most 100 scans"):
        decode_image(data[:-2] + scan * 100 + data[-2:], "x")


# --- BMP


@pytest.mark.parametrize("bits", [1, 4, 8])
@pytest.mark.parametrize("top_down", [False, True])
def test_bmp_of_a_palette(bits: int, top_down: bool) -> None:
    index = (np.add.outer(np.arange(9), np.arange(13)) % (1 << bits)).astype(np.uint8)
    palette = np.random.default_rng(bits).integers(0, 256, (1 << bits, 3), np.uint8)
    stored = np.dstack([palette[None, :, ::-1], np.zeros((1, 1 << bits, 1), np.uint8)]).tobytes()
    rows = bmp_rows(index, bits, top_down)
    read(bmp_file((13, -9 if top_down else 9), bits, rows, palette=stored), palette[index])


@pytest.mark.parametrize("top_down", [False, True])
def test_bmp_of_24_and_32_bit(top_down: bool) -> None:
    size = SIZE_WH[0], SIZE_WH[1] * (-1 if top_down else 1)
    bgr, bgra = RGB[..., ::-1], RGBA[..., [2, 1, 0, 3]]
    read(bmp_file(size, 24, bmp_rows(bgr, 24, top_down)), RGB)
    read(bmp_file(size, 32, bmp_rows(bgra, 32, top_down)), RGB)
    masks = (0xFF0000, 0xFF00, 0xFF)
    read(bmp_file(size, 32, bmp_rows(bgra, 32, top_down), 3, masks=masks), RGB)


def test_bmp_of_16_bit() -> None:
    high = RGB.astype(np.uint16) >> 3
    rgb555 = (high[..., 0] << 10) | (high[..., 1] << 5) | high[..., 2]
    read(bmp_file(SIZE_WH, 16, bmp_rows(rgb555, 16)), RGB & 0xF8)


def test_bmp_of_runs() -> None:
    runs = bytes([3, 1, 2, 2, 0, 0, 0, 5, 2, 1, 1, 2, 2, 0, 0, 0, 0, 1])
    expected = np.array([[2, 1, 1, 2, 2], [1, 1, 1, 2, 2]])
    palette = np.array([[0, 0, 0], [10, 20, 30], [40, 50, 60]], np.uint8)
    stored = np.dstack([palette[None, :, ::-1], np.zeros((1, 3, 1), np.uint8)]).tobytes()
    data = bmp_file((5, 2), 8, runs, 1, palette=stored.ljust(1024, b"\0"))
    read(data, palette[expected])


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (bmp_file(SIZE_WH, 32, bmp_rows(RGBA, 32), 3, masks=(0xFF, 0xFF00, 0xFF0000)), "order"),
        (bmp_file(SIZE_WH, 0, b"", 4), "0 bit, compression 4"),
        (bmp_file(SIZE_WH, 24, bmp_rows(RGB, 24)[:-1]), "truncated"),
        (bmp_file((8, -(2**31)), 24, bytes(99)), "size that is refused"),
        (bmp_file((-8, 8), 24, bytes(999)), "size that is refused"),
        (b"BM" + bytes(60), "damaged"),
    ],
    ids=["order of colours", "a JPEG inside", "cut", "height overflows", "width", "zeros"],
)
def test_a_bmp_of_another_kind_is_refused(data: bytes, why: str) -> None:
    with pytest.raises(DataError, match=why):
        decode_image(data, "x")


# --- what is none of them


@pytest.mark.parametrize(
    ("start", "name"),
    [
        (b"GIF89a", "a GIF"),
        (b"RIFF\x10\0\0\0WEBPVP8 ", "a WebP"),
        (b"\0\0\0\x18ftypheic", "a HEIC"),
        (b"\0\0\0\x1cftypavif", "an AVIF"),
        (b"%PDF-1.7", "a PDF"),
        (b"<?xml version='1.0'?>\n<svg ", "an SVG"),
        (b"<!DOCTYPE html>", "a web page"),
        (b"PK\3\4", "a ZIP archive"),
        (b"\0\5\x16\7\0\2\0\0", "a Mac's side file"),
        (bytes(128) + b"DICM", "a DICOM file"),
        (b"version https://git-lfs.github.com/spec/v1", "a Git LFS pointer"),
        (bytes(4096), "4096 bytes, all zero"),
        (b"\1\2\3\4", "beginning with b'\\x01"),
    ],
)
def test_a_file_that_is_no_picture_is_called_by_its_name(start: bytes, name: str) -> None:
    with pytest.raises(DataError, match="expected PNG, JPEG, BMP or TIFF") as caught:
        decode_image(start, "x.jpg")
    assert name in caught.value.message
