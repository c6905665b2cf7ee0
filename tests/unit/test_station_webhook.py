"""The webhook of decisions: signed, in order, tried again, bounded, and never in a person's way."""

from __future__ import annotations

import hashlib
import hmac
import json
import threading
import time
from pathlib import Path

import pytest
from starlette.testclient import TestClient
from unit.station_journal import SAME, copy_of, post, write_four
from unit.test_station_api import token

from edge.posting import Poster
from edge.station.app import create_app
from edge.station.research import NOTICE
from edge.station.webhook import Webhook, webhook_to
from qc.errors import DataError, FaultError, UsageError
from qc.journal import Journal
from qc.types import Review, Verdict

QUICK = (0.01,)


class Told(Poster):
    """A receiver in the same process; `answers` are raised or, where None, taken."""

    def __init__(self, answers: list[Exception | None] | None = None) -> None:
        super().__init__("http://127.0.0.1:9/")
        self.bodies: list[bytes] = []
        self.answers = answers or []
        self.hold: threading.Event | None = None

    def post(self, body: bytes, more: dict[str, str] | None = None) -> None:
        if self.hold is not None:
            self.hold.wait(5)
        if self.answers and (error := self.answers.pop(0)) is not None:
            raise error
        self.bodies.append(body)


def wait_until(webhook: Webhook, **facts: int) -> None:
    end = time.monotonic() + 5
    while any(webhook.facts()[name] != n for name, n in facts.items()):
        assert time.monotonic() < end, webhook.facts()
        time.sleep(0.005)


@pytest.fixture(scope="module")
def four(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_four(tmp_path_factory.mktemp("four"))


def test_each_decision_is_told_after_it_is_journaled(four: Path) -> None:
    told = Told()
    webhook = Webhook(told, waits_s=QUICK)
    webhook.start()
    client = TestClient(create_app(four, "Ann", webhook=webhook))
    headers = {**SAME, "x-csrf-token": token(client)}
    sent = {"decision": "NG", "defect_class": "dent", "note": "é"}
    answer = client.post("/api/v1/parts/i-3/reviews", json=sent, headers=headers)
    assert answer.status_code == 201
    wait_until(webhook, sent=1)
    webhook.stop()
    (body,) = told.bodies
    found = json.loads(body)
    wanted = {"kind": "decision", "inspection_id": "i-3", "part_id": "P-3", "verdict": "REVIEW"}
    wanted |= {"decision": "NG", "defect_class": "dent", "reviewer": "Ann", "note": "é"}
    assert {name: found[name] for name in wanted} == wanted


def test_a_decision_that_was_taken_back_is_told_too(four: Path, tmp_path: Path) -> None:
    told = Told()
    webhook = Webhook(told, waits_s=QUICK)
    webhook.start()
    client = TestClient(create_app(copy_of(four, tmp_path), "Ann", webhook=webhook))
    assert post(client, "i-2", decision="OK", defect_class=None, note="shadow").status_code == 200
    csrf = {"csrf": token(client)}
    for _ in range(2):  # back, and the decision again
        assert client.post("/part/i-2/undo", data=csrf, headers=SAME).status_code == 200
    wait_until(webhook, sent=3)
    webhook.stop()
    said = [json.loads(body) for body in told.bodies]
    assert [(s["decision"], s["taken_back"]) for s in said] == [
        ("OK", False),
        ("REVIEW", True),
        ("OK", False),
    ]


def test_research_says_what_it_is_not_for_and_names_no_part(four: Path, tmp_path: Path) -> None:
    told = Told()
    webhook = Webhook(told, waits_s=QUICK)
    path = copy_of(four, tmp_path)
    client = TestClient(create_app(path, "Ann", webhook=webhook, research=True))
    webhook.start()
    assert post(client, "i-2", note="seen").status_code == 200
    wait_until(webhook, sent=1)
    webhook.stop()
    assert json.loads(told.bodies[0])["notice"] == NOTICE and b"P-2" not in told.bodies[0]


def rows(four: Path, n: int) -> list[tuple[object, Review]]:
    row = Journal(four).get("i-2")
    return [(row, Review("i-2", "Ann", Verdict.OK, note=str(k))) for k in range(n)]


def test_it_is_tried_again_in_order_and_a_refusal_is_passed_over(four: Path) -> None:
    told = Told([FaultError("busy"), FaultError("busy"), None, DataError("never"), None])
    webhook = Webhook(told, waits_s=QUICK)
    for pair in rows(four, 3):
        webhook.tell(*pair)  # type: ignore[arg-type]
    webhook.start()
    wait_until(webhook, sent=2, refused=1)
    webhook.stop()
    assert [json.loads(body)["note"] for body in told.bodies] == ["0", "2"]
    assert webhook.facts()["last_error"] == "never"


def test_a_full_queue_makes_nobody_wait(four: Path) -> None:
    told = Told()
    webhook = Webhook(told, depth=2, waits_s=QUICK)
    begin = time.monotonic()
    for pair in rows(four, 5):
        webhook.tell(*pair)  # type: ignore[arg-type]
    assert time.monotonic() - begin < 1
    assert (webhook.facts()["overflow"], webhook.facts()["waiting"]) == (3, 2)
    webhook.start()
    webhook.stop()
    assert webhook.facts()["sent"] == 2, "what waits is posted before the end"


def test_a_receiver_that_is_gone_does_not_keep_the_station(four: Path) -> None:
    webhook = Webhook(Told([FaultError("gone")] * 1000), waits_s=(30.0,))
    webhook.tell(*rows(four, 1)[0])  # type: ignore[arg-type]
    webhook.start()
    begin = time.monotonic()
    webhook.stop()
    assert time.monotonic() - begin < 3
    assert webhook.facts()["unsent"] == 1


def test_the_signature_is_that_of_the_line(monkeypatch: pytest.MonkeyPatch) -> None:
    posted: list[dict[str, str]] = []

    class Pool:
        def request(self, method: str, url: str, **sent: object) -> object:
            posted.append(sent["headers"])  # type: ignore[arg-type]
            raise OSError("enough")

    monkeypatch.setenv("HOOK", "key")
    webhook = webhook_to("http://127.0.0.1:9/x", "HOOK")
    monkeypatch.setattr(webhook._poster, "_pool", Pool())
    with pytest.raises(FaultError):
        webhook._poster.post(b"{}")
    stamp = posted[0]["X-QC-Timestamp"]
    mac = hmac.new(b"key", f"{stamp}.{{}}".encode(), hashlib.sha256).hexdigest()
    assert posted[0]["X-QC-Signature"] == f"sha256={mac}"


def test_what_is_no_address_or_secret_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HOOK", raising=False)
    with pytest.raises(UsageError, match="--webhook"):
        webhook_to("ftp://example.org")
    with pytest.raises(UsageError, match="HOOK"):
        webhook_to("http://example.org", "HOOK")
