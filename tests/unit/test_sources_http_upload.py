"""Pictures that another machine sends: the verdict, or one error that says why not."""

from __future__ import annotations

import base64
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import httpx
import numpy as np
import pytest
from toy_line import FirstPixel, picture, seal, wait_until

from edge.inspect import inspect_frame
from edge.line import Line
from edge.sources.http_upload import Source
from qc.bundle import Bundle
from qc.errors import FaultError, UsageError
from qc.imageio import decode_image
from qc.journal import Journal, JournalWriter
from qc.types import Image


def png(image: Image) -> bytes:
    return cv2.imencode(".png", image[..., ::-1])[1].tobytes()


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return seal(tmp_path_factory.mktemp("bundle") / "toy.tflite")


class Judged:
    """A source with what a line does with it, in a thread; `hold` keeps the verdicts back."""

    def __init__(self, bundle: Bundle | None, judge: Bundle, **options: Any) -> None:
        self.source = Source(port=0, source_id="gate", **options)
        if bundle is not None:
            self.source.begin(bundle)
        self.judge = judge
        self.go_on = threading.Event()
        self.go_on.set()
        self.seen: list[Any] = []
        self.thread = threading.Thread(target=self._work)

    def _work(self) -> None:
        for frame in self.source:
            self.seen.append(frame)
            assert self.go_on.wait(5)
            self.source.answered(inspect_frame(frame, self.judge, FirstPixel()))

    def __enter__(self) -> Judged:
        self.source.__enter__()
        self.thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.go_on.set()
        self.source.__exit__(None, None, None)
        self.thread.join(5)
        assert not self.thread.is_alive()

    def post(self, content: bytes = b"", **more: Any) -> httpx.Response:
        return httpx.post(self.source.url, content=content or None, timeout=10, **more)


@pytest.fixture
def gate(bundle: Bundle) -> Iterator[Judged]:
    with Judged(bundle, bundle) as judged:
        yield judged


def test_a_picture_in_a_verdict_out(gate: Judged) -> None:
    answer = gate.post(png(picture(255)), params={"part_id": "P-7"}, headers={"X-Lot": "lot3"})
    found = answer.json()
    assert answer.status_code == 200
    assert (found["verdict"], found["class"], found["part_id"]) == ("NG", "scratch", "P-7")
    assert found["lot"] == "lot3" and found["reason"] and found["inspection_id"]
    assert found["score"] == pytest.approx({"good": 0.0039, "scratch": 0.996, "dent": 0}, abs=1e-3)
    assert found["timings_ms"]["total"] > 0 and found["overlay"] is None
    frame = gate.seen[0]
    assert frame.frame_id == found["frame_id"] and frame.source_id == "gate"
    np.testing.assert_array_equal(frame.image, picture(255))
    assert gate.post(png(picture(0))).json()["verdict"] == "OK"


def test_the_overlay_in_the_answer_or_as_the_answer(gate: Judged) -> None:
    found = gate.post(png(picture(255)), params={"overlay": "1"}).json()
    inside = decode_image(base64.b64decode(found["overlay"]), "overlay")
    answer = gate.post(png(picture(255)), headers={"Accept": "image/png"})
    assert answer.headers["content-type"] == "image/png" and answer.headers["x-verdict"] == "NG"
    np.testing.assert_array_equal(decode_image(answer.content, "answer"), inside)
    assert inside.shape[1] == 360


def test_without_a_bundle_there_is_no_overlay_and_it_says_so(bundle: Bundle) -> None:
    with Judged(None, bundle) as judged:
        answer = judged.post(png(picture()), params={"overlay": "1"})
        assert answer.status_code == 501 and "was not told" in answer.json()["error"]["message"]
        assert judged.post(png(picture())).json()["score"] is None


@pytest.mark.parametrize("seed", range(8))
def test_a_form_with_a_file_of_any_bytes(gate: Judged, seed: int) -> None:
    image = np.random.default_rng(seed).integers(0, 256, (40, 50, 3), np.uint8)
    answer = httpx.post(
        gate.source.url, files={"image": ("p.png", png(image), "image/png")}, data={"a": "b"}
    )
    assert answer.status_code == 200
    np.testing.assert_array_equal(gate.seen[-1].image, image)


@pytest.mark.parametrize(
    ("content", "headers", "status", "says"),
    [
        (b"", {}, 400, "the body is empty"),
        (b"hello", {}, 400, "the upload: "),
        (png(picture())[:-20], {}, 400, "the upload: "),
        (b"{}", {"Content-Type": "application/json"}, 415, "found application/json"),
        (b"--x--\r\n", {"Content-Type": "multipart/form-data; boundary=x"}, 400, "no file"),
        (b"x" * 200_001, {}, 413, "more than 0.2 MB"),
        (png(picture()), {"X-Part-Id": "p" * 201}, 400, "part_id: expected up to 200"),
        (png(picture()), {"Origin": "http://elsewhere.example"}, 403, "browser"),
    ],
)
def test_what_is_no_picture_is_one_clear_error(
    bundle: Bundle, content: bytes, headers: dict[str, str], status: int, says: str
) -> None:
    with Judged(bundle, bundle, max_mb=0.2) as judged:
        answer = judged.post(content, headers=headers)
        assert answer.status_code == status and says in answer.json()["error"]["message"]
        assert judged.seen == []
        assert judged.post(png(picture())).status_code == 200, "it goes on"


def test_a_photograph_that_is_damaged_within_is_refused(gate: Judged) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    data = bytearray(cv2.imencode(".jpg", noise)[1].tobytes())
    data[len(data) // 2 : len(data) // 2 + 40] = b"\xff\xd9" * 20
    answer = gate.post(bytes(data))
    assert answer.status_code == 400 and "upload: image" in answer.json()["error"]["message"]


def test_no_verdict_in_time_is_a_fault_and_a_full_queue_is_refused(bundle: Bundle) -> None:
    with Judged(bundle, bundle, timeout_s=0.4, queue=1) as judged:
        judged.go_on.clear()
        answers: list[httpx.Response] = []
        first = threading.Thread(target=lambda: answers.append(judged.post(png(picture()))))
        first.start()
        wait_until(lambda: len(judged.seen) == 1)
        assert judged.post(png(picture())).status_code == 429
        first.join(5)
        late = answers[0]
        assert late.status_code == 503 and late.json()["verdict"] == "FAULT"
        assert late.json()["error"]["message"] == "no verdict within 0.4 s"
        assert late.json()["frame_id"] == judged.seen[0].frame_id
        judged.go_on.set()
        wait_until(lambda: judged.post(png(picture())).status_code == 200)


def test_an_upload_that_stalls_is_given_up(bundle: Bundle) -> None:
    with Judged(bundle, bundle, timeout_s=0.3, queue=1) as judged:
        host, port = judged.source.url.split("/")[2].split(":")
        with socket.create_connection((host, int(port))) as caller:
            caller.settimeout(5)
            caller.sendall(
                b"POST /inspect HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 9\r\n\r\nab"
            )
            assert caller.recv(100).startswith(b"HTTP/1.1 408 ")
        assert judged.post(png(picture())).status_code == 200, "its place is free again"


def test_closing_answers_who_still_waits(bundle: Bundle) -> None:
    answers: list[httpx.Response] = []
    with Judged(bundle, bundle) as judged:
        judged.go_on.clear()
        waiting = threading.Thread(target=lambda: answers.append(judged.post(png(picture()))))
        waiting.start()
        wait_until(lambda: len(judged.seen) == 1)
        start = time.monotonic()
        judged.source.__exit__(None, None, None)
        waiting.join(5)
    assert answers[0].status_code == 503 and answers[0].json()["reason"] == "the line was stopped"
    assert time.monotonic() - start < 4


def test_the_token_stands_in_the_environment(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GATE_TOKEN", "s3cret-é")
    with Judged(bundle, bundle, token_env="GATE_TOKEN") as judged:
        for wrong in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "s3cret-?"}):
            answer = judged.post(png(picture()), headers=wrong)
            assert answer.status_code == 401 and "s3cret" not in answer.text
        right = {"Authorization": "Bearer s3cret-é".encode()}
        assert judged.post(png(picture()), headers=right).status_code == 200
    monkeypatch.delenv("GATE_TOKEN")
    with pytest.raises(FaultError, match="'GATE_TOKEN' holds no token"):
        Source(port=0, token_env="GATE_TOKEN").__enter__()


def test_addresses_that_cannot_be(gate: Judged) -> None:
    with pytest.raises(UsageError, match=r"other machines.*token_env.*found 0\.0\.0\.0"):
        Source(port=0, host="0.0.0.0").__enter__()
    port = int(gate.source.url.split(":")[2].split("/")[0])
    with pytest.raises(UsageError, match=r"cannot listen there.*expected a free port"):
        Source(port=port).__enter__()
    answer = httpx.post(gate.source.url, headers={"Host": "rebound.example"})
    assert answer.status_code == 400, "a foreign name does not reach it"


def test_a_line_answers_with_verdict_and_overlay_and_journals_it(
    bundle: Bundle, tmp_path: Path
) -> None:
    source = Source(port=0, source_id="gate")
    with JournalWriter(tmp_path / "journal", bundle.manifest, "toy 1.0") as journal:
        line = Line(bundle, FirstPixel(), source, journal)
        running = threading.Thread(target=line.run)
        running.start()
        wait_until(lambda: bool(source.url))
        asked = {"part_id": "P-1", "overlay": "1"}
        answers = [
            httpx.post(source.url, content=png(picture(red)), params=asked) for red in (0, 128, 255)
        ]
        line.stop()
        running.join(10)
    assert not running.is_alive(), "it ends though nobody uploads"
    found = [answer.json() for answer in answers]
    assert [f["verdict"] for f in found] == ["OK", "REVIEW", "NG"]
    assert all(f["overlay"] and f["score"] for f in found)
    rows = Journal(tmp_path / "journal").rows(newest_first=False)
    assert [r.inspection_id for r in rows] == [f["inspection_id"] for f in found]
    assert {r.part_id for r in rows} == {"P-1"}
