"""What a sink is told of one inspection: the journaled row, and the action its verdict asks for.

It is made from the journal alone, so it is the same before and after a restart: a message that is
sent twice has the same bytes, and `inspection_id` tells that it is a duplicate.

The JSON form, version 1, in UTF-8, keys in this order:

| key | value |
|---|---|
| `schema_version` | 1; keys may be added to a version, never renamed |
| `event` | `"inspection"` |
| `inspection_id` | unique everywhere |
| `seq` | position in the journal, from 1, growing |
| `line` | file name of the journal without its ending |
| `source`, `frame` | names of the source and of the frame in it |
| `part_id`, `lot` | text or null |
| `captured_at` | UTC, ISO 8601 with microseconds |
| `verdict` | `"OK"`, `"NG"`, `"REVIEW"` or `"FAULT"` |
| `action` | `"pass"`, `"reject"` or `"hold"`, by `[actions]` of the line file |
| `reason` | the rule that led to the verdict, in words |
| `defect_class`, `defect_score` | most likely defect, or null where nothing was measured |
| `scores` | class -> score, or null |
| `bundle_id` | the bundle that judged |
| `timings_ms` | durations by name |
| `image` | path of the kept picture relative to the journal's folder, or null |

The state form: `schema_version`, `event` (`"state"`), `line`, `state` (`"running"`, `"fail_safe"`,
`"stopped"`, `"lost"`), `action` (for parts without a verdict; null while running), `why`, and `at`
(UTC; not of "lost": a last will is deposited long before it is told).
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, Protocol

from qc.errors import DataError
from qc.journal_read import Journal, Row
from qc.journal_schema import stamp
from qc.linefile import Action, ActionsTable
from qc.manifest import Manifest
from qc.types import Verdict

MESSAGE_VERSION = 1

State = Literal["running", "fail_safe", "stopped", "lost"]


class NeverTakenError(DataError):
    """A sink can never take this message: it is put aside at once, without another try."""


@dataclass(frozen=True, slots=True)
class Message:
    """One journaled inspection on its way to a sink.

    Args:
        row: as it stands in the journal.
        action: what the machine behind the line is told to do with the part.
        journal: where it was read, for the kept picture and the bundle's manifest.
    """

    row: Row
    action: Action
    journal: Journal = field(repr=False, compare=False)

    @property
    def image_file(self) -> Path | None:
        """The kept picture; None where it was not kept or is gone."""
        return self.journal.image_file(self.row)

    def manifest(self) -> Manifest:
        """Of the bundle that judged this part, which need not be the one that runs now.

        Raises:
            DataError: the journal knows no such bundle.
        """
        return self.journal.manifest(self.row.bundle_id)

    def as_json(self) -> dict[str, Any]:
        """The JSON form that stands at the top of this file."""
        row = self.row
        return {
            "schema_version": MESSAGE_VERSION,
            "event": "inspection",
            "inspection_id": row.inspection_id,
            "seq": row.seq,
            "line": line_name(self.journal.path),
            "source": row.source_id,
            "frame": row.frame_id,
            "part_id": row.part_id,
            "lot": row.lot,
            "captured_at": stamp(row.captured_at),
            "verdict": row.verdict.value,
            "action": self.action,
            "reason": row.reason,
            "defect_class": row.defect_class,
            "defect_score": row.defect_score,
            "scores": row.scores,
            "bundle_id": row.bundle_id,
            "timings_ms": row.timings_ms,
            "image": row.image_path,
        }

    def as_bytes(self) -> bytes:
        """The JSON form in UTF-8; the same bytes every time.

        Raises:
            NeverTakenError: a number is not finite: JSON has no word for it.
        """
        try:
            return as_bytes(self.as_json())
        except ValueError as error:
            where = f"inspection {self.row.inspection_id}"
            raise NeverTakenError("no JSON can be made", where=where, found=error) from error


class Sink(Protocol):
    """Who is told of each inspection after it is journaled; one thread calls all its methods.

    More methods are called where a sink has them: `open(line, fault_action)` before the first
    `write`, again until it returns, with the name of the line and the action of a FAULT;
    `fail_safe(action, why)` where no verdict can be trusted any more, and `resume()` before the
    first message that was journaled after that; both are tried again, but for a DataError: it says
    that the receiver has no use for the state of the line. A sink that has `verdicts` is told of
    inspections with these alone, and costs a line nothing for the others.
    """

    def write(self, message: Message) -> None:
        """Pass one message on; return when it is taken: it is not told again.

        Raises:
            DataError: this message is at fault: tried again a few times, then put aside.
            Exception: anything else is tried again for ever, and no later message overtakes it.
        """
        ...

    def close(self) -> None:
        """Finish."""
        ...


def action_of(verdict: Verdict, actions: ActionsTable) -> Action:
    """What the machine behind the line is told to do with a part; OK is always "pass"."""
    told: dict[Verdict, Action] = {
        Verdict.OK: "pass",
        Verdict.NG: actions.ng,
        Verdict.REVIEW: actions.review,
        Verdict.FAULT: actions.fault,
    }
    return told[verdict]


def line_name(journal: Path) -> str:
    """The name of a line in its messages: the file name of its journal without its ending."""
    return journal.stem


def state_bytes(
    line: str, state: State, action: Action | None, why: str, at: datetime | None = None
) -> bytes:
    """The state form in UTF-8; `at` is left out where it is None."""
    told: dict[str, Any] = {
        "schema_version": MESSAGE_VERSION,
        "event": "state",
        "line": line,
        "state": state,
        "action": action,
        "why": why,
    }
    return as_bytes(told if at is None else told | {"at": stamp(at)})


def as_bytes(value: dict[str, Any]) -> bytes:
    """JSON in UTF-8; raises ValueError where a number is not finite."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.encode()
