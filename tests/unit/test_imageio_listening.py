"""Damage that only the decoder meets: heard where it is listened for, and never seen by a user."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.sources.folder import Source
from qc.errors import DataError
from qc.imageio import complaint_in, read_image, write_png
from qc.quiet import quiet_stderr
from qc.types import Sample
from training.looks import look_at, refuse_unreadable


def _jpeg() -> bytes:
    noise = np.random.default_rng(0).integers(0, 256, (64, 80, 3), np.uint8)
    ok, data = cv2.imencode(".jpg", cv2.GaussianBlur(noise, (0, 0), 2))
    assert ok
    return data.tobytes()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A sound JPEG, one that was cut off and closed again, one with a stray byte, and a PNG."""
    data = _jpeg()
    (tmp_path / "sound.jpg").write_bytes(data)
    (tmp_path / "closed.jpg").write_bytes(data[: len(data) * 2 // 3] + b"\xff\xd9")
    (tmp_path / "stray.jpg").write_bytes(data[:-2] + b"\0" + data[-2:])
    write_png(tmp_path / "other.png", np.full((8, 8), 7, np.uint8))
    return tmp_path


def test_a_jpeg_that_was_cut_and_closed_is_refused_where_it_is_listened_for(
    folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(DataError, match=r"damaged within; found Corrupt JPEG data: premature end"):
        read_image(folder / "closed.jpg", listen=True)
    for name in ("sound.jpg", "stray.jpg", "other.png"):
        np.testing.assert_array_equal(
            read_image(folder / name, listen=True), read_image(folder / name)
        )
    assert "premature" not in capfd.readouterr().err


def test_it_is_a_fault_on_the_line(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    faults = {frame.part_id: frame.fault for frame in Source(folder)}
    assert [name for name, fault in faults.items() if fault] == ["closed"]
    assert capfd.readouterr().err == ""


def test_the_audit_names_it(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    files = sorted(folder.iterdir())
    looks = look_at([Sample(file.name, file, ("good",)) for file in files])
    assert [look.sample.sample_id for look in looks if look.why] == ["closed.jpg"]
    with pytest.raises(DataError, match="damaged within") as caught:
        refuse_unreadable(looks)
    assert caught.value.where == str(folder / "closed.jpg")
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", None),
        ("Corrupt JPEG data: 3 extraneous bytes before marker 0xd9\n", None),
        ("x\nCorrupt JPEG data: bad Huffman code\n", "Corrupt JPEG data: bad Huffman code"),
        (
            "[ERROR:0@1.2] global grfmt_tiff.cpp:1 TIFF_Error LZWDecode: a",
            "TIFF_Error LZWDecode: a",
        ),
        ("[ WARN:0@1.2] global grfmt_tiff.cpp:1 TIFF_Warning Unknown field", None),
    ],
)
def test_what_is_a_complaint(text: str, found: str | None) -> None:
    assert complaint_in(text) == found


def test_a_second_thread_that_wants_quiet_leaves_stderr_where_it_was(
    capfd: pytest.CaptureFixture[str],
) -> None:
    inside, leave = threading.Event(), threading.Event()

    def first() -> None:
        with quiet_stderr() as heard:
            inside.set()
            leave.wait(10)
            os.write(2, b"hidden")
        texts.append(heard.text)

    texts: list[str] = []
    thread = threading.Thread(target=first)
    thread.start()
    inside.wait(10)
    with quiet_stderr() as second:
        leave.set()
        thread.join()
    os.write(2, b"seen")
    assert (texts, second.text, capfd.readouterr().err) == (["hidden"], "", "seen")
