"""The line's page: what it answers, that it draws only for who watches, that it ends in time."""

from __future__ import annotations

import json
import re
import socket
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families
from unit.toy_line import inspection, seal, wait_until

import edge.listening
import edge.live
from edge.live import LiveServer
from edge.live.pictures import LONGEST, Pictures
from edge.metrics import metrics_text
from edge.status import LATENCY_BUCKETS_MS, LineStatus, SinkStatus, SourceStatus
from qc.bundle import Bundle
from qc.errors import FaultError, UsageError
from qc.types import Inspection, Verdict

STATIC = Path(edge.live.__file__).parent / "static"
COUNTS = (1, 0, 2, 3, *([0] * (len(LATENCY_BUCKETS_MS) - 4)), 1)


def status_of(**changes: Any) -> LineStatus:
    now = datetime(2025, 3, 4, 8, tzinfo=UTC)
    values: dict[str, Any] = {
        "state": "running",
        "bundle_id": "b-1",
        "runtime": "toy 1.0",
        "started_at": now,
        "captured": 12,
        "ok": 4,
        "ng": 1,
        "review": 1,
        "fault": 1,
        "dropped": {"overtaken by newer frames": 3},
        "queued": 1,
        "in_flight": 2,
        "latency_counts": COUNTS,
        "latency_sum_ms": 6500.0,
        "p50_ms": 8.5,
        "p99_ms": 41.0,
        "disk_free_bytes": 7_000_000_000,
        "sources": (SourceStatus("cam", "synthetic", "running", now, frames=12),),
        "sinks": (SinkStatus("mqtt-0", "failing", 5, 2, "refused"),),
    }
    return LineStatus(**(values | changes))


@dataclass
class FakeLine:
    """A line that is only looked at."""

    bundle: Bundle
    shown: Inspection | None = None
    now: LineStatus = field(default_factory=status_of)
    error: Exception | None = None
    hanging: threading.Event | None = None
    fresh: bool = False
    asked: int = 0

    def status(self) -> LineStatus:
        if self.hanging is not None:
            self.hanging.wait(5)
        if self.error is not None:
            raise self.error
        return self.now

    def latest(self, source_id: str) -> Inspection | None:
        self.asked += 1
        if self.fresh and self.shown is not None:
            return replace(self.shown, inspection_id=f"i{self.asked}")
        return self.shown


@pytest.fixture
def line(tmp_path: Path) -> FakeLine:
    bundle = seal(tmp_path / "toy.tflite")
    return FakeLine(bundle, inspection("i0", bundle_id=bundle.manifest.bundle_id))


@pytest.fixture
def server(line: FakeLine) -> Iterator[LiveServer]:
    with LiveServer(line, port=0) as running:
        yield running


def get(server: LiveServer, path: str, host: str | None = None) -> tuple[int, bytes, Any]:
    request = urllib.request.Request(server.url + path, headers={"Host": host} if host else {})
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            return answer.status, answer.read(), answer.headers
    except urllib.error.HTTPError as error:
        return error.code, error.read(), error.headers


def parts(server: LiveServer, count: int, timeout_s: float = 5.0) -> list[bytes]:
    """The first JPEGs of the live picture; fewer where no more come within the time."""
    found: list[bytes] = []
    data = b""
    end = time.monotonic() + timeout_s
    with urllib.request.urlopen(server.url + "live/cam.mjpg", timeout=timeout_s) as answer:
        boundary = b"--" + answer.headers.get_param("boundary").encode()
        while len(found) < count and time.monotonic() < end:
            try:
                data += answer.read1(65536)
            except TimeoutError:
                break
            *whole, data = data.split(boundary)
            found += [p.split(b"\r\n\r\n", 1)[1] for p in whole if b"\r\n\r\n" in p]
    return found


def test_health_has_the_keys_of_the_account(server: LiveServer, line: FakeLine) -> None:
    code, body, headers = get(server, "health")
    facts = json.loads(body)
    assert code == 200
    assert [facts[k] for k in ("captured", "ok", "ng", "review", "fault")] == [12, 4, 1, 1, 1]
    assert facts["dropped"] == {"overtaken by newer frames": 3}
    assert facts["p50_ms"] == 8.5 and facts["p99_ms"] == 41.0 and facts["bundle_id"] == "b-1"
    judged = sum(facts[k] for k in ("ok", "ng", "review", "fault"))
    assert judged + sum(facts["dropped"].values()) + facts["in_flight"] == facts["captured"]
    assert facts["sources"][0]["state"] == "running" and facts["sinks"][0]["waiting"] == 5
    assert headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("state", ["degraded", "stopping"])
def test_health_is_503_when_not_all_is_well(server: LiveServer, line: FakeLine, state: str) -> None:
    line.now = status_of(state=state)
    code, body, _ = get(server, "health")
    assert code == 503 and json.loads(body)["state"] == state


def test_metrics_are_the_account(server: LiveServer) -> None:
    code, body, headers = get(server, "metrics")
    assert code == 200 and headers["Content-Type"].startswith("text/plain; version=0.0.4")
    found = {
        (s.name, *sorted(s.labels.values())): s.value
        for family in text_string_to_metric_families(body.decode())
        for s in family.samples
    }
    assert found["qc_captured_total",] == 12
    assert found["qc_inspections_total", "OK"] == 4 and found["qc_inspections_total", "FAULT"] == 1
    assert found["qc_dropped_total", "overtaken by newer frames"] == 3
    assert found["qc_bundle_info", "b-1", "toy 1.0"] == 1
    assert found["qc_latency_seconds_bucket", "0.001"] == 1
    assert found["qc_latency_seconds_bucket", "0.01"] == 6  # 1 + 0 + 2 + 3, cumulative
    assert found["qc_latency_seconds_bucket", "+Inf"] == found["qc_latency_seconds_count",] == 7
    assert found["qc_latency_seconds_sum",] == 6.5
    assert found["qc_source_state", "cam", "running"] == 1
    assert found["qc_source_state", "cam", "degraded"] == 0
    assert found["qc_sink_waiting", "mqtt-0"] == 5 and found["qc_sink_state", "failing", "mqtt-0"]
    assert found["qc_disk_free_bytes",] == 7e9 and found["qc_images_kept",] == 1


def test_metrics_say_that_pictures_are_not_kept() -> None:
    assert b"\nqc_images_kept 0.0\n" in metrics_text(status_of(images_why="the disk is full"))


def test_page_needs_nothing_from_elsewhere(server: LiveServer) -> None:
    code, body, headers = get(server, "")
    assert code == 200 and b"live.js" in body
    assert "default-src 'self'" in headers["Content-Security-Policy"]
    for file in STATIC.iterdir():
        addresses = re.findall(r"https?://[^\s\"']+", file.read_text(encoding="utf-8"))
        assert set(addresses) <= {"http://www.w3.org/2000/svg"}, file.name
        assert get(server, f"static/{file.name}")[0] == 200


def test_state_names_the_last_part(server: LiveServer, line: FakeLine) -> None:
    latest = json.loads(get(server, "state.json")[1])["sources"][0]["latest"]
    assert latest["verdict"] == "NG" and latest["reason"] == "because" and latest["has_image"]
    line.shown = None
    assert json.loads(get(server, "state.json")[1])["sources"][0]["latest"] is None


def test_live_picture_shows_the_overlay_once_and_the_next_when_there_is_one(
    server: LiveServer, line: FakeLine
) -> None:
    assert line.asked == 0  # nobody watches: nothing is asked for, nothing drawn
    assert len(parts(server, 2, timeout_s=0.5)) == 1
    line.fresh = True
    first, second = parts(server, 2)
    image = cv2.imdecode(np.frombuffer(first, np.uint8), cv2.IMREAD_COLOR)
    assert image.shape[1] >= 360 and image.std() > 10
    assert second.startswith(b"\xff\xd8")
    assert get(server, "live/other.mjpg")[0] == 404
    assert get(server, "live/cam.jpg")[1].startswith(b"\xff\xd8")


def test_live_picture_comes_at_most_ten_times_a_second(server: LiveServer, line: FakeLine) -> None:
    line.fresh = True
    begun = time.monotonic()
    parts(server, 4)
    assert time.monotonic() - begun >= 0.29  # three pauses of 0.1 s


def test_two_who_watch_cost_one_drawing(line: FakeLine) -> None:
    pictures = Pictures(line)
    first = pictures.picture("cam")
    assert pictures.picture("cam") is first and pictures.drawn == 1
    line.shown = replace(inspection("i1", Verdict.FAULT), image=None, prediction=None)
    assert pictures.picture("cam") is first  # a fault without a picture leaves the last one


def test_large_frame_is_drawn_small_and_other_bundle_without_heat(line: FakeLine) -> None:
    assert line.shown is not None
    grey = np.full((1024, 1280, 3), 90, np.uint8)

    def redness(shown: Inspection) -> float:
        line.shown = shown
        picture = Pictures(line).picture("cam")
        assert picture is not None
        image = cv2.imdecode(np.frombuffer(picture.jpeg, np.uint8), cv2.IMREAD_COLOR).astype(int)
        assert image.shape[1] == LONGEST
        part = image[: LONGEST * 1024 // 1280]
        return float(np.abs(part[..., 2] - part[..., 0]).mean())

    assert redness(replace(line.shown, image=grey)) > 5
    assert redness(replace(line.shown, image=grey, bundle_id="swapped")) < 1


def test_line_that_raises_is_a_500_and_the_server_lives(server: LiveServer, line: FakeLine) -> None:
    line.error = RuntimeError("no status")
    code, body, _ = get(server, "health")
    assert code == 500 and "no status" in json.loads(body)["error"]
    line.error = None
    assert get(server, "health")[0] == 200 and server.is_alive


def test_stop_ends_while_somebody_watches(line: FakeLine) -> None:
    server = LiveServer(line, port=0)
    server.start()
    with urllib.request.urlopen(server.url + "live/cam.mjpg", timeout=5) as answer:
        assert answer.read1(10)
        begun = time.monotonic()
        server.stop()
        server.stop()
    assert time.monotonic() - begun < 2 and not server.is_alive


def test_stop_does_not_wait_for_a_line_that_hangs(
    line: FakeLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(edge.listening, "STOP_S", 0.3)
    line.hanging = threading.Event()
    server = LiveServer(line, port=0)
    server.start()
    with socket.create_connection(server._socket.getsockname()) as client:
        client.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
        time.sleep(0.2)
        begun = time.monotonic()
        server.stop()
        assert time.monotonic() - begun < 1
        line.hanging.set()
    wait_until(lambda: not server.is_alive)


def test_foreign_host_name_is_refused(server: LiveServer) -> None:
    assert get(server, "health", host="evil.example")[0] == 400
    assert get(server, "health", host="localhost:1")[0] == 200


def test_port_in_use_is_said_before_anything_starts(server: LiveServer, line: FakeLine) -> None:
    port = int(server.url.rsplit(":", 1)[1].strip("/"))
    with pytest.raises(UsageError, match="cannot listen"):
        LiveServer(line, port=port)


def test_missing_extra_is_named(line: FakeLine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    with pytest.raises(FaultError, match=r"attention-qc\[live\]"):
        LiveServer(line, port=0)
