"""The queue: what waits for a person, in its order, and what was reviewed."""

from __future__ import annotations

from typing import Annotated, Any, Literal
from urllib.parse import urlencode, urlsplit

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse

from edge.station import order, views
from edge.station.forms import read_fields, require_same_origin
from edge.station.station import Station
from edge.station.strings import COOKIE, Words, language_of
from edge.station.users import require
from qc.types import Verdict

PAGE = 24
"""Parts on one page of the queue."""

YEAR_S = 365 * 24 * 3600

Show = Literal["waiting", "reviewed", "all"]
Flagged = Literal["REVIEW", "NG", "OK", "FAULT"]
PageNumber = Annotated[int, Query(ge=1, le=1_000_000)]

TABS: tuple[Flagged, ...] = ("REVIEW", "NG", "OK", "FAULT")


def listing(station: Station, show: Show, verdict: Flagged | None, page: int) -> dict[str, Any]:
    """One page of the queue; a page behind the last is the last."""
    journal, wanted = station.journal, Verdict(verdict) if verdict else None
    reviewed = views.REVIEWED[show]
    total = order.count(journal, reviewed, wanted)
    pages = max(1, -(-total // PAGE))
    page = min(page, pages)
    offset = (page - 1) * PAGE
    if show == "waiting":
        rows = order.waiting(journal, PAGE, offset, wanted)
    else:
        rows = order.seen(journal, reviewed, PAGE, offset, wanted)
    parts = [views.part_facts(journal, row) for row in rows]
    return {"total": total, "page": page, "pages": pages, "parts": parts}


def _queue(
    station: Station,
    request: Request,
    show: Show,
    verdict: Flagged | None,
    page: int,
    saved: str | None,
) -> HTMLResponse:
    t = Words(language_of(request))
    found = listing(station, show, verdict, page)
    page, total = found["page"], found["total"]

    def href(**change: object) -> str:
        query = {"show": show, "verdict": verdict, "page": None, **change}
        return "/?" + urlencode({k: v for k, v in query.items() if v is not None})

    wanted = Verdict(verdict) if verdict else None
    tabs = [
        {"label": t(f"queue.{name}"), "href": href(show=name), "on": name == show}
        | {"n": order.count(station.journal, reviewed, wanted)}
        for name, reviewed in views.REVIEWED.items()
    ]
    verdict_tabs: list[dict[str, Any]] = [
        {"label": t("queue.audit") if word == "OK" else word, "on": word == verdict}
        | {"href": href(verdict=word)}
        | {"n": order.count(station.journal, views.REVIEWED[show], Verdict(word))}
        for word in TABS
    ]
    every = {"label": t("queue.every"), "href": href(verdict=None), "on": verdict is None}
    every["n"] = sum(tab["n"] for tab in verdict_tabs)
    first = order.following(station.journal)
    hidden = saved is not None and station.blind(request, saved)
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
        start=views.part_href(first.inspection_id) if first else None,
        newer=href(page=page - 1) if page > 1 else None,
        older=href(page=page + 1) if page < found["pages"] else None,
        saved=None if hidden else views.saved_facts(station.journal, saved),
    )


def router(station: Station) -> APIRouter:
    """The routes of the queue, and of the language that a person wants."""
    pages = APIRouter(dependencies=[Depends(require("look"))])

    @pages.get("/")
    def queue(
        request: Request,
        show: Show = "waiting",
        verdict: Flagged | None = None,
        page: PageNumber = 1,
        saved: str | None = None,
    ) -> Response:
        return _queue(station, request, show, verdict, page, saved)

    @pages.post("/language")
    async def language(request: Request) -> Response:
        require_same_origin(request)
        fields = await read_fields(request)
        wanted = fields.get("language", "")
        if wanted not in ("en", "fr") or not station.csrf_ok(request, fields.get("csrf", "")):
            t = Words(language_of(request))
            return station.error(request, 403, t("refused.language"), "usage")
        path = urlsplit(request.headers.get("referer", "/")).path
        here = path if path.startswith("/") and not path.startswith("//") else "/"
        answer = RedirectResponse(here, 303)
        answer.set_cookie(COOKIE, wanted, max_age=YEAR_S, httponly=True, samesite="strict")
        return answer

    return pages
