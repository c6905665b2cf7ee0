"""Builds image files byte by byte: every kind a reader may meet, and every way they lie.

Nothing here uses a library of images, so that what is built does not share the reader's mistakes.
"""

from __future__ import annotations

import base64
import struct
import zlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.generic]
PNG_MAGIC = b"\x89PNG\r\n\x1a\n"

ARITHMETIC_JPEG = base64.b64decode(
    "/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDABALDA4MChAODQ4SERATGCgaGBYWGDEjJR0oOjM9PDkzODdASFxOQERXRTc4"
    "UG1RV19iZ2hnPk1xeXBkeFxlZ2P/yQALCAAQABABAREA/8wABgAQEAX/2gAIAQEAAD8A/wBiSJGlQnz/2Q=="
)
"""16 x 16, grey 60 in the left half and 200 in the right; made with `jpegtran -arithmetic`."""


def picture(height: int = 24, width: int = 40) -> NDArray[np.uint8]:
    """An RGB picture without any symmetry: slopes, a red patch and a blue one."""
    y, x = np.mgrid[:height, :width]
    slopes = [x * 255 // (width - 1), y * 255 // (height - 1), (x + y) * 255 // (height + width)]
    rgb = np.stack(slopes, axis=2).astype(np.uint8)
    rgb[2:8, 3:11] = (255, 0, 0)
    rgb[height // 2 :, width // 2 : width // 2 + 8] = (0, 0, 255)
    return rgb


def turned(pixels: Array, orientation: int) -> Array:
    """Pixels as a viewer shows them that were stored with an orientation of EXIF, 1 to 8."""
    across = pixels.swapaxes(0, 1)
    return {
        1: pixels,
        2: pixels[:, ::-1],
        3: pixels[::-1, ::-1],
        4: pixels[::-1],
        5: across,
        6: across[:, ::-1],
        7: across[::-1, ::-1],
        8: across[::-1],
    }[orientation]


def exif(orientation: int, order: str = "<") -> bytes:
    """The TIFF inside an EXIF segment: one entry, the orientation."""
    entry = struct.pack(order + "HHIHH", 0x0112, 3, 1, orientation, 0)
    magic = b"II*\0" if order == "<" else b"MM\0*"
    return magic + struct.pack(order + "IH", 8, 1) + entry + struct.pack(order + "I", 0)


# --- PNG


def chunk(kind: bytes, body: bytes) -> bytes:
    """A chunk with its checksum."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png_file(
    size_wh: tuple[int, int],
    depth: int,
    colour: int,
    packed: bytes,
    before: Sequence[bytes] = (),
    after: Sequence[bytes] = (),
    interlace: int = 0,
) -> bytes:
    """A PNG of chunks; `packed` are the bytes of its IDAT, whatever they are."""
    header = struct.pack(">IIBBBBB", *size_wh, depth, colour, 0, 0, interlace)
    chunks = [chunk(b"IHDR", header), *before, chunk(b"IDAT", packed), *after, chunk(b"IEND", b"")]
    return PNG_MAGIC + b"".join(chunks)


def png_of(
    pixels: Array,
    colour: int,
    before: Sequence[bytes] = (),
    after: Sequence[bytes] = (),
    depth: int = 8,
    interlaced: bool = False,
) -> bytes:
    """A PNG of `(H, W)` or `(H, W, C)`: uint8, uint16, or numbers of less than 8 bit."""
    rows = _adam7(pixels) if interlaced else [pixels]
    raw = b"".join(b"\0" + _row(row, depth) for part in rows for row in part)
    size = pixels.shape[1], pixels.shape[0]
    return png_file(size, depth, colour, zlib.compress(raw), before, after, int(interlaced))


def _row(row: Array, depth: int) -> bytes:
    if depth == 16:
        return row.astype(">u2").tobytes()
    return packed_bits(row, depth) if depth < 8 else row.astype(np.uint8).tobytes()


def packed_bits(row: Array, depth: int) -> bytes:
    """Numbers of 1, 2 or 4 bit, first one highest."""
    bits = np.unpackbits(row.astype(np.uint8)[:, None], axis=1)[:, 8 - depth :]
    return np.packbits(bits.ravel()).tobytes()


def _adam7(pixels: Array) -> list[Array]:
    steps = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2)]
    parts = [pixels[top::down, left::along] for top, left, down, along in [*steps, (1, 0, 2, 1)]]
    return [part for part in parts if part.size]


def animated_png(shown: Array, frame: Array) -> bytes:
    """A PNG whose picture is no part of its animation of one other frame."""
    height, width = shown.shape[:2]
    control = struct.pack(">IIIIIHHBB", 0, width, height, 0, 0, 1, 10, 0, 0)
    packed = zlib.compress(b"".join(b"\0" + row.tobytes() for row in frame))
    before = [chunk(b"acTL", struct.pack(">II", 1, 0))]
    after = [chunk(b"fcTL", control), chunk(b"fdAT", struct.pack(">I", 1) + packed)]
    return png_of(shown, 2, before, after)


# --- JPEG


def jpeg_with(jpeg: bytes, marker: int, body: bytes) -> bytes:
    """A JPEG with one more segment, right behind its first marker."""
    return jpeg[:2] + bytes([0xFF, marker]) + struct.pack(">H", len(body) + 2) + body + jpeg[2:]


def jpeg_with_exif(jpeg: bytes, tiff: bytes) -> bytes:
    """A JPEG with an EXIF segment."""
    return jpeg_with(jpeg, 0xE1, b"Exif\0\0" + tiff)


def four_ink_jpeg(inks: Array, transform: int | None) -> bytes:
    """A baseline JPEG of flat blocks of 8 x 8, as Adobe stores CMYK: 255 is no ink.

    Args:
        inks: `(h, w, 4)` uint8, one value a block; the four components as they are stored.
        transform: of the Adobe marker: 0 for CMYK, 2 for YCCK; None: no such marker.
    """
    sizes = {n: format(n, f"0{4}b") for n in range(12)}  # a code of four bits for each size
    bits, before = [], [0] * 4
    for block in inks.reshape(-1, 4).astype(int):
        for i, value in enumerate(block):
            step = 8 * (int(value) - 128) - before[i]
            before[i] += step
            size = abs(step).bit_length()
            low = step if step >= 0 else step + (1 << size) - 1
            bits.append(sizes[size] + (format(low, f"0{size}b") if size else "") + "0")
    text = "".join(bits)
    text += "1" * (-len(text) % 8)
    packed = int(text, 2).to_bytes(len(text) // 8, "big").replace(b"\xff", b"\xff\0")
    height, width = (8 * n for n in inks.shape[:2])
    frame = struct.pack(">BHHB", 8, height, width, 4) + b"".join(
        bytes([i, 17, 0]) for i in range(4)
    )
    scan = b"\4" + b"".join(bytes([i, 0]) for i in range(4)) + b"\0\x3f\0"
    dc = b"\0" + bytes([0, 0, 0, 12, *[0] * 12]) + bytes(range(12))
    ac = b"\x10" + bytes([1, *[0] * 15]) + b"\0"
    segments = [
        (0xDB, b"\0" + bytes([1] * 64)),
        (0xC0, frame),
        (0xC4, dc),
        (0xC4, ac),
        (0xDA, scan),
    ]
    if transform is not None:
        segments.insert(0, (0xEE, b"Adobe\0\x64\0\0\0\0" + bytes([transform])))
    written = b"".join(
        bytes([0xFF, marker]) + struct.pack(">H", len(body) + 2) + body for marker, body in segments
    )
    return b"\xff\xd8" + written + packed + b"\xff\xd9"


# --- BMP


def bmp_file(
    size_wh: tuple[int, int],
    bits: int,
    pixels: bytes,
    compression: int = 0,
    palette: bytes = b"",
    masks: Sequence[int] = (),
) -> bytes:
    """A BMP with the usual header of 40 bytes."""
    info = struct.pack("<IiiHHIIiiII", 40, *size_wh, 1, bits, compression, 0, 2835, 2835, 0, 0)
    info += struct.pack(f"<{len(masks)}I", *masks)
    start = 14 + len(info) + len(palette)
    return b"BM" + struct.pack("<IHHI", start + len(pixels), 0, 0, start) + info + palette + pixels


def bmp_rows(pixels: Array, bits: int, top_down: bool = False) -> bytes:
    """The rows of a BMP, each padded to four bytes."""
    rows = []
    for row in pixels if top_down else pixels[::-1]:
        data = packed_bits(row, bits) if bits < 8 else row.tobytes()
        rows.append(data + bytes(-len(data) % 4))
    return b"".join(rows)


# --- TIFF


def tiff_of(
    pixels: Array,
    photometric: int,
    order: str = "<",
    big: bool = False,
    planar: int = 1,
    tile_hw: tuple[int, int] | None = None,
    rows: int | None = None,
    deflate: bool = False,
    predictor: int = 1,
    tags: Sequence[tuple[int, int]] = (),
    pages: int = 1,
    reduced: Sequence[int] = (),
) -> bytes:
    """A TIFF of `(H, W)` or `(H, W, C)`, uint8 or uint16, or of other numbers that are not read.

    Args:
        pixels: as stored.
        photometric: 0 white is zero, 1 black is zero, 2 RGB.
        order: `<` or `>`.
        big: a BigTIFF.
        planar: 2: each sample in a plane of its own.
        tile_hw: in tiles.
        rows: of a strip; None: one strip.
        deflate: packed.
        predictor: 2: differences along a row.
        tags: more fields, each of one 16 bit number; they replace.
        pages: how often the picture is in the file.
        reduced: which of them call themselves reduced pictures.
    """
    pixels = pixels.reshape(*pixels.shape[:2], -1)
    height, width, samples = pixels.shape
    block = tile_hw or (rows or height, width)
    planes = [pixels[..., i : i + 1] for i in range(samples)] if planar == 2 else [pixels]
    blocks = []
    for plane in planes:
        for top in range(0, height, block[0]):
            for left in range(0, width, block[1]):
                part = plane[top : top + block[0], left : left + block[1]]
                if tile_hw:
                    missing = [(0, n - k) for n, k in zip(block, part.shape, strict=False)]
                    part = np.pad(part, [*missing, (0, 0)])
                if predictor == 2:
                    part = np.diff(part, axis=1, prepend=part[:, :1] * 0).astype(part.dtype)
                raw = part.astype(part.dtype.newbyteorder(order)).tobytes()
                blocks.append(zlib.compress(raw) if deflate else raw)
    bits = pixels.dtype.itemsize * 8
    fields: dict[int, tuple[int, list[int]]] = {
        256: (3, [width]),
        257: (3, [height]),
        258: (3, [bits] * samples),
        259: (3, [8 if deflate else 1]),
        262: (3, [photometric]),
        277: (3, [samples]),
        284: (3, [planar]),
        317: (3, [predictor]),
    }
    if samples > (3 if photometric == 2 else 1):
        fields[338] = 3, [2]
    if tile_hw:
        fields |= {322: (3, [block[1]]), 323: (3, [block[0]])}
    else:
        fields[278] = 3, [block[0]]
    fields |= {tag: (3, [value]) for tag, value in tags}
    magic = {"<": b"II", ">": b"MM"}[order] + struct.pack(order + "H", 43 if big else 42)
    head = magic + (struct.pack(order + "HHQ", 8, 0, 16) if big else struct.pack(order + "I", 8))
    out = bytearray(head)
    for page in range(pages):
        own = dict(fields)
        if page in reduced:
            own[254] = 3, [1]
        _add_page(out, own, blocks, order, big, tile_hw is not None, page == pages - 1)
    return bytes(out)


def _add_page(
    out: bytearray,
    fields: dict[int, tuple[int, list[int]]],
    blocks: Sequence[bytes],
    order: str,
    big: bool,
    is_tiled: bool,
    is_last: bool,
) -> None:
    """One directory, its long values, then its blocks."""
    word = order + ("Q" if big else "I")
    room = struct.calcsize(word)
    names = (324, 325) if is_tiled else (273, 279)
    fields = fields | {names[0]: (4, [0] * len(blocks)), names[1]: (4, [len(b) for b in blocks])}
    count = struct.pack(order + ("Q" if big else "H"), len(fields))
    at = len(out) + len(count) + len(fields) * (20 if big else 12) + room
    long_values = sum(len(v) * (2 if kind == 3 else 4) for kind, v in fields.values())
    first = at + long_values
    places = [first + sum(map(len, blocks[:i])) for i in range(len(blocks))]
    fields[names[0]] = 4, places
    entries, values = b"", b""
    for tag, (kind, numbers) in sorted(fields.items()):
        data = struct.pack(f"{order}{len(numbers)}{'H' if kind == 3 else 'I'}", *numbers)
        entries += struct.pack(order + "HH", tag, kind) + struct.pack(word, len(numbers))
        if len(data) <= room:
            entries += data.ljust(room, b"\0")
        else:
            entries += struct.pack(word, at + len(values))
            values += data
    values = values.ljust(long_values, b"\0")
    end = first + sum(map(len, blocks))
    out += count + entries + struct.pack(word, 0 if is_last else end) + values + b"".join(blocks)
