"""The one reader and writer of image files: training, export and edge all see the same pixels.

A file is read whole and its structure is judged before anything is decoded (`qc.imagehead`,
`qc.tiff`); what cannot be trusted is refused with the file's name. Grey becomes three equal
channels, alpha is dropped and not blended, the orientation of EXIF or TIFF is applied, colour
profiles are not, and 16 bit is scaled by its full range (65535), never by the values. Of an
animated PNG and of a JPEG with further pictures behind it, the one that every viewer shows is read.

Limits, said plainly: a JPEG, a BMP and a TIFF of LZW or PackBits carry no checksum: damage in the
middle of the pixels of a complete file is seen only where the decoder stumbles over it, and where
somebody listens (`listen`), as the line and the audit do. CMYK becomes RGB by the plain product
with black: inks have no other meaning without their profile.
"""

from __future__ import annotations

import re
import stat
import threading
import uuid
from contextlib import suppress
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from qc import tiff
from qc.errors import DataError, FaultError
from qc.imagehead import MAX_PIXELS as MAX_PIXELS  # handed on: it is the limit of this reader
from qc.imagehead import picture_of
from qc.quiet import quiet_stderr
from qc.types import Deep, Image, Sample

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff")
"""File name endings (lower case) of the formats that are read."""

MAX_BYTES = 512 * 1024 * 1024
"""A larger file is refused before reading: 64 megapixels of 16 bit RGB are 384 MB."""

MASK_THRESHOLD = 127
"""A mask pixel above it is defect; masks in the wild are not binary."""

_BAND = 256
_LISTENING = threading.Lock()
# Half the bytes and half the time of the default on pictures with plain areas. An OpenCV before
# 4.12 has no choice of filter, and takes longer with the others alone.
_PNG = []
if hasattr(cv2, "IMWRITE_PNG_FILTER"):
    _PNG += [cv2.IMWRITE_PNG_COMPRESSION, 1, cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_UP]
    _PNG += [cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_DEFAULT]
_WITHOUT_CHECKSUM = (b"\xff\xd8", b"II", b"MM")
_COMPLAINT = re.compile(
    r"(Corrupt JPEG data: (?!\d+ extraneous bytes).+|Premature end of JPEG.+|TIFF_Error .+)"
)


def read_image(path: Path | str, *, listen: bool = False) -> Image:
    """Read an image file as RGB `(H, W, 3)` uint8.

    Args:
        path: a PNG, JPEG, BMP or TIFF file (told by its content, not by its name).
        listen: refuse what the decoder complains of too, such as a JPEG that was cut off and then
            closed. It complains on stderr, which belongs to the whole process: those who listen
            take turns, and no other thread may decode without listening meanwhile.

    Raises:
        DataError: missing, empty, truncated, over 64 megapixels, or not decodable.
    """
    return decode_image(_read_bytes(Path(path)), where=path, listen=listen)


def read_deep(path: Path | str, *, listen: bool = False) -> tuple[Image, Deep | None]:
    """As `read_image`, with the 16 bit that it was made of where the file is grey of 16 bit.

    Returns:
        RGB `(H, W, 3)` uint8, and grey `(H, W)` uint16 or None.

    Raises:
        DataError: as for `read_image`.
    """
    return decode_deep(_read_bytes(Path(path)), where=path, listen=listen)


def complaint_in(text: str) -> str | None:
    """What a decoder printed of damage; None where it printed nothing of the kind.

    A few bytes too many before a marker are not damage: some cameras write them.
    """
    found = _COMPLAINT.search(text)
    return found.group(1) if found else None


def read_sample(sample: Sample) -> Image:
    """Read a sample's picture as RGB `(H, W, 3)` uint8.

    Raises:
        DataError: it cannot be read.
    """
    if sample.source is not None:
        return sample.source.read()
    return read_image(sample.image_path)


def decode_image(data: bytes, where: object, *, listen: bool = False) -> Image:
    """Decode the bytes of an image file to RGB `(H, W, 3)` uint8.

    Args:
        data: the whole file.
        where: the name that an error carries.
        listen: as for `read_image`.

    Raises:
        DataError: empty, truncated, over 64 megapixels, or not decodable.
    """
    return _eight_bit(_decode(data, where, listen=listen))


def decode_deep(data: bytes, where: object, *, listen: bool = False) -> tuple[Image, Deep | None]:
    """The bytes of an image file as `read_deep` gives them.

    Raises:
        DataError: as for `decode_image`.
    """
    pixels = _decode(data, where, listen=listen)
    return _eight_bit(pixels), _grey_of(pixels)


def _grey_of(pixels: NDArray[Any]) -> Deep | None:
    """The grey of 16 bit in decoded pixels; None where they have 8 bit or colours."""
    if pixels.dtype != np.uint16:
        return None
    return one_channel(pixels) if pixels.ndim == 3 else np.ascontiguousarray(pixels)


def one_channel(rgb: NDArray[Any]) -> NDArray[Any] | None:
    """The one channel `(H, W)` of RGB whose three are equal, as a grey camera's are; else None."""
    first = rgb[..., 0]
    if all(np.array_equal(first, rgb[..., i]) for i in (1, 2)):
        return np.ascontiguousarray(first)
    return None


def _decode(data: bytes, where: object, *, listen: bool = False) -> NDArray[Any]:
    """Grey `(H, W)` or RGB `(H, W, 3)`, uint8 or uint16."""
    if listen and data[:2] in _WITHOUT_CHECKSUM:
        with _LISTENING, quiet_stderr() as heard:
            pixels = _decode(data, where)
        complaint = complaint_in(heard.text)
        if complaint is not None:
            raise DataError("image is damaged within", where=where, found=complaint)
        return pixels
    if not data:
        raise DataError("image file is empty", where=where)
    if data[:4] in tiff.MAGICS:
        page = tiff.read_page(data, where)
        if page.is_plain:
            return tiff.decode_plain(data, page, where)
        data = tiff.for_opencv(data, page)
    else:
        data = picture_of(data, where)
    try:
        found = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH)
    except cv2.error as error:
        raise DataError(f"image cannot be decoded ({error.err})", where=where) from error
    if found is None:
        raise DataError("image cannot be decoded: damaged or truncated", where=where)
    pixels = np.asarray(found)
    if pixels.dtype not in (np.uint8, np.uint16) or pixels.ndim != 3 or pixels.shape[2] != 3:
        raise DataError(
            "image has a pixel type that is not read",
            where=where,
            expected="8 or 16 bit unsigned, grey or colour",
            found=f"{pixels.dtype} {pixels.shape}",
        )
    return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB))


def _eight_bit(pixels: NDArray[Any]) -> Image:
    """Grey `(H, W)` or RGB of 8 or 16 bit as an image; 16 bit by its full range, rounded."""
    if pixels.dtype == np.uint16:
        deep, pixels = pixels, np.empty(pixels.shape, np.uint8)
        for top in range(0, len(deep), _BAND):  # a band at a time: 64 megapixels need gigabytes
            band = deep[top : top + _BAND].astype(np.uint32)
            pixels[top : top + _BAND] = (band + 128) // 257
    if pixels.ndim == 2:
        pixels = np.repeat(pixels[..., None], 3, axis=2)
    return np.ascontiguousarray(pixels, dtype=np.uint8)


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
    _write_whole(Path(path), png_bytes(rgb, where=path))


def write_jpeg(path: Path | str, rgb: NDArray[np.uint8]) -> None:
    """Write a JPEG of quality 92, whole or not at all: for a picture to look at, not to measure.

    It takes a twentieth of the time that a PNG of an overlay takes.

    Args:
        path: the file; its folder must exist.
        rgb: RGB `(H, W, 3)` uint8.

    Raises:
        DataError: the array is not an image.
        FaultError: the file cannot be written.
    """
    if rgb.dtype != np.uint8 or rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.size == 0:
        found = f"{rgb.shape} {rgb.dtype}"
        raise DataError("not an image", where=path, expected="(H, W, 3) uint8", found=found)
    bgr = cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR)
    is_done, encoded = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, 92])
    if not is_done:
        raise FaultError("the image cannot be encoded", where=path)
    _write_whole(Path(path), encoded.tobytes())


def _write_whole(target: Path, encoded: bytes) -> None:
    partial = target.with_name(f".{uuid.uuid4().hex}.tmp")  # a name may be as long as it gets
    try:
        with partial.open("xb") as file:
            file.write(encoded)
        partial.replace(target)
    except OSError as error:
        with suppress(OSError):  # the folder may be gone; what is told is the first error
            partial.unlink()
        raise FaultError(
            f"image cannot be written ({error.strerror or error})", where=target
        ) from error


def png_bytes(
    rgb: NDArray[np.uint8] | Deep, *, where: object = None, compression: int | None = None
) -> bytes:
    """An image as the bytes of a PNG file.

    Args:
        rgb: RGB `(H, W, 3)` or grey `(H, W)`, uint8; or grey `(H, W)` uint16.
        where: what an error names.
        compression: 9 is the smallest, 0 is none and a tenth of the time; None: the quickest of the
            others that is known.

    Raises:
        DataError: the array is not an image.
        FaultError: it cannot be encoded.
    """
    image_like = rgb.ndim == 2 or (rgb.ndim == 3 and rgb.shape[2] == 3)
    known = rgb.dtype == np.uint8 or (rgb.dtype == np.uint16 and rgb.ndim == 2)
    if not known or not image_like or rgb.size == 0:
        raise DataError(
            "array is not an image",
            where=where,
            expected="(H, W, 3) or (H, W) uint8, or (H, W) uint16",
            found=f"{rgb.shape} {rgb.dtype}",
        )
    told = _PNG if compression is None else [cv2.IMWRITE_PNG_COMPRESSION, compression]
    if compression == 0 and _PNG:  # to choose a filter for each row takes eight times as long
        told += [cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_NONE]
    try:
        bgr = rgb if rgb.ndim == 2 else cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR)
        ok, encoded = cv2.imencode(".png", bgr, told)
    except cv2.error as error:
        raise FaultError(f"PNG cannot be encoded ({error.err})", where=where) from error
    if not ok:
        raise FaultError("PNG cannot be encoded", where=where)
    return encoded.tobytes()


def _read_bytes(path: Path) -> bytes:
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):  # a pipe would be waited for, a device has no end
            what = "a folder" if stat.S_ISDIR(found.st_mode) else "a pipe, a socket or a device"
            raise DataError("image is not a file", where=path, found=what)
        size = found.st_size
        if size > MAX_BYTES:
            raise DataError(
                "image file is refused", where=path, expected=f"<= {MAX_BYTES} bytes", found=size
            )
        return path.read_bytes()
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else None
        raise DataError(f"image cannot be read ({reason or error})", where=path) from error
