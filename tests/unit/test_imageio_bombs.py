"""Files that want gigabytes, minutes or the life of the process: each costs next to nothing.

They are read in a process of their own, whose memory and time are measured.
"""

from __future__ import annotations

import json
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import pytest
from odd_images import PNG_MAGIC, animated_png, chunk, picture, png_file, png_of, tiff_of

_READ = """
import json, resource, sys, time
import cv2, numpy
from qc.errors import DataError
from qc.imageio import read_image
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
started = time.monotonic()
try:
    said = str(read_image(sys.argv[1]).shape)
except DataError as error:
    said = error.message
after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(json.dumps([said, (after - before) / 1024, time.monotonic() - started]))
"""


@cache
def _zeros(megabytes: int) -> bytes:
    packer = zlib.compressobj(9)
    body = b"".join(packer.compress(bytes(1 << 20)) for _ in range(megabytes))
    return body + packer.flush()


def _plain() -> bytes:
    return zlib.compress(bytes(24 * (40 * 3 + 1)))


def _thirty_thousand() -> bytes:
    return png_file((30_000, 30_000), 8, 2, _zeros(1))


def _lie_of_megapixels() -> bytes:
    return png_file((8_000, 8_000), 16, 6, _zeros(1))


def _inflated_pixels() -> bytes:
    return png_file((40, 24), 8, 2, _zeros(200))


def _inflated_text() -> bytes:
    return png_file((40, 24), 8, 2, _plain(), [chunk(b"zTXt", b"a\0\0" + _zeros(200))])


def _inflated_profile() -> bytes:
    return png_file((40, 24), 8, 2, _plain(), [chunk(b"iCCP", b"a\0\0" + _zeros(200))])


def _long_chunk() -> bytes:
    data = bytearray(png_of(picture(), 2))
    at = data.index(b"IDAT")
    data[at - 4 : at] = struct.pack(">I", 2**31 - 1)
    return bytes(data)


def _many_chunks() -> bytes:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 40, 24, 8, 2, 0, 0, 0))
    return PNG_MAGIC + header + chunk(b"IDAT", b"") * 500_000 + chunk(b"IEND", b"")


def _cut_animation() -> bytes:
    data = animated_png(picture(), picture())
    at = data.index(b"IDAT") - 4
    (length,) = struct.unpack_from(">I", data, at)
    return data[: at + 8 + length // 2]


def _large_strip() -> bytes:
    data = tiff_of(picture(), 2)
    return data.replace(struct.pack("<I", 40 * 24 * 3), struct.pack("<I", 2**31 - 1))


def _rows_without_end() -> bytes:
    return tiff_of(picture(), 2, tags=[(257, 60_000), (256, 1_000), (278, 60_000), (259, 5)])


def _inflated_strip() -> bytes:
    data = tiff_of(picture(), 2, deflate=True)
    packed = zlib.compress(picture().tobytes())
    body = _zeros(200)
    data = data.replace(struct.pack("<I", len(packed)), struct.pack("<I", len(body)))
    return data.replace(packed, body)


def _pages_without_end() -> bytes:
    data = bytearray(tiff_of(picture(), 2))
    (entries,) = struct.unpack_from("<H", data, 8)
    struct.pack_into("<I", data, 10 + 12 * entries, 8)
    return bytes(data)


def _jpeg_of_nothing() -> bytes:
    ok, found = cv2.imencode(".jpg", np.zeros((8, 8), np.uint8))
    assert ok
    data = bytearray(found.tobytes())
    at = data.index(b"\xff\xc0")
    data[at + 5 : at + 9] = struct.pack(">HH", 8000, 8000)
    return bytes(data)


def _bmp_of_nothing() -> bytes:
    return (
        b"BM"
        + struct.pack("<IHHI", 99, 0, 0, 54)
        + struct.pack("<IiiHHI", 40, 8000, 8000, 1, 24, 0)
    )


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (_thirty_thousand, "found 30000 x 30000"),
        (_lie_of_megapixels, "more or less than its size"),
        (_inflated_pixels, "more or less than its size"),
        (_inflated_text, "(24, 40, 3)"),
        (_inflated_profile, "(24, 40, 3)"),
        (_long_chunk, "truncated"),
        (_many_chunks, "at most 100000 chunks"),
        (_cut_animation, "truncated"),
        (_large_strip, "truncated"),
        (_rows_without_end, "less than its size"),
        (_inflated_strip, "does not end where it must"),
        (_pages_without_end, "no end"),
        (_jpeg_of_nothing, "less than its size"),
        (_bmp_of_nothing, "truncated"),
    ],
)
def test_a_bomb_costs_next_to_nothing(tmp_path: Path, make: Callable[[], bytes], says: str) -> None:
    file = tmp_path / "bomb.png"
    file.write_bytes(make())
    ran = subprocess.run(
        [sys.executable, "-c", _READ, str(file)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr[-300:]  # a library that crashes ends the process
    said, megabytes, seconds = json.loads(ran.stdout)
    assert says in said
    # the file itself and its list of chunks are a few megabytes; what is claimed is 100 and more
    assert megabytes < 48 and seconds < 5
