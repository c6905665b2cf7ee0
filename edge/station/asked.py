"""What an address asks for: the same words for the gallery, the charts, agreement and the API."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Literal
from urllib.parse import urlencode

from fastapi import Query

from edge.station.refusal import Refused
from qc.journal import Filter
from qc.types import Verdict

Decision = Literal["", "OK", "NG", "any", "none"]
Word = Literal["", "OK", "NG", "REVIEW", "FAULT"]
Text = Annotated[str, Query(max_length=300)]
Moment = Annotated[
    str,
    Query(
        max_length=40,
        description="ISO 8601; without a zone, of the station's own",
        examples=["2025-03-04T09:30"],
    ),
]


@dataclass(frozen=True, slots=True)
class Asked:
    """The conditions of an address, and its parameters without the empty ones.

    Args:
        wanted: which inspections.
        query: parameters, to write the address again.
    """

    wanted: Filter
    query: dict[str, str]

    def href(self, path: str, **change: object) -> str:
        """An address with the same conditions.

        Args:
            path: of the page.
            **change: parameters in place of these; None takes one out.
        """
        changed = {**self.query, **{name.rstrip("_"): value for name, value in change.items()}}
        kept = {name: value for name, value in changed.items() if value not in (None, "")}
        return f"{path}?{urlencode(kept)}" if kept else path


def asked(
    since: Moment = "",
    until: Moment = "",
    lot: Text = "",
    part: Text = "",
    source: Text = "",
    bundle: Text = "",
    class_: Annotated[str, Query(alias="class", max_length=300)] = "",
    verdict: Word = "",
    reviewer: Text = "",
    decision: Decision = "",
) -> Asked:
    """The conditions of an address; an empty one is none."""
    wanted = Filter(
        since=moment("since", since),
        until=moment("until", until),
        lot=lot or None,
        part_id=part or None,
        source_id=source or None,
        bundle_id=bundle or None,
        defect_class=class_ or None,
        verdicts=(Verdict(verdict),) if verdict else None,
        reviewed={"any": True, "none": False}.get(decision),
        reviewer=reviewer or None,
        decision=Verdict(decision) if decision in ("OK", "NG") else None,
    )
    query = {
        "since": since,
        "until": until,
        "lot": lot,
        "part": part,
        "source": source,
        "bundle": bundle,
        "class": class_,
        "verdict": verdict,
        "reviewer": reviewer,
        "decision": decision,
    }
    return Asked(wanted, {name: value for name, value in query.items() if value})


def moment(name: str, text: str) -> datetime | None:
    """A time of an address; one without a zone is of the station's own.

    Raises:
        HTTPException: 422, it is not a time.
    """
    if not text:
        return None
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise Refused(422, "refused.moment", name=name) from error
