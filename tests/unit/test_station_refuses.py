"""The review station over a real journal: what it refuses, and how it says so."""

from __future__ import annotations

import re
import sqlite3
from pathlib import Path

import pytest
from starlette.testclient import TestClient
from station_journal import SAME, copy_of, fill, inspection, picture, post, token, write_four

from edge.station.app import create_app
from qc.imageio import write_png
from qc.journal import Journal
from qc.types import Review, Verdict


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_four(tmp_path_factory.mktemp("written"))


@pytest.fixture
def path(written: Path, tmp_path: Path) -> Path:
    return copy_of(written, tmp_path)


@pytest.fixture
def client(path: Path) -> TestClient:
    return TestClient(create_app(path, "Ann"), follow_redirects=False)


@pytest.mark.parametrize("csrf", ["", "wrong", "é", None])
def test_wrong_token_is_refused_and_the_words_are_kept(
    client: TestClient, path: Path, csrf: str | None
) -> None:
    answer = post(client, csrf=csrf, note="my words")
    assert answer.status_code == 403
    assert "NOT saved" in answer.text and "my words" in answer.text
    assert Journal(path).reviews("i-2") == []


def test_each_start_has_its_own_token(path: Path) -> None:
    assert token(TestClient(create_app(path, "Ann"))) != token(TestClient(create_app(path, "Ann")))


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "http://testserver:81"},
        {"referer": "http://evil.example/testserver"},
        {"origin": "http://testserver", "sec-fetch-site": "cross-site"},
    ],
)
def test_form_from_another_site_is_refused(
    client: TestClient, path: Path, headers: dict[str, str]
) -> None:
    data = {"decision": "OK", "csrf": token(client)}
    assert client.post("/part/i-2", data=data, headers=headers).status_code == 403
    assert Journal(path).reviews("i-2") == []


def test_a_journal_that_is_gone_says_not_saved(client: TestClient, path: Path) -> None:
    csrf = token(client)
    path.unlink()
    data = {"decision": "OK", "csrf": csrf}
    answer = client.post("/part/i-2", data=data, headers=SAME)
    assert answer.status_code == 503
    assert "The review was NOT saved" in answer.text
    assert client.get("/").status_code == client.get("/health").status_code == 503


def test_other_forms_are_refused(client: TestClient) -> None:
    assert client.post("/part/i-2", json={}, headers=SAME).status_code == 415
    assert post(client, note="x" * 70_000).status_code == 413
    assert post(client, "nobody").status_code == 404


def test_text_from_outside_is_shown_as_text(tmp_path: Path) -> None:
    evil = "<script>alert(1)</script>"
    entry = inspection(1, Verdict.NG, part_id=evil, lot=evil, reason=evil)
    path = fill(tmp_path / "j", [entry])
    Journal(path).add_review(Review("i-1", evil, Verdict.NG, "scratch", evil))
    client = TestClient(create_app(path, "Ann"))
    for url in ("/?show=all", "/part/i-1", "/part/i-1?saved=i-1", f"/part/{evil}"):
        page = client.get(url).text
        assert "<script>alert" not in page, url
    assert client.get("/part/i-1").text.count("&lt;script&gt;alert(1)&lt;/script&gt;") >= 5
    kept = client.post("/part/i-1", data={"note": '"><script>', "mask": '"><script>'})
    assert '"><script>' not in kept.text


@pytest.mark.parametrize(
    "inspection_id", ["..%2f..%2fsecret", "%2e%2e%2fsecret", "i-2%00", "' OR 1=1 --", "nobody"]
)
def test_ids_are_looked_up_and_never_paths(client: TestClient, inspection_id: str) -> None:
    for tail in ("", "/image.png", "/heat.png", "/thumb.png"):
        answer = client.get(f"/part/{inspection_id}{tail}")
        assert answer.status_code == 404, tail
    assert client.get("/static/../app.py").status_code == 404
    assert client.get("/static/%2e%2e/app.py").status_code == 404


def test_picture_outside_the_journals_folder_is_not_served(tmp_path: Path) -> None:
    outside = tmp_path / "outside.png"
    write_png(outside, picture())
    path = fill(tmp_path / "journal" / "j", [inspection(n, Verdict.NG) for n in (1, 2)])
    with sqlite3.connect(path) as connection:
        connection.execute("DROP TRIGGER inspections_no_update")
        connection.execute(
            "UPDATE inspections SET image_path = '../outside.png' WHERE inspection_id = 'i-1'"
        )
    file = Journal(path).image_file(Journal(path).get("i-2"))
    assert file is not None
    file.unlink()
    file.symlink_to(outside)
    client = TestClient(create_app(path, "Ann"))
    for inspection_id in ("i-1", "i-2"):
        assert client.get(f"/part/{inspection_id}/image.png").status_code == 404
        assert "There is no picture" in client.get(f"/part/{inspection_id}").text


@pytest.mark.parametrize("url", ["/", "/part/i-2", "/part/nobody", "/static/station.css", "/x"])
def test_every_answer_carries_the_security_headers(client: TestClient, url: str) -> None:
    headers = client.get(url).headers
    policy = headers["content-security-policy"]
    assert "default-src 'self'" in policy and "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert headers["x-content-type-options"] == "nosniff"


def test_pages_need_nothing_from_elsewhere_and_nothing_inline(client: TestClient) -> None:
    for url in ("/", "/part/i-2"):
        page = client.get(url).text
        assert not re.search(r'(src|href|action)="(?![/#])', page)
        assert " style=" not in page and "<style" not in page and "onclick" not in page
        assert not re.search(r"<script(?! src)", page)


def test_foreign_host_name_is_refused_when_hosts_are_named(path: Path) -> None:
    client = TestClient(create_app(path, "Ann", hosts=("127.0.0.1",)))
    assert client.get("/", headers={"host": "evil.example:8500"}).status_code == 400
    assert client.get("/", headers={"host": "127.0.0.1:8500"}).status_code == 200


def test_errors_are_pages_for_people_and_json_for_programs(client: TestClient) -> None:
    page = client.get("/part/nobody")
    assert page.status_code == 404 and "no such inspection" in page.text and "<h1>" in page.text
    api = client.get("/api/parts/nobody")
    assert api.status_code == 404 and api.json()["error"]["kind"] == "data"
    assert client.get("/?page=0").status_code == 422
    assert client.get("/?show=x").status_code == 422
    assert client.get("/nowhere").status_code == 404
