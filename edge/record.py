"""What the journal keeps of a line as a whole: its start and its stop.

A start that follows a start says that the line before did not stop: killed, or without power. A
line whose journal cannot be written leaves no stop either.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version
from typing import NamedTuple

from edge.account import Counts
from edge.judge import Loaded
from edge.status import Ended
from qc.journal import Journal, JournalWriter
from qc.journal_schema import stamp
from qc.journal_verify import lost_pictures

START, STOP = "start", "stop"
"""Kinds of the events."""

ENDED = "the sources ended"
"""Reason of a stop that nobody asked for."""

LOOKED_AT = 10_000
"""After a line that did not stop, the pictures of so many last inspections are looked for."""


class Before(NamedTuple):
    """How the line before ended, by the journal; `at` is when it stopped, or had started."""

    ended: Ended
    at: str | None


def note_start(journal: JournalWriter, loaded: Loaded, line_file: Mapping[str, str]) -> Before:
    """Journal that a line starts, and with what.

    Args:
        journal: open.
        loaded: what judges.
        line_file: `line_file`, its name, and `line_sha256`, the hash of its bytes, hexadecimal;
            empty where the line came from none.

    Returns:
        How the line before ended; "none" where the journal kept no start. Where it did not stop,
        the event names the inspections whose pictures went with it.

    Raises:
        QCError: the journal cannot be read or written.
    """
    last = Journal(journal.path).last_event((START, STOP))
    before = Before("none", None)
    if last is not None:
        before = Before("stopped" if last.kind == STOP else "did not stop", stamp(last.at))
    detail: dict[str, object] = {
        "bundle_id": loaded.bundle.manifest.bundle_id,
        "runtime": loaded.predictor.runtime,
        "version": version("attention-qc"),
        **line_file,
        "before": before.ended,
        "before_at": before.at,
    }
    if before.ended == "did not stop":
        detail["pictures_lost"] = lost_pictures(Journal(journal.path), LOOKED_AT)
    journal.event(START, detail)
    return before


def note_stop(journal: JournalWriter, reason: str, counts: Counts) -> None:
    """Journal that a line has stopped, why, and its account.

    Raises:
        FaultError: the journal has failed or is closed.
    """
    journal.event(STOP, {"reason": reason, **counts.sums()})
