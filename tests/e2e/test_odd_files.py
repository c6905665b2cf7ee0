"""A dataset of odd and broken files: each is read rightly or listed with a reason."""

from __future__ import annotations

import os
import shutil
import socket
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from odd_images import (
    animated_png,
    bmp_file,
    bmp_rows,
    chunk,
    exif,
    four_ink_jpeg,
    jpeg_with_exif,
    packed_bits,
    png_file,
    png_of,
    tiff_of,
    turned,
)
from program import Ran, python, quiet, refused

from edge.sources.folder import Source
from qc.imageio import read_image, write_png

TIMEOUT_S = 120  # nothing may be waited for: a pipe, an endless link, a bomb
SIZE_WH = (40, 24)


def _picture(seed: int) -> np.ndarray:
    """Soft blotches: no two of them are alike."""
    noise = np.random.default_rng(seed).integers(0, 256, (24, 40, 3), np.uint8)
    soft = cv2.GaussianBlur(noise, (0, 0), 3).astype(float)
    return np.asarray((soft - soft.min()) * 255 / np.ptp(soft), np.uint8)


def _encoded(ending: str, seed: int, *options: int) -> bytes:
    ok, data = cv2.imencode(ending, _picture(seed)[..., ::-1], list(options))
    assert ok
    return data.tobytes()


def _claim(jpeg: bytes, depth: int, kind: int = 0xC0) -> bytes:
    at = jpeg.index(b"\xff\xc0")
    return jpeg[: at + 1] + bytes([kind]) + jpeg[at + 2 : at + 4] + bytes([depth]) + jpeg[at + 5 :]


def _wrong_checksum(png: bytes) -> bytes:
    at = png.index(b"IDAT") + 12
    return png[:at] + bytes([png[at] ^ 1]) + png[at + 1 :]


def _deep(pixels: np.ndarray) -> np.ndarray:
    return pixels.astype(np.uint16) * 257


def _read_rightly() -> dict[str, tuple[bytes, np.ndarray]]:
    """Odd files that are pictures, with their pixels."""
    p = [_picture(1000 + i) for i in range(40)]
    jpeg = [_encoded(".jpg", 1000 + i) for i in range(40)]
    pixels = [np.asarray(cv2.imdecode(np.frombuffer(j, np.uint8), 1))[..., ::-1] for j in jpeg]
    alpha = np.full((24, 40), 9, np.uint8)
    grey = np.repeat(p[0][..., :1], 3, axis=2)
    index = (p[7][..., 0] // 16).astype(np.uint8)
    palette = np.random.default_rng(0).integers(0, 256, (16, 3), np.uint8)
    rows = b"".join(b"\0" + packed_bits(row, 4) for row in index)
    bgra = np.dstack([p[12], alpha])[..., [2, 1, 0, 3]]
    return {
        "grey_16.png": (png_of(_deep(p[0][..., 0]), 0, depth=16), grey),
        "rgb_16.png": (png_of(_deep(p[1]), 2, depth=16), p[1]),
        "rgba.png": (png_of(np.dstack([p[2], alpha]), 6), p[2]),
        "rgba_16.png": (png_of(_deep(np.dstack([p[3], alpha])), 6, depth=16), p[3]),
        "interlaced.png": (png_of(p[4], 2, interlaced=True), p[4]),
        "animated.png": (animated_png(p[5], p[6]), p[5]),
        "palette.png": (
            png_file(
                SIZE_WH,
                4,
                3,
                zlib.compress(rows),
                [chunk(b"PLTE", palette.tobytes()), chunk(b"tRNS", b"\0\7")],
            ),
            palette[index],
        ),
        "really_png.jpg": (png_of(p[8], 2), p[8]),
        "exif_6.jpg": (jpeg_with_exif(jpeg[9], exif(6)), turned(pixels[9], 6)),
        "exif_damaged.JPG": (jpeg_with_exif(jpeg[10], b"II*\0\xff\xff"), pixels[10]),
        "two_in_one.Jpeg": (jpeg[11] + jpeg[0], pixels[11]),
        "top_down.bmp": (bmp_file((40, -24), 32, bmp_rows(bgra, 32, True)), p[12]),
        "planes_16.tif": (tiff_of(_deep(p[13]), 2, planar=2), p[13]),
        "tiles.tiff": (tiff_of(p[14], 2, tile_hw=(16, 16)), p[14]),
        "big_endian.tif": (tiff_of(p[15], 2, ">", big=True, deflate=True, predictor=2), p[15]),
        "turned.tif": (tiff_of(p[16], 2, tags=[(274, 8)]), turned(p[16], 8)),
        "line\nbreak.png": (png_of(p[17], 2), p[17]),
        "[red]bell\a.png": (png_of(p[18], 2), p[18]),
        "x" * 251 + ".png": (png_of(p[19], 2), p[19]),
        " ü.png": (png_of(p[20], 2), p[20]),
    }


def _refused() -> dict[str, tuple[bytes, str]]:
    """Files that are no pictures, or broken ones, with words of the reason."""
    png, jpeg = png_of(_picture(2000), 2), _encoded(".jpg", 2001)
    progressive = _encoded(".jpg", 2002, cv2.IMWRITE_JPEG_PROGRESSIVE, 1)
    tiff, bmp = tiff_of(_picture(2003), 2), bmp_file(SIZE_WH, 24, bmp_rows(_picture(2004), 24))
    zeros = zlib.compress(bytes(1 << 20))
    return {
        "empty.png": (b"", "empty"),
        "text.jpg": (b"hello, I am no picture", "PNG, JPEG, BMP or TIFF"),
        "zeros.jpg": (bytes(5000), "all zero"),
        "gif.jpg": (b"GIF89a" + bytes(40), "a GIF"),
        "webp.png": (b"RIFF\x24\0\0\0WEBPVP8 ", "a WebP"),
        "heic.jpg": (b"\0\0\0\x18ftypheic" + bytes(40), "a HEIC"),
        "svg.png": (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "an SVG"),
        "page.jpg": (b"<!DOCTYPE html><title>404</title>", "a web page"),
        "pdf.tif": (b"%PDF-1.7", "a PDF"),
        "pointer.png": (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS"),
        "cut_half.png": (png[: len(png) // 2], "truncated"),
        "cut_late.png": (png[:-5], "truncated"),
        "cut.jpg": (jpeg[: len(jpeg) // 2], "truncated"),
        "cut_header.jpg": (jpeg[:200], "truncated"),
        "cut_progressive.jpg": (progressive[:-9], "truncated"),
        "cut_in_two.jpg": (jpeg[:-20] + jpeg, "another begins"),
        "cut.bmp": (bmp[:-20], "truncated"),
        "cut.tif": (tiff[:-20], "truncated"),
        "checksum.png": (_wrong_checksum(png), "checksum"),
        "huge.png": (png_file((30_000, 30_000), 8, 2, zeros), "30000 x 30000"),
        "bomb.png": (png_file(SIZE_WH, 8, 2, zeros * 200), "more or less than its size"),
        "hollow.png": (png_file((8000, 8000), 8, 2, zeros), "more or less than its size"),
        "tall.bmp": (b"BM" + bytes(12) + struct.pack("<IiiHHI", 40, 1, -(2**31), 1, 24, 0), "size"),
        "twelve_bit.jpg": (_claim(jpeg, 12, 0xC1), "12 bit"),
        "lossless.jpg": (_claim(jpeg, 8, 0xC3), "lossless"),
        "inks.jpg": (four_ink_jpeg(np.zeros((3, 5, 4), np.uint8), None), "Adobe marker"),
        "float.tif": (
            tiff_of(_picture(1).astype(np.float32), 2, tags=[(339, 3)]),
            "floating point",
        ),
        "pages.tif": (tiff_of(_picture(2005), 2, pages=3), "one page; found 3"),
        "strip.tif": (tiff_of(_picture(2006), 2, tags=[(257, 60_000), (278, 60_000)]), "truncated"),
        "compressed.tif": (tiff_of(_picture(2007), 2, tags=[(259, 50_000)]), "compression 50000"),
        "colours.bmp": (
            bmp_file(SIZE_WH, 32, bytes(40 * 24 * 4), 3, masks=(255, 65280, 16711680)),
            "order of colours",
        ),
        "animated_cut.png": (animated_png(_picture(3), _picture(4))[:400], "truncated"),
    }


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes of sound pictures, and all the others among them; not to be written to."""
    root = tmp_path_factory.mktemp("odd") / "parts"
    for n, kind in enumerate(("good", "hole")):
        (root / kind).mkdir(parents=True)
        for i in range(12):
            write_png(root / kind / f"sound_{i}.png", _picture(100 * n + i))
    for name, (data, _) in _read_rightly().items():
        (root / "good" / name).write_bytes(data)
    for name, (data, _) in _refused().items():
        (root / "hole" / name).write_bytes(data)
    hole = root / "hole"
    (hole / "folder.png").mkdir()
    (hole / "linked.png").symlink_to("../good/sound_0.png")
    (hole / "gone.png").symlink_to("nowhere.png")
    (hole / "circle.png").symlink_to("circle.png")
    (hole / "endless.png").symlink_to("/dev/zero")
    os.mkfifo(hole / "pipe.png")
    (hole / "again").symlink_to("..")
    (root / "all").symlink_to(".")
    for name in ("Thumbs.db", ".DS_Store", "._sound_0.png"):
        (hole / name).write_bytes(b"\0\5\x16\7")
    with socket.socket(socket.AF_UNIX) as server:
        here = Path.cwd()
        os.chdir(hole)  # the path of a socket is short
        try:
            server.bind("s.png")
        finally:
            os.chdir(here)
    return root


LINKED = {
    "gone.png": "No such file",
    "circle.png": "symbolic links",
    "endless.png": "a pipe, a socket or a device",
    "pipe.png": "a pipe, a socket or a device",
    "s.png": "a pipe, a socket or a device",
}


def _reasons() -> dict[str, str]:
    return {name: why for name, (_, why) in _refused().items()} | LINKED


def _qc(*arguments: object) -> Ran:
    ran = python("-m", "qc.cli", *arguments, timeout_s=TIMEOUT_S)
    assert "Traceback" not in ran.err + ran.out and "unexpected" not in ran.err
    assert "\a" not in ran.err
    quiet(ran)
    return ran


def test_there_are_enough_of_them() -> None:
    assert len(_reasons()) >= 30 and len(_read_rightly()) >= 15


def test_audit_lists_each_broken_file_and_looks_at_all_others(parts: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    ran = _qc("data", "audit", parts, "--json", "--html", page)
    assert ran.code == 1, ran.err
    found = ran.json
    why = {row["path"].removeprefix("hole/"): row["why"] for row in found["unreadable"]}
    assert sorted(why) == sorted(_reasons())
    for name, words in _reasons().items():
        assert words in why[name], name
    sound = 24 + len(_read_rightly()) + 1  # and the link to a picture
    assert found["images"] == sound + len(why)
    assert ["good/sound_0.png", "hole/linked.png"] in found["exact_duplicates"]
    listed = {row["path"]: row["why"] for row in found["annotation_errors"]}
    assert sorted(listed) == ["all", "hole/again"]
    assert all("not followed" in words for words in listed.values())
    assert f"{len(why)} image(s) cannot be read" in found["blocking"]
    text = page.read_text(encoding="utf-8")
    assert "cut_in_two.jpg" in text and "another begins" in text


def test_odd_pictures_are_read_rightly(parts: Path) -> None:
    for name, (_, pixels) in _read_rightly().items():
        np.testing.assert_array_equal(read_image(parts / "good" / name), pixels, err_msg=name)


def test_on_the_line_each_broken_file_is_a_fault(parts: Path) -> None:
    frames = {Path(frame.frame_id).name: frame for frame in Source(parts / "good")}
    assert len(frames) == 12 + len(_read_rightly())
    assert not [name for name, frame in frames.items() if frame.fault]
    with pytest.raises(Exception, match="not followed"):
        Source(parts)
    for name, words in _reasons().items():
        from edge.picture_files import read_frame

        frame = read_frame(parts / "hole" / name, frame_id=name, source_id="here")
        assert frame.image is None and frame.fault is not None and words in frame.fault, name


def test_split_refuses_the_first_of_them_and_then_deals_the_rest(
    parts: Path, tmp_path: Path
) -> None:
    root, out = tmp_path / "parts", tmp_path / "split.csv"
    shutil.copytree(parts, root, symlinks=True, ignore=shutil.ignore_patterns("pipe.png", "s.png"))
    split = ("data", "split", root, "--out", out, "--json")
    refused(_qc(*split), kind="data", where=root / "all", says=("not followed",))
    (root / "all").unlink()
    (root / "hole" / "again").unlink()
    broken = sorted(_reasons().keys() - {"pipe.png", "s.png"})
    says = ("No such file", f"and {len(broken) - 1} more: qc data audit")
    message = refused(_qc(*split), kind="data", where=root / "hole" / broken[0], says=says[1:])
    assert _reasons()[broken[0]] in message
    for name in broken:
        (root / "hole" / name).unlink()
    (root / "hole" / "linked.png").unlink()
    ran = _qc(*split)
    assert ran.code == 0, ran.err
    assert ran.json["train"] + ran.json["val"] + ran.json["test"] == 24 + len(_read_rightly())
    assert '"good/line\nbreak.png"' in out.read_text(encoding="utf-8")
    again = _qc("data", "audit", root, "--split", out, "--json")
    assert again.code == 0, again.err


def test_a_name_that_is_not_utf8_stops_no_command(parts: Path, tmp_path: Path) -> None:
    root, page = tmp_path / "parts", tmp_path / "page.html"
    for kind in ("good", "hole"):
        (root / kind).mkdir(parents=True)
        for file in sorted((parts / kind).glob("sound_*.png")):
            shutil.copy(file, root / kind)
    try:
        shutil.copy(root / "good" / "sound_0.png", os.fsencode(root / "good") + b"/\xff\xe4.png")
    except OSError:
        pytest.skip("this file system takes no such name")
    ran = _qc("data", "audit", root, "--json", "--html", page)
    assert ran.code == 1, ran.err
    (row,) = ran.json["annotation_errors"]
    assert row["path"] == "good/\\xff\\xe4.png" and "not UTF-8" in row["why"]
    assert ran.json["images"] == 24 and page.read_text(encoding="utf-8")
    ran = _qc("data", "split", root, "--out", tmp_path / "split.csv", "--json")
    where = f"{root}/good/\\xff\\xe4.png"
    refused(ran, kind="data", where=where, says=("rename it",))
