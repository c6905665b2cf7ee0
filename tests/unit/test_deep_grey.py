"""Grey of 16 bit: judged on 8, kept whole, and shown through a window."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from starlette.testclient import TestClient
from unit.station_journal import inspection, make_manifest

from edge.picture_files import read_frame
from edge.region import Region
from edge.station.app import create_app
from qc.errors import QCError
from qc.imageio import decode_deep, png_bytes, read_deep, read_image
from qc.journal import Journal, JournalWriter
from qc.linefile import KeepTable
from qc.types import Frame, Verdict, utc_now


def twelve_bit() -> np.ndarray:
    """Greys of a 12-bit detector, `(6, 8)`: nearly black among 16 bit."""
    return np.linspace(100, 4095, 48).astype(np.uint16).reshape(6, 8)


def test_what_was_read_is_kept_beside_the_eight_bits(tmp_path: Path) -> None:
    for name in ("a.png", "a.tif"):
        file = tmp_path / name
        assert cv2.imwrite(str(file), twelve_bit())
        image, deep = read_deep(file)
        assert deep is not None and deep.dtype == np.uint16 and (deep == twelve_bit()).all()
        assert (image == read_image(file)).all()
        assert (image[..., 0] == np.rint(twelve_bit() / 257)).all()


def test_eight_bit_and_sixteen_bit_colour_have_nothing_deep(tmp_path: Path) -> None:
    colours = np.repeat(twelve_bit()[..., None], 3, axis=2)
    colours[0, 0, 1] += 1
    for pixels in (colours, np.full((6, 8), 90, np.uint8), np.full((6, 8, 3), 90, np.uint8)):
        file = tmp_path / "a.png"
        assert cv2.imwrite(str(file), pixels)
        assert read_deep(file)[1] is None
        assert (read_deep(file)[0] == read_image(file)).all()


def test_a_png_of_sixteen_bit_is_read_as_it_was_written() -> None:
    image, deep = decode_deep(png_bytes(twelve_bit()), "a")
    assert deep is not None and (deep == twelve_bit()).all()
    assert (image == decode_deep(png_bytes(image), "b")[0]).all()
    with pytest.raises(QCError, match=r"\(H, W\) uint16"):
        png_bytes(np.zeros((2, 2, 3), np.uint16))


def test_a_region_cuts_both_alike() -> None:
    image, deep = decode_deep(png_bytes(twelve_bit()), "a")
    assert deep is not None
    region = Region([(1, 1), (7, 1), (1, 5)])
    cut, cut_deep = region.apply(image), region.apply_deep(deep)
    assert (decode_deep(png_bytes(cut_deep), "b")[0] == cut).all()
    with pytest.raises(QCError, match="inside the frame"):
        Region([(1, 1), (9, 1), (1, 5)]).apply_deep(deep)


def test_a_frame_refuses_what_its_image_was_not_made_of() -> None:
    facts = {"frame_id": "1", "source_id": "c", "captured_at": utc_now(), "monotonic_ns": 1}
    for wrong in (np.zeros((6, 9), np.uint16), np.zeros((6, 8), np.uint8)):
        with pytest.raises(QCError, match="deep image of frame 1"):
            Frame(image=np.zeros((6, 8, 3), np.uint8), deep=wrong, **facts)


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    """A journal with a part of 16 bit, i-1, and one of 8, i-2."""
    file = tmp_path / "part.png"
    assert cv2.imwrite(str(file), twelve_bit())
    frame = read_frame(file, frame_id="f-1", source_id="cam0")
    assert frame.deep is not None
    journal = tmp_path / "line.journal"
    with JournalWriter(journal, make_manifest(), "litert", keep=KeepTable()) as writer:
        writer.put(inspection(1, Verdict.NG, image=frame.image, deep=frame.deep))
        writer.put(inspection(2, Verdict.NG, image=frame.image))
    return journal


def test_the_journal_keeps_the_sixteen_bits_and_the_same_eight(kept: Path) -> None:
    journal = Journal(kept)
    whole, plain = (journal.image_file(journal.get(name)) for name in ("i-1", "i-2"))
    assert whole is not None and plain is not None
    assert (read_image(whole) == read_image(plain)).all()
    deep = read_deep(whole)[1]
    assert deep is not None and (deep == twelve_bit()).all()
    assert read_deep(plain)[1] is None


def test_a_window_spreads_its_greys_and_clips_the_others(kept: Path) -> None:
    client = TestClient(create_app(kept, "A. Berger"))

    def shown(low: int, high: int) -> np.ndarray:
        answer = client.get(f"/part/i-1/grey.png?low={low}&high={high}")
        assert answer.status_code == 200
        found = cv2.imdecode(np.frombuffer(answer.content, np.uint8), cv2.IMREAD_UNCHANGED)
        return np.asarray(found)

    assert shown(100, 4095).min() == 0 and shown(100, 4095).max() == 255
    narrow = shown(1000, 2000)
    assert (narrow[twelve_bit() <= 1000] == 0).all() and (narrow[twelve_bit() >= 2000] == 255).all()
    inside = (twelve_bit() > 1000) & (twelve_bit() < 2000)
    assert (narrow[inside] == np.rint((twelve_bit()[inside] - 1000) / 1000 * 255)).all()


def test_the_page_offers_the_window_where_there_are_greys_for_it(kept: Path) -> None:
    client = TestClient(create_app(kept, "A. Berger"))
    page = client.get("/part/i-1").text
    assert 'data-low="100" data-high="4095"' in page and 'id="t-window"' in page
    assert "grey.png" not in client.get("/part/i-2").text
    assert client.get("/part/i-2/grey.png?low=0&high=9").status_code == 404
    assert client.get("/part/i-1/grey.png?low=9&high=9").status_code == 422
    assert client.get("/part/i-1/grey.png?low=0&high=999999").status_code == 422
