"""The page that compares two bundles over the reviewed parts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from starlette.testclient import TestClient
from unit.station_journal import copy_of, fill, inspection
from unit.toy_line import FirstPixel, seal
from unit.toy_line import picture as toy_picture

from edge import comparing_commands
from edge.comparing import Comparer, Judge, Opinion
from edge.station.app import create_app
from qc.errors import FaultError, QCError
from qc.journal import Journal
from qc.types import Image, Review, Verdict


def shade(n: int) -> Image:
    return np.full((8, 8, 3), 10 * n, np.uint8)


def by_shade(*verdicts: str) -> Judge:
    """Says of the picture of shade n the n-th verdict."""

    def judge(image: Image) -> Opinion:
        word = verdicts[int(image.mean()) // 10]
        return Opinion(Verdict(word), "scratch", 0.9 if word == "NG" else 0.1)

    return judge


DECIDED = ("NG", "NG", "OK", "OK", "OK", "NG")
A = by_shade("NG", "OK", "OK", "NG", "OK", "REVIEW")
B = by_shade("NG", "NG", "OK", "OK", "NG", "OK")
"""Both right: 0, 2. Only A: 4. Only B: 1, 3. Neither: 5, where they differ too."""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    parts = [inspection(n, Verdict.NG, image=shade(n)) for n in range(6)]
    parts += [inspection(6, Verdict.NG, image=None), inspection(7, Verdict.NG, image=shade(7))]
    path = fill(tmp_path_factory.mktemp("made") / "line.journal", parts)
    for n, decision in enumerate((*DECIDED, "NG")):  # part 6 has no picture, part 7 no review
        Journal(path).add_review(Review(f"i-{n}", "Ann", Verdict(decision)))
    return path


def client_of(path: Path) -> TestClient:
    return TestClient(
        create_app(path, "Ann", comparer=Comparer(("a.tflite", "b.tflite"), lambda: (A, B)))
    )


def test_the_flips_are_shown_with_who_was_right(made: Path) -> None:
    client = client_of(made)
    text = client.get("/compare").text
    assert "6 reviewed parts with a picture; 1 could not be judged" in text
    assert "<td>2</td><td>1</td><td>2</td><td>1</td>" in text
    # three pairs differ in being right: 2 * (1 + 3) / 8
    assert "p = 1<" in text
    assert [n for n in range(8) if f'href="/part/i-{n}"' in text] == [1, 3, 4, 5]
    rows = client.get("/compare.csv").text.splitlines()
    assert rows[0].startswith("inspection_id,decision,a_verdict")
    assert rows[1] == "i-5,NG,REVIEW,scratch,0.1,False,OK,scratch,0.1,False"


def test_judging_goes_on_where_it_stopped(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from edge.station import compare

    monkeypatch.setattr(compare, "BUDGET_S", -1.0)
    client = client_of(made)
    assert "7 are not judged yet" in client.get("/compare").text
    monkeypatch.setattr(compare, "BUDGET_S", 3.0)
    assert "not judged yet" not in client.get("/compare").text


def test_a_part_that_cannot_be_judged_is_counted(made: Path, tmp_path: Path) -> None:
    def broken(image: Image) -> Opinion:
        raise FaultError("the model failed")

    comparer = Comparer(("a", "b"), lambda: (A, broken))
    client = TestClient(create_app(copy_of(made, tmp_path), "Ann", comparer=comparer))
    text = client.get("/compare").text
    assert "0 reviewed parts with a picture; 7 could not be judged" in text
    assert "They never differ" in text


def test_without_two_bundles_the_page_says_how(made: Path) -> None:
    client = TestClient(create_app(made, "Ann"))
    assert "--compare A.tflite B.tflite" in client.get("/compare").text
    assert client.get("/compare.csv").status_code == 404
    for page in ("/", "/gallery", "/trail", "/charts"):
        assert 'href="/compare"' not in client.get(page).text, page
        assert 'href="/compare"' in client_of(made).get(page).text, page


def test_two_bundles_judge_as_the_line_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Runs(FirstPixel):
        def __init__(self, bundle: object) -> None:
            super().__init__()

    monkeypatch.setattr(comparing_commands, "LiteRTPredictor", Runs)
    first = seal(tmp_path / "a.tflite")
    seal(tmp_path / "b.tflite")
    made = comparing_commands.comparer(tmp_path / "a.tflite", tmp_path / "b.tflite")
    assert made.names[0] == f"a.tflite ({first.manifest.bundle_id[:8]})"
    said = made.judge(toy_picture(255))
    assert [opinion.verdict for opinion in said] == [Verdict.NG, Verdict.NG]
    assert made.judge(toy_picture(0))[1].verdict is Verdict.OK

    class Drifted(Runs):
        def predict(self, image: Image):  # type: ignore[no-untyped-def]
            return super().predict(255 - image)

    monkeypatch.setattr(comparing_commands, "LiteRTPredictor", Drifted)
    with pytest.raises(QCError, match="replay"):
        comparing_commands.comparer(tmp_path / "a.tflite", tmp_path / "b.tflite")
