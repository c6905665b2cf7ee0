"""How fast a trivial sink is told from the journal, and what that costs the journal's writer.

    python tests/bench/sinks.py [ROWS]

Both sides of each comparison are measured in turns in one run; the rows have maps, no pictures.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
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


def write(path: Path, rows: int, sinks: int, every_s: float) -> tuple[float, float]:
    """Journal `rows` with `sinks` beside it; rows per second of the writer, and the slowest sink.

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
        journal.on_written = lambda _: box.wake()
        start = time.perf_counter()
        for number, entry in enumerate(entries):
            journal.put(entry)
            if every_s:
                time.sleep(max(start + (number + 1) * every_s - time.perf_counter(), 0.0))
        journal.close()
        written_s = time.perf_counter() - start
        untold = box.close(60.0)
        told_s = time.perf_counter() - start
    assert untold == [] and all(sink.n == rows for sink in told.values()), untold
    return rows / written_s, rows / told_s


def catch_up(path: Path, rows: int) -> float:
    """Rows per second of a sink that is told a journal that lies there."""
    write(path, rows, 0, 0.0)
    sink = Counting()
    box = Outbox(path, {"late": sink}, ACTIONS, from_start=["late"])
    start = time.perf_counter()
    box.start()
    assert box.close(120.0) == [] and sink.n == rows
    return rows / (time.perf_counter() - start)


def main(rows: int) -> None:
    """Measure and print."""
    out = Console(soft_wrap=True)
    alone, beside, told, late, cpu = [], [], [], [], {0: [], SINKS: []}
    with tempfile.TemporaryDirectory() as folder:
        for turn in range(TURNS):
            alone.append(write(Path(folder) / f"a{turn}", rows, 0, 0.0)[0])
            both = write(Path(folder) / f"b{turn}", rows, SINKS, 0.0)
            beside.append(both[0])
            told.append(both[1])
            late.append(catch_up(Path(folder) / f"c{turn}", rows))
            for sinks, found in cpu.items():
                start = time.process_time()
                write(Path(folder) / f"d{turn}-{sinks}", 200, sinks, 0.01)
                found.append((time.process_time() - start) / 200 * 1e3)
    median = statistics.median
    out.print(f"{rows} rows, median of {TURNS} turns, {SINKS} sinks")
    out.print(f"a sink that catches up: {median(late):.0f} rows/s")
    out.print(
        f"each sink beside a journal that is written as fast as it goes: {median(told):.0f}/s"
    )
    out.print(f"the journal alone {median(alone):.0f} rows/s, with sinks {median(beside):.0f}")
    out.print(
        f"at 100 rows/s: {median(cpu[0]):.2f} ms of processor a row without sinks, "
        f"{median(cpu[SINKS]):.2f} with"
    )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 3000)
