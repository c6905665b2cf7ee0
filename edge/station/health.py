"""Whether the station works, for who keeps an eye on it; the one page that needs no login."""

from __future__ import annotations

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse

from edge.station import views
from edge.station.station import Station


def router(station: Station) -> APIRouter:
    """The route /health."""
    pages = APIRouter()
    book = station.journal

    @pages.get("/health")
    def health() -> Response:
        counts = views.count_facts(book)
        rule = {"rule": "captured = ok + ng + review + fault + dropped", "holds": counts["holds"]}
        facts = {k: counts[k] for k in ("captured", "ok", "ng", "review", "fault")}
        facts |= {"dropped": book.drops(), "waiting": book.count(views.FLAGGED, False)}
        return JSONResponse(facts | {"invariant": rule}, 200 if counts["holds"] else 503)

    return pages
