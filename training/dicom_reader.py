"""Reads DICOM files in a process of its own, which answers `training.dicom` over its pipes.

A process of its own, because the decoders of compressed pictures are native and crash on some
damaged files; because one may hang or ask for all memory; and because pydicom warns, and an
exception quotes, what a header says. Here all of that ends: stdout and stderr lead nowhere, and an
answer holds nothing but the picture, the few facts that were asked for, or a sentence of this file.

One request is one line of JSON, one answer is one line of JSON and the bytes it announces. pydicom
is imported by the functions that need it. Compressed pictures go to one named decoder each, under a
permissive licence: GDCM (JPEG, lossless JPEG, JPEG-LS), OpenJPEG (JPEG 2000), pydicom (RLE).
"""

from __future__ import annotations

import json
import os
import sys
import zlib
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qc.errors import DataError
from training.dicom_grey import parse_window, to_eight_bits, to_grey
from training.dicom_header import (
    DECODERS,
    DEFLATED,
    KEYWORDS,
    Facts,
    facts_of,
    greyscale_of,
    kind_of,
    refuse_short,
    table_of,
    text_of,
)

_MAX_MEMORY = 8 << 30  # bytes of address space; a decoder that wants more gets none

_PIXEL_DATA, _FLOATS = 0x7FE00010, (0x7FE00008, 0x7FE00009)


def header(path: Path, keywords: list[str], max_pixels: int, max_bytes: int) -> dict[str, Any]:
    """What kind of object a file holds, and the values of the keywords; no pixel is read.

    Returns:
        `kind` ("directory", "other" or "picture"), `frames` (1 without a picture), and `values`:
        text by keyword, empty where the header has none.

    Raises:
        DataError: not readable, or a picture that is not read.
    """
    dataset = _dataset(path, keywords, max_bytes, with_pixels=False)
    values = {k: text_of(dataset.get(k)) for k in keywords}
    if kind_of(dataset) != "picture":
        return {"kind": kind_of(dataset), "frames": 1, "values": values}
    facts = facts_of(dataset, max_pixels, path.stat().st_size)
    return {"kind": "picture", "frames": facts.frames, "values": values}


def picture(
    path: Path, frame: int, window: str, max_pixels: int, max_bytes: int
) -> NDArray[np.uint8]:
    """One frame as `(H, W)` or RGB `(H, W, 3)` uint8.

    Args:
        path: the file.
        frame: counted from 1.
        window: "voi", "full" or "CENTER,WIDTH".
        max_pixels, max_bytes: what is not read.

    Raises:
        DataError: not readable, damaged, or of a kind that is not read.
    """
    asked = parse_window(window)
    bare = _dataset(path, [], max_bytes, with_pixels=False)
    if kind_of(bare) != "picture":
        raise DataError("DICOM file holds no picture", expected="Rows and Columns")
    facts = facts_of(bare, max_pixels, path.stat().st_size)
    if not 1 <= frame <= facts.frames:
        raise DataError("no such frame", expected=f"1 to {facts.frames}", found=frame)
    dataset = _with_pixels(path, max_bytes)
    stored = _stored(dataset, facts, frame)
    if facts.samples == 3:
        return to_eight_bits(stored, facts.bits)
    if facts.photometric == "PALETTE COLOR":
        return _through_palette(dataset, stored)
    return to_grey(stored, greyscale_of(dataset, facts, frame), asked)


def _dataset(path: Path, keywords: list[str], max_bytes: int, *, with_pixels: bool) -> Any:
    """Of a file only the elements that are needed; the others are passed over unread."""
    import pydicom
    from pydicom.errors import InvalidDicomError

    size = path.stat().st_size
    if size > max_bytes:
        raise DataError("DICOM file is refused", expected=f"<= {max_bytes} bytes", found=size)
    tags: list[Any] = [*KEYWORDS, *keywords]
    if with_pixels:
        tags += [_PIXEL_DATA, *_FLOATS, 0x7FE00001, 0x7FE00002]
    try:
        _refuse_inflated(path, max_bytes)
        return pydicom.dcmread(path, stop_before_pixels=not with_pixels, specific_tags=tags)
    except InvalidDicomError:
        raise DataError("file is not DICOM", expected="DICM at byte 128") from None


_last: tuple[tuple[str, int, int], Any] | None = None


def _with_pixels(path: Path, max_bytes: int) -> Any:
    """The whole picture; the last one is kept, as the frames of a film are asked for in turn."""
    global _last
    stat = path.stat()
    key = (str(path), stat.st_mtime_ns, stat.st_size)
    if _last is None or _last[0] != key:
        _last = None
        _last = key, _dataset(path, [], max_bytes, with_pixels=True)
    return _last[1]


def _refuse_inflated(path: Path, max_bytes: int) -> None:
    """Refuse a deflated file that unpacks to more than is read; nothing is done for the others."""
    from pydicom.filereader import _read_file_meta_info, read_preamble

    with path.open("rb") as file:
        read_preamble(file, force=False)
        meta = _read_file_meta_info(file)
        if str(meta.get("TransferSyntaxUID", "")) != DEFLATED:
            return
        unpack, length = zlib.decompressobj(-zlib.MAX_WBITS), 0
        while data := unpack.unconsumed_tail or file.read(1 << 20):
            length += len(unpack.decompress(data, 1 << 24))
            if length > max_bytes:
                raise DataError(
                    "deflated DICOM file is refused", expected=f"<= {max_bytes} bytes unpacked"
                )
            if unpack.eof:
                return


def _stored(dataset: Any, facts: Facts, frame: int) -> NDArray[Any]:
    """Stored values `(H, W)`, or RGB `(H, W, 3)`, of a frame."""
    from pydicom.pixels import get_decoder

    if any(tag in dataset for tag in _FLOATS):
        raise DataError("DICOM pixels are floating point, which is not read")
    if _PIXEL_DATA not in dataset or not dataset[_PIXEL_DATA].value:
        raise DataError("DICOM file has no pixel data")
    if facts.is_plain:
        refuse_short(facts, len(dataset[_PIXEL_DATA].value), "pixel data")
    decoder, plugin = get_decoder(facts.syntax), DECODERS[facts.syntax]
    if plugin is not None:
        if plugin[0] not in decoder.available_plugins:
            raise DataError(
                "DICOM picture cannot be decoded: its decoder is not installed",
                expected=f"{plugin[2]}, which the 'dicom' extra brings",
            )
        _refuse_cut(dataset, facts, frame)
    try:
        found, says = decoder.as_array(
            dataset, index=frame - 1, decoding_plugin="" if plugin is None else plugin[0]
        )
    except RuntimeError:
        raise DataError("DICOM picture cannot be decoded: it is damaged") from None
    shape = (facts.rows, facts.columns, 3) if facts.samples == 3 else (facts.rows, facts.columns)
    colour = says["photometric_interpretation"]
    if found.shape != shape or (facts.samples == 3 and colour != "RGB"):
        raise DataError(
            "DICOM pixels are not what the header says", expected=shape, found=found.shape
        )
    return np.asarray(found)


def _refuse_cut(dataset: Any, facts: Facts, frame: int) -> None:
    """Refuse a compressed frame without its end: decoders fill up what is missing."""
    from pydicom.encaps import get_frame

    offsets = None
    if 0x7FE00001 in dataset and 0x7FE00002 in dataset:
        offsets = (dataset[0x7FE00001].value, dataset[0x7FE00002].value)
    data = get_frame(
        dataset[_PIXEL_DATA].value,
        frame - 1,
        number_of_frames=facts.frames,
        extended_offsets=offsets,
    )
    if b"\xff\xd9" not in data[-16:]:
        raise DataError("compressed DICOM picture is truncated: its end marker is missing")


def _through_palette(dataset: Any, stored: NDArray[Any]) -> NDArray[np.uint8]:
    if "PixelPresentation" in dataset:
        raise DataError("DICOM palette that only some pixels use is not read")
    tables = []
    for colour in ("Red", "Green", "Blue"):
        name = f"{colour}PaletteColorLookupTable"
        if f"{name}Descriptor" not in dataset or f"{name}Data" not in dataset:
            raise DataError("DICOM palette is missing, or segmented, which is not read")
        tables.append(table_of(dataset, f"{name}Descriptor", f"{name}Data"))
    return np.stack([to_eight_bits(t.at(stored), t.bits) for t in tables], axis=-1)


def serve() -> None:
    """Answer requests until stdin ends."""
    answers = os.fdopen(os.dup(1), "wb")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    _limit_memory()
    with suppress(KeyboardInterrupt, BrokenPipeError):
        for line in sys.stdin.buffer:
            says, pixels = _answer(json.loads(line))
            announced = {**says, "bytes": 0 if pixels is None else pixels.nbytes}
            answers.write(json.dumps(announced).encode() + b"\n")
            if pixels is not None:
                answers.write(np.ascontiguousarray(pixels).data)
            answers.flush()


def _answer(request: Mapping[str, Any]) -> tuple[dict[str, Any], NDArray[np.uint8] | None]:
    """What a request gives; an error as a sentence that holds nothing of the file."""
    path = Path(request["path"])
    limits = request["max_pixels"], request["max_bytes"]
    try:
        if request["do"] == "header":
            return header(path, request["keywords"], *limits), None
        pixels = picture(path, request["frame"], request["window"], *limits)
        return {"shape": pixels.shape}, pixels
    except DataError as error:
        return {"error": error.message}, None
    except MemoryError:
        return {"error": "DICOM file needs more memory than it may have"}, None
    except ImportError:
        return {
            "error": "DICOM file cannot be read: pydicom is not installed as it should be"
        }, None
    except OSError as error:
        return {"error": f"DICOM file cannot be read ({error.strerror or 'damaged'})"}, None
    except Exception as error:  # noqa: BLE001 - what pydicom raises is not bounded, and quotes
        return {"error": f"DICOM file is damaged or not standard ({type(error).__name__})"}, None


def _limit_memory() -> None:
    """Bound the address space, where the system can."""
    with suppress(ImportError, ValueError, OSError):
        import resource

        hard = resource.getrlimit(resource.RLIMIT_AS)[1]
        resource.setrlimit(resource.RLIMIT_AS, (_MAX_MEMORY, hard))
