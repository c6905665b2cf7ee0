"""Judges the bytes of a PNG, JPEG or BMP before a decoder sees them; `qc.tiff` does it for TIFF.

OpenCV's decoders are quick and trusting: they take a JPEG that was cut off for a good one, reserve
gigabytes for a length that a header claims, show the animation of a PNG in place of its picture,
and can end the whole program on a damaged file. So the structure is walked here first, checksums
are compared, and only the parts that make the picture are handed on.

Sources: W3C PNG (third edition); ITU-T T.81 (JPEG); Adobe TN 5116 (its APP14 marker); Microsoft,
BITMAPINFOHEADER and BITMAPV5HEADER.
"""

from __future__ import annotations

import re
import struct
import zlib

from qc.errors import DataError

MAX_PIXELS = 64_000_000
"""A header that claims more is refused before decoding."""

_PNG = b"\x89PNG\r\n\x1a\n"
_PNG_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # by colour type
_PNG_DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
_PNG_KEPT = frozenset([b"IHDR", b"PLTE", b"IDAT", b"eXIf", b"IEND"])
_MAX_CHUNKS = 100_000
_MOST_DEFLATED = 1040  # bytes that one byte of deflate can stand for: 1032, and room for headers
_SPARE_BYTES = 65536  # beside twice the pixels: no deflate wastes more

_MAX_SCANS = 100  # of a progressive JPEG; each costs a pass over the whole picture
_MARKER = re.compile(rb"\xff([^\x00\xff])")  # fill bytes before it need no pattern of their own
_AFTER_SCAN = re.compile(rb"\xff([^\x00\xd0-\xd7\xff])")
_BARE_MARKERS = frozenset([0x01, *range(0xD0, 0xD8)])
_SOF = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_SOF_READ = frozenset([0xC0, 0xC1, 0xC2, 0xC9, 0xCA])  # baseline, extended, progressive
_SOI, _EOI, _SOS, _APP14 = 0xD8, 0xD9, 0xDA, 0xEE

_MOST_PIXELS_A_BYTE = 256  # of a sequential Huffman JPEG: two bits at least for a block of 64

_BMP_HEADERS = (12, 40, 52, 56, 64, 108, 124)
_BMP_RLE = {1: 8, 2: 4}  # bits by compression
_BMP_MASKS = {
    16: ((0x7C00, 0x3E0, 0x1F), (0xF800, 0x7E0, 0x1F)),
    32: ((0xFF0000, 0xFF00, 0xFF),),
}

_SEEMS: tuple[tuple[int, bytes, str], ...] = (
    (0, b"GIF8", "a GIF"),
    (8, b"WEBP", "a WebP"),
    (4, b"ftypavi", "an AVIF"),
    (4, b"ftyphei", "a HEIC"),
    (4, b"ftyphev", "a HEIC"),
    (4, b"ftypmif1", "a HEIC"),
    (4, b"ftypcrx", "a camera's raw file"),
    (4, b"ftyp", "a video"),
    (4, b"jP  \r\n", "a JPEG 2000"),
    (0, b"\xff\x4f\xff\x51", "a JPEG 2000"),
    (4, b"JXL \r\n", "a JPEG XL"),
    (0, b"\xff\x0a", "a JPEG XL"),
    (0, b"%PDF", "a PDF"),
    (0, b"8BPS", "a Photoshop file"),
    (0, b"v/1\x01", "an OpenEXR"),
    (0, b"#?RADIANCE", "a Radiance HDR"),
    (0, b"P5\n", "a PGM"),
    (0, b"P6\n", "a PPM"),
    (0, b"\0\0\1\0", "an icon"),
    (0, b"icns", "an icon"),
    (0, b"PK\3\4", "a ZIP archive"),
    (0, b"\x1f\x8b", "a gzip file"),
    (0, b"Rar!", "a RAR archive"),
    (0, b"7z\xbc\xaf", "a 7-Zip archive"),
    (0, b"\x93NUMPY", "a NumPy array"),
    (0, b"\x89HDF", "an HDF5 file"),
    (0, b"SQLite format 3", "an SQLite file"),
    (0, b"\0\5\x16\7", "a Mac's side file of another file"),
    (128, b"DICM", "a DICOM file (its layout is dicom_csv)"),
    (0, b"version https://git-lfs", "a Git LFS pointer: fetch the file itself"),
)
_TEXTS = (  # somewhere in the first bytes, small letters
    (b"<svg", "an SVG"),
    (b"<!doctype html", "a web page"),
    (b"<html", "a web page"),
)


def picture_of(data: bytes, where: object) -> bytes:
    """What a decoder needs of an image file: its first picture, judged by its structure.

    Args:
        data: the whole file.
        where: the name that an error carries.

    Raises:
        DataError: no image that is read, cut off, damaged, or a size that is refused.
    """
    try:
        if data.startswith(_PNG):
            return _png(data, where)
        if data.startswith(b"\xff\xd8"):
            return _jpeg(data, where)
        if data.startswith(b"BM"):
            return _bmp(data, where)
    except struct.error as error:
        raise DataError("image header is truncated", where=where) from error
    raise DataError(
        "file is not an image that is read",
        where=where,
        expected="PNG, JPEG, BMP or TIFF",
        found=_seems(data),
    )


def check_size(width: int, height: int, where: object) -> None:
    """Refuse a size before anything is reserved for it; raises DataError."""
    if width < 1 or height < 1 or width * height > MAX_PIXELS:
        raise DataError(
            "image header claims a size that is refused",
            where=where,
            expected=f"1 to {MAX_PIXELS} pixels",
            found=f"{width} x {height}",
        )


def _seems(data: bytes) -> str:
    """What a file seems to be that is no image; its size and first bytes where nothing is known."""
    for at, magic, name in _SEEMS:
        if data[at : at + len(magic)] == magic:
            return name
    start = data[:1024].lower()
    for words, name in _TEXTS:
        if words in start:
            return name
    if not data.strip(b"\0"):
        return f"{len(data)} bytes, all zero: a copy that was broken off"
    return f"{len(data)} bytes beginning with {data[:4]!r}"


def _ints(layout: str, data: bytes, offset: int) -> tuple[int, ...]:
    return struct.unpack_from(layout, data, offset)


def _png(data: bytes, where: object) -> bytes:
    """Compare the checksum of every chunk, and keep those that make the picture.

    Only the picture that every viewer shows is kept of an animation. Texts, colour profiles and
    transparency go: what is not unpacked costs nothing.
    """
    width, height, depth, colour, _, _, interlace = _ints(">IIBBBBB", data, 16)
    if data[8:16] != b"\0\0\0\x0dIHDR":
        found = repr(data[12:16])
        raise DataError("PNG does not begin with its header", where=where, found=found)
    check_size(width, height, where)
    if depth not in _PNG_DEPTHS.get(colour, ()):
        found = f"{depth} bit of colour type {colour}"
        raise DataError("PNG has a pixel type that does not exist", where=where, found=found)
    view, kept, packed, at, kind = memoryview(data), [memoryview(_PNG)], 0, len(_PNG), b""
    while kind != b"IEND":
        if at + 12 > len(data):
            raise DataError("PNG is truncated: its end is missing", where=where)
        length, kind = struct.unpack_from(">I4s", data, at)
        end = at + 12 + length
        if end > len(data):
            what = f"PNG is truncated: its end is missing, or a length of chunk {kind!r} is wrong"
            raise DataError(what, where=where)
        if zlib.crc32(view[at + 4 : end - 4]) != _ints(">I", data, end - 4)[0]:
            raise DataError(f"PNG is damaged: checksum of chunk {kind!r}", where=where)
        if kind in _PNG_KEPT:
            kept.append(view[at:end])
            packed += length if kind == b"IDAT" else 0
            if len(kept) > _MAX_CHUNKS:
                expected = f"at most {_MAX_CHUNKS} chunks"
                raise DataError("PNG is refused", where=where, expected=expected, found="more")
        elif not kind[0] & 32:
            raise DataError("PNG has a chunk that is not known", where=where, found=repr(kind))
        at = end
    raw = ((width * depth * _PNG_CHANNELS[colour] + 7) // 8 + 1) * height
    least = raw // 2 if interlace else raw  # its seven passes pad their rows otherwise
    if not least / _MOST_DEFLATED <= packed <= 2 * raw + _SPARE_BYTES:
        expected = f"{width} x {height} pixels of {depth} bit"
        found = f"{packed} packed bytes"
        what = "PNG holds more or less than its size"
        raise DataError(what, where=where, expected=expected, found=found)
    return b"".join(kept)


def _jpeg(data: bytes, where: object) -> bytes:
    """Walk segments and scans up to the end of the first picture; what follows it is not kept."""
    at, size, scans, components, is_adobe, is_plain = 2, None, 0, 0, False, False
    while True:
        found = (_AFTER_SCAN if scans else _MARKER).search(data, at)
        if found is None:
            end = "its end marker is missing" if scans else "no picture data"
            raise DataError(f"JPEG is truncated: {end}", where=where)
        marker, at = found.group(1)[0], found.end()
        if marker == _EOI:
            break
        if marker == _SOI:
            raise DataError("JPEG is truncated: another begins before its end", where=where)
        if marker in _BARE_MARKERS:
            continue
        (length,) = _ints(">H", data, at)
        if marker in _SOF or marker == 0xF7:
            if size is not None:
                raise DataError("JPEG is damaged: two frame headers", where=where)
            depth, height, width, components = _ints(">BHHB", data, at + 2)
            _check_frame(marker, depth, components, where)
            size = (width, height)
            check_size(*size, where)
            is_plain = marker in (0xC0, 0xC1)
        elif marker == _APP14:
            is_adobe = is_adobe or data[at + 2 : at + 7] == b"Adobe"
        elif marker == _SOS:
            scans += 1
            if scans > _MAX_SCANS:
                expected = f"at most {_MAX_SCANS} scans"
                raise DataError("JPEG is refused", where=where, expected=expected, found="more")
        at += length
    if not scans:
        raise DataError("JPEG ends before its picture data", where=where)
    if size is None:
        raise DataError("JPEG has no frame header", where=where)
    if components == 4 and not is_adobe:
        expected = "the Adobe marker, which says how its four inks are stored"
        raise DataError("JPEG of four inks is refused", where=where, expected=expected)
    if is_plain and at * _MOST_PIXELS_A_BYTE < size[0] * size[1]:
        expected = f"{size[0]} x {size[1]} pixels"
        what = "JPEG holds less than its size"
        raise DataError(what, where=where, expected=expected, found=f"{at} bytes")
    return data[:at]


def _check_frame(marker: int, depth: int, components: int, where: object) -> None:
    """Refuse what the decoder does not read, or not on every machine alike."""
    if marker in _SOF_READ and depth == 8 and components in (1, 3, 4):
        return
    ways = {0xC3: "lossless", 0xCB: "lossless", 0xF7: "JPEG-LS"}
    way = ways.get(marker, "sequential" if marker in _SOF_READ else "hierarchical")
    raise DataError(
        "JPEG is of a kind that is not read",
        where=where,
        expected="8 bit, baseline or progressive, of 1, 3 or 4 components",
        found=f"{depth} bit, {way}, {components} components",
    )


def _bmp(data: bytes, where: object) -> bytes:
    """Read the header, and see that all rows are there."""
    start, size = _ints("<II", data, 10)
    masks: tuple[int, ...] = ()
    packing = 0
    if size == 12:
        width, height, _, bits = _ints("<HHHH", data, 18)
    else:
        width, height, _, bits, packing = _ints("<iiHHI", data, 18)
    if size not in _BMP_HEADERS:
        expected = f"a header of {', '.join(map(str, _BMP_HEADERS))} bytes"
        raise DataError("BMP is damaged", where=where, expected=expected, found=size)
    check_size(width, abs(height), where)
    if packing == 3:
        masks = _ints("<III", data, 54)
    rows = (width * bits + 31) // 32 * 4 * abs(height)
    if packing in _BMP_RLE:
        legal, rows = bits == _BMP_RLE[packing], 0
    elif packing == 3:
        legal = masks in _BMP_MASKS.get(bits, ())
    else:
        legal = packing == 0 and bits in (1, 4, 8, 16, 24, 32)
    if not legal:
        raise DataError(
            "BMP is of a kind that is not read",
            where=where,
            expected="1, 4, 8, 16, 24 or 32 bit, in the usual order of colours",
            found=f"{bits} bit, compression {packing}"
            + (f", masks {' '.join(f'{m:x}' for m in masks)}" if masks else ""),
        )
    if start < 14 + size or start + rows > len(data):
        expected = f"{start + rows} bytes"
        raise DataError("BMP is truncated", where=where, expected=expected, found=len(data))
    return data
