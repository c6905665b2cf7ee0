"""The station draws an occlusion map when asked, says what it is, and where it cannot."""

from __future__ import annotations

import re
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from seen_square import CELL, SIDE, Seen, manifest, part
from starlette.testclient import TestClient
from station_journal import decode, inspection
from toy_line import seal

from edge import commands
from edge.occlusion import Occluder
from edge.station.app import create_app
from qc.errors import FaultError, UsageError
from qc.journal import JournalWriter
from qc.types import Image, Prediction, Verdict

ID = "abcdef0123456789"
PLAIN = "No map: the model gave none for this part."


def judged(number: int, image: Image, verdict: Verdict = Verdict.NG, **change: Any) -> Any:
    """An inspection by a model without a map, whose defect score is 1."""
    score = np.array([0, 1, 0], np.float32)
    values = {"prediction": Prediction(score, None, 1), "image": image, "defect_score": 1.0}
    return inspection(number, verdict, **(values | change))


@pytest.fixture
def book(tmp_path: Path) -> Path:
    """i-1 NG; i-2 NG by another bundle; i-3 a FAULT; i-4 whose picture is of another part."""
    path = tmp_path / "line.journal"
    with JournalWriter(path, manifest(bundle_id=ID), "toy") as writer:
        writer.put(judged(1, part(3, 7, 2)))
        writer.put(judged(2, part(3, 7, 2), bundle_id="0123456789abcdef"))
        writer.put(inspection(3, Verdict.FAULT))
        writer.put(judged(4, part(3, 7, 1)))
    return path


def client(book: Path, predictor: Any) -> TestClient:
    occluder = Occluder(manifest(bundle_id=ID), lambda: predictor)
    return TestClient(create_app(book, "Ann", occluder=occluder))


def test_nothing_is_offered_without_a_bundle(book: Path) -> None:
    station = TestClient(create_app(book, "Ann"))
    for page in (station.get("/part/i-1").text, station.get("/part/i-1?occlusion=true").text):
        assert PLAIN in page
        assert "ccl" not in page and 'id="heat"' not in page
    assert station.get("/part/i-1/occlusion.png").status_code == 404


def test_a_map_is_drawn_when_asked_and_called_an_occlusion_map(book: Path) -> None:
    predictor = Seen((2 * CELL) ** 2)
    station = client(book, predictor)
    page = station.get("/part/i-1").text
    assert predictor.passes == 0  # nobody has asked
    assert PLAIN in page and 'id="heat"' not in page
    (asks,) = re.findall(r'href="([^"]+)" rel="nofollow">Draw an occlusion map<', page)
    page = station.get(asks).text
    assert '<label for="opacity">Occlusion map</label>' in page
    assert "Occlusion map: score lost where hidden." in page
    assert "Where the model looked" not in page and "fixed scale" not in page
    assert "<span>0</span>" in page and "<span>0.5</span>" in page  # of edge.occlusion.SCALE
    (file,) = re.findall(r'id="heat" class="heat" src="([^"]+)"', page)
    passes = predictor.passes
    answer = station.get(file)
    assert predictor.passes == passes == 1 + 1 + 13 * 13  # the picture is the page's own map
    heat = decode(answer.content)
    assert heat.shape == (SIDE, SIDE, 4)
    rows, columns = np.nonzero(heat[..., 3] > 200)
    assert {*rows // CELL} <= {2, 3, 4, 5} and {*columns // CELL} <= {6, 7, 8, 9}
    assert heat[4 * CELL, 8 * CELL, 3] == 255 and heat[-1, 0, 3] == 0


def test_a_map_that_shows_nothing_says_so(book: Path) -> None:
    page = client(book, Seen(1.0, lambda share: 1.0)).get("/part/i-1?occlusion=true").text
    assert "Occlusion map: hiding a place changes little." in page


def test_a_part_of_another_bundle_is_not_explained_by_this_one(book: Path) -> None:
    predictor = Seen((2 * CELL) ** 2)
    station = client(book, predictor)
    for page in (station.get("/part/i-2").text, station.get("/part/i-2?occlusion=true").text):
        assert f"bundle 0123456789abcdef judged this part, and the station has {ID}" in page
        assert "Draw an" not in page and 'id="heat"' not in page
    assert station.get("/part/i-2/occlusion.png").status_code == 404
    assert "Draw an" not in station.get("/part/i-3?occlusion=true").text  # nothing was measured
    assert station.get("/part/i-3/occlusion.png").status_code == 404
    assert predictor.passes == 0


def test_a_picture_that_was_not_judged_is_not_explained(book: Path) -> None:
    page = client(book, Seen((2 * CELL) ** 2)).get("/part/i-4?occlusion=true").text
    words = "the picture that was kept does not give the score that was measured"
    assert f"No occlusion map: {words}; expected 1.000; found 0.250" in page
    assert 'id="heat"' not in page and "Your decision" in page


def test_a_picture_that_is_gone(book: Path) -> None:
    station = client(book, Seen((2 * CELL) ** 2))
    for file in book.parent.rglob("*.png"):
        file.unlink()
    assert "Draw an" not in station.get("/part/i-1").text
    assert "No occlusion map: there is no picture" in station.get("/part/i-1?occlusion=true").text


def test_the_model_is_made_and_run_by_one_thread() -> None:
    threads = set()

    class Told(Seen):
        def predict(self, image: Image) -> Prediction:
            threads.add(threading.current_thread())
            return super().predict(image)

    def make() -> Told:
        threads.add(threading.current_thread())
        return Told((2 * CELL) ** 2)

    occluder = Occluder(manifest(bundle_id=ID), make)
    asking = [
        threading.Thread(target=occluder.level, args=(part(3, 7, 2), "scratch", 1.0))
        for _ in range(3)
    ]
    for thread in asking:
        thread.start()
    for thread in asking:
        thread.join(5)
    assert len(threads) == 1 and threading.current_thread() not in threads


def test_what_goes_wrong_in_the_other_thread_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> Seen:
        raise FaultError("no runtime")

    with pytest.raises(FaultError, match="no runtime"):
        Occluder(manifest(), broken)
    held = threading.Event()

    class Slow(Seen):
        def predict(self, image: Image) -> Prediction:
            held.wait(5)
            return super().predict(image)

    monkeypatch.setattr("edge.occlusion._PATIENCE_S", 0.05)
    occluder = Occluder(manifest(), lambda: Slow((2 * CELL) ** 2))
    with pytest.raises(FaultError, match="takes too long; expected within"):
        occluder.level(part(3, 7, 2), "scratch", 1.0)
    held.set()


def test_a_bundle_with_a_map_of_its_own_is_refused(tmp_path: Path) -> None:
    seal(tmp_path / "toy.tflite")
    with pytest.raises(UsageError, match=r"toy\.tflite: this bundle has a map of its own"):
        commands.occluder(tmp_path / "toy.tflite")
