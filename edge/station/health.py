"""Whether the station works, for who keeps an eye on it; a stranger is told the state alone."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response

from edge.station import views
from edge.station.station import Station


def router(station: Station) -> APIRouter:
    """The route /health."""
    pages = APIRouter()
    book = station.journal

    @pages.get("/health")
    def health(request: Request) -> Response:
        counts = views.count_facts(book)
        holds = bool(counts["holds"])
        facts: dict[str, Any] = {"state": "ok" if holds else "the journal does not add up"}
        if request.state.user is not None:
            rule = {"rule": "captured = ok + ng + review + fault + dropped", "holds": holds}
            facts |= {k: counts[k] for k in ("captured", "ok", "ng", "review", "fault")}
            facts |= {"dropped": book.drops(), "waiting": book.count(views.FLAGGED, False)}
            facts |= {"invariant": rule}
        return station.json(facts, 200 if holds else 503)

    return pages
