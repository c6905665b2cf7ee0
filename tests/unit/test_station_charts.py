"""The gallery, the charts and the agreement page, as a person's browser gets them."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from starlette.requests import Request
from starlette.testclient import TestClient
from unit.station_journal import SAME, START, copy_of, fill, inspection, make_manifest

from edge.station.app import create_app
from edge.station.charts import View, as_csv
from edge.station.gate import Alone
from edge.station.users import Role, User
from qc.journal import Journal, JournalWriter
from qc.linefile import KeepTable
from qc.types import Review, Verdict

NASTY = "<script>alert(1)</script>"


def entries() -> list[object]:
    """Eight parts an hour over 15 hours, one NG in eight; in the last hour six are."""
    found = []
    for n in range(120):
        bad = n % 8 == 0 or n >= 114
        found.append(
            inspection(
                n,
                Verdict.NG if bad else Verdict.OK,
                captured_at=START + timedelta(minutes=7.5 * n),
                defect_class="dent" if n % 16 == 8 else "scratch",
                defect_score=0.9 if bad else 0.1,
                lot=NASTY if n == 0 else f"L{n // 60}",
                source_id=f"cam{n % 2}",
                image=None if n % 2 else inspection(0, Verdict.NG).image,
            )
        )
    return found


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = fill(tmp_path_factory.mktemp("made") / "line.journal", entries())  # type: ignore[arg-type]
    book = Journal(path)
    for part, person, decision in (
        ("i-8", "Ann", "NG"),
        ("i-8", "Ben", "NG"),
        ("i-16", "Ann", "OK"),
        ("i-16", "Ben", "NG"),
        ("i-24", "Ann", "OK"),
        ("i-24", NASTY, "OK"),
        ("i-1", "Ann", "OK"),
    ):
        book.add_review(Review(part, person, Verdict(decision)))
    return path


@pytest.fixture
def client(made: Path) -> Iterator[TestClient]:
    with TestClient(create_app(made, "Ann")) as found:
        yield found


def names(text: str) -> list[str]:
    return re.findall(r'href="/part/(i-\d+)"', text)


# gallery


def test_the_gallery_shows_the_newest_and_goes_on_behind_them(client: TestClient) -> None:
    text = client.get("/gallery").text
    assert names(text) == [f"i-{n}" for n in range(119, 71, -1)]
    assert 'loading="lazy"' in text
    older = re.search(r'href="(/gallery\?after=\d+)" rel="next"', text)
    assert older
    second = client.get(older[1]).text
    assert names(second) == [f"i-{n}" for n in range(71, 23, -1)]
    newer = re.search(r'href="(/gallery\?before=\d+)" rel="prev"', second)
    assert newer and names(client.get(newer[1]).text) == names(text)


def test_an_address_is_a_search(client: TestClient) -> None:
    query = "/gallery?class=dent&verdict=NG&source=cam0&lot=L0&since=&part="
    assert names(client.get(query).text) == ["i-56", "i-40", "i-24", "i-8"]
    assert names(client.get("/gallery?decision=OK").text) == ["i-24", "i-1"]
    assert names(client.get("/gallery?decision=none&part=P-8").text) == []
    since = (START + timedelta(minutes=7.5 * 117)).isoformat()
    assert len(names(client.get("/gallery", params={"since": since}).text)) == 3
    text = client.get("/gallery?lot=L0&verdict=NG").text
    assert 'value="L0"' in text and '<option value="NG" selected>' in text


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("since=yesterday", 422),
        ("since=0001-01-01T00:00", 422),
        ("verdict=BAD", 422),
        ("after=0", 422),
        ("after=99999", 404),
        (f"lot={'x' * 301}", 422),
        ("lot=nothing", 200),
    ],
)
def test_an_address_that_is_not_understood(client: TestClient, query: str, status: int) -> None:
    assert client.get(f"/gallery?{query}").status_code == status


def test_what_others_wrote_comes_out_harmless(client: TestClient) -> None:
    for page in ("/gallery?part=P-0", "/charts?by=lot", "/agreement"):
        text = client.get(page).text
        assert NASTY not in text and "&lt;script&gt;" in text


def chosen(client: TestClient, **change: object) -> dict[str, object]:
    csrf = re.search(r'name="csrf" value="([^"]+)"', client.get("/gallery").text) or ("", "")
    fields = {"part": ["i-9", "i-32"], "decision": "NG", "defect_class": "dent", "note": "batch"}
    return {**fields, "csrf": csrf[1], **change}


def test_several_parts_are_listed_and_then_decided(made: Path, tmp_path: Path) -> None:
    path = copy_of(made, tmp_path)
    client = TestClient(create_app(path, "Ann"))
    listed = client.post("/gallery/confirm", data=chosen(client), headers=SAME)
    assert listed.status_code == 200
    assert names(listed.text) == ["i-9", "i-32"]
    assert "1 of them overrule the model" in listed.text
    book = Journal(path)
    assert book.reviews("i-9") == []
    seen = re.findall(r'name="seen" value="([^"]+)"', listed.text)
    assert seen == ["0:i-9", "0:i-32"]
    done = client.post("/gallery/decide", data=chosen(client, part=[], seen=seen), headers=SAME)
    assert done.status_code == 200 and "2 reviews were saved" in done.text
    (review,) = book.reviews("i-9")
    assert (review.reviewer, review.decision, review.defect_class) == ("Ann", Verdict.NG, "dent")
    assert review.note == "batch" and review.before is Verdict.OK
    # a second time each is refused: somebody decided since the list was made
    again = client.post("/gallery/decide", data=chosen(client, part=[], seen=seen), headers=SAME)
    assert again.status_code == 409 and again.text.count("NOT saved") == 2
    assert len(book.reviews("i-9")) == 1


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"note": ""}, 422),
        ({"decision": ""}, 422),
        ({"decision": "REVIEW"}, 422),
        ({"defect_class": "unheard of"}, 422),
        ({"part": []}, 422),
        ({"part": ["nobody"]}, 404),
        ({"csrf": "stale"}, 403),
        ({"part": [f"i-{n}" for n in range(61)]}, 400),
        ({"note": "x" * 10_000}, 422),
    ],
)
def test_what_cannot_be_decided(
    client: TestClient, made: Path, change: dict[str, object], status: int
) -> None:
    before = Journal(made).sizes()["reviews"]
    for page in ("/gallery/confirm", "/gallery/decide"):
        sent = client.post(page, data=chosen(client, **change), headers=SAME)
        assert sent.status_code == status, sent.text
    assert Journal(made).sizes()["reviews"] == before


def test_a_list_that_was_not_shown_is_shown_first(client: TestClient, made: Path) -> None:
    before = Journal(made).sizes()["reviews"]
    shown = client.post("/gallery/decide", data=chosen(client), headers=SAME)
    assert 'name="seen"' in shown.text
    assert Journal(made).sizes()["reviews"] == before


def test_another_site_decides_nothing(client: TestClient) -> None:
    sent = client.post("/gallery/decide", data=chosen(client), headers={"origin": "http://evil"})
    assert sent.status_code == 403


# charts


def table(client: TestClient, address: str) -> list[dict[str, str]]:
    found = client.get(address)
    assert found.status_code == 200, found.text
    assert found.headers["content-type"].startswith("text/csv")
    return list(csv.DictReader(io.StringIO(found.text)))


def test_the_page_of_the_charts(client: TestClient) -> None:
    text = client.get("/charts?by=hour").text
    assert text.count('<svg class="chart"') == 4
    assert " style=" not in text and "<style" not in text
    assert 'class="signal"' in text and "Rule 1: one point beyond 3 sigma" in text
    assert "120 inspections" in text
    for link in re.findall(r'href="(/charts/\w+\.csv[^"]*)"', text):
        assert client.get(link.replace("&amp;", "&")).status_code == 200


def test_the_pareto_counts_the_defects(client: TestClient) -> None:
    rows = table(client, "/charts/pareto.csv")
    # 15 of the eighths (7 dents), and 6 of the end, none of them an eighth
    assert [(r["name"], r["count"]) for r in rows] == [("scratch", "14"), ("dent", "7")]
    assert table(client, "/charts/pareto.csv?class=dent")[0]["share"] == "1.0"


def test_the_control_chart_by_lot_and_class(client: TestClient) -> None:
    rows = table(client, "/charts/control.csv?by=lot")
    assert [(r["label"], r["count"], r["n"]) for r in rows] == [
        (NASTY, "1", "1"),
        ("L0", "7", "59"),
        ("L1", "13", "60"),
    ]
    dents = table(client, "/charts/control.csv?by=lot&class=dent&lot=L0")
    assert [(r["count"], r["n"]) for r in dents] == [("4", "59")]


def test_the_shifts_divide_the_day() -> None:
    view = View("shift", (6, 14, 22), 0)
    day = START.astimezone().replace(hour=5, minute=59)
    assert view.shift_of(day) == ("2025-03-03", 3)
    assert view.shift_of(day.replace(hour=6, minute=0)) == ("2025-03-04", 1)
    assert view.shift_of(day.replace(hour=21)) == ("2025-03-04", 2)
    assert View("shift", (6, 14, 22), 2).holds(day.replace(hour=15))
    assert not View("shift", (6, 14, 22), 1).holds(day.replace(hour=15))


def test_the_shifts_are_all_there_is(client: TestClient) -> None:
    by_shift = [table(client, f"/charts/control.csv?by=shift&shift={n}") for n in (1, 2, 3)]
    assert sum(int(row["n"]) for rows in by_shift for row in rows) == 120
    assert client.get("/charts?shifts=22,6,14").status_code == 422
    assert client.get("/charts?shifts=6,14,²").status_code == 422


def test_escape_and_overkill_by_hand(client: TestClient) -> None:
    """No OK part was drawn for audit; of three NG that were reviewed, one stands as OK."""
    escape, overkill = table(client, "/charts/estimates.csv")
    assert (escape["n"], escape["rate"]) == ("0", "")
    assert (overkill["count"], overkill["n"]) == ("1", "3")
    assert float(overkill["high"]) == pytest.approx(0.9057, abs=1e-4)


def test_the_audited_sample_estimates_the_escape(tmp_path: Path) -> None:
    path = tmp_path / "line.journal"

    with JournalWriter(path, make_manifest(), "litert", keep=KeepTable(ok_sample=1.0)) as writer:
        for n in range(10):
            writer.put(inspection(n, Verdict.OK))
    for n in range(8):
        Journal(path).add_review(Review(f"i-{n}", "Ann", Verdict.NG if n == 3 else Verdict.OK))
    escape = table(TestClient(create_app(path, "Ann")), "/charts/estimates.csv")[0]
    assert (escape["count"], escape["n"], escape["rate"]) == ("1", "8", "0.125")
    assert float(escape["low"]) == pytest.approx(0.00316, abs=1e-5)
    assert float(escape["high"]) == pytest.approx(0.52651, abs=1e-5)


def test_throughput_and_drift(client: TestClient) -> None:
    hours = table(client, "/charts/throughput.csv")
    assert sum(int(row["count"]) for row in hours) == 120
    assert {row["count"] for row in hours[1:-1]} == {"8"}
    days = table(client, "/charts/drift.csv")
    assert [row["label"] for row in days] == ["2025-03-04", "2025-03-05"]
    assert float(days[0]["psi"]) == 0.0 and float(days[0]["q50"]) == pytest.approx(0.1005)


def test_a_journal_without_parts_is_said_to_be_empty(tmp_path: Path) -> None:
    client = TestClient(create_app(fill(tmp_path / "line.journal", []), "Ann"))
    assert "No inspection is like that" in client.get("/gallery").text
    assert "There is nothing to draw" in client.get("/charts").text
    assert "No part was judged by two people yet" in client.get("/agreement").text


def test_a_spreadsheet_takes_no_text_for_a_formula() -> None:
    text = as_csv([{"name": "=HYPERLINK(1)", "n": -1, "rules": [1, 4]}])
    assert text == "name,n,rules\n'=HYPERLINK(1),-1,1 4\n"


# rights and research


@pytest.mark.parametrize(
    ("role", "reads", "exports", "decides"),
    [
        ("operator", 200, 403, 403),
        ("reviewer", 200, 403, 200),
        ("engineer", 200, 200, 200),
        ("auditor", 200, 200, 403),
    ],
)
def test_each_role_may_do_what_is_its_right(
    made: Path, monkeypatch: pytest.MonkeyPatch, role: Role, reads: int, exports: int, decides: int
) -> None:
    class As(Alone):
        def __init__(self, name: str) -> None:
            super().__init__(name)
            self._user = User(name, role)

    monkeypatch.setattr("edge.station.app.Alone", As)
    client = TestClient(create_app(made, "Ann"))
    for page in ("/gallery", "/charts", "/agreement", "/compare", "/api", "/api/v1/parts"):
        assert client.get(page).status_code == reads
    for page in ("/charts/pareto.csv", "/agreement.csv"):
        assert client.get(page).status_code == exports
    charts, gallery = client.get("/charts").text, client.get("/gallery").text
    assert (".csv" in charts) == (exports == 200)
    assert ('name="part" value="i-' in gallery) == (decides == 200)
    sent = chosen(client, csrf="") if decides == 403 else chosen(client)
    assert client.post("/gallery/confirm", data=sent, headers=SAME).status_code == decides
    if decides == 403:
        review = {"decision": "OK"}
        refused = client.post("/api/v1/parts/i-9/reviews", json=review, headers=SAME)
        assert refused.status_code == 403


def test_a_stranger_sees_nothing(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Nobody(Alone):
        def identify(self, request: Request) -> User | None:
            super().identify(request)
            return None

    monkeypatch.setattr("edge.station.app.Alone", Nobody)
    client = TestClient(create_app(made, "Ann"), follow_redirects=False)
    for page in (
        *("/gallery", "/charts", "/charts/pareto.csv", "/agreement", "/agreement.csv"),
        *("/compare", "/compare.csv", "/api", "/api/v1/parts", "/api/v1/openapi.json"),
    ):
        answer = client.get(page, headers={"accept": "application/json"})
        assert answer.status_code == 401 and "P-1" not in answer.text
    for page in ("/gallery/confirm", "/gallery/decide", "/api/v1/parts/i-1/reviews"):
        assert client.post(page, headers=SAME).status_code == 401


def test_research_hides_the_ids_in_gallery_and_api(made: Path, tmp_path: Path) -> None:
    client = TestClient(create_app(copy_of(made, tmp_path), "Ann", research=True))
    for page in ("/gallery", "/api/v1/parts?limit=500"):
        text = client.get(page).text
        assert "i-9" in text and not re.search(r"\bP-\d|[\s\"]f-\d", text)
    kept = client.get("/charts/pareto.csv").headers["content-disposition"]
    assert "NOT-FOR-DIAGNOSTIC-USE-pareto.csv" in kept
    part = client.get("/api/v1/parts?class=dent&limit=1").json()["parts"][0]["part_id"]
    found = client.get("/api/v1/parts", params={"part": part}).json()["parts"]
    assert len(found) == 1 and found[0]["part_id"] == part
    assert client.get("/api/v1/parts?part=P-8").json()["parts"] == []


def test_a_part_to_be_looked_at_blind_is_not_found_by_what_was_decided(
    made: Path, tmp_path: Path
) -> None:
    path = copy_of(made, tmp_path)
    for name, seen in (("Ann", True), ("Zoe", False)):  # i-1 was decided by Ann alone
        client = TestClient(create_app(path, name, second=1.0))
        assert ("i-1" in names(client.get("/gallery?decision=OK").text)) == seen
        assert bool(client.get("/api/v1/parts/i-1").json()["reviews"]) == seen
        assert ("i-1" in names(client.get("/gallery?part=P-1").text)) is True


# agreement


def test_the_agreement_page_and_its_table(client: TestClient) -> None:
    text = client.get("/agreement").text
    assert "3 of 4 reviewed ones" in text
    rows = table(client, "/agreement.csv")
    kappa = {(r["who"], r["other"]): r for r in rows if r["what"] == "cohen_kappa"}
    # Ann NG OK, Ben NG NG: half agreed, half expected
    assert (kappa["Ann", "Ben"]["n"], float(kappa["Ann", "Ben"]["value"])) == ("2", 0.0)
    miss = {r["who"]: r for r in rows if r["what"] == "miss"}
    # i-16 is split, and Ben said NG last
    assert (miss["Ann"]["count"], miss["Ann"]["n"]) == ("1", "2")
    false_alarm = {r["who"]: r for r in rows if r["what"] == "false_alarm"}
    assert (false_alarm["model"]["count"], false_alarm["model"]["n"]) == ("1", "2")
    assert "blind=true" in text
    assert "first decision" in client.get("/agreement?blind=true").text
