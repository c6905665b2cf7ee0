"""TIFF: judges a file by its directory, and decodes the plain ones; OpenCV does the rest.

Decoded here is what a camera writes: 8 or 16 bit grey or RGB, uncompressed or deflated, in strips
or tiles, interleaved or in planes. OpenCV's reader multiplies 8 bit colours with their alpha, swaps
planes of 16 bit, does not invert 16 bit "white is zero" and, in version 5.0, reads no uncompressed
tile. It is handed LZW, PackBits, fax and JPEG compression, palettes and CMYK.

A file of several pages is refused, as nothing says which is the part; a reduced picture beside the
one page is no page.

Source: Adobe, TIFF revision 6.0 and its Technical Notes; BigTIFF as libtiff defines it.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from qc.errors import DataError
from qc.imagehead import check_size

MAGICS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
"""First bytes of a TIFF and of a BigTIFF, of either order."""

_TYPES = {1: "B", 3: "H", 4: "I", 16: "Q"}  # by the number of a field's type
_MAX_PAGES = 100
_MAX_FIELDS = 4096
_MAX_BLOCKS = 1_000_000
_REDUCED = 254
_KNOWN = frozenset(
    [
        *(_REDUCED, 256, 257, 258, 259, 262, 273, 274, 277, 278, 279, 284, 317),
        *range(322, 326),
        338,
        339,
    ]
)
_PLAIN, _LZW, _JPEG, _PACKBITS, _DEFLATE = 1, 5, 7, 32773, (8, 32946)
_FAX = (2, 3, 4)
_MOST_PACKED = {_LZW: 1500, _PACKBITS: 64}  # bytes that one byte can stand for
_READ = (_PLAIN, _LZW, _JPEG, _PACKBITS, *_DEFLATE, *_FAX)
_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _PALETTE, _CMYK, _YCBCR = 0, 1, 2, 3, 5, 6
_COLOURS = {_WHITE_IS_ZERO: 1, _BLACK_IS_ZERO: 1, _RGB: 3, _PALETTE: 1, _CMYK: 4, _YCBCR: 3}
_BITS = {
    **dict.fromkeys((_WHITE_IS_ZERO, _BLACK_IS_ZERO), (1, 8, 16)),
    _RGB: (8, 16),
    _PALETTE: (8,),
    _CMYK: (8,),
    _YCBCR: (8,),
}
_WITH_ALPHA = (_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB)

Pixels = NDArray[Any]
"""uint8 or uint16."""


@dataclass(frozen=True, slots=True)
class Page:
    """The one page of a TIFF, judged.

    Args:
        width, height: as stored, pixels.
        order: of its bytes: `<` or `>`.
        bits, samples: of a pixel: bits of one sample; how many, an extra one such as alpha too.
        compression, photometric, planar, predictor, orientation: as the fields of TIFF count them.
        is_tiled: in tiles, which are whole at the border too; else in strips.
        block_hw: height and width of a strip or tile.
        blocks: offset and length of each.
        alpha_at: where the file says what its alpha is; None: it has none, or says nothing.
    """

    width: int
    height: int
    order: str
    bits: int
    samples: int
    compression: int
    photometric: int
    planar: int
    predictor: int
    orientation: int
    is_tiled: bool
    block_hw: tuple[int, int]
    blocks: tuple[tuple[int, int], ...]
    alpha_at: int | None

    @property
    def is_plain(self) -> bool:
        """Whether it is decoded here."""
        return (
            self.bits in (8, 16)
            and self.compression in (_PLAIN, *_DEFLATE)
            and self.photometric in (_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB)
        )


def read_page(data: bytes, where: object) -> Page:
    """The only page of a TIFF.

    Args:
        data: the whole file.
        where: the name that an error carries.

    Raises:
        DataError: cut off, damaged, of several pages, or of a kind that is not read.
    """
    order = "<" if data[:2] == b"II" else ">"
    try:
        pages = list(_directories(data, order, where))
    except (struct.error, OverflowError) as error:
        raise DataError("image header is truncated", where=where) from error
    full = [page for page in pages if not _first(page, _REDUCED, 0) & 1]
    if len(full) != 1:
        what = "TIFF is refused: which of its pages is the picture?"
        raise DataError(what, where=where, expected="one page", found=len(full))
    if full[0] is not pages[0]:
        raise DataError("TIFF is refused: its first page is a reduced picture", where=where)
    return _judged(full[0], data, order, where)


def decode_plain(data: bytes, page: Page, where: object) -> Pixels:
    """The pixels of a plain page: `(H, W)` or `(H, W, 3)` RGB, uint8 or uint16, turned upright.

    Args:
        data: the whole file.
        page: `is_plain`.
        where: the name that an error carries.

    Raises:
        DataError: a strip or tile is damaged.
    """
    kind = np.dtype(f"{page.order}u{page.bits // 8}")
    planes, depth = (page.samples, 1) if page.planar == 2 else (1, page.samples)
    pixels = np.empty((page.height, page.width, page.samples), kind.newbyteorder("="))
    places = [
        (plane, top, left)
        for plane in range(planes)
        for top in range(0, page.height, page.block_hw[0])
        for left in range(0, page.width, page.block_hw[1])
    ]
    for (plane, top, left), (offset, length) in zip(places, page.blocks, strict=True):
        high, wide = page.block_hw
        raw = data[offset : offset + length]
        if page.compression != _PLAIN:  # some writers fill the last strip
            raw = _inflated(raw, high * wide * depth * kind.itemsize, where)
        if not page.is_tiled:
            high = min(high, page.height - top)
        size = high * wide * depth * kind.itemsize
        if len(raw) < size:
            expected = f"{size} bytes"
            raise DataError("TIFF is truncated", where=where, expected=expected, found=len(raw))
        block = np.frombuffer(raw, kind, high * wide * depth).reshape(high, wide, depth)
        if page.predictor == 2:
            block = np.cumsum(block, axis=1, dtype=pixels.dtype)
        block = block[: page.height - top, : page.width - left]
        at = slice(top, top + block.shape[0]), slice(left, left + block.shape[1])
        pixels[(*at, slice(plane, plane + depth))] = block
    colours = _COLOURS[page.photometric]
    found = pixels[..., :3] if colours == 3 else pixels[..., 0]
    if page.photometric == _WHITE_IS_ZERO:
        found = np.iinfo(pixels.dtype).max - found
    return _upright(found, page.orientation)


def for_opencv(data: bytes, page: Page) -> bytes:
    """The file as OpenCV reads it rightly: it may not multiply 8 bit colours with their alpha."""
    if page.alpha_at is None or page.bits != 8:
        return data
    changed = bytearray(data)
    struct.pack_into("4x", changed, page.alpha_at)  # one value stands in the field itself
    return bytes(changed)


Field = tuple[tuple[int, ...], int]
"""The values of a field, and where they stand."""


def _directories(data: bytes, order: str, where: object) -> Iterator[dict[int, Field]]:
    """The fields of each page that matter here."""
    is_big = data[2:4] in (b"+\0", b"\0+")
    word, count, entry_size = ("Q", "Q", 20) if is_big else ("I", "H", 12)
    (at,) = struct.unpack_from(order + word, data, 8 if is_big else 4)
    seen: set[int] = set()
    while at:
        if at in seen or len(seen) > _MAX_PAGES:
            raise DataError("TIFF is damaged: its pages have no end", where=where)
        wanted = frozenset([_REDUCED]) if seen else _KNOWN
        seen.add(at)
        (entries,) = struct.unpack_from(order + count, data, at)
        if entries > _MAX_FIELDS:
            raise DataError(f"TIFF is damaged: a page of {entries} fields", where=where)
        first = at + struct.calcsize(order + count)
        (at,) = struct.unpack_from(order + word, data, first + entry_size * entries)
        fields: dict[int, Field] = {}
        for entry in range(first, first + entry_size * entries, entry_size):
            tag, kind = struct.unpack_from(order + "HH", data, entry)
            if tag not in wanted or kind not in _TYPES or tag in fields:
                continue
            (number,) = struct.unpack_from(order + word, data, entry + 4)
            place = entry + 4 + struct.calcsize(order + word)
            size = number * struct.calcsize(_TYPES[kind])
            if size > struct.calcsize(order + word):
                (place,) = struct.unpack_from(order + word, data, place)
            if place + size > len(data) or number > _MAX_BLOCKS:
                raise DataError(f"TIFF is truncated or damaged: field {tag}", where=where)
            layout = f"{order}{number}{_TYPES[kind]}"
            fields[tag] = struct.unpack_from(layout, data, place), place
        yield fields


def _first(fields: dict[int, Field], tag: int, default: int) -> int:
    values = fields[tag][0] if tag in fields else ()
    return values[0] if values else default


def _judged(fields: dict[int, Field], data: bytes, order: str, where: object) -> Page:
    if not {256, 257} <= fields.keys():
        raise DataError("TIFF has no width or height", where=where)
    width, height = _first(fields, 256, 0), _first(fields, 257, 0)
    check_size(width, height, where)
    bits, samples, photometric = _kind(fields, where)
    planar = _first(fields, 284, 1) if samples > 1 else 1
    block_hw = (min(_first(fields, 278, height), height), width)
    is_tiled = 322 in fields
    if is_tiled:
        block_hw = (_first(fields, 323, 0), _first(fields, 322, 0))
    check_size(block_hw[1], block_hw[0], where)
    blocks = tuple(
        zip(
            fields.get(324 if is_tiled else 273, ((), 0))[0],
            fields.get(325 if is_tiled else 279, ((), 0))[0],
            strict=False,
        )
    )
    count = -(-height // block_hw[0]) * -(-width // block_hw[1]) * (samples if planar == 2 else 1)
    if len(blocks) != count:
        expected = f"{count} strips or tiles"
        raise DataError("TIFF is damaged", where=where, expected=expected, found=len(blocks))
    end = max(offset + length for offset, length in blocks)
    if end > len(data):
        raise DataError("TIFF is truncated", where=where, expected=f"{end} bytes", found=len(data))
    page = Page(
        width=width,
        height=height,
        order=order,
        bits=bits,
        samples=samples,
        compression=_first(fields, 259, 1),
        photometric=photometric,
        planar=planar,
        predictor=_first(fields, 317, 1),
        orientation=_first(fields, 274, 1),
        is_tiled=is_tiled,
        block_hw=block_hw,
        blocks=blocks,
        alpha_at=fields[338][1] if samples > _COLOURS[photometric] and 338 in fields else None,
    )
    packed = sum(length for _, length in blocks)
    if packed * _MOST_PACKED.get(page.compression, 1 << 32) < width * height * samples * bits // 8:
        expected, found = f"{width} x {height} pixels", f"{packed} packed bytes"
        what = "TIFF holds less than its size"
        raise DataError(what, where=where, expected=expected, found=found)
    is_grey = photometric in (_WHITE_IS_ZERO, _BLACK_IS_ZERO)
    deep_and_odd = bits == 16 and (planar == 2 or photometric == _WHITE_IS_ZERO)
    if not page.is_plain and (deep_and_odd or (is_grey and samples > 1)):
        expected = "no compression, or deflate, for grey with alpha, and for 16 bit in planes"
        _refuse(where, expected, f"compression {page.compression}")
    return page


def _kind(fields: dict[int, Field], where: object) -> tuple[int, int, int]:
    """Bits, samples and photometric; raises DataError where they, or the packing, are not read."""
    bits = sorted(set(fields[258][0])) if 258 in fields else [1]
    samples, photometric = _first(fields, 277, 1), _first(fields, 262, -1)
    compression, planar = _first(fields, 259, 1), _first(fields, 284, 1)
    predictor = _first(fields, 317, 1)
    if compression not in _READ:
        expected = "no compression, LZW, deflate, PackBits, fax or JPEG"
        _refuse(where, expected, f"compression {compression}")
    if photometric not in _COLOURS:
        _refuse(where, "grey, RGB, a palette or CMYK", f"photometric {photometric}")
    if set(fields[339][0] if 339 in fields else [1]) - {1, 4}:
        _refuse(where, "unsigned integers", "signed integers or floating point")
    legal = _BITS[photometric] if compression not in _FAX else (1,)
    if len(bits) != 1 or bits[0] not in legal:
        found = ", ".join(map(str, bits)) or "no"
        _refuse(where, f"{' or '.join(map(str, legal))} bit", f"{found} bit")
    colours = _COLOURS[photometric]
    most = colours + 1 if bits[0] != 1 and photometric in _WITH_ALPHA else colours
    if not colours <= samples <= most:
        _refuse(where, f"{colours} samples a pixel (and alpha)", samples)
    if planar not in (1, 2) or predictor not in (1, 2):
        found = f"planar {planar}, predictor {predictor}"
        _refuse(where, "planar 1 or 2, predictor 1 or 2", found)
    if (photometric in (_YCBCR, _CMYK)) and (photometric == _YCBCR) != (compression == _JPEG):
        found = f"photometric {photometric}, compression {compression}"
        _refuse(where, "YCbCr in JPEG, and CMYK not", found)
    return bits[0], samples, photometric


def _refuse(where: object, expected: str, found: object) -> NoReturn:
    what = "TIFF is of a kind that is not read"
    raise DataError(what, where=where, expected=expected, found=found)


def _inflated(raw: bytes, most: int, where: object) -> bytes:
    """Unpack a whole block of at most that many bytes; its checksum is compared."""
    unpacker = zlib.decompressobj()
    try:
        found = unpacker.decompress(raw, most)
        unpacker.decompress(unpacker.unconsumed_tail, 1)  # its end, if it holds no more
    except zlib.error as error:
        raise DataError(f"TIFF is damaged ({error})", where=where) from error
    if not unpacker.eof:
        what = "TIFF is damaged: a strip or tile does not end where it must"
        raise DataError(what, where=where, expected=f"at most {most} bytes")
    return found


def _upright(pixels: Pixels, orientation: int) -> Pixels:
    """Turn pixels by the orientation of TIFF, 1 to 8; any other is none."""
    if orientation in (5, 6, 7, 8):
        pixels = pixels.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return np.ascontiguousarray(pixels)
