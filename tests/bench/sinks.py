"""How fast a trivial sink is told from the journal, and what that costs the journal's writer.

    python tests/bench/sinks.py [ROWS]

Both sides of each comparison are measured in turns in one run; the rows have maps, no pictures.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

sys.path.insert(0, str(Path(__file__).parents[1] / "unit"))

from toy_line import inspection, unsealed
from toy_outbox import ACTIONS, BUNDLE_ID

from edge.message import Message
from edge.outbox import Outbox
from qc.journal import JournalWriter
from qc.types import Verdict

TURNS = 5
SINKS = 2


class Counting:
    """The trivial sink: it makes the bytes that a real one would send."""

    def __init__(self) -> None:
        self.n = self.bytes = 0

    def write(self, message: Message) -> None:
        self.bytes += len(message.as_bytes())
        self.n += 1

    def close(self) -> None:
        """Nothing is held open."""


@dataclass
class Written:
    """What writing and delivering some rows took: rows/s, milliseconds, ms of processor a row."""

    rows_s: float
    told_s: float
    commit_ms: list[float]
    cpu_ms: float


def write(path: Path, rows: int, sinks: int, every_s: float = 0.0) -> Written:
    """Journal `rows` with `sinks` beside it.

    Args:
        every_s: seconds from one row to the next; 0: as fast as the journal takes them.
    """
    entries = [
        inspection(f"{i:08d}", Verdict.OK, bundle_id=BUNDLE_ID, image=None) for i in range(rows)
    ]
    with JournalWriter(path, unsealed(bundle_id=BUNDLE_ID), "toy 1.0") as journal:
        told = {f"s{n}": Counting() for n in range(sinks)}
        box = Outbox(path, told, ACTIONS)
        box.start()
        put: list[float] = []
        commit_ms: list[float] = []

        def written(_: object) -> None:
            box.wake()
            commit_ms.append((time.perf_counter() - put[len(commit_ms)]) * 1e3)

        journal.on_written = written
        start, cpu = time.perf_counter(), time.process_time()
        for number, entry in enumerate(entries):
            put.append(time.perf_counter())
            journal.put(entry)
            if every_s:
                time.sleep(max(start + (number + 1) * every_s - time.perf_counter(), 0.0))
        journal.close()
        written_s = time.perf_counter() - start
        untold = box.close(60.0)
        told_s = time.perf_counter() - start
    assert untold == [] and all(sink.n == rows for sink in told.values()), untold
    cpu_ms = (time.process_time() - cpu) * 1e3 / rows
    return Written(rows / written_s, rows / told_s, commit_ms, cpu_ms)


def catch_up(path: Path, rows: int) -> float:
    """Rows per second of a sink that is told a journal that lies there."""
    write(path, rows, 0)
    sink = Counting()
    box = Outbox(path, {"late": sink}, ACTIONS, from_start=["late"])
    start = time.perf_counter()
    box.start()
    assert box.close(120.0) == [] and sink.n == rows
    return rows / (time.perf_counter() - start)


def main(rows: int) -> None:
    """Measure and print."""
    out = Console(soft_wrap=True)
    full: dict[int, list[Written]] = {0: [], 1: [], SINKS: []}
    paced: dict[int, list[Written]] = {0: [], SINKS: []}
    late = []
    with tempfile.TemporaryDirectory() as folder:
        for turn in range(TURNS):
            late.append(catch_up(Path(folder) / f"late{turn}", rows))
            for sinks, found in full.items():
                found.append(write(Path(folder) / f"full{turn}-{sinks}", rows, sinks))
            for sinks, found in paced.items():
                found.append(write(Path(folder) / f"paced{turn}-{sinks}", 200, sinks, 0.01))
    median = statistics.median
    out.print(f"{rows} rows, median of {TURNS} turns")
    out.print(f"a sink that catches up: {median(late):.0f} rows/s")
    for sinks, found in full.items():
        writer, told = median(w.rows_s for w in found), median(w.told_s for w in found)
        out.print(f"as fast as it goes, {sinks} sinks: written {writer:.0f}/s, told {told:.0f}/s")
    for sinks, found in paced.items():
        commits = sorted(ms for w in found for ms in w.commit_ms)
        out.print(
            f"100 rows/s, {sinks} sinks: put to commit p50 {commits[len(commits) // 2]:.1f} ms, "
            f"p99 {commits[len(commits) * 99 // 100]:.1f} ms; "
            f"{median(w.cpu_ms for w in found):.2f} ms of processor a row"
        )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 3000)
