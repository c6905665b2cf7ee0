"""The gallery: every inspection that an address asks for, and decisions on several at once."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, HTTPException, Query, Request, Response
from fastapi.responses import HTMLResponse

from edge.station import views
from edge.station.asked import Asked, asked
from edge.station.bulk import MOST, Bulk, problem, read_bulk, save
from edge.station.forms import require_same_origin
from edge.station.refusal import Refused
from edge.station.station import Station
from edge.station.strings_charts import words_of
from edge.station.users import require
from qc.errors import DataError
from qc.journal_search import known, search

PAGE = 48
"""Parts on one page."""

Place = Annotated[int | None, Query(ge=1, le=2**53)]


def listing(
    station: Station,
    request: Request,
    wanted: Asked,
    after: int | None,
    before: int | None,
    limit: int = PAGE,
) -> dict[str, Any]:
    """One page of what an address asks for, as JSON values.

    Who asks by reviewer or decision is not shown the parts that they are to look at blind.

    Returns:
        parts; newer and older: the parameter of the next page on either side, or None.
    """
    try:
        page = search(station.journal, wanted.wanted, limit, after=after, before=before)
    except DataError as error:
        raise Refused(404, "refused.part", found=after or before) from error
    first, last = (page.rows[0].seq, page.rows[-1].seq) if page.rows else (None, None)
    tells = wanted.wanted.reviewer is not None or wanted.wanted.decision is not None
    rows = [r for r in page.rows if not (tells and station.blind(request, r.inspection_id))]
    return {
        "parts": [views.part_facts(station.journal, row) for row in rows],
        "newer": first if page.newer else None,
        "older": last if page.older else None,
    }


def _chosen(station: Station, request: Request, bulk: Bulk) -> tuple[list[Any], list[list[str]]]:
    """The rows of the chosen parts, and the classes that the bundle of each knows."""
    if not station.csrf_ok(request, bulk.csrf):
        raise HTTPException(403, words_of(request)("bulk.stale"))
    rows = []
    for part in bulk.parts:
        try:
            rows.append(station.journal.get(part))
        except DataError as error:
            raise Refused(404, "refused.part", found=part) from error
    manifests = {row.bundle_id: views.manifest_of(station.journal, row) for row in rows}
    return rows, [views.defect_classes(row, manifests[row.bundle_id]) for row in rows]


def _confirm(station: Station, request: Request, bulk: Bulk) -> HTMLResponse:
    """What will be decided, part by part, before anything is."""
    rows, classes = _chosen(station, request, bulk)
    wrong = problem(bulk, classes)
    parts = [views.part_facts(station.journal, row) for row in rows]
    overruled = sum(row.verdict.value not in (bulk.decision, "REVIEW", "FAULT") for row in rows)
    return station.page(
        "bulk.html",
        422 if wrong else 200,
        request=request,
        parts=parts,
        bulk=bulk,
        wrong=wrong,
        again=sum(part["n_decided"] > 0 for part in parts),
        overruled=overruled,
        saved=None,
        refused={},
    )


def _decide(station: Station, request: Request, bulk: Bulk) -> HTMLResponse:
    """Save them, and say of each part what became of it."""
    rows, classes = _chosen(station, request, bulk)
    if problem(bulk, classes) or None in bulk.parts.values():
        return _confirm(station, request, bulk)
    saved, refused = save(station, request, bulk)
    return station.page(
        "bulk.html",
        409 if refused else 200,
        request=request,
        parts=[views.part_facts(station.journal, row) for row in rows],
        bulk=bulk,
        wrong=None,
        again=0,
        overruled=0,
        saved=saved,
        refused=refused,
    )


def router(station: Station) -> APIRouter:
    """The routes of the gallery."""
    pages = APIRouter(dependencies=[Depends(require("look"))])

    @pages.get("/gallery")
    def gallery(
        request: Request,
        wanted: Annotated[Asked, Depends(asked)],
        after: Place = None,
        before: Place = None,
    ) -> Response:
        found = listing(station, request, wanted, after, before)
        newer, older = found["newer"], found["older"]
        return station.page(
            "gallery.html",
            request=request,
            asked=wanted.query,
            known=known(station.journal),
            parts=found["parts"],
            most=MOST,
            newer=wanted.href("/gallery", before=newer) if newer else None,
            older=wanted.href("/gallery", after=older) if older else None,
            charts=wanted.href("/charts"),
            back=wanted.href("", after=after, before=before),
        )

    @pages.post("/gallery/confirm", dependencies=[Depends(require("review"))])
    def confirm(request: Request, bulk: Annotated[Bulk, Depends(read_bulk)]) -> Response:
        require_same_origin(request)
        return _confirm(station, request, bulk)

    @pages.post("/gallery/decide", dependencies=[Depends(require("review"))])
    def decide(request: Request, bulk: Annotated[Bulk, Depends(read_bulk)]) -> Response:
        require_same_origin(request)
        return _decide(station, request, bulk)

    return pages
