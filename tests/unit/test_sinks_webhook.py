"""The webhook against a real server on loopback, also with TLS."""

from __future__ import annotations

import hashlib
import hmac
import json
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from broker import Certificates, free_port
from toy_line import wait_until
from toy_outbox import ids, journal_rows, messages, outbox

from edge import outbox as module
from edge import posting
from edge.sinks import webhook
from qc.errors import DataError, FaultError, RecipeError, UsageError
from qc.tables import read_table

SECRET = "not guessed"


class Receiver:
    """Takes posts; `answer` says with which status it answers the n-th, from 0."""

    def __init__(self, tls: Certificates | None = None) -> None:
        self.posts: list[tuple[dict[str, str], bytes]] = []
        self.taken: list[str] = []
        self.connections = 0
        self.answer: Callable[[int], int] = lambda n: 200
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True  # else each answer takes 40 ms

            def setup(self) -> None:
                receiver.connections += 1
                super().setup()

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                status = receiver.take({k.lower(): v for k, v in self.headers.items()}, body)
                self.send_response(status)
                self.send_header("Location", "/elsewhere")
                self.send_header("Content-Length", "7")
                self.end_headers()
                self.wfile.write(b"because")

            def do_GET(self) -> None:
                raise AssertionError("a redirect was followed")

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        scheme = "http"
        if tls is not None:
            scheme, context = "https", ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(tls.server, tls.server_key)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.url = f"{scheme}://127.0.0.1:{self._server.server_port}/parts"
        self._thread = threading.Thread(target=self._server.serve_forever, args=[0.02])
        self._thread.start()

    def take(self, headers: dict[str, str], body: bytes) -> int:
        number = len(self.posts)
        self.posts.append((headers, body))
        status = self.answer(number)
        if 200 <= status < 300 and "x-qc-inspection" in headers:
            self.taken.append(headers["x-qc-inspection"])
        return status

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.close()


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return journal_rows(tmp_path_factory.mktemp("journal") / "line3.journal", ids(1, 5))


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QC_SECRET", SECRET)
    monkeypatch.setattr(module, "BACKOFF_S", (0.01, 0.05))
    monkeypatch.setattr(module, "STUCK_S", 0.1)


def sink(url: str, **changes: Any) -> webhook.Sink:
    return webhook.Sink(url, None, **({"timeout_s": 2.0} | changes))  # type: ignore[arg-type]


def test_each_part_is_posted_and_signed(receiver: Receiver, path: Path) -> None:
    told = sink(receiver.url, secret_env="QC_SECRET")
    for message in messages(path):
        told.write(message)
    told.close()
    assert receiver.taken == ids(1, 5)
    assert [json.loads(b) for _, b in receiver.posts] == [m.as_json() for m in messages(path)]
    for headers, body in receiver.posts:
        stamp = headers["x-qc-timestamp"]
        assert abs(time.time() - int(stamp)) < 60
        mac = hmac.new(SECRET.encode(), f"{stamp}.".encode() + body, hashlib.sha256).hexdigest()
        assert headers["x-qc-signature"] == f"sha256={mac}"
        assert headers["content-type"] == "application/json"
    assert receiver.connections == 1, "the connection is kept"


def test_the_signature_by_hand() -> None:
    """echo -n '1700000000.{"a":1}' | openssl dgst -sha256 -hmac key"""
    found = posting.sign("key", b'{"a":1}', now=1_700_000_000.9)
    mac = "a438e398bfafc57e4396bb7fc2304422f0f768e965d073ca313cb52e22e6ad03"
    assert found == {"X-QC-Timestamp": "1700000000", "X-QC-Signature": f"sha256={mac}"}
    assert posting.sign(None, b"", now=1.0) == {"X-QC-Timestamp": "1"}


def test_the_state_is_posted_too(receiver: Receiver) -> None:
    told = sink(receiver.url)
    told.open("line3", "hold")
    told.fail_safe("reject", "the watchdog")
    told.resume()
    told.close()
    found = [json.loads(body) for _, body in receiver.posts]
    assert [(s["event"], s["state"], s["action"], s["why"]) for s in found] == [
        ("state", "fail_safe", "reject", "the watchdog"),
        ("state", "running", None, ""),
    ]
    assert {s["line"] for s in found} == {"line3"}


@pytest.mark.parametrize("status", [200, 201, 204, 299])
def test_any_2xx_is_taken(receiver: Receiver, path: Path, status: int) -> None:
    receiver.answer = lambda n: status
    sink(receiver.url).write(messages(path)[0])


@pytest.mark.parametrize(
    ("status", "kind"),
    [(s, DataError) for s in (400, 409, 413, 415, 422)]
    + [(s, FaultError) for s in (301, 302, 307, 401, 403, 404, 408, 429, 500, 502, 503, 507)],
)
def test_who_is_at_fault(
    receiver: Receiver, path: Path, status: int, kind: type[Exception]
) -> None:
    receiver.answer = lambda n: status
    with pytest.raises(kind, match=rf"/parts: .* an answer of 2xx; found {status} because"):
        sink(receiver.url).write(messages(path)[0])
    assert len(receiver.posts) == 1, "the outbox tries again, and nobody else"


def test_errors_then_a_hang_then_recovery(receiver: Receiver, path: Path, tmp_path: Path) -> None:
    """503 four times, an answer that does not come, 429: everything arrives, in order."""
    free = threading.Event()

    def answer(number: int) -> int:
        if number == 6:
            free.wait(5)
        return {0: 503, 1: 503, 2: 503, 3: 503, 7: 429}.get(number, 200)

    receiver.answer = answer
    journal = journal_rows(tmp_path / "line.journal", ids(1, 8))
    box = outbox(journal, erp=sink(receiver.url, timeout_s=0.4))
    box.start()
    wait_until(lambda: box.status()[0].state == "stuck")
    wait_until(lambda: "timed out" in box.status()[0].why)
    free.set()
    wait_until(lambda: box.status()[0].waiting == 0)
    assert box.close(2.0) == []
    assert [*dict.fromkeys(receiver.taken)] == ids(1, 8)
    assert receiver.taken.count("i00003") == 2, "it was taken when nobody waited any more"


def test_a_message_that_is_refused_is_put_aside(receiver: Receiver, tmp_path: Path) -> None:
    receiver.answer = lambda n: 422 if b'"i00003"' in receiver.posts[n][1] else 200
    journal = journal_rows(tmp_path / "line.journal", ids(1, 5))
    box = outbox(journal, erp=sink(receiver.url))
    box.start()
    wait_until(lambda: len(receiver.taken) == 4)
    (said,) = box.close(2.0)
    assert said.startswith("erp: 1 put aside, the last i00003: ") and "422 because" in said
    assert receiver.taken == ["i00001", "i00002", "i00004", "i00005"]
    assert len(receiver.posts) == 4 + module.TRIES


def test_a_receiver_that_is_away_is_a_fault(path: Path) -> None:
    with pytest.raises(FaultError, match=r"there is no answer.*refused"):
        sink(f"http://127.0.0.1:{free_port()}/").write(messages(path)[0])


def test_tls_is_checked(tmp_path: Path, path: Path) -> None:
    made = Certificates(tmp_path)
    receiver = Receiver(made)
    try:
        told = sink(receiver.url, ca=made.ca)
        for message in messages(path):
            told.write(message)
        told.close()
        assert receiver.taken == ids(1, 5)
        with pytest.raises(FaultError, match="certificate verify failed"):
            sink(receiver.url).write(messages(path)[0])
        assert receiver.taken == ids(1, 5), "nothing was sent to a stranger"
    finally:
        receiver.close()


def test_what_cannot_work_is_refused_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QC_SECRET", "")
    with pytest.raises(UsageError, match=r"'secret_env'.*in QC_SECRET; found an empty one"):
        sink("https://h/", secret_env="QC_SECRET")
    with pytest.raises(FaultError, match=r"missing\.pem: the authority cannot be read"):
        sink("https://h/", ca=Path("missing.pem"))


@pytest.mark.parametrize("url", ["", "h/parts", "ftp://h/", "https://", "https://me:word@h/"])
def test_a_url_is_one(url: str) -> None:
    with pytest.raises(RecipeError, match=r"sinks\.0\.url"):
        read_table({"url": url}, webhook.Options, "line.toml", "sinks.0.")
