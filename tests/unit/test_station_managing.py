"""People and tokens as an engineer manages them, and the file that holds them."""

from __future__ import annotations

import json
from datetime import datetime

import pytest
from starlette.testclient import TestClient
from station_journal import SAME
from station_people import PASSWORD, Browser, browser

from edge.station.app import create_app
from edge.station.people import People
from edge.station.peoplefile import people_file
from edge.station.sessions import Sessions
from qc.errors import DataError, FaultError, UsageError
from qc.journal import Journal


def kinds(people: People) -> list[str]:
    return [e.kind for e in people.journal.events() if e.kind != "person added"]


# an engineer


def test_an_engineer_manages_people_and_each_change_is_journaled(people: People) -> None:
    client = browser(people)
    client.log_in("Emil")
    add = {"do": "add", "name": "<b>Zoë</b>", "role": "reviewer", "password": PASSWORD}
    page = client.submit("/people", **add)
    assert page.status_code == 200 and "&lt;b&gt;Zoë&lt;/b&gt; was added" in page.text
    assert "<b>Zoë" not in client.get("/people").text
    assert client.submit("/people", **add).status_code == 422
    client.submit("/people", do="role", name="Rita", role="auditor")
    client.submit("/people", do="disable", name="Olga")
    client.submit("/people", do="password", name="Anna", password="a new password")
    for wrong in (
        {"do": "disable", "name": "emil"},
        {"do": "role", "name": "Emil", "role": "operator"},
        {"do": "role", "name": "Rita", "role": "admin"},
        {"do": "add", "name": "x" * 10_000, "role": "reviewer", "password": PASSWORD},
        {"do": "add", "name": "x", "role": "reviewer", "password": "short"},
        {"do": "add", "name": "x (token)", "role": "reviewer", "password": PASSWORD},
        {"do": "nothing"},
        {},
    ):
        assert client.submit("/people", **wrong).status_code == 422, wrong
    told = [e for e in people.journal.events() if e.detail.get("by") == "Emil"]
    assert [e.kind for e in told] == [
        "person added", "role changed", "person disabled", "password changed",
    ]  # fmt: skip
    assert PASSWORD not in json.dumps([e.detail for e in told])
    facts = {p.name: (p.role, p.disabled) for p in people.list()}
    assert facts["Rita"] == ("auditor", False) and facts["Olga"] == ("operator", True)


def test_ones_own_password(people: People) -> None:
    client, elsewhere = browser(people), browser(people)
    client.log_in("Rita")
    elsewhere.log_in("Rita")
    new = {"fresh": "a new password", "again": "a new password"}
    assert client.submit("/account", password="wrong", **new).status_code == 403
    assert client.submit("/account", password=PASSWORD, fresh="a", again="b").status_code == 422
    assert client.submit("/account", password=PASSWORD, fresh="a", again="a").status_code == 422
    assert client.submit("/account", password=PASSWORD, **new).status_code == 303
    assert client.get("/api/parts").status_code == 200
    assert elsewhere.get("/api/parts").status_code == 401
    assert elsewhere.log_in("Rita").status_code == 401


# programs


def make_token(client: Browser, role: str, name: str = "MES") -> str:
    page = client.submit("/people", do="token", name=name, role=role).text
    return page.split('class="secret">')[1].split("<")[0]


def test_a_token_does_what_its_role_may_until_it_is_revoked(people: People) -> None:
    client, program = browser(people), browser(people)
    client.log_in("Emil")
    secret = make_token(client, "reviewer")
    assert secret not in client.get("/people").text, "shown once"
    assert secret.encode() not in people.file.path.read_bytes()
    bearer = {"authorization": f"Bearer {secret}"}
    assert program.get("/api/parts", headers=bearer).status_code == 200
    for path in ("/people", "/trail.csv"):
        assert program.get(path, headers=bearer).status_code == 403, path
    for path in ("/account", "/logout"):
        assert program.post(path, data={"x": "y"}, headers=bearer).status_code == 403, path
    data = {"decision": "NG", "defect_class": "scratch"}
    assert program.post("/part/i-2", data=data, headers=bearer).status_code == 303
    (review,) = people.journal.reviews("i-2")
    assert (review.reviewer, review.role) == ("MES (token)", "reviewer")
    assert client.submit("/people", do="token", name="MES", role="auditor").status_code == 422
    assert client.submit("/people", do="token", name="x", role="engineer").status_code == 422
    client.submit("/people", do="revoke", n="1")
    assert program.get("/api/parts", headers=bearer).status_code == 401
    assert client.submit("/people", do="revoke", n="1").status_code == 422
    assert kinds(people)[-2:] == ["token made", "token revoked"]


# the file


def test_the_file_of_people_is_for_its_owner_alone(people: People) -> None:
    file = people_file(people.journal.path)
    assert file.stat().st_mode & 0o777 == 0o600
    data = file.read_bytes()
    assert PASSWORD.encode() not in data and b"$argon2id$" in data
    file.chmod(0o640)
    with pytest.raises(DataError, match=r"0600 .*found 0640"):
        People(people.journal.path)
    file.chmod(0o600)
    file.write_bytes(b"no database")
    with pytest.raises(FaultError, match="cannot be read"):
        People(people.journal.path)


def test_nobody_is_let_in_where_the_people_or_the_journal_are_gone(people: People) -> None:
    client = browser(people)
    client.log_in("Rita")
    csrf = client.csrf("/part/i-2")
    hidden = people.file.path.with_suffix(".away")
    people.file.path.rename(hidden)
    for path in ("/", "/api/parts", "/part/i-2/image.png"):
        assert client.get(path).status_code == 503, path
    assert "file of people cannot be read" in client.get("/").text
    assert not people.file.path.exists()
    hidden.rename(people.file.path)
    moved = people.journal.path.with_suffix(".away")
    people.journal.path.rename(moved)
    answer = client.post(
        "/part/i-2",
        data={"csrf": csrf, "decision": "NG", "defect_class": "scratch"},
        headers=SAME,
    )
    assert answer.status_code == 503 and "NOT saved" in answer.text
    stranger = browser_of(people)
    assert stranger.log_in("Rita").status_code == 503, "a login that cannot be journaled is none"
    moved.rename(people.journal.path)
    assert client.get("/").status_code == 200
    assert Journal(people.journal.path).reviews("i-2") == []


def browser_of(people: People) -> Browser:
    """A second browser of a station that runs already, while its journal is away."""
    away = people.journal.path.with_suffix(".away")
    away.rename(people.journal.path)
    client = browser(people)
    people.journal.path.rename(away)
    return client


def test_one_alone_or_people_but_not_both(people: People) -> None:
    for options in ({}, {"reviewer": "Ann", "people": people}):
        with pytest.raises(UsageError, match="either one person"):
            create_app(people.journal.path, **options)  # type: ignore[arg-type]
    client = TestClient(create_app(people.journal.path, "Ann"))
    assert client.get("/api/parts").status_code == 200
    assert client.get("/login").status_code == client.get("/people").status_code == 404


def test_secrets_are_long_and_never_the_same(people: People) -> None:
    sessions = Sessions(people)
    found = {sessions.begin("Rita", "a") for _ in range(50)}
    assert len(found) == 50 and min(map(len, found)) >= 43
    assert isinstance(people.list()[0].made_at, datetime)
