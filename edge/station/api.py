"""The journal as JSON, for programs."""

from __future__ import annotations

from fastapi import APIRouter, Depends, Request, Response

from edge.station import views
from edge.station.queue import Flagged, PageNumber, Show, listing
from edge.station.station import Station
from edge.station.users import require


def router(station: Station) -> APIRouter:
    """The routes under /api."""
    pages = APIRouter(dependencies=[Depends(require("look"))])
    book = station.journal

    @pages.get("/api/parts")
    def api_parts(
        show: Show = "waiting", verdict: Flagged | None = None, page: PageNumber = 1
    ) -> Response:
        return station.json(listing(station, show, verdict, page))

    @pages.get("/api/parts/{inspection_id}")
    def api_part(request: Request, inspection_id: str) -> Response:
        row = book.get(inspection_id)
        manifest = views.manifest_of(book, row)
        reviews = [views.review_facts(r) for r in station.reviews(request, inspection_id)]
        facts = {
            "classes": views.score_rows(row, manifest),
            "map": views.map_facts(row, manifest),
            "reviews": reviews,
        }
        return station.json(views.part_facts(book, row) | facts)

    return pages
