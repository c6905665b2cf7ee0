"""The image reader: the same pixels from every format, and a refusal of all that is damaged."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest

from qc import imageio
from qc.errors import DataError, FaultError
from qc.imageio import decode_image, read_image, read_mask, write_png

RED_LEFT = np.zeros((4, 6, 3), np.uint8)
RED_LEFT[:, :3] = (255, 0, 0)


def _encode(suffix: str, bgr: np.ndarray, *options: int) -> bytes:
    ok, data = cv2.imencode(suffix, bgr, list(options))
    assert ok
    return data.tobytes()


def _texture() -> np.ndarray:
    noise = np.random.default_rng(0).integers(0, 256, (40, 52, 3), np.uint8)
    return np.asarray(cv2.GaussianBlur(noise, (5, 5), 0), np.uint8)


def _with_exif(jpeg: bytes, orientation: int) -> bytes:
    """The JPEG with an EXIF segment of one entry: tag 0x0112, SHORT, one value."""
    entry = struct.pack("<HHIHH", 0x0112, 3, 1, orientation, 0)
    tiff = b"II*\x00" + struct.pack("<IH", 8, 1) + entry + struct.pack("<I", 0)
    body = b"Exif\x00\x00" + tiff
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + jpeg[2:]


def _png_claiming(width: int, height: int) -> bytes:
    """A PNG whose header and checksums are right and whose size is a lie."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = zlib.compress(b"\x00" * 10)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif"])
def test_lossless_formats_give_rgb(suffix: str) -> None:
    pixels = decode_image(_encode(suffix, RED_LEFT[..., ::-1]), "x")
    assert pixels.dtype == np.uint8 and pixels.flags["C_CONTIGUOUS"]
    np.testing.assert_array_equal(pixels, RED_LEFT)


def test_jpeg_gives_rgb_within_its_loss() -> None:
    red = np.zeros((16, 16, 3), np.uint8)
    red[...] = (200, 30, 60)
    pixels = decode_image(_encode(".jpg", red[..., ::-1], cv2.IMWRITE_JPEG_QUALITY, 100), "x")
    # quality 100 rounds a flat colour by at most 2 levels (YCbCr and back)
    assert np.abs(pixels.astype(int) - red).max() <= 2


def test_grey_becomes_three_equal_channels() -> None:
    grey = np.arange(24, dtype=np.uint8).reshape(4, 6)
    pixels = decode_image(_encode(".png", grey), "x")
    np.testing.assert_array_equal(pixels, np.repeat(grey[..., None], 3, axis=2))


def test_alpha_is_dropped_and_not_blended() -> None:
    rgba = np.dstack([RED_LEFT[..., ::-1], np.full((4, 6), 7, np.uint8)])
    np.testing.assert_array_equal(decode_image(_encode(".png", rgba), "x"), RED_LEFT)


@pytest.mark.parametrize(
    ("stored", "expected"),
    [(0, 0), (128, 0), (129, 1), (257, 1), (32768, 128), (300, 1), (65535, 255)],
)
def test_16_bit_is_scaled_by_its_full_range(stored: int, expected: int) -> None:
    # round(v / 257), whatever the other values are: 300 stays dark in a dark picture
    data = _encode(".png", np.full((3, 3), stored, np.uint16))
    assert np.unique(decode_image(data, "x")).tolist() == [expected]


def test_16_bit_colour_keeps_its_channels() -> None:
    data = _encode(".png", RED_LEFT[..., ::-1].astype(np.uint16) * 257)
    np.testing.assert_array_equal(decode_image(data, "x"), RED_LEFT)


def test_float_tiff_is_refused() -> None:
    with pytest.raises(DataError, match="floating point"):
        decode_image(_encode(".tif", np.ones((4, 4), np.float32)), "x")


@pytest.mark.parametrize(("orientation", "turns"), [(1, 0), (3, 2), (6, 3), (8, 1)])
def test_exif_orientation_is_applied(orientation: int, turns: int) -> None:
    texture = _texture()
    plain = _encode(".jpg", texture)
    upright = decode_image(plain, "x")
    turned = decode_image(_with_exif(plain, orientation), "x")
    np.testing.assert_array_equal(turned, np.rot90(upright, turns))


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp", ".tif"])
def test_every_truncation_is_refused(suffix: str) -> None:
    data = _encode(suffix, _texture())
    lengths = sorted({*range(0, len(data), 61), *range(len(data) - 8, len(data))})
    for length in lengths:
        with pytest.raises(DataError):
            decode_image(data[:length], "x")


def test_every_altered_byte_of_a_png_is_refused() -> None:
    data = _encode(".png", _texture())
    for at in range(0, len(data), 53):
        altered = bytearray(data)
        altered[at] ^= 0x55
        with pytest.raises(DataError):
            decode_image(bytes(altered), "x")


def test_a_jpeg_header_segment_with_an_end_marker_does_not_hide_truncation() -> None:
    data = _encode(".jpg", _texture())
    comment = b"\xff\xfe" + struct.pack(">H", 6) + b"\xff\xd9\xff\xd9"
    with pytest.raises(DataError, match="end marker"):
        decode_image(data[:2] + comment + data[2:-40], "x")


@pytest.mark.parametrize(
    "data",
    [
        _png_claiming(100_000, 100_000),
        _png_claiming(0, 5),
        b"BM" + bytes(12) + struct.pack("<Iii", 40, 100_000, -100_000) + bytes(40),
        b"\xff\xd8\xff\xc0\x00\x11\x08\xff\xff\xff\xff\x03"
        + bytes(9)
        + b"\xff\xda\x00\x02\xff\xd9",
    ],
    ids=["png", "png of no width", "bmp", "jpeg 65535 x 65535"],
)
def test_a_header_that_lies_is_refused_before_decoding(
    data: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidden(*_: object) -> None:
        raise AssertionError("decoded")

    monkeypatch.setattr(imageio.cv2, "imdecode", forbidden)
    with pytest.raises(DataError, match="size that is refused"):
        decode_image(data, "x")


def test_text_named_jpg_names_the_file_and_what_was_found(tmp_path: Path) -> None:
    path = tmp_path / "part.jpg"
    path.write_text("hello, I am no picture")
    with pytest.raises(DataError) as caught:
        read_image(path)
    assert caught.value.where == str(path)
    assert "PNG, JPEG, BMP or TIFF" in caught.value.message and "hell" in caught.value.message


def test_empty_missing_and_folder_are_refused_by_name(tmp_path: Path) -> None:
    empty = tmp_path / "empty.png"
    empty.touch()
    for path, what in [
        (empty, "empty"),
        (tmp_path / "gone.png", "No such"),
        (tmp_path, "not a file"),
    ]:
        with pytest.raises(DataError, match=what) as caught:
            read_image(path)
        assert caught.value.where == str(path)


def test_a_file_past_the_byte_limit_is_refused_unread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "big.png"
    path.write_bytes(bytes(101))
    monkeypatch.setattr(imageio, "MAX_BYTES", 100)
    with pytest.raises(DataError, match="101"):
        read_image(path)


def test_mask_is_true_above_127_in_any_channel(tmp_path: Path) -> None:
    stored = np.zeros((2, 3, 3), np.uint8)
    stored[0, 0] = (127, 127, 127)
    stored[0, 1] = (128, 128, 128)
    stored[1, 2] = (0, 0, 200)
    write_png(tmp_path / "m.png", stored)
    expected = [[False, True, False], [False, False, True]]
    assert read_mask(tmp_path / "m.png", (2, 3)).tolist() == expected


def test_mask_of_another_size_or_of_no_bytes_is_refused(tmp_path: Path) -> None:
    write_png(tmp_path / "m.png", np.zeros((2, 3), np.uint8))
    with pytest.raises(DataError, match=r"expected 3 x 2 .*found 2 x 3"):
        read_mask(tmp_path / "m.png", (3, 2))
    (tmp_path / "z.png").touch()
    with pytest.raises(DataError, match="empty"):
        read_mask(tmp_path / "z.png", (3, 2))


def test_written_png_is_read_back_and_leaves_no_other_file(tmp_path: Path) -> None:
    write_png(tmp_path / "a.png", RED_LEFT)
    write_png(tmp_path / "a.png", RED_LEFT[::-1])
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), RED_LEFT[::-1])
    assert [p.name for p in tmp_path.iterdir()] == ["a.png"]


def test_write_refuses_what_is_no_image_and_a_missing_folder(tmp_path: Path) -> None:
    for wrong in (
        np.zeros((4, 4), np.float32),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((0, 4), np.uint8),
    ):
        with pytest.raises(DataError, match="not an image"):
            write_png(tmp_path / "a.png", wrong)  # type: ignore[arg-type]
    with pytest.raises(FaultError, match="No such file"):
        write_png(tmp_path / "none" / "a.png", RED_LEFT)
