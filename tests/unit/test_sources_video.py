"""The frames of a video file: in order, each n-th, again and again, and never cut off silently."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.sources.video import Source
from qc.errors import DataError

COUNT = 40


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of forty frames, each redder than the one before; motion JPEG."""
    path = tmp_path_factory.mktemp("film") / "shift one.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 25, (64, 48))
    rng = np.random.default_rng(0)
    for number in range(COUNT):
        image = rng.integers(0, 30, (48, 64, 3), np.uint8)
        image[..., 2] = 5 * number
        writer.write(image)
    writer.release()
    return path


def _reds(source: Source, count: int | None = None) -> list[int]:
    with source:
        frames = list(islice(source, count))
    assert all(f.image is not None and f.image.shape == (48, 64, 3) for f in frames)
    return [round(float(f.image[..., 0].mean()) / 5) for f in frames if f.image is not None]


def test_every_frame_comes_in_order(film: Path) -> None:
    source = Source(film, source_id="tape")
    assert _reds(source) == list(range(COUNT)) and not source.is_live
    frames = list(source)
    assert frames[3].part_id == "shift one-000003" and frames[3].source_id == "tape"
    assert len({f.frame_id for f in frames}) == COUNT


def test_each_nth_frame_and_from_the_beginning_again(film: Path) -> None:
    assert _reds(Source(film, every=15)) == [0, 15, 30]
    looped = Source(film, every=15, loop=True)
    assert _reds(looped, 7) == [0, 15, 30, 0, 15, 30, 0]
    parts = [f.part_id for f in islice(looped, 4)]
    assert parts[0] == "shift one-000000" and parts[3] == "shift one-1-000000"


def test_a_file_that_was_cut_off_ends_with_a_fault(film: Path, tmp_path: Path) -> None:
    data = film.read_bytes()
    cut = tmp_path / "cut.avi"
    cut.write_bytes(data[: len(data) // 2])
    frames = list(Source(cut))
    assert 10 < len(frames) < 30
    assert all(f.fault is None for f in frames[:-1])
    last = frames[-1]
    assert last.image is None and last.fault is not None
    assert last.fault.startswith("the video was cut off: expected 40 frames, found ")


def test_a_file_is_turned_as_it_says(tmp_path: Path) -> None:
    """The matrix in the track header (ISO/IEC 14496-12) says: a quarter turn clockwise."""
    path = tmp_path / "telephone.mp4"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 25, (64, 48))
    for _ in range(3):
        image = np.zeros((48, 64, 3), np.uint8)
        image[:24] = 255  # white above
        writer.write(image)
    writer.release()
    data = path.read_bytes()
    one, end = b"\0\1\0\0", b"\x40\0\0\0"
    identity = one + bytes(12) + one + bytes(12) + end
    turned = bytes(4) + one + bytes(4) + b"\xff\xff\0\0" + bytes(16) + end
    at = data.index(identity, data.index(b"tkhd"))
    path.write_bytes(data[:at] + turned + data[at + len(turned) :])
    frame = next(iter(Source(path)))
    assert frame.image is not None and frame.image.shape == (64, 48, 3)
    assert (
        frame.image[:, 30:].mean() > 200 and frame.image[:, :18].mean() < 50
    )  # white on the right


def test_what_is_no_video_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.mp4").write_text("no film")
    with pytest.raises(DataError, match=r"text\.mp4: the file cannot be read as a video"):
        Source(tmp_path / "text.mp4")
    with pytest.raises(DataError, match="no such video; found a folder"):
        Source(tmp_path)
    with pytest.raises(DataError, match="no such video; found nothing"):
        Source(tmp_path / "gone.mp4")
