"""The review station over a real journal: pages, reviews, JSON, serving."""

from __future__ import annotations

import re
import signal
import socket
import sqlite3
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import httpx
import numpy as np
import pytest
from starlette.testclient import TestClient
from station_journal import copy_of, decode, evidence, fill, inspection, picture, post, write_four

from edge.station.app import create_app
from edge.station.queue import PAGE
from edge.station.serve import serve
from qc.errors import DataError, UsageError
from qc.journal import Journal
from qc.overlay import heat_rgba
from qc.types import Prediction, Verdict


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_four(tmp_path_factory.mktemp("written"))


@pytest.fixture
def path(written: Path, tmp_path: Path) -> Path:
    return copy_of(written, tmp_path)


@pytest.fixture
def client(path: Path) -> TestClient:
    return TestClient(create_app(path, "Ann"), follow_redirects=False)


# what is shown


def test_queue_shows_flagged_parts_with_the_word_of_the_verdict(client: TestClient) -> None:
    page = client.get("/").text
    assert page.index("P-3") < page.index("P-2") < page.index("P-4")
    assert "P-1" not in page
    for word in ("NG", "REVIEW", "FAULT"):
        assert f'<span class="chip {word.lower()}">{word}</span>' in page
    assert re.search(r"Waiting <b>3</b>", page)
    assert re.search(r"Reviewed <b>0</b>", page)
    assert "0.830" in page and "lot L7" in page


def test_tabs_follow_the_reviews(client: TestClient) -> None:
    assert post(client).status_code == 303
    page = client.get("/?show=reviewed").text
    assert re.search(r"Waiting <b>2</b>", page)
    assert re.search(r"Reviewed <b>1</b>", page)
    assert "P-2" in page and "P-3" not in page
    assert re.search(r"NG <b>1</b>", page) and re.search(r"FAULT <b>0</b>", page)
    assert "P-2" not in client.get("/?show=waiting").text
    assert "P-3" not in client.get("/?show=all&verdict=NG").text


def test_paging(tmp_path: Path) -> None:
    entries = [inspection(n, Verdict.NG, image=None) for n in range(1, PAGE + 2)]
    client = TestClient(create_app(fill(tmp_path / "j", entries), "Ann"))
    first, second = client.get("/api/parts").json(), client.get("/api/parts?page=2").json()
    assert (first["total"], first["pages"], len(first["parts"])) == (PAGE + 1, 2, PAGE)
    assert [p["part_id"] for p in second["parts"]] == ["P-1"]
    assert client.get("/api/parts?page=99").json() == second
    assert 'rel="next"' in client.get("/").text
    assert f"{PAGE + 1} to {PAGE + 1} of {PAGE + 1}" in client.get("/?page=2").text


def test_empty_queue_says_so(tmp_path: Path) -> None:
    client = TestClient(create_app(fill(tmp_path / "j", []), "Ann"))
    assert "No part is waiting" in client.get("/").text


def test_part_page_tells_everything(client: TestClient) -> None:
    page = client.get("/part/i-2").text
    for words in (
        "scratch: defect score 0.830 &gt;= 0.700",
        "Where the model looked",
        "abcdef0123456789",
        "3.2 ms",
        'src="/part/i-2/heat.png"',
        'name="defect_class" value="scratch" checked>',
        'name="defect_class" value="dent">',
        "Confirm",
        "Overrule",
    ):
        assert words in page, words
    assert 'name="defect_class" value="good"' not in page
    rows = re.findall(r'<th scope="row">(\w+).*?</th>(.*?)</tr>', page, re.DOTALL)
    numbers = {name: re.findall(r"<td>(.*?)</td>", cells) for name, cells in rows}
    assert numbers == {
        "good": ["0.170", "", ""],
        "scratch": ["0.800", "0.200", "0.700"],
        "dent": ["0.030", "0.300", "never"],
    }


def test_enter_in_a_text_field_decides_nothing(client: TestClient) -> None:
    """A browser presses the first button of the form on Enter; a disabled one does nothing."""
    form = client.get("/part/i-2").text.split('<form id="decide"')[1]
    first = re.search(r"<button[^>]*>", form)
    assert first and "disabled" in first.group()


def test_review_and_fault_offer_both_decisions_without_confirm(client: TestClient) -> None:
    for inspection_id in ("i-3", "i-4"):
        page = client.get(f"/part/{inspection_id}").text
        assert "It is NG" in page and "It is OK" in page
        assert "Confirm" not in page and "Overrule" not in page


def test_heat_has_the_bundles_scale_in_its_alpha(client: TestClient) -> None:
    heat = decode(client.get("/part/i-2/heat.png").content)
    assert heat.shape == (6, 8, 4)
    assert heat[0, 0, 3] == 0  # evidence 0 = lo
    half = heat_rgba(np.array([[128]], np.uint8), (1, 1))[0, 0]  # 2 of 0..4: 127.5, to even
    np.testing.assert_array_equal(heat[0, -1, [2, 1, 0, 3]], half)
    assert 0 < half[3] < 255
    assert heat[-1, 0, 3] == 255  # evidence 4 = hi
    assert heat[-1, -1, 3] == 255  # evidence 8 is clipped
    blue, _, red = (int(v) for v in heat[-1, -1, :3])
    assert red > 200 > 100 > blue  # viridis ends in yellow; with swapped channels it is cyan


def test_picture_keeps_its_colours(client: TestClient) -> None:
    shown = decode(client.get("/part/i-2/image.png").content)
    np.testing.assert_array_equal(shown[..., ::-1], picture())
    np.testing.assert_array_equal(decode(client.get("/part/i-2/thumb.png").content), shown)


def test_thumb_of_a_large_picture_is_small(tmp_path: Path) -> None:
    large = np.full((1000, 800, 3), 7, np.uint8)
    entries = [inspection(1, Verdict.NG, image=large)]
    client = TestClient(create_app(fill(tmp_path / "j", entries), "Ann"))
    thumb = decode(client.get("/part/i-1/thumb.png").content)
    assert thumb.shape == (348, 278, 3)  # 0.348 of 1000 x 800


def test_missing_picture_is_said(client: TestClient, path: Path) -> None:
    row = Journal(path).get("i-2")
    file = Journal(path).image_file(row)
    assert file is not None
    file.unlink()
    page = client.get("/part/i-2")
    assert page.status_code == 200
    assert "There is no picture of this part" in page.text
    assert client.get("/part/i-2/image.png").status_code == 404
    assert "no picture" in client.get("/").text


def test_damaged_picture_is_not_a_server_error(client: TestClient, path: Path) -> None:
    file = Journal(path).image_file(Journal(path).get("i-2"))
    assert file is not None
    file.write_bytes(file.read_bytes()[:40])
    assert client.get("/part/i-2").status_code == 200
    assert client.get("/part/i-2/image.png").status_code == 404


def test_part_without_map_says_so(client: TestClient) -> None:
    page = client.get("/part/i-4").text
    assert "No map" in page and "heat.png" not in page
    assert client.get("/part/i-4/heat.png").status_code == 404


def test_numbers_that_are_not_finite_are_told_not_crashed(tmp_path: Path) -> None:
    maps = evidence()
    maps[0, 0, 1] = np.nan
    broken = inspection(
        1,
        Verdict.FAULT,
        prediction=Prediction(np.array([0.1, 0.9, 0.0], np.float32), maps, 1),
        defect_class="scratch",
        defect_score=float("inf"),
        timings_ms={"infer": float("nan")},
    )
    client = TestClient(create_app(fill(tmp_path / "j", [broken]), "Ann"))
    assert "not finite" in client.get("/part/i-1").text
    assert client.get("/part/i-1/heat.png").status_code == 404
    facts = client.get("/api/parts/i-1").json()
    assert facts["defect_score"] is None and facts["timings_ms"] == {"infer": None}


def test_unknown_bundle_shows_no_heat(tmp_path: Path) -> None:
    entries = [inspection(1, Verdict.NG, bundle_id="feedfeedfeedfeed")]
    client = TestClient(create_app(fill(tmp_path / "j", entries), "Ann"))
    assert "does not hold the bundle" in client.get("/part/i-1").text


# reviews


def test_confirm_writes_a_row_and_goes_to_the_next_waiting_part(
    client: TestClient, path: Path
) -> None:
    before = datetime.now(UTC)
    answer = post(client, "i-3", note="deep\r\nlong")
    assert answer.status_code == 303
    assert answer.headers["location"] == "/part/i-2?saved=i-3"  # the next older one
    (review,) = Journal(path).reviews("i-3")
    assert (review.reviewer, review.decision) == ("Ann", Verdict.NG)
    assert (review.defect_class, review.note) == ("scratch", "deep\nlong")
    assert before <= review.at <= datetime.now(UTC)
    assert "P-3 is NG scratch, by Ann" in client.get(answer.headers["location"]).text


def test_overrule_writes_ok_without_a_class(client: TestClient, path: Path) -> None:
    assert post(client, decision="OK", note="only oil").status_code == 303
    (review,) = Journal(path).reviews("i-2")
    assert (review.decision, review.defect_class, review.note) == (Verdict.OK, None, "only oil")


def test_second_review_is_a_second_row(client: TestClient, path: Path) -> None:
    post(client)
    bob = TestClient(create_app(path, "Bob"), follow_redirects=False)
    post(bob, decision="OK", note="only oil")
    assert [r.reviewer for r in Journal(path).reviews("i-2")] == ["Ann", "Bob"]
    page = client.get("/part/i-2").text
    assert page.index("<b>Ann</b>") < page.index("<b>Bob</b>")


def test_next_goes_round_and_ends_in_the_queue(client: TestClient) -> None:
    assert post(client, "i-2").headers["location"] == "/part/i-4?saved=i-2"
    assert post(client, "i-4").headers["location"] == "/part/i-3?saved=i-4"
    assert post(client, "i-3").headers["location"] == "/?saved=i-3"
    assert "P-3 is NG scratch" in client.get("/?saved=i-3").text


def test_skip_goes_to_the_next_part_in_order_and_not_to_itself(client: TestClient) -> None:
    after = {"i-3": "i-2", "i-2": "i-4", "i-4": "i-3", "i-1": "i-3"}
    for here, following in after.items():
        page = client.get(f"/part/{here}").text
        assert f'id="next" class="button" href="/part/{following}"' in page, here


def test_one_person_alone_reviews_under_one_name_and_is_told_so(path: Path) -> None:
    client = TestClient(create_app(path, "Zoë; Ann"), follow_redirects=False)
    page = client.get("/part/i-2").text
    assert "<b>Zoë; Ann</b>" in page and "without login" in page
    answer = post(client, reviewer="Bob")
    assert answer.status_code == 303 and "set-cookie" not in answer.headers
    (review,) = Journal(path).reviews("i-2")
    assert (review.reviewer, review.role, review.before) == ("Zoë; Ann", "engineer", Verdict.NG)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"note": "x" * 2001}, "at most 2000"),
        ({"decision": "OK", "note": ""}, "say why you overrule"),
        ({"decision": "OK", "note": "", "reason": "other"}, "say why you overrule"),
        ({"mask": "0" * 64}, "the mask that goes with it is not kept"),
        ({"mask": "../../x"}, "the mask that goes with it is not kept"),
        ({"decision": "REVIEW"}, "decide OK or NG"),
        ({"decision": None}, "decide OK or NG"),
        ({"defect_class": "good"}, "no defect class"),
        ({"defect_class": "", "note": ""}, "name the defect in the note"),
    ],
)
def test_incomplete_form_is_kept_and_not_saved(
    client: TestClient, path: Path, change: dict[str, str | None], words: str
) -> None:
    answer = post(client, **({"note": "my words"} | change))
    assert answer.status_code == 422
    assert words in answer.text
    if "note" not in change:
        assert "my words</textarea>" in answer.text
    assert Journal(path).reviews("i-2") == []


def test_another_defect_is_named_in_the_note(client: TestClient, path: Path) -> None:
    assert post(client, defect_class="", note="rust").status_code == 303
    (review,) = Journal(path).reviews("i-2")
    assert (review.defect_class, review.note) == (None, "rust")


def test_a_journal_that_cannot_be_written_says_not_saved_and_keeps_the_words(
    client: TestClient, path: Path
) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute(
            "CREATE TRIGGER full BEFORE INSERT ON reviews "
            "BEGIN SELECT RAISE(ABORT, 'disk full'); END"
        )
    answer = post(client, note="a long thought", defect_class="dent")
    assert answer.status_code == 503
    assert "NOT saved" in answer.text
    assert "a long thought</textarea>" in answer.text
    assert 'value="dent" checked>' in answer.text
    assert "as Ann" in answer.text


# JSON


def test_api_lists_and_tells_parts(client: TestClient) -> None:
    listing = client.get("/api/parts?show=waiting&verdict=REVIEW").json()
    assert listing["total"] == 1 and listing["parts"][0]["inspection_id"] == "i-3"
    post(client)
    facts = client.get("/api/parts/i-2").json()
    assert facts["scores"] == pytest.approx({"good": 0.17, "scratch": 0.8, "dent": 0.03})
    assert facts["map"] == {"shown": True, "why": "", "lo": 0.0, "hi": 4.0, "key": ""}
    assert facts["captured_at"] == "2025-03-04T09:30:02.000+00:00"
    assert [r["decision"] for r in facts["reviews"]] == ["NG"]
    assert facts["n_reviews"] == 1


def test_health_shows_counts_and_the_invariant(client: TestClient) -> None:
    answer = client.get("/health")
    assert answer.status_code == 200
    assert answer.json() == {
        "state": "ok",
        "captured": 5,
        "ok": 1,
        "ng": 1,
        "review": 1,
        "fault": 1,
        "dropped": {"queue full": 1},
        "waiting": 3,
        "invariant": {"rule": "captured = ok + ng + review + fault + dropped", "holds": True},
    }


def test_broken_invariant_is_loud(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = {"captured": 6, "ok": 1, "ng": 1, "review": 1, "fault": 1, "dropped": 1}
    monkeypatch.setattr(Journal, "counts", lambda self: wrong)
    assert client.get("/health").status_code == 503
    assert client.get("/health").json()["invariant"]["holds"] is False
    assert "does not add up" in client.get("/").text


# serving


def test_bad_journal_and_busy_port_are_told_before_serving(path: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nothing here"):
        serve(tmp_path / "nothing here", "127.0.0.1", 0, "Ann", False)
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        port = busy.getsockname()[1]
        with pytest.raises(UsageError, match=f"127.0.0.1:{port}"):
            serve(path, "127.0.0.1", port, "Ann", False)
    with pytest.raises(UsageError, match="99999"):
        serve(path, "127.0.0.1", 99999, "Ann", False)


def test_serve_tells_its_address_answers_and_stops(path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from edge.station.serve import serve;"
        "serve(Path(sys.argv[1]), '127.0.0.1', 0, 'Ann', False)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(path)], stderr=subprocess.PIPE, text=True
    ) as station:
        try:
            assert station.stderr
            line = station.stderr.readline()
            url = re.search(r"http://127\.0\.0\.1:\d+/", line)
            assert url and "Ann alone on this machine, without login" in line, line
            answer = httpx.get(f"{url.group()}health")
            assert answer.json()["captured"] == 5
            assert "server" not in answer.headers
            station.send_signal(signal.SIGINT)
            assert station.wait(10) == 0
            assert station.stderr.read() == ""
        finally:
            station.kill()


def test_the_station_never_loads_the_line_or_a_training_library() -> None:
    code = (
        "import sys, edge.station.serve;"
        "bad = {'keras', 'tensorflow', 'training', 'export', 'edge.line'} & set(sys.modules);"
        "sys.exit(repr(bad) if bad else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
