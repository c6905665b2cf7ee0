"""How fast the journal writes, and how fast it finds a lot among a million rows.

    python tests/bench/journal.py [--rows 1000000] [--seconds 20] [--kills 20]

1. Rows a second that one `JournalWriter` commits, without pictures, for some seconds, for each
   durability; each row has three scores and a map of 14 x 14.
2. A journal of a million rows in lots of 10,000 that lie next to each other two by two: the time
   to list one lot, as a person or a program asks for it, the first time and again. With another
   number of rows the last two lots are smaller; whole ones are listed where there are any.
3. The chain of that journal is walked, and it is exported as CSV, with the memory of that.
4. A line is killed at so many random moments.

One JSON on stdout; exit 1 below 2,000 rows a second, above 1 s for a lot, or where a kill broke
something.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "unit"))

from killed_line import kill_one
from toy_line import inspection, unsealed

from qc.journal import Filter, Journal, JournalWriter
from qc.journal_chain import Chain
from qc.journal_entry import inspection_row
from qc.journal_images import Durability
from qc.journal_open import open_journal
from qc.journal_schema import stamp
from qc.journal_verify import verify_journal
from qc.types import Inspection, Prediction, Verdict

LEAST_ROWS_A_SECOND, MOST_S = 2000, 1.0
LOT = 10_000
START = datetime(2025, 3, 4, tzinfo=UTC)
MANIFEST = unsealed(bundle_id="b")
PREDICTION = Prediction(
    np.array([0.875, 0.125, 0.0], np.float32),
    np.random.default_rng(0).random((14, 14, 3), np.float32),
    2_000_000,
)


def facts(number: int) -> dict[str, Any]:
    """What differs from part to part; two lots are in work at a time."""
    return {
        "inspection_id": f"20250304-{number:09d}",
        "captured_at": stamp(START + timedelta(seconds=number / 10)),
        "lot": f"lot-{number // (2 * LOT) * 2 + number % 2:04d}",
        "part_id": f"part-{number}",
    }


def part(number: int) -> Inspection:
    """One inspected part; one in twenty is NG."""
    known = facts(number)
    return inspection(
        known["inspection_id"],
        Verdict.OK if number % 20 else Verdict.NG,
        captured_at=datetime.fromisoformat(known["captured_at"]),
        lot=known["lot"],
        part_id=known["part_id"],
        prediction=PREDICTION,
        timings_ms={"infer": 2.0, "total": 3.5},
        image=None,
    )


def write(path: Path, durability: Durability, seconds: float) -> tuple[float, float]:
    """Rows a second of one writer, all of them committed; and microseconds of CPU for a row.

    The parts are made beforehand, for a line makes them elsewhere.
    """
    parts = [part(number) for number in range(10_000)]
    number = 0
    begin, before = time.monotonic(), time.process_time()
    with JournalWriter(path, MANIFEST, "toy", durability=durability) as writer:
        while time.monotonic() < begin + seconds:
            writer.put(replace(parts[number % len(parts)], inspection_id=f"i{number}"))
            number += 1
    busy = time.process_time() - before
    return number / (time.monotonic() - begin), busy / number * 1e6


def lot_size(number: int, rows: int) -> int:
    """How many of so many rows are in a lot."""
    pair, second = divmod(number, 2)
    in_pair = min(max(rows - pair * 2 * LOT, 0), 2 * LOT)
    return (in_pair + 1 - second) // 2


def fill(path: Path, rows: int) -> None:
    """The same rows in large transactions, to have many soon."""
    connection, lock = open_journal(path, "normal")
    chain = Chain(connection)
    kinds = [inspection_row(part(number), MANIFEST, False, None) for number in range(20)]
    for first in range(0, rows, LOT):
        chain.begin()
        for number in range(first, min(first + LOT, rows)):
            chain.append("inspections", kinds[number % 20] | facts(number))
        connection.execute("COMMIT")
    connection.close()
    os.close(lock)


def listed(path: Path, rows: int) -> dict[str, Any]:
    """Times to list lots, to page through all, and to ask by time."""
    journal = Journal(path)
    whole = rows // (2 * LOT) * 2
    times, busy = [], []
    for lot in random.Random(0).choices(range(whole or min(rows, 2)), k=5):
        begin, before = time.monotonic(), time.process_time()
        found = journal.query(Filter(lot=f"lot-{lot:04d}"), limit=LOT + 1)
        times.append(round(time.monotonic() - begin, 3))
        busy.append(round(time.process_time() - before, 3))
        assert len(found) == lot_size(lot, rows), (lot, len(found))
    begin = time.monotonic()
    middle = START + timedelta(seconds=rows / 20)
    hour = journal.query(Filter(since=middle, until=middle + timedelta(seconds=600)), limit=10**6)
    by_time = time.monotonic() - begin
    begin = time.monotonic()
    paged = sum(len(journal.after(seq, 1000)) for seq in range(0, 20_000, 1000))
    return {
        "lot_s": times,
        "lot_cpu_s": busy,
        "by_time_rows": len(hour),
        "by_time_s": round(by_time, 3),
        "after_rows_a_second": round(paged / (time.monotonic() - begin)),
    }


def exported(path: Path, folder: Path) -> dict[str, Any]:
    """The whole journal as CSV by the command, and the memory of that process."""
    begin = time.monotonic()
    words = [sys.executable, "-m", "qc.cli", "journal", "export", str(path)]
    subprocess.run([*words, "--csv", str(folder / "all.csv")], check=True, capture_output=True)
    most = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024 / 1e6
    return {"csv_s": round(time.monotonic() - begin, 1), "csv_rss_mb": round(most)}


def asked(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """What the command line asks for."""
    words = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    words.add_argument("--rows", type=int, default=1_000_000)
    words.add_argument("--seconds", type=float, default=20.0)
    words.add_argument("--kills", type=int, default=20)
    told = words.parse_args(arguments)
    if told.rows < 1:
        words.error(f"--rows: expected at least 1, found {told.rows}")
    if not 0 < told.seconds < math.inf:
        words.error(f"--seconds: expected more than 0, found {told.seconds:g}")
    if told.kills < 0:
        words.error(f"--kills: expected 0 or more, found {told.kills}")
    return told


def main() -> int:
    """Measure, report."""
    told = asked()
    row: dict[str, Any] = {"load_before": round(os.getloadavg()[0], 1), "cpus": os.cpu_count()}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for durability in ("full", "normal"):
            rate, busy_us = write(folder / f"{durability}.db", durability, told.seconds)
            row[f"{durability}_rows_a_second"] = round(rate)
            row[f"{durability}_cpu_us_a_row"] = round(busy_us)
        path = folder / "million.db"
        begin = time.monotonic()
        fill(path, told.rows)
        row |= {"rows": told.rows, "fill_s": round(time.monotonic() - begin, 1)}
        row["bytes_a_row"] = round(path.stat().st_size / told.rows)
        row |= listed(path, told.rows)
        row |= exported(path, folder)
        begin = time.monotonic()
        assert verify_journal(path).ok
        row["verify_s"] = round(time.monotonic() - begin, 1)
        choice = random.Random(1)
        (folder / "killed").mkdir()
        wrong = [
            text
            for n in range(told.kills)
            for text in kill_one(folder / "killed" / "j.db", f"k{n}", choice)
        ]
        row |= {"kills": told.kills, "kills_wrong": wrong}
    row["load_after"] = round(os.getloadavg()[0], 1)
    print(json.dumps(row, indent=1))
    slow = min(row["full_rows_a_second"], row["normal_rows_a_second"]) < LEAST_ROWS_A_SECOND
    return int(slow or max(row["lot_s"]) > MOST_S or bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
