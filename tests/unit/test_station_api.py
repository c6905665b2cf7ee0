"""The station as JSON: the same facts as its pages, documented, and never a 5xx for any request."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from starlette.testclient import TestClient
from unit.station_journal import SAME, copy_of, write_four

from edge.station.app import create_app
from qc.journal import Journal
from qc.types import Review, Verdict


@pytest.fixture(scope="module")
def four(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = write_four(tmp_path_factory.mktemp("four"))
    Journal(path).add_review(Review("i-2", "Ben", Verdict.NG, "scratch"))
    return path


@pytest.fixture
def client(four: Path) -> Iterator[TestClient]:
    with TestClient(create_app(four, "Ann")) as found:
        yield found


def token(client: TestClient) -> str:
    found = re.search(r'name="csrf" value="([^"]+)"', client.get("/gallery").text)
    assert found
    return found[1]


def test_the_counts_add_up(client: TestClient) -> None:
    found = client.get("/api/v1/counts").json()
    assert found["captured"] == 5 and found["holds"]
    assert found["dropped_by_cause"] == {"queue full": 1}


def test_one_goes_through_all_parts_by_their_cursor(client: TestClient) -> None:
    names, address = [], "/api/v1/parts?limit=3"
    while True:
        found = client.get(address).json()
        names += [part["inspection_id"] for part in found["parts"]]
        if found["older"] is None:
            break
        address = f"/api/v1/parts?limit=3&after={found['older']}"
    assert names == ["i-4", "i-3", "i-2", "i-1"]
    assert [p["inspection_id"] for p in client.get("/api/v1/parts?verdict=NG").json()["parts"]] == [
        "i-2"
    ]


def test_one_part_with_its_reviews(client: TestClient) -> None:
    found = client.get("/api/v1/parts/i-2").json()
    assert found["verdict"] == "NG" and found["reviews"][0]["reviewer"] == "Ben"
    missing = client.get("/api/v1/parts/nobody")
    assert missing.status_code == 404 and "no such inspection" in missing.json()["error"]["message"]


def test_the_charts_and_the_agreement(client: TestClient) -> None:
    assert client.get("/api/v1/charts/pareto").json()["rows"][0]["name"] == "scratch"
    control = client.get("/api/v1/charts/control?by=lot").json()
    assert control["centre"] == pytest.approx(1 / 3) and control["rows"][0]["n"] == 3
    assert client.get("/api/v1/charts/nothing").status_code == 422
    assert client.get("/api/v1/agreement").json()["parts"] == 1


def test_a_review_by_program(four: Path, tmp_path: Path) -> None:
    path = copy_of(four, tmp_path)
    client = TestClient(create_app(path, "Ann"))
    address, headers = "/api/v1/parts/i-3/reviews", {**SAME, "x-csrf-token": token(client)}
    review = {"decision": "NG", "defect_class": "dent", "note": " by hand ", "seen": 0}
    made = client.post(address, json=review, headers=headers)
    assert made.status_code == 201, made.text
    (found,) = Journal(path).reviews("i-3")
    assert (found.reviewer, found.decision, found.defect_class) == ("Ann", Verdict.NG, "dent")
    assert found.note == "by hand" and found.before is Verdict.REVIEW
    assert made.json()["n_reviews"] == 1
    assert client.post(address, json=review, headers=headers).status_code == 409
    for wrong in (
        {"decision": "REVIEW"},
        {"decision": "OK", "defect_class": "dent"},
        {"decision": "NG", "defect_class": "unheard of"},
        {"decision": "NG", "note": "x" * 10_000},
        {"decision": "NG", "more": 1},
    ):
        assert client.post(address, json=wrong, headers=headers).status_code == 422
    assert client.post(address, json=review, headers=SAME).status_code == 403
    other = {**headers, "origin": "http://evil"}
    assert client.post(address, json=review, headers=other).status_code == 403
    nobody = client.post("/api/v1/parts/nobody/reviews", json=review, headers=headers)
    assert nobody.status_code == 404
    assert len(Journal(path).reviews("i-3")) == 1


def test_the_page_lists_every_route_of_the_document(client: TestClient) -> None:
    told = client.get("/api/v1/openapi.json").json()
    assert told["openapi"].startswith("3.") and len(told["paths"]) == 11
    text = client.get("/api").text
    for path in told["paths"]:
        assert path in text
    assert "http://" not in text and "https://" not in text


def test_no_request_that_the_document_allows_or_forbids_fails(four: Path, tmp_path: Path) -> None:
    """Made-up requests, good and bad, to each route: no 5xx, and answers as documented."""
    app = create_app(copy_of(four, tmp_path), "Ann")
    client = TestClient(app)
    headers = {**SAME, "x-csrf-token": token(client)}
    schema = schemathesis.openapi.from_asgi("/api/v1/openapi.json", app)
    seen: set[str] = set()
    for operation in schema.get_all_operations():
        one = operation.ok()
        seen.add(f"{one.method} {one.path}")

        @settings(
            max_examples=20,
            deadline=None,
            derandomize=True,
            database=None,
            phases=[Phase.explicit, Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=one.as_strategy())
        def ask(case: schemathesis.Case) -> None:
            answer = case.call(headers=headers)
            assert answer.status_code < 500, (case.formatted_path, answer.text)
            assert answer.status_code != 401

        ask()
    assert len(seen) == 11
