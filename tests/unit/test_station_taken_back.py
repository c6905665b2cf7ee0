"""A decision that was taken back counts as none, wherever decisions are counted or shown."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient
from unit.station_journal import SAME, copy_of, post, token, write_four

from edge.comparing import Comparer, Opinion
from edge.station.app import create_app
from qc.errors import StaleError
from qc.journal import Filter, Journal
from qc.types import Review, Verdict
from training.datasets import load_samples


def comparer() -> Comparer:
    says = [lambda _, v=v: Opinion(v, "scratch", 0.5) for v in (Verdict.OK, Verdict.NG)]
    return Comparer(("a", "b"), lambda: (says[0], says[1]))


def client_of(path: Path, name: str = "Ann", second: float = 0.0) -> TestClient:
    return TestClient(create_app(path, name, second=second, comparer=comparer()))


def places(path: Path) -> dict[str, Callable[[], Any]]:
    """Every place that counts decisions, and what it says."""
    client, book = client_of(path), Journal(path)

    def json(address: str) -> Any:
        return client.get(address).json()

    def ids(address: str) -> list[str]:
        return [part["inspection_id"] for part in json(address)["parts"]]

    def archive() -> list[str]:
        return zipfile.ZipFile(io.BytesIO(client.get("/reviewed.zip").content)).namelist()

    def samples() -> int:
        return len(load_samples(path, "reviewed")[0]) if book.count(reviewed=True) else 0

    return {
        "agreement": lambda: json("/api/v1/agreement"),
        "agreement page": lambda: client.get("/agreement.csv").text,
        "estimates": lambda: json("/api/v1/charts/estimates"),
        "compare": lambda: client.get("/compare.csv").text,
        "second look": lambda: client_of(path, "Ben", 1.0).get("/").text.count("second look"),
        "waiting": lambda: json("/api/parts?show=waiting")["total"],
        "reviewed": lambda: ids("/api/parts?show=reviewed"),
        "any": lambda: ids("/api/v1/parts?decision=any"),
        "none": lambda: ids("/api/v1/parts?decision=none"),
        "OK": lambda: ids("/api/v1/parts?decision=OK"),
        "of Ann": lambda: ids("/api/v1/parts?reviewer=Ann"),
        "how many": lambda: json("/api/v1/parts/i-2")["n_decided"],
        "queue": lambda: 'class="seen"' in client.get("/?show=all").text,
        "gallery": lambda: 'class="seen"' in client.get("/gallery").text,
        "data set": archive,
        "training": samples,
        "journal": lambda: (book.count(reviewed=True), len(book.query(Filter(reviewed=False)))),
    }


def test_it_counts_nowhere(tmp_path: Path) -> None:
    path = write_four(tmp_path)
    walk = places(path)
    client = client_of(path)
    fresh = {name: told() for name, told in walk.items()}
    assert post(client, "i-2", decision="OK", note="shadow").status_code == 200
    decided = {name: told() for name, told in walk.items()}
    assert client.post("/part/i-2/undo", data={"csrf": token(client)}, headers=SAME).is_success
    back = {name: told() for name, told in walk.items()}
    unmoved = [name for name in walk if decided[name] == fresh[name]]
    assert unmoved == [], "each place saw the decision, so it could see it still"
    assert {name for name in walk if back[name] != fresh[name]} == set()
    assert [r["taken_back"] for r in client.get("/api/v1/parts/i-2").json()["reviews"]] == [
        False,
        True,
    ]
    assert "taken back" in client.get("/trail").text


def test_one_persons_decision_stands_when_anothers_is_taken_back(tmp_path: Path) -> None:
    path = copy_of(write_four(tmp_path), tmp_path)
    book, client = Journal(path), client_of(path)
    for name, decision in (("Ben", "NG"), ("Ann", "OK"), ("ann", "REVIEW")):
        book.add_review(Review("i-2", name, Verdict(decision)))
    assert client.get("/api/v1/parts?reviewer=Ann").json()["parts"] == []
    (found,) = client.get("/api/v1/parts?reviewer=Ben&decision=NG").json()["parts"]
    assert (found["n_reviews"], found["n_decided"]) == (3, 1)
    assert client.get("/api/v1/agreement").json()["twice"] == 0
    with pytest.raises(StaleError, match="ann took a decision on this part back meanwhile"):
        book.add_review(Review("i-2", "Ben", Verdict.OK), seen=2)
