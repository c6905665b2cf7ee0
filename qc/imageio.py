"""The one reader and writer of image files: training, export and edge all see the same pixels.

A file is read whole, its header is judged before anything is decoded, and what cannot be trusted is
refused with the file's name. Grey becomes three equal channels, alpha is dropped, the EXIF
orientation is applied, and 16 bit is scaled by its full range (65535), never by the values.

Limits, said plainly: a JPEG or BMP carries no checksum, so damage in the middle of the pixels of a
complete file cannot be seen. The orientation tag of a TIFF is left to OpenCV.
"""

from __future__ import annotations

import re
import struct
import uuid
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from qc.errors import DataError, FaultError
from qc.types import Image, Sample

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff")
"""File name endings (lower case) of the formats that are read."""

MAX_PIXELS = 64_000_000
"""A header that claims more is refused before decoding."""

MAX_BYTES = 512 * 1024 * 1024
"""A larger file is refused before reading: 64 megapixels of 16 bit RGB are 384 MB."""

MASK_THRESHOLD = 127
"""A mask pixel above it is defect; masks in the wild are not binary."""

_SOF = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_BARE_MARKERS = frozenset([0x01, *range(0xD0, 0xD9)])
_TIFF_NUMBER = {3: "H", 4: "I"}


def read_image(path: Path | str) -> Image:
    """Read an image file as RGB `(H, W, 3)` uint8.

    Args:
        path: a PNG, JPEG, BMP or TIFF file (told by its content, not by its name).

    Raises:
        DataError: missing, empty, truncated, over 64 megapixels, or not decodable.
    """
    return decode_image(_read_bytes(Path(path)), where=path)


def read_sample(sample: Sample) -> Image:
    """Read a sample's picture as RGB `(H, W, 3)` uint8.

    Raises:
        DataError: it cannot be read.
    """
    if sample.source is not None:
        return sample.source.read()
    return read_image(sample.image_path)


def decode_image(data: bytes, where: object) -> Image:
    """Decode the bytes of an image file to RGB `(H, W, 3)` uint8.

    Args:
        data: the whole file.
        where: the name that an error carries.

    Raises:
        DataError: empty, truncated, over 64 megapixels, or not decodable.
    """
    if not data:
        raise DataError("image file is empty", where=where)
    width, height = _claimed_size(data, where)
    if width < 1 or height < 1 or width * height > MAX_PIXELS:
        raise DataError(
            "image header claims a size that is refused",
            where=where,
            expected=f"1 to {MAX_PIXELS} pixels",
            found=f"{width} x {height}",
        )
    try:
        found = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH)
    except cv2.error as error:
        raise DataError(f"image cannot be decoded ({error.err})", where=where) from error
    if found is None:
        raise DataError("image cannot be decoded: damaged or truncated", where=where)
    pixels = np.asarray(found)
    if pixels.dtype == np.uint16:
        pixels = ((pixels.astype(np.uint32) + 128) // 257).astype(np.uint8)
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3:
        raise DataError(
            "image has a pixel type that is not read",
            where=where,
            expected="8 or 16 bit unsigned, grey or colour",
            found=f"{pixels.dtype} {pixels.shape}",
        )
    return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB), dtype=np.uint8)


def read_mask(path: Path | str, size_hw: tuple[int, int]) -> NDArray[np.bool_]:
    """Read a mask file as `(H, W)` bool: true where its brightest channel is above 127.

    Args:
        path: the mask file.
        size_hw: height and width of the image it belongs to.

    Raises:
        DataError: not readable, or not of that size.
    """
    return np.asarray(read_mask_levels(path, size_hw) > MASK_THRESHOLD, dtype=np.bool_)


def read_mask_levels(path: Path | str, size_hw: tuple[int, int]) -> NDArray[np.uint8]:
    """Read a mask file as it was drawn: `(H, W)` uint8, its brightest channel; as `read_mask`."""
    pixels = read_image(path)
    if pixels.shape[:2] != tuple(size_hw):
        raise DataError(
            "mask has another size than its image",
            where=path,
            expected=f"{size_hw[0]} x {size_hw[1]} (height x width)",
            found=f"{pixels.shape[0]} x {pixels.shape[1]}",
        )
    return np.asarray(pixels.max(axis=2), dtype=np.uint8)


def write_png(path: Path | str, rgb: NDArray[np.uint8]) -> None:
    """Write a PNG so that a reader sees the old file or the whole new one, never half of it.

    Args:
        path: the file; its folder must exist.
        rgb: RGB `(H, W, 3)` or grey `(H, W)`, uint8.

    Raises:
        DataError: the array is not an image.
        FaultError: the file cannot be written.
    """
    target = Path(path)
    image_like = rgb.ndim == 2 or (rgb.ndim == 3 and rgb.shape[2] == 3)
    if rgb.dtype != np.uint8 or not image_like or rgb.size == 0:
        raise DataError(
            "array is not an image",
            where=target,
            expected="(H, W, 3) or (H, W) uint8",
            found=f"{rgb.shape} {rgb.dtype}",
        )
    try:
        ok, encoded = cv2.imencode(
            ".png", rgb if rgb.ndim == 2 else np.ascontiguousarray(rgb[..., ::-1])
        )
    except cv2.error as error:
        raise FaultError(f"PNG cannot be encoded ({error.err})", where=target) from error
    if not ok:
        raise FaultError("PNG cannot be encoded", where=target)
    partial = target.with_name(f".{target.name}.{uuid.uuid4().hex}.tmp")
    try:
        with partial.open("xb") as file:
            file.write(encoded.tobytes())
        partial.replace(target)
    except OSError as error:
        _remove(partial)
        raise FaultError(
            f"image cannot be written ({error.strerror or error})", where=target
        ) from error


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError:
        return  # the folder itself is gone or closed; the caller reports the first error


def _read_bytes(path: Path) -> bytes:
    try:
        size = path.stat().st_size
        if not path.is_file():
            raise DataError("image is not a file", where=path)
        if size > MAX_BYTES:
            raise DataError(
                "image file is refused", where=path, expected=f"<= {MAX_BYTES} bytes", found=size
            )
        return path.read_bytes()
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else None
        raise DataError(f"image cannot be read ({reason or error})", where=path) from error


def _claimed_size(data: bytes, where: object) -> tuple[int, int]:
    """Width and height as the header claims them; nothing is decoded."""
    try:
        if data.startswith(b"\x89PNG\r\n\x1a\n"):
            if b"IEND" not in data[-4096:] and b"IEND" not in data:
                raise DataError("PNG is truncated: its end is missing", where=where)
            return _pair(">II", data, 16)
        if data.startswith(b"\xff\xd8"):
            return _jpeg_size(data, where)
        if data.startswith(b"BM"):
            if _ints("<I", data, 14)[0] == 12:
                return _pair("<HH", data, 18)
            width, height = _pair("<ii", data, 18)
            return abs(width), abs(height)
        if data[:4] in (b"II*\x00", b"MM\x00*"):
            return _tiff_size(data, where)
    except struct.error as error:
        raise DataError("image header is truncated", where=where) from error
    raise DataError(
        "file is not an image that is read",
        where=where,
        expected="PNG, JPEG, BMP or TIFF",
        found=f"{len(data)} bytes beginning with {data[:4]!r}",
    )


def _ints(layout: str, data: bytes, offset: int) -> tuple[int, ...]:
    return struct.unpack_from(layout, data, offset)


def _pair(layout: str, data: bytes, offset: int) -> tuple[int, int]:
    first, second = struct.unpack_from(layout, data, offset)
    return first, second


def _jpeg_size(data: bytes, where: object) -> tuple[int, int]:
    """Walk the segments up to the first scan; the end marker must follow that scan."""
    at, size = 2, None
    while True:
        found = re.compile(rb"\xff+([^\x00\xff])").search(data, at)
        if found is None:
            raise DataError("JPEG is truncated: no picture data", where=where)
        marker, at = found.group(1)[0], found.end()
        if marker in _BARE_MARKERS:
            continue
        if marker == 0xD9:
            raise DataError("JPEG ends before its picture data", where=where)
        if marker in _SOF:
            height, width = _pair(">HH", data, at + 3)
            size = (width, height)
        (length,) = _ints(">H", data, at)
        at += length
        if marker == 0xDA:
            break
    if size is None:
        raise DataError("JPEG has no frame header", where=where)
    if data.rfind(b"\xff\xd9", at) < 0:
        raise DataError("JPEG is truncated: its end marker is missing", where=where)
    return size


def _tiff_size(data: bytes, where: object) -> tuple[int, int]:
    """Width and height from the first directory."""
    order = "<" if data[:2] == b"II" else ">"
    (directory,) = _ints(order + "I", data, 4)
    (entries,) = _ints(order + "H", data, directory)
    size: dict[int, int] = {}
    for index in range(entries):
        entry = directory + 2 + 12 * index
        tag, kind = _ints(order + "HH", data, entry)
        if tag in (256, 257) and kind in _TIFF_NUMBER:
            (size[tag],) = _ints(order + _TIFF_NUMBER[kind], data, entry + 8)
    if len(size) != 2:
        raise DataError("TIFF has no width or height", where=where)
    return size[256], size[257]
