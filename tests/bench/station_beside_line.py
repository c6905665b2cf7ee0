"""Whether the line keeps its pace while people review: the same paced line, alone and beside them.

    python tests/bench/station_beside_line.py [--seconds 20] [--rounds 3] [--every 0.5]

Both sides take turns over one journal. A line of 100 parts a second, of a model that answers after
2 ms, flags one in twenty and keeps its picture. On the other turns `qc review` serves the journal,
in a process of its own, and a client does what a reviewer's browser does: asks for the part's page,
its picture and its map, looks, decides, and goes on to the next. Timed are the judging of a part
alone, and the whole from its capture until it is told, after its row is on the disk. Exit 1 where
p99 of the whole beside the station is more than a tenth above that alone; on a loaded machine the
figures say as much of the other work.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlencode

sys.path.insert(0, str(Path(__file__).parents[1] / "unit"))
sys.path.insert(0, str(Path(__file__).parent))

import numpy as np
from line import PART_S, InMemory
from toy_line import FirstPixel, inspection, seal

from edge.bench import OneInTwenty
from edge.line import Line
from qc.bundle import Bundle
from qc.errors import FaultError
from qc.journal import Journal, JournalWriter
from qc.types import Inspection, utc_now

MOST = 1.10
QUIET = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
WAITING = 600
"""Parts that wait for review before the line begins."""

PICTURE = np.full((480, 640, 3), (40, 90, 90), np.uint8)


def paced(bundle: Bundle, path: Path, seconds: float) -> tuple[list[float], list[float]]:
    """Milliseconds from the capture of each part until it is told, and until it was judged."""
    told: list[float] = []
    judged: list[float] = []

    def note(seen: Inspection) -> None:
        told.append((utc_now() - seen.captured_at).total_seconds() * 1000)
        judged.append(seen.timings_ms["total"])

    count = round(seconds / PART_S)
    predictor = OneInTwenty(FirstPixel(delay_s=0.002), bundle)
    with JournalWriter(path, bundle.manifest, predictor.runtime) as journal:
        source = InMemory(PICTURE, count, PART_S)
        report = Line(bundle, predictor, source, journal, on_inspection=note).run()
    if report.captured != count or report.fault or report.dropped:
        raise FaultError("the line lost a part", expected=count, found=report.as_json())
    return told, judged


@contextmanager
def served(path: Path) -> Iterator[int]:
    """`qc review` over the journal, in a process of its own; its port."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    words = ["-m", "qc.cli", "review", str(path), "--reviewer", "Bench", "--port", str(port)]
    station = subprocess.Popen([sys.executable, *words], **QUIET)
    try:
        deadline = time.monotonic() + 60
        while not _answers(port):
            if station.poll() is not None or time.monotonic() > deadline:
                raise FaultError("the station did not start", where=path)
            time.sleep(0.1)
        yield port
    finally:
        station.terminate()
        station.wait(20)


@contextmanager
def station(path: Path, every_s: float) -> Iterator[None]:
    """`qc review` over the journal, and somebody who reviews."""
    with served(path) as port:
        words = [__file__, "--client", str(port), "--every", str(every_s)]
        browser = subprocess.Popen([sys.executable, *words], **QUIET)
        try:
            time.sleep(1.0)
            yield
            if browser.poll() is not None:
                raise FaultError("the client ended before the line", found=browser.returncode)
        finally:
            browser.terminate()
            browser.wait(20)


def _answers(port: int) -> bool:
    try:
        asked = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        asked.request("GET", "/health")
        return asked.getresponse().status == 200
    except OSError:
        return False


def review(port: int, every_s: float) -> None:
    """Decide on one waiting part after the other, until stopped; fails where it is refused."""
    host = f"127.0.0.1:{port}"
    asked = http.client.HTTPConnection(host, timeout=30)

    def answer(method: str, address: str, body: str = "") -> bytes:
        headers = {
            "accept": "application/json" if body else "text/html",
            "origin": f"http://{host}",
        }
        if body:
            headers["content-type"] = "application/x-www-form-urlencoded"
        asked.request(method, address, body or None, headers)
        found = asked.getresponse()
        data = found.read()
        if found.status != 200:
            raise FaultError("the station refused", where=address, found=(found.status, data[:200]))
        return data

    page = answer("GET", "/").decode()
    found = re.search(r'class="button strong" href="([^"]+)"', page)
    href = found[1] if found else ""
    while href.startswith("/part/"):
        begun = time.monotonic()
        page = answer("GET", href).decode()
        for layer in ("image", "heat"):
            answer("GET", f"{href}/{layer}.png")
        csrf = re.findall(r'name="csrf" value="([^"]+)"', page)[0]
        seen = re.findall(r'name="seen" value="(\d+)"', page)[0]
        time.sleep(max(0.0, begun + every_s - time.monotonic()))
        fields = {"decision": "NG", "defect_class": "scratch", "csrf": csrf, "seen": seen}
        href = json.loads(answer("POST", href, urlencode(fields)))["next"]


def main() -> int:
    """Measure, print both sides; 1 where the line is slowed by more than a tenth."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=20.0, help="of each turn")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--every", type=float, default=0.5, help="seconds between two decisions")
    parser.add_argument("--client", type=int, help=argparse.SUPPRESS)
    told = parser.parse_args()
    if told.client:
        review(told.client, told.every)
        return 0
    sides: dict[str, list[tuple[float, float]]] = {"alone": [], "beside the station": []}
    with tempfile.TemporaryDirectory() as name:
        bundle = seal(Path(name) / "toy.tflite")
        path = Path(name) / "line.journal"
        bundle_id = bundle.manifest.bundle_id
        with JournalWriter(path, bundle.manifest, "toy") as writer:
            for n in range(WAITING):
                writer.put(inspection(f"w-{n}", bundle_id=bundle_id, image=PICTURE))
        for _ in range(told.rounds):
            for side, found in sides.items():
                if side == "alone":
                    times, judged = paced(bundle, path, told.seconds)
                else:
                    with station(path, told.every):
                        times, judged = paced(bundle, path, told.seconds)
                p50, p99 = (float(np.percentile(times, q)) for q in (50, 99))
                found.append((p50, p99))
                load = f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()}"
                said = f"p50 {p50:.2f} ms, p99 {p99:.2f} ms"
                said += f" (judged: p99 {np.percentile(judged, 99):.2f} ms)"
                print(f"{side}: {said}, {load}", flush=True)
        reviews = len(Journal(path).all_reviews())
    middle = {side: statistics.median(p99 for _, p99 in found) for side, found in sides.items()}
    ratios = [b / a for (_, a), (_, b) in zip(*sides.values(), strict=True)]
    ratio = statistics.median(ratios)
    said = ", ".join(f"{side} {p99:.2f} ms" for side, p99 in middle.items())
    print(f"p99: {said}; ratio {ratio:.2f} (<= {MOST:.2f}); {reviews} reviews meanwhile")
    return int(ratio > MOST or reviews == 0)


if __name__ == "__main__":
    sys.exit(main())
