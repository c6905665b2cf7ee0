"""The rest of the station as JSON: trail, people, masks, comparison, and the notice of research."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from starlette.testclient import TestClient
from unit.station_journal import SAME, copy_of, decode, token, write_four
from unit.station_people import Clock, browser, make_people

from edge.comparing import Comparer, Opinion
from edge.station.app import create_app
from edge.station.research import HEADER, NOTICE
from qc.journal import Journal
from qc.types import Review, Verdict


@pytest.fixture(scope="module")
def four(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = write_four(tmp_path_factory.mktemp("four"))
    for part, note in (("i-2", "deep"), ("i-3", "")):
        Journal(path).add_review(Review(part, "Ben", Verdict.NG, "scratch", note))
    return path


def test_the_trail(four: Path) -> None:
    client = TestClient(create_app(four, "Ann"))
    found = client.get("/api/v1/trail?limit=1").json()
    (row,) = found["rows"]
    assert (row["inspection_id"], row["before"], row["decision"]) == ("i-3", "REVIEW", "NG")
    assert len(row["hash"]) == 64 and found["older"] == row["seq"]
    (older,) = client.get(f"/api/v1/trail?limit=1&before={found['older']}").json()["rows"]
    assert (older["inspection_id"], older["note"]) == ("i-2", "deep")
    events = client.get("/api/v1/trail?kind=events").json()["rows"]
    assert [e["kind"] for e in events] == [e.kind for e in Journal(four).events()][::-1]


def test_the_trail_tells_nothing_before_a_second_look(four: Path) -> None:
    client = TestClient(create_app(four, "Ann", second=1.0))
    answer = client.get("/api/v1/trail")
    assert "deep" not in answer.text and "scratch" not in answer.text
    row = answer.json()["rows"][0]
    assert row["hidden"] and row["decision"] is row["before"] is None
    assert client.get("/api/v1/parts/i-2/masks").json() == {"masks": []}


def test_the_people_are_an_engineers_to_see_without_hashes(four: Path, tmp_path: Path) -> None:
    people = make_people(copy_of(four, tmp_path), Clock())
    client = browser(people)
    client.log_in("Emil")
    client.submit("/people", do="token", name="MES", role="auditor")
    answer = client.get("/api/v1/people")
    told = answer.json()
    assert {p["name"]: p["role"] for p in told["people"]}["Rita"] == "reviewer"
    assert set(told["people"][0]) == {"name", "role", "language", "disabled", "made_at"}
    assert told["tokens"][0] == told["tokens"][0] | {"label": "MES", "made_by": "Emil", "n": 1}
    assert "argon2" not in answer.text and "hash" not in answer.text
    for name in ("Rita", "Anna", "Olga"):
        other = browser(people)
        other.log_in(name)
        assert other.get("/api/v1/people").status_code == 403, name
    alone = TestClient(create_app(four, "Ann")).get("/api/v1/people").json()
    assert alone == {"login": False, "people": [], "tokens": []}


def test_a_program_reads_masks_and_decides_with_one(four: Path, tmp_path: Path) -> None:
    path = copy_of(four, tmp_path)
    client = TestClient(create_app(path, "Ann"))
    headers = {**SAME, "x-csrf-token": token(client)}
    drawn = np.zeros((6, 8), np.uint8)
    drawn[2:4, 3:6] = 255
    sent = client.post(
        "/part/i-2/mask", content=cv2.imencode(".png", drawn)[1].tobytes(), headers=headers
    )
    digest = sent.json()["mask"]
    review = {"decision": "NG", "defect_class": "scratch", "mask_sha256": digest}
    address = "/api/v1/parts/i-2/reviews"
    for wrong in (review | {"mask_sha256": "0" * 64}, {"decision": "OK", "mask_sha256": digest}):
        assert client.post(address, json=wrong, headers=headers).status_code == 422
    assert client.get("/api/v1/parts/i-2/masks").json() == {"masks": []}
    assert client.post(address, json=review, headers=headers).status_code == 201
    (found,) = client.get("/api/v1/parts/i-2/masks").json()["masks"]
    assert (found["mask_sha256"], found["reviewer"], found["in_force"]) == (digest, "Ann", True)
    picture = client.get(found["href"])
    assert picture.headers["content-type"] == "image/png"
    assert np.array_equal(decode(picture.content)[..., 3], drawn)
    assert client.get(f"/api/v1/parts/i-2/masks/{'0' * 64}").status_code == 404
    assert client.get("/api/v1/parts/i-2/masks/x").status_code == 422
    client.post("/part/i-2/undo", data={"csrf": headers["x-csrf-token"]}, headers=SAME)
    (found,) = client.get("/api/v1/parts/i-2/masks").json()["masks"]
    assert not found["in_force"]


def test_the_comparison(four: Path) -> None:
    says = (lambda _: Opinion(Verdict.NG, "scratch", 0.9), lambda _: Opinion(Verdict.OK, None, 0.1))
    client = TestClient(create_app(four, "Ann", comparer=Comparer(("a", "b"), lambda: says)))
    found = client.get("/api/v1/compare").json()
    assert (found["names"], found["n"], found["table"]) == (["a", "b"], 2, [0, 2, 0, 0])
    assert [flip["inspection_id"] for flip in found["flips"]] == ["i-3", "i-2"]
    assert TestClient(create_app(four, "Ann")).get("/api/v1/compare").status_code == 404


ANSWERS = (
    *("/api/parts", "/api/parts/i-2", "/api/v1/counts", "/api/v1/parts", "/api/v1/parts/i-2"),
    *("/api/v1/trail", "/api/v1/people", "/api/v1/agreement", "/api/v1/charts/pareto"),
    *("/api/v1/parts/i-2/masks", "/api/v1/parts/nobody", "/api/v1/openapi.json", "/health"),
)


def test_research_says_what_it_is_not_for_in_every_answer(four: Path, tmp_path: Path) -> None:
    path = copy_of(four, tmp_path)
    client, plain = TestClient(create_app(path, "Ann", research=True)), create_app(four, "Ann")
    for address in ANSWERS:
        answer = client.get(address)
        assert (answer.headers[HEADER], answer.json()["notice"]) == (NOTICE, NOTICE), address
        bare = TestClient(plain).get(address)
        assert HEADER not in bare.headers and "notice" not in bare.json(), address
    for address in ("/", "/part/i-2/heat.png", "/charts/pareto.csv", "/nothing"):
        assert client.get(address).headers[HEADER] == NOTICE, address
