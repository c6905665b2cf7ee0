"""The trail: every decision with what stood before, and every event, from the journal's chain."""

from __future__ import annotations

import csv
import io
import threading
from collections.abc import Iterator
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse, StreamingResponse

from edge.station import views
from edge.station.login import Fields, checked
from edge.station.station import Station
from edge.station.strings import Words, language_of
from edge.station.users import require, user_of
from qc.journal import Journal
from qc.journal_read import Event, Reviewed
from qc.journal_verify import verify_journal
from qc.reviewed import TAKEN_BACK

PAGE = 100
"""Rows on one page, and rows that an export reads at a time."""

_SHOWN = 300
"""Characters of an event's detail that the page shows; the export has all."""

Kind = Literal["decisions", "events"]
Place = Annotated[int | None, Query(ge=1, le=2**62)]

DECISION_COLUMNS = (
    "seq", "at", "reviewer", "role", "inspection_id", "part_id", "lot", "verdict", "before",
    "decision", "defect_class", "note", "mask_sha256", "blind", "hash",
)  # fmt: skip
_TELLING = (*("before", "decision", "taken_back", "defect_class", "note", "mask_sha256", "blind"),)
"""What a second look must not know."""

EVENT_COLUMNS = ("seq", "at", "kind", "detail")


def router(station: Station) -> APIRouter:
    """The routes of the trail, and /second, which leads to the next blind second look."""
    pages = APIRouter(include_in_schema=False)
    book = station.journal
    walking = threading.Lock()

    def page(
        request: Request, kind: Kind, before: int | None, status: int = 200, **values: Any
    ) -> HTMLResponse:
        user = user_of(request)
        found = listing(station, request, kind, before)
        return station.page(
            "trail.html",
            status,
            request=request,
            kind=kind,
            rows=found["rows"],
            more=found["older"],
            shown=_SHOWN,
            may_export=user.may("export"),
            **{"verified": None, "problem": "", **values},
        )

    @pages.get("/trail", dependencies=[Depends(require("look"))])
    def trail(request: Request, kind: Kind = "decisions", before: Place = None) -> Response:
        return page(request, kind, before)

    @pages.post("/trail", dependencies=[Depends(require("export"))])
    def verify(request: Request, fields: Fields) -> Response:
        """Walk the whole chain; one walk at a time, for it reads every row."""
        checked(station, request, fields)
        if not walking.acquire(blocking=False):
            words = Words(language_of(request))("refused.walking")
            return page(request, "decisions", None, 409, problem=words)
        try:
            outcome = verify_journal(book.path)
        finally:
            walking.release()
        return page(request, "decisions", None, verified=outcome)

    @pages.get("/trail.csv", dependencies=[Depends(require("export"))])
    def trail_csv(kind: Kind = "decisions") -> Response:
        headers = {"Content-Disposition": f'attachment; filename="{kind}.csv"'}
        lines = csv_lines(book, kind)
        return StreamingResponse(lines, media_type="text/csv; charset=utf-8", headers=headers)

    @pages.get("/second", dependencies=[Depends(require("review"))])
    def second(request: Request) -> Response:
        due = station.second.due(user_of(request).name)
        return RedirectResponse(views.part_href(due[0]) if due else "/", 303)

    return pages


def listing(
    station: Station, request: Request, kind: Kind, before: int | None, limit: int = PAGE
) -> dict[str, Any]:
    """Some of the trail, the newest first.

    Of a part that the person is to look at blind, what was decided is None and `hidden` is true.

    Returns:
        rows; older: the number before which the next rows stand, or None.
    """
    book = station.journal
    rows: list[dict[str, Any]]
    if kind == "decisions":
        rows = [decision_facts(r) for r in book.all_reviews(before_seq=before, limit=limit)]
        for row in rows:
            row["hidden"] = station.blind(request, row["inspection_id"])
            if row["hidden"]:
                row |= dict.fromkeys(_TELLING)
    else:
        rows = [event_facts(e) for e in book.events_before(before, limit=limit)]
    more = len(rows) == limit and rows[-1]["seq"] > 1
    return {"rows": rows, "older": rows[-1]["seq"] if more else None}


def decision_facts(found: Reviewed) -> dict[str, Any]:
    """One decision as values; `before` is the verdict where nobody had decided."""
    review = found.review
    return {
        "seq": found.seq,
        "at": views.utc_text(review.at),
        "reviewer": review.reviewer,
        "role": review.role,
        "inspection_id": review.inspection_id,
        "href": views.part_href(review.inspection_id),
        "part_id": found.part_id,
        "lot": found.lot,
        "verdict": found.verdict.value,
        "before": None if review.before is None else review.before.value,
        "decision": review.decision.value,
        "taken_back": review.decision is TAKEN_BACK,
        "defect_class": review.defect_class,
        "note": review.note,
        "mask_sha256": review.mask_sha256,
        "blind": review.blind,
        "hash": found.hash,
    }


def event_facts(found: Event) -> dict[str, Any]:
    """One event as values."""
    at = views.utc_text(found.at)
    return {"seq": found.seq, "at": at, "kind": found.kind, "detail": found.detail_text}


def csv_lines(book: Journal, kind: Kind) -> Iterator[str]:
    """The trail as CSV, the newest first, in constant memory.

    A text that a spreadsheet would take for a formula begins with an apostrophe.
    """
    columns = DECISION_COLUMNS if kind == "decisions" else EVENT_COLUMNS
    yield _line(columns)
    before: int | None = None
    while True:
        rows = (
            [decision_facts(item) for item in book.all_reviews(before_seq=before, limit=PAGE)]
            if kind == "decisions"
            else [event_facts(item) for item in book.events_before(before, limit=PAGE)]
        )
        yield "".join(_line([row[name] for name in columns]) for row in rows)
        if len(rows) < PAGE:
            return
        before = rows[-1]["seq"]


def _line(values: Any) -> str:
    text = io.StringIO()
    csv.writer(text).writerow([_plain(value) for value in values])
    return text.getvalue()


def _plain(value: object) -> object:
    if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")):
        return f"'{value}"
    return int(value) if isinstance(value, bool) else value
