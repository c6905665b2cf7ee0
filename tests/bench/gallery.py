"""How soon the gallery's page is there, and how long the charts take, over a million inspections.

    python tests/bench/gallery.py [--rows 1000000] [--journal FILE]

Each address is asked for through the whole station but the network, six times; the first answer and
the median of the others are told; the first reads from disk what is not in memory yet.
One JSON on stdout; exit 1 where an address of the gallery takes more than 300 ms.
"""

from __future__ import annotations

import argparse
import json
import os
import sqlite3
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "unit"))
sys.path.insert(0, str(Path(__file__).parent))

from journal import LOT, fill
from starlette.testclient import TestClient
from toy_line import unsealed

from edge.station.app import create_app
from qc.journal import JournalWriter
from qc.journal_chain import Chain

MOST_MS = 300
REVIEWS = 20_000
GALLERY = (
    "/gallery",
    "/gallery?verdict=NG",
    "/gallery?class=nothing",
    "/gallery?source=nothing&verdict=NG",
    "/gallery?lot=lot-0042",
    "/gallery?lot=lot-0042&class=nothing",
    "/gallery?part=part-77777",
    "/gallery?since=2025-03-04T10:00&until=2025-03-04T11:00&verdict=NG",
    "/gallery?reviewer=Ann",
    "/gallery?decision=OK&verdict=NG",
    "/gallery?decision=none&verdict=NG",
    "/gallery?after=500000",
    "/api/v1/parts?after=500000&class=nothing",
)
CHARTS = ("/charts", "/charts?lot=lot-0042", "/agreement")


def review(path: Path) -> None:
    """Reviews of the NG parts from the oldest on, two people by turns."""
    with JournalWriter(path, unsealed(bundle_id="b"), "toy") as writer:  # brings an old file up
        writer.drop("toy", "d", "bench")
    connection = sqlite3.connect(path, isolation_level=None)
    chain = Chain(connection)
    chain.begin()
    for number in range(REVIEWS):
        row = {
            "inspection_id": f"20250304-{20 * number:09d}",
            "reviewer": "Ann" if number % 2 else "Ben",
            "decision": "NG" if number % 10 else "OK",
            "defect_class": None,
            "note": "",
            "at": "2025-03-05T00:00:00.000000+00:00",
        }
        chain.append("reviews", row)
    connection.execute("COMMIT")
    connection.close()


def times(client: TestClient, address: str) -> dict[str, float]:
    """Milliseconds of the first answer, and of five more."""
    found = []
    for _ in range(6):
        begin = time.monotonic()
        answer = client.get(address)
        found.append(1000 * (time.monotonic() - begin))
        assert answer.status_code == 200, answer.text
    return {"first_ms": round(found[0], 1), "median_ms": round(statistics.median(found[1:]), 1)}


def main() -> int:
    """Measure, report."""
    words = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    words.add_argument("--rows", type=int, default=100 * LOT)
    words.add_argument("--journal", type=Path)
    told = words.parse_args()
    with tempfile.TemporaryDirectory() as name:
        path = told.journal or Path(name) / "million.db"
        if told.journal is None:
            fill(path, told.rows)
            review(path)
        client = TestClient(create_app(path, "Ann"))
        gallery = {address: times(client, address) for address in GALLERY}
        charts = {address: times(client, address) for address in CHARTS}
    row: dict[str, Any] = {"rows": told.rows, "load": round(os.getloadavg()[0], 1)}
    row |= {"gallery": gallery, "charts": charts}
    print(json.dumps(row, indent=1))
    return int(max(found["median_ms"] for found in gallery.values()) > MOST_MS)


if __name__ == "__main__":
    sys.exit(main())
