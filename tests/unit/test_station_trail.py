"""The trail, the blind second look, the certificate, and the people on the terminal."""

from __future__ import annotations

import csv
import io
import json
import re
import signal
import sqlite3
import ssl
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
from argon2 import extract_parameters
from station_journal import SAME, fill, inspection
from station_people import PASSWORD, QUICK, Browser, browser
from typer.testing import CliRunner

from edge.station import tls
from edge.station.people import People
from edge.station.people_commands import people_of
from edge.station.second import Second, is_chosen
from edge.station.serve import serve
from qc.cli import app as qc
from qc.errors import DataError, UsageError
from qc.journal import Journal
from qc.types import Review, Verdict

EVIL = "<script>alert(1)</script>"


def logged_in(people: People, name: str, **options: float) -> Browser:
    client = browser(people, **options)
    assert client.log_in(name).status_code == 303
    return client


def decide(client: Browser, inspection_id: str = "i-2", **change: str):  # type: ignore[no-untyped-def]
    page = f"/part/{inspection_id}"
    fields = {"decision": "NG", "defect_class": "scratch", "note": "", "seen": seen(client, page)}
    return client.submit(page, **(fields | change))


def seen(client: Browser, page: str) -> str:
    found = re.search(r'name="seen" value="(\d+)"', client.get(page).text)
    assert found
    return found.group(1)


# the trail


def test_the_trail_tells_who_decided_what_and_what_stood_before(people: People) -> None:
    rita, emil, anna = (logged_in(people, name) for name in ("Rita", "Emil", "Anna"))
    assert decide(rita, decision="OK", note="only oil").status_code == 303
    assert decide(emil, note=EVIL).status_code == 303
    assert decide(rita, "i-4", note="x" * 10_000).status_code == 422
    page = anna.get("/trail").text
    rows = re.findall(r"<tr><td>(\d)</td>(.*?)</tr>", page, re.DOTALL)
    assert [n for n, _ in rows] == ["2", "1"]
    for word in ("Emil", "engineer", "P-2", "<td>OK</td>", "<b>NG</b> scratch"):
        assert word in rows[0][1], word
    for word in ("Rita", "reviewer", "<td>NG</td>", "<b>OK</b>", "only oil"):
        assert word in rows[1][1], word
    assert EVIL not in page and "&lt;script&gt;" in page
    events = anna.get("/trail?kind=events").text
    assert events.index("<td>login</td>") < events.index("<td>person added</td>")
    french = anna.get("/trail", headers={"accept-language": "fr"}).text
    assert "Journal des décisions" in french and "contrôleur" in french
    assert anna.get("/trail?kind=x").status_code == anna.get("/trail?before=0").status_code == 422


def test_the_chain_is_verified_on_demand(people: People) -> None:
    anna, rita = logged_in(people, "Anna"), logged_in(people, "Rita")
    decide(rita)
    page = anna.submit("/trail").text
    assert "The chain is whole" in page and re.search(r"Head: [0-9a-f]{64}", page)
    with sqlite3.connect(people.journal.path) as connection:
        connection.execute("DROP TRIGGER reviews_no_update")
        connection.execute("UPDATE reviews SET decision = 'OK', reviewer = ?", [EVIL])
    page = anna.submit("/trail").text
    assert "reviews row 1: does not fit its hash" in page and EVIL not in page
    assert rita.post("/trail", headers=SAME).status_code == 403


def test_the_trail_as_csv_is_whole_and_harmless_in_a_spreadsheet(
    people: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge.station.trail.PAGE", 2)
    for n in range(5):
        people.journal.add_review(Review("i-2", "=1+1", Verdict.OK, note=f"-{n}\n,'\""))
    anna = logged_in(people, "Anna")
    answer = anna.get("/trail.csv")
    assert "attachment" in answer.headers["content-disposition"]
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert [r["seq"] for r in rows] == ["5", "4", "3", "2", "1"]
    assert rows[0]["reviewer"] == "'=1+1" and rows[0]["note"] == "'-4\n,'\""
    assert (rows[4]["before"], rows[3]["before"], rows[4]["verdict"]) == ("NG", "OK", "NG")
    events = list(csv.DictReader(io.StringIO(anna.get("/trail.csv?kind=events").text)))
    assert [r["kind"] for r in events] == ["login", *["person added"] * 4]
    assert json.loads(events[0]["detail"])["name"] == "Anna"


# two people


def test_the_second_of_two_people_at_once_is_told_and_nothing_is_lost(people: People) -> None:
    rita, emil = logged_in(people, "Rita"), logged_in(people, "Emil")
    stale = seen(emil, "/part/i-2")
    assert decide(rita, decision="OK", note="only oil").status_code == 303
    answer = decide(emil, seen=stale, note="my long words")
    assert answer.status_code == 409 and "my long words" in answer.text
    assert "Rita decided OK" in answer.text
    assert [r.reviewer for r in people.journal.reviews("i-2")] == ["Rita"]
    assert decide(emil, note="my long words").status_code == 303


def test_a_journal_that_is_locked_says_so_and_loses_no_words(
    people: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("qc.journal_read.BUSY_S", 0.05)
    rita = logged_in(people, "Rita")
    with sqlite3.connect(people.journal.path, isolation_level=None) as other:
        other.execute("BEGIN IMMEDIATE")
        answer = decide(rita, note="a long thought")
        other.execute("ROLLBACK")
    other.close()
    assert answer.status_code == 503
    assert "NOT saved" in answer.text and "a long thought</textarea>" in answer.text
    assert people.journal.reviews("i-2") == []
    assert decide(rita, note="a long thought").status_code == 303


def test_a_blind_second_look_sees_no_decision_before_it_is_given(people: People) -> None:
    rita, emil = (logged_in(people, name, second=1.0) for name in ("Rita", "Emil"))
    assert decide(rita, decision="OK", note="only oil").status_code == 303
    assert rita.get("/second").headers["location"] == "/", "not to the same person"
    assert emil.get("/second").headers["location"] == "/part/i-2"
    pages = ["/part/i-2", "/part/i-2?saved=i-2", "/?saved=i-2", "/trail", "/api/parts/i-2"]
    for path in pages:
        assert "only oil" not in emil.get(path).text, path
        assert "by Rita" not in emil.get(path).text, path
        assert "only oil" in rita.get(path).text or path.startswith("/?"), path
    assert "not shown before your own second look" in emil.get("/trail").text
    assert "only oil" in rita.get("/part/i-2").text
    assert decide(emil).status_code == 303
    first, second = people.journal.reviews("i-2")
    assert (first.blind, second.blind, second.before) == (False, True, Verdict.OK)
    assert "only oil" in emil.get("/part/i-2").text
    assert emil.get("/second").headers["location"] == "/"
    anna = logged_in(people, "Anna", second=1.0)
    assert "only oil" in anna.get("/part/i-2").text, "who does not review is shown everything"


def test_which_parts_are_looked_at_twice_is_a_matter_of_their_id() -> None:
    chosen = [n for n in range(10_000) if is_chosen(f"i-{n}", 0.1)]
    assert 900 < len(chosen) < 1100  # 1000 +- 30 (one standard deviation)
    assert [n for n in range(10_000) if is_chosen(f"i-{n}", 0.1)] == chosen
    assert not is_chosen("i-1", 0) and is_chosen("i-1", 1)


def test_a_decision_taken_back_waits_for_no_second_look(tmp_path: Path) -> None:
    journal = Journal(fill(tmp_path / "j", [inspection(n, Verdict.NG) for n in (1, 2)]))
    second = Second(journal, 1.0)

    def add(name: str, decision: Verdict, blind: bool = False) -> list[str]:
        journal.add_review(Review("i-1", name, decision, blind=blind))
        return second.due("bob")

    assert add("Ann", Verdict.OK) == ["i-1"]
    assert add("Ann", Verdict.REVIEW) == []
    assert add("Ann", Verdict.NG) == ["i-1"]
    assert add("Bob", Verdict.OK, blind=True) == []
    assert add("Bob", Verdict.REVIEW) == ["i-1"]
    with pytest.raises(UsageError, match="0 to 1"):
        Second(journal, 1.5)


# the certificate


def test_the_certificate_is_made_once_and_its_key_is_private(tmp_path: Path) -> None:
    journal = tmp_path / "j.db"
    certificate, key = tls.own_certificate(journal, "192.0.2.7")
    assert tls.own_certificate(journal, "192.0.2.7") == (certificate, key)
    before = tls.fingerprint(certificate)
    assert re.fullmatch(r"(?:[0-9A-F]{2}:){31}[0-9A-F]{2}", before)
    for file in (certificate, key):
        assert file.stat().st_mode & 0o777 == 0o600
    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key)
    names = tls.load_certificate(certificate).extensions.get_extension_for_class(
        tls.x509.SubjectAlternativeName
    )
    addresses = [str(a) for a in names.value.get_values_for_type(tls.x509.IPAddress)]
    assert {"192.0.2.7", "127.0.0.1", "::1"} <= set(addresses)
    assert "localhost" in names.value.get_values_for_type(tls.x509.DNSName)
    assert tls.fingerprint(tls.own_certificate(journal, "192.0.2.7")[0]) == before


def test_a_certificate_that_ends_soon_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate, _ = tls.own_certificate(tmp_path / "j.db", "::")
    before = tls.fingerprint(certificate)
    ends = tls.load_certificate(certificate).not_valid_after_utc
    monkeypatch.setattr(tls, "utc_now", lambda: ends - timedelta(days=13))
    tls.own_certificate(tmp_path / "j.db", "::")
    assert tls.fingerprint(certificate) != before
    certificate.write_text("no certificate")
    with pytest.raises(DataError, match="there is no certificate"):
        tls.own_certificate(tmp_path / "j.db", "::")


def test_beyond_this_machine_the_station_speaks_tls(people: People) -> None:
    code = (
        "import sys; from pathlib import Path; from edge.station.serve import serve;"
        "serve(Path(sys.argv[1]), '0.0.0.0', 0, None, False)"
    )
    path = people.journal.path
    with subprocess.Popen(
        [sys.executable, "-c", code, str(path)], stderr=subprocess.PIPE, text=True
    ) as station:
        try:
            assert station.stderr
            first = _line(station)
            port = re.search(r"https://0\.0\.0\.0:(\d+)/ \(people log in\)", first)
            assert port, first
            told = _line(station)
            certificate = path.with_name(f"{path.name}.tls.crt")
            assert tls.fingerprint(certificate) in told
            trusted = ssl.create_default_context(cafile=certificate)
            url = f"https://127.0.0.1:{port.group(1)}"
            assert httpx.get(f"{url}/health", verify=trusted).json() == {"state": "ok"}
            assert httpx.get(f"{url}/api/parts", verify=trusted).status_code == 401
            station.send_signal(signal.SIGINT)
            assert station.wait(10) == 0
        finally:
            station.kill()


def _line(station: subprocess.Popen[str]) -> str:
    assert station.stderr
    return station.stderr.readline()


# the terminal


def test_one_alone_is_refused_beyond_this_machine_and_nobody_is_let_in_by_chance(
    tmp_path: Path,
) -> None:
    path = fill(tmp_path / "j", [])
    with pytest.raises(UsageError, match="this machine only"):
        serve(path, "0.0.0.0", 0, "Ann", False)
    with pytest.raises(UsageError, match=r"nobody may log in yet.*qc people add"):
        serve(path, "127.0.0.1", 0, None, False)
    assert not path.with_name("j.people.db").exists()
    with pytest.raises(DataError, match="there is no journal"):
        serve(tmp_path / "none", "127.0.0.1", 0, None, False)
    with pytest.raises(UsageError, match="belong together"):
        serve(path, "127.0.0.1", 0, "Ann", False, certificate=(path, None))


def run(*words: str, stdin: str = "", code: int = 0):  # type: ignore[no-untyped-def]
    done = CliRunner().invoke(qc, ["people", *words, "--json"], input=stdin)
    assert done.exit_code == code, done.output
    return json.loads(done.stdout)


def test_passwords_are_hashed_as_rfc_9106_advises(tmp_path: Path) -> None:
    people = People(fill(tmp_path / "j", []), make=True)
    people.add("Ann", "auditor", PASSWORD, by="test")
    with sqlite3.connect(people.file.path) as connection:
        (digest,) = connection.execute("SELECT hash FROM people").fetchone()
    assert digest.startswith("$argon2id$v=19$m=65536,t=3,p=4$")


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hashes that cost nothing, also where a command makes them."""
    cheap = extract_parameters(QUICK.hash("x"))
    monkeypatch.setattr("edge.station.people.RFC_9106_LOW_MEMORY", cheap)


class Terminal(io.StringIO):
    """Where a person sits."""

    def isatty(self) -> bool:
        return True


def test_the_first_person_is_asked_for_on_a_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quick: None
) -> None:
    answers = iter(["Emil", PASSWORD])
    monkeypatch.setattr("sys.stdin", Terminal())
    monkeypatch.setattr("typer.prompt", lambda *_, **__: next(answers))
    path = fill(tmp_path / "j", [])
    (person,) = people_of(path).list()
    assert (person.name, person.role) == ("Emil", "engineer")
    assert people_of(path).list() == [person], "asked once"
    People(path).disable("Emil", by="test")
    monkeypatch.setattr("sys.stdin", io.StringIO())
    with pytest.raises(UsageError, match="nobody may log in yet"):
        people_of(path)


def test_people_on_the_terminal(tmp_path: Path, quick: None) -> None:
    path = str(fill(tmp_path / "j", []))
    assert run("list", path, code=2)["error"]["message"].startswith("there is no file of people")
    made = run("add", path, "Zoë  Lee", "--role", "engineer", stdin=f"{PASSWORD}\n")
    assert (made["name"], made["role"]) == ("Zoë Lee", "engineer")
    error = run("add", path, "x", "--role", "engineeer", stdin=f"{PASSWORD}\n", code=2)
    assert "did you mean 'engineer'" in error["error"]["message"]
    for password in ("", "short\n", "x" * 1001 + "\n"):
        error = run("add", path, "Ann", "--role", "reviewer", stdin=password, code=2)
        assert "10 to 1000 characters" in error["error"]["message"]
    assert "is there already" in str(
        run("add", path, "zoë lee", "--role", "auditor", stdin=f"{PASSWORD}\n", code=2)
    )
    assert run("disable", path, "ZOË LEE")["disabled"] is True
    assert run("disable", path, "Zoë Lee", "--enable")["disabled"] is False
    assert "did you mean" in run("disable", path, "Zoe Lee", code=2)["error"]["message"]
    run("password", path, "Zoë Lee", stdin="another password\n")
    people = People(Path(path), hasher=QUICK)
    assert people.check("zoë lee", PASSWORD) is None
    found = people.check("zoe\u0308 lee", "another password")
    assert found is not None and found.name == "Zoë Lee", "however a keyboard composes it"
    assert [p["name"] for p in run("list", path)["people"]] == ["Zoë Lee"]
    kinds = [e.kind for e in Journal(Path(path)).events()]
    assert kinds == ["person added", "person disabled", "person enabled", "password changed"]
