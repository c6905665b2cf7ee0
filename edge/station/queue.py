"""The queue of flagged parts, a part's page with its pictures, and the decision on it."""

from __future__ import annotations

from typing import Annotated, Any, Literal
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse

from edge.station import views
from edge.station.forms import (
    Typed,
    buttons,
    form_problem,
    read_form,
    require_same_origin,
)
from edge.station.station import IMAGE_HEADERS, Station
from edge.station.users import require
from qc.errors import QCError, StaleError
from qc.journal import Row
from qc.types import Verdict

PAGE = 24
"""Parts on one page of the queue."""

_STALE = (
    "The review was NOT saved: this page was made before the station was started again. "
    "Check what stands below and decide once more."
)

Show = Literal["waiting", "reviewed", "all"]
Flagged = Literal["NG", "REVIEW", "FAULT"]
PageNumber = Annotated[int, Query(ge=1, le=1_000_000)]


def listing(station: Station, show: Show, verdict: Flagged | None, page: int) -> dict[str, Any]:
    """One page of the queue; a page behind the last is the last."""
    verdicts = (Verdict(verdict),) if verdict else views.FLAGGED
    reviewed = views.REVIEWED[show]
    total = station.journal.count(verdicts, reviewed)
    pages = max(1, -(-total // PAGE))
    page = min(page, pages)
    rows = station.journal.rows(
        verdicts=verdicts, reviewed=reviewed, limit=PAGE, offset=(page - 1) * PAGE
    )
    parts = [views.part_facts(station.journal, row) for row in rows]
    return {"total": total, "page": page, "pages": pages, "parts": parts}


def _queue(
    station: Station,
    request: Request,
    show: Show,
    verdict: Flagged | None,
    page: int,
    saved: str | None,
) -> HTMLResponse:
    found = listing(station, show, verdict, page)
    page, total = found["page"], found["total"]

    def href(**change: object) -> str:
        query = {"show": show, "verdict": verdict, "page": None, **change}
        return "/?" + urlencode({k: v for k, v in query.items() if v is not None})

    count = station.journal.count
    chosen = (Verdict(verdict),) if verdict else views.FLAGGED
    tabs = [
        {"label": name.capitalize(), "href": href(show=name), "on": name == show}
        | {"n": count(chosen, reviewed)}
        for name, reviewed in views.REVIEWED.items()
    ]
    verdict_tabs: list[dict[str, Any]] = [
        {"label": word.value, "href": href(verdict=word.value), "on": word == verdict}
        | {"n": count((word,), views.REVIEWED[show])}
        for word in views.FLAGGED
    ]
    every = {"label": "Every verdict", "href": href(verdict=None), "on": verdict is None}
    every["n"] = sum(tab["n"] for tab in verdict_tabs)
    return station.page(
        "queue.html",
        request=request,
        counts=views.count_facts(station.journal),
        tabs=tabs,
        verdict_tabs=[every, *verdict_tabs],
        show=show,
        parts=found["parts"],
        total=total,
        first=min(total, (page - 1) * PAGE + 1),
        last=min(total, page * PAGE),
        newer=href(page=page - 1) if page > 1 else None,
        older=href(page=page + 1) if page < found["pages"] else None,
        saved=_saved(station, request, saved),
    )


def _part(
    station: Station,
    request: Request,
    row: Row,
    typed: Typed,
    problem: str = "",
    status: int = 200,
    saved: str | None = None,
    occlusion: bool = False,
) -> HTMLResponse:
    manifest = views.manifest_of(station.journal, row)
    following = views.next_waiting(station.journal, row)
    return station.page(
        "part.html",
        status,
        request=request,
        part=views.part_facts(station.journal, row),
        map=station.occluded.facts(row, manifest, occlusion),
        scores=views.score_rows(row, manifest),
        gauge=views.gauge_facts(row, manifest),
        good=manifest.good if manifest else None,
        classes=views.defect_classes(row, manifest),
        reviews=[views.review_facts(r) for r in station.reviews(request, row.inspection_id)],
        blind=station.blind(request, row.inspection_id),
        buttons=buttons(row.verdict),
        typed=typed,
        problem=problem,
        waiting=station.journal.count(views.FLAGGED, False),
        next_href=views.part_href(following.inspection_id) if following else None,
        saved=_saved(station, request, saved),
    )


def _decide(station: Station, request: Request, row: Row, typed: Typed) -> Response:
    """Save a review and go on to the next waiting part, or show the form again."""
    if not station.csrf_ok(request, typed.csrf):
        return _part(station, request, row, typed, _STALE, 403)
    classes = views.defect_classes(row, views.manifest_of(station.journal, row))
    problem = form_problem(typed, classes)
    if problem:
        return _part(station, request, row, typed, problem, 422)
    decision = Verdict(typed.decision)
    named = typed.defect_class if decision is Verdict.NG else ""
    seen = int(typed.seen) if typed.seen.isdecimal() and len(typed.seen) < 10 else None
    try:
        station.decide(
            request,
            row.inspection_id,
            decision,
            defect_class=named or None,
            note=typed.note,
            seen=seen,
        )
    except StaleError as error:
        words = f"The review was NOT saved: {error.message}. Look again, then decide once more."
        return _part(station, request, row, typed, words, 409)
    except QCError as error:
        return _part(
            station, request, row, typed, f"The review was NOT saved: {error.message}", 503
        )
    try:
        following = views.next_waiting(station.journal, row)
    except QCError:
        following = None  # the review is saved; the queue will say what is wrong
    target = views.part_href(following.inspection_id) if following else "/"
    return RedirectResponse(f"{target}?{urlencode({'saved': row.inspection_id})}", 303)


def _saved(station: Station, request: Request, inspection_id: str | None) -> str | None:
    """What was saved last, in words; nothing of what the person must not know."""
    if inspection_id and station.blind(request, inspection_id):
        return None
    return views.saved_words(station.journal, inspection_id)


def router(station: Station) -> APIRouter:
    """The routes of the queue and of a part."""
    pages = APIRouter(dependencies=[Depends(require("look"))])
    book = station.journal

    @pages.get("/")
    def queue(
        request: Request,
        show: Show = "waiting",
        verdict: Flagged | None = None,
        page: PageNumber = 1,
        saved: str | None = None,
    ) -> Response:
        return _queue(station, request, show, verdict, page, saved)

    @pages.get("/part/{inspection_id}")
    def part(
        request: Request, inspection_id: str, saved: str | None = None, occlusion: bool = False
    ) -> Response:
        row = book.get(inspection_id)
        typed = Typed(defect_class=row.defect_class or "")
        return _part(station, request, row, typed, saved=saved, occlusion=occlusion)

    @pages.post("/part/{inspection_id}", dependencies=[Depends(require("review"))])
    def decide(
        request: Request, inspection_id: str, typed: Annotated[Typed, Depends(read_form)]
    ) -> Response:
        require_same_origin(request)
        return _decide(station, request, book.get(inspection_id), typed)

    @pages.get("/part/{inspection_id}/image.png")
    def image(inspection_id: str) -> Response:
        data = views.picture_png(book, book.get(inspection_id))
        return Response(data, media_type="image/png", headers=IMAGE_HEADERS)

    @pages.get("/part/{inspection_id}/thumb.png")
    def thumb(inspection_id: str) -> Response:
        data = views.picture_png(book, book.get(inspection_id), thumb=True)
        return Response(data, media_type="image/png", headers=IMAGE_HEADERS)

    @pages.get("/part/{inspection_id}/heat.png")
    def heat(inspection_id: str) -> Response:
        row = book.get(inspection_id)
        data = views.heat_png(book, row, views.manifest_of(book, row))
        return Response(data, media_type="image/png", headers=IMAGE_HEADERS)

    @pages.get("/part/{inspection_id}/occlusion.png")
    def occlusion(inspection_id: str) -> Response:
        data = station.occluded.png(book.get(inspection_id))
        return Response(data, media_type="image/png", headers=IMAGE_HEADERS)

    @pages.get("/scale.png")
    def scale() -> Response:
        return Response(views.scale_png(), media_type="image/png", headers=IMAGE_HEADERS)

    return pages
