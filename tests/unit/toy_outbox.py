"""A journal to deliver from and a sink that remembers, for the tests of outbox and sinks."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from toy_line import inspection, unsealed

from edge.message import Message
from edge.outbox import Outbox
from edge.progress import Progress, progress_file
from qc.journal import Journal, JournalWriter
from qc.linefile import ActionsTable
from qc.types import Verdict

BUNDLE_ID = "toybundle"
ACTIONS = ActionsTable()


def journal_rows(path: Path, names: Sequence[str], **changes: Any) -> Path:
    """Journal one inspection for each name, and close the journal; `image` is None if not given."""
    values = {"verdict": Verdict.OK, "bundle_id": BUNDLE_ID, "image": None} | changes
    with JournalWriter(path, unsealed(bundle_id=BUNDLE_ID), "toy 1.0") as writer:
        for name in names:
            writer.put(inspection(name, **values))
    return path


def ids(first: int, last: int) -> list[str]:
    """The ids from `first` up to and with `last`."""
    return [f"i{number:05d}" for number in range(first, last + 1)]


def messages(path: Path) -> list[Message]:
    """All that a journal would tell, in its order."""
    journal = Journal(path)
    rows = journal.rows(limit=10_000, newest_first=False)
    return [Message(row, "pass", journal) for row in rows]


def outbox(path: Path, from_start: bool = True, **sinks: Any) -> Outbox:
    """Of sinks that are told all where they are new."""
    return Outbox(path, sinks, ACTIONS, from_start=[*sinks] if from_start else [])


def deliver(path: Path, timeout_s: float = 2.0, from_start: bool = True, **sinks: Any) -> list[str]:
    """Start, deliver what there is, close."""
    box = outbox(path, from_start, **sinks)
    box.start()
    return box.close(timeout_s)


def put_aside(path: Path, sink_id: str) -> list[tuple[str, str]]:
    """Id and reason of what a sink could not take."""
    progress = Progress(progress_file(path))
    found = [(item.inspection_id, item.why) for item in progress.put_aside(sink_id)]
    progress.close()
    return found


class Told:
    """Remembers ids in the order told; `fault` is raised while set; waits for `free`."""

    def __init__(self, delay_s: float = 0.0) -> None:
        self.delay_s = delay_s
        self.seen: list[str] = []
        self.tried: list[str] = []
        self.said: list[tuple[str, ...]] = []
        self.fault: Exception | None = None
        self.poison: dict[str, Exception] = {}
        self.free = threading.Event()
        self.free.set()
        self.closed = 0

    def write(self, message: Message) -> None:
        name = message.row.inspection_id
        self.tried.append(name)
        time.sleep(self.delay_s)
        self.free.wait(10)
        if name in self.poison:
            raise self.poison[name]
        if self.fault is not None:
            raise self.fault
        self.seen.append(name)

    def close(self) -> None:
        self.closed += 1


class Safe(Told):
    """One that takes the state of the line too."""

    def open(self, line: str, fault_action: str) -> None:
        self.said.append(("open", line, fault_action))

    def fail_safe(self, action: str, why: str) -> None:
        if self.fault is not None:
            raise self.fault
        self.said.append(("fail_safe", action, why))

    def resume(self) -> None:
        self.said.append(("resume", str(len(self.seen))))
