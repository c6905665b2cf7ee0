"""Who is let in to the station, for how long, and what each role may do there."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator

import pytest
from fastapi.routing import APIRoute
from starlette.testclient import TestClient
from station_journal import SAME
from station_people import PASSWORD, QUICK, ROLES, Clock, browser

from edge.station.people import People
from qc.journal_verify import verify_journal

OPEN = {("GET", "/login"), ("POST", "/login"), ("GET", "/health")}


def routes(client: TestClient) -> Iterator[tuple[str, str]]:
    """Method and path of every route; ids are filled in."""
    found = 0
    waiting = list(client.app.routes)  # type: ignore[attr-defined]
    while waiting:
        route = waiting.pop()
        inside = getattr(getattr(route, "original_router", None), "routes", None)
        waiting += inside or []
        if isinstance(route, APIRoute):
            path = route.path.replace("{inspection_id}", "i-2")
            for method in sorted(route.methods - {"HEAD"}):
                found += 1
                yield method, path
    assert found > 15, "the walk found too few routes"


def kinds(people: People) -> list[str]:
    return [e.kind for e in people.journal.events() if e.kind != "person added"]


# strangers


def test_a_stranger_is_refused_everywhere_but_at_the_door(people: People) -> None:
    client = browser(people)
    before = people.journal.sizes()
    for method, path in routes(client):
        if (method, path) in OPEN:
            continue
        answer = client.request(method, path, headers=SAME)
        assert answer.status_code == 401, f"{method} {path}"
        assert answer.headers["www-authenticate"] == "Bearer"
        assert "P-2" not in answer.text and "scratch" not in answer.text
        answer = client.get(path, headers={"accept": "text/html"})
        assert answer.status_code == 303 and answer.headers["location"].startswith("/login?next=")
    for path in ("/nothing", "/docs", "/openapi.json", "/static/../trail", "/login/../trail"):
        assert client.get(path).status_code in (401, 404), path
    assert people.journal.sizes() == before
    assert client.get("/static/station.css").status_code == 200
    assert client.get("/health").json() == {"state": "ok"}


def test_a_forged_or_foreign_secret_is_no_login(people: People) -> None:
    client = browser(people)
    client.log_in("Rita")
    (name,) = [n for n in client.cookies if n.startswith("qc_")]
    stolen = sqlite3.connect(people.file.path)
    (digest,) = stolen.execute("SELECT hash FROM sessions").fetchone()
    stolen.close()
    for value in ("", "x", digest.hex(), "x" * 10_000):
        stranger = browser(people)
        stranger.cookies.set(name, value)
        assert stranger.get("/api/parts").status_code == 401
    for header in ("Bearer", "Bearer ", "Bearer x", "Basic eA==", f"Bearer {digest.hex()}"):
        answer = browser(people).get("/api/parts", headers={"authorization": header})
        assert answer.status_code == 401


# logging in


def test_log_in_and_out(people: People) -> None:
    client = browser(people)
    assert client.log_in("Rita", next="/part/i-2?x=1").headers["location"] == "/part/i-2?x=1"
    page = client.get("/").text
    assert "Rita" in page and "reviewer" in page
    assert client.get("/login").headers["location"] == "/"
    cookies = dict(client.cookies)
    answer = client.submit("/logout", "/account")
    assert answer.headers["location"] == "/login"
    assert answer.headers["clear-site-data"] == '"cache"'
    client.cookies.update(cookies)  # the browser's copy is worth nothing any more
    assert client.get("/api/parts").status_code == 401
    assert kinds(people) == ["login", "logout"]
    assert people.journal.events("login")[0].detail == {"name": "Rita", "address": "testclient"}
    assert verify_journal(people.journal.path).ok


@pytest.mark.parametrize("tls", [False, True])
def test_the_flags_of_the_cookie(people: People, tls: bool) -> None:
    client = browser(people, tls=tls)
    answers = [client.get("/login"), client.log_in("Rita")]
    for answer in answers:
        for cookie in answer.headers.get_list("set-cookie"):
            flags = {part.strip().lower() for part in cookie.split(";")[1:]}
            assert {"httponly", "samesite=strict", "path=/"} <= flags, cookie
            assert ("secure" in flags) == tls and cookie.startswith("__Host-") == tls
            assert not any(flag.startswith("domain") for flag in flags)
    assert client.get("/api/parts").status_code == 200
    assert client.get("/").headers["cache-control"] == "no-store"


def test_each_login_has_a_new_secret_and_ends_the_old_session(people: People) -> None:
    client = browser(people)
    client.log_in("Rita")
    first = dict(client.cookies)
    early = browser(people)
    csrf = early.csrf("/login")
    client.cookies.update(dict(early.cookies))
    fields = {"csrf": csrf, "name": "Rita", "password": PASSWORD}
    assert client.post("/login", data=fields, headers=SAME).status_code == 303
    assert dict(client.cookies) != first
    old = browser(people)
    old.cookies.update(first)
    assert old.get("/api/parts").status_code == 401
    assert client.get("/api/parts").status_code == 200


def test_neither_words_nor_hashes_tell_who_exists(
    people: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashes: list[str] = []
    verify = type(QUICK).verify

    def counted(self: object, digest: str, password: str) -> bool:
        hashes.append(digest)
        return verify(QUICK, digest, password)

    monkeypatch.setattr(type(QUICK), "verify", counted)
    people.disable("Olga", by="test")
    pages = []
    for name, password in (("Rita", "wrong"), ("nobody", "wrong"), ("Olga", PASSWORD)):
        answer = browser(people).log_in(name, password)
        assert answer.status_code == 401
        pages.append(answer.text.replace(name, ""))
    assert pages[0].count("The name or the password is wrong.") == 1 and len(hashes) == 3
    strip = [json.dumps(page.split('name="csrf"')[0]) for page in pages]
    assert strip[0] == strip[1] == strip[2]
    failed = people.journal.events("login failed")
    assert [e.detail["name"] for e in failed] == ["Rita", None, "Olga"]  # no typed name is kept


@pytest.mark.parametrize(
    "next_", ["//evil.example", "https://evil.example", "/\\evil.example", "evil", "/\n/evil", ""]
)
def test_the_login_leads_nowhere_else(people: People, next_: str) -> None:
    assert browser(people).log_in("Rita", next=next_).headers["location"] == "/"


def test_a_login_form_needs_its_own_token(people: People) -> None:
    client, other = browser(people), browser(people)
    fields = {"name": "Rita", "password": PASSWORD, "csrf": other.csrf("/login")}
    assert client.post("/login", data=fields, headers=SAME).status_code == 403
    client.get("/login")
    assert client.post("/login", data=fields, headers=SAME).status_code == 403
    foreign = {"origin": "http://evil.example"}
    fields["csrf"] = client.csrf("/login")
    assert client.post("/login", data=fields, headers=foreign).status_code == 403


# how long


def test_a_session_ends_when_it_is_not_used(people: People, clock: Clock) -> None:
    client = browser(people)
    client.log_in("Rita")
    for _ in range(4):
        clock.pass_(minutes=29)
        assert client.get("/api/parts").status_code == 200
    clock.pass_(minutes=30)
    assert client.get("/api/parts").status_code == 401
    clock.pass_(minutes=-30)
    assert client.get("/api/parts").status_code == 401, "it is gone, not only hidden"


def test_a_session_ends_with_the_shift_however_busy(people: People, clock: Clock) -> None:
    client = browser(people)
    client.log_in("Rita")
    for _ in range(12 * 3 - 1):
        clock.pass_(minutes=20)
        assert client.get("/api/parts").status_code == 200
    clock.pass_(minutes=20)
    assert client.get("/api/parts").status_code == 401


def test_what_a_person_loses_is_lost_at_once(people: People) -> None:
    client = browser(people)
    client.log_in("Rita")
    people.change_role("Rita", "auditor", by="test")
    assert client.post("/part/i-2", headers=SAME).status_code == 403
    people.disable("Rita", by="test")
    assert client.get("/api/parts").status_code == 401
    people.disable("Rita", disabled=False, by="test")
    assert client.get("/api/parts").status_code == 401
    client.log_in("Rita")
    people.change_password("Rita", "another password", by="test")
    assert client.get("/api/parts").status_code == 401
    assert client.log_in("Rita", "another password").status_code == 303


# guessing


def test_guessing_locks_the_name_longer_each_time(people: People, clock: Clock) -> None:
    client = browser(people)
    for _ in range(4):
        assert client.log_in("Rita", "wrong").status_code == 401
    assert client.log_in("rita ", "wrong").status_code == 401
    for wait in (15, 30, 60):
        answer = client.log_in("Rita")  # the right one, too early
        assert answer.status_code == 429 and "Too many wrong tries" in answer.text
        clock.pass_(seconds=wait - 1)
        assert client.log_in("Rita").status_code == 429
        clock.pass_(seconds=1)
        assert client.log_in("Rita", "wrong").status_code == 401
    clock.pass_(minutes=15)
    assert client.log_in("Rita").status_code == 303
    assert browser(people).log_in("Rita", "wrong").status_code == 401, "it begins anew"
    assert kinds(people).count("locked out") == 4
    assert people.journal.events("locked out")[0].detail["locked"] == ["name"]


def test_names_that_nobody_has_are_locked_alike(people: People) -> None:
    client = browser(people)
    answers = [client.log_in("nobody", "wrong").status_code for _ in range(6)]
    assert answers == [401] * 5 + [429]
    assert client.log_in("Rita").status_code == 303, "another name from there is not"


def test_guessing_many_names_locks_the_address(people: People, clock: Clock) -> None:
    client = browser(people)
    for n in range(50):
        assert client.log_in(f"name {n}", "wrong").status_code == 401
    assert client.log_in("Rita").status_code == 429
    restarted = browser(People(people.journal.path, hasher=QUICK, now=clock))
    assert restarted.log_in("Rita").status_code == 429, "a restart forgets nothing"
    clock.pass_(hours=1, seconds=1)
    assert client.log_in("Rita").status_code == 303


def test_a_new_password_on_the_terminal_ends_a_lock_out(people: People) -> None:
    client = browser(people)
    for _ in range(5):
        client.log_in("Rita", "wrong")
    assert client.log_in("Rita").status_code == 429
    people.change_password("Rita", PASSWORD, by="terminal")
    assert client.log_in("Rita").status_code == 303


# roles


FORBIDDEN = {
    "Olga": {"/people", "/trail.csv", "/second", "/reviewed.zip"},
    "Rita": {"/people", "/trail.csv", "/reviewed.zip"},
    "Emil": set(),
    "Anna": {"/people", "/second"},
}


@pytest.mark.parametrize("name", ROLES)
def test_each_role_sees_its_pages_and_no_other(people: People, name: str) -> None:
    client = browser(people)
    client.log_in(name)
    seen = {path for method, path in routes(client) if method == "GET"}
    assert seen >= {"/people", "/trail", "/trail.csv", "/account", "/second", "/"}
    for path in ("/", "/part/i-2", "/trail", "/account", "/api/parts", *FORBIDDEN["Olga"]):
        expected = 403 if path in FORBIDDEN[name] else None
        status = client.get(path).status_code
        assert status == expected if expected else status < 400, (path, status)


@pytest.mark.parametrize("name", ["Olga", "Anna"])
def test_who_may_not_review_changes_nothing(people: People, name: str) -> None:
    client = browser(people)
    client.log_in(name)
    before = people.journal.sizes()["reviews"]
    csrf = client.csrf("/account")
    for method, path in routes(client):
        if method == "GET" or path in ("/login", "/logout", "/account", "/language", "/trail"):
            continue
        data = {"csrf": csrf, "decision": "NG", "defect_class": "scratch", "do": "add"}
        headers = SAME | {"x-csrf-token": csrf}
        answer = client.request(method, path, data=data, headers=headers)
        assert answer.status_code == 403, f"{method} {path}"
    assert people.journal.sizes()["reviews"] == before


def test_every_form_needs_the_token_of_the_session(people: People) -> None:
    client, other = browser(people), browser(people)
    client.log_in("Emil")
    other.log_in("Emil")
    before = people.journal.sizes()
    forms = {path for method, path in routes(client) if method == "POST"} - {"/login"}
    assert forms >= {"/logout", "/account", "/people", "/trail", "/part/i-2"}
    for path in sorted(forms):
        for csrf in ("", "wrong", other.csrf("/account")):
            data = {"csrf": csrf, "decision": "OK", "note": "x", "do": "disable", "name": "Rita"}
            if path.startswith("/api/"):
                headers = SAME | {"x-csrf-token": csrf}
                answer = client.post(path, json={"decision": "OK", "note": "x"}, headers=headers)
            else:
                answer = client.post(path, data=data, headers=SAME)
            assert answer.status_code == 403, (path, answer.status_code)
        good = {"csrf": client.csrf("/account")}
        answer = client.post(path, data=good, headers={"origin": "http://evil.example"})
        assert answer.status_code == 403, path
    assert people.journal.sizes() == before
    assert client.get("/api/parts").status_code == 200, "still logged in"
