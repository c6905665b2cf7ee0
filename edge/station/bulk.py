"""The form of a decision on several parts at once: read, judged, and saved one review each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fastapi import Request

from edge.station.forms import MAX_NOTE, read_pairs
from edge.station.refusal import Refused
from edge.station.station import Station
from qc.errors import QCError
from qc.types import Verdict

MOST = 60
"""Parts of one decision."""


@dataclass(frozen=True, slots=True)
class Bulk:
    """What a person chose.

    Args:
        parts: inspection_id -> how many reviews of it the person knew of; None: not known yet.
        decision: OK or NG, or what else was sent.
        defect_class, note, csrf: as sent.
        back: query of the gallery's page that it came from.
    """

    parts: dict[str, int | None]
    decision: str
    defect_class: str
    note: str
    csrf: str
    back: str


async def read_bulk(request: Request) -> Bulk:
    """Read the posted form; one part is `part=ID` or, once it was shown, `part=SEEN:ID`."""
    pairs = await read_pairs(request, MOST + 20)
    one = dict(pairs)
    parts: dict[str, int | None] = {}
    for name, value in pairs:
        if name == "part":
            parts[value] = None
        elif name == "seen":
            seen, _, part = value.partition(":")
            parts[part] = int(seen) if seen.isascii() and seen.isdigit() and len(seen) < 9 else None
    if len(parts) > MOST:
        raise Refused(400, "refused.parts", most=MOST)
    return Bulk(
        parts,
        one.get("decision", ""),
        one.get("defect_class", ""),
        one.get("note", "").replace("\r\n", "\n").strip(),
        one.get("csrf", ""),
        one.get("back", ""),
    )


def problem(bulk: Bulk, classes: Sequence[Sequence[str]]) -> str | None:
    """The key of what keeps it from being saved; None where it is complete.

    Args:
        bulk: what a person chose.
        classes: of each part, the defect classes that its bundle knows.
    """
    if not bulk.parts:
        return "bulk.no_part"
    if bulk.decision not in ("OK", "NG"):
        return "bulk.no_decision"
    if not bulk.note or len(bulk.note) > MAX_NOTE:
        return "bulk.no_note"
    known = all(bulk.defect_class in names for names in classes)
    if bulk.decision == "NG" and bulk.defect_class and not known:
        return "bulk.no_class"
    return None


def save(station: Station, request: Request, bulk: Bulk) -> tuple[list[str], dict[str, str]]:
    """Save a review of each part.

    Args:
        station: that takes the decisions.
        request: of a person who may review.
        bulk: a complete one.

    Returns:
        The parts that were saved, and why each of the others was not.
    """
    saved: list[str] = []
    refused: dict[str, str] = {}
    named = bulk.defect_class if bulk.decision == "NG" else ""
    for part, seen in bulk.parts.items():
        try:
            station.decide(
                request,
                part,
                Verdict(bulk.decision),
                defect_class=named or None,
                note=bulk.note,
                seen=seen,
            )
        except QCError as error:
            refused[part] = error.message
        else:
            saved.append(part)
    return saved, refused
