"""The station as JSON, for programs: the same facts and rights as on its pages.

A program sends `Authorization: Bearer TOKEN`. The OpenAPI document is made from these routes; the
page that shows it needs nothing from the internet.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal
from urllib.parse import quote

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi import Path as PathParameter
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel, ConfigDict, Field

from edge.station import agreement as agreement_page
from edge.station import charts, trail, views
from edge.station.asked import Asked, asked
from edge.station.compare import Compared
from edge.station.forms import MAX_NOTE, require_same_origin
from edge.station.gallery import PAGE, Place, listing
from edge.station.login import LoginGate
from edge.station.pictures import mask_of
from edge.station.refusal import Refused
from edge.station.station import Station
from edge.station.users import require
from qc.errors import DataError
from qc.journal import Row
from qc.journal_masks import kept_mask
from qc.reviewed import in_force
from qc.types import Verdict

PREFIX = "/api/v1"
DIGEST = "^[0-9a-f]{64}$"
Limit = Annotated[int, Query(ge=1, le=500)]


class Problem(BaseModel):
    """What was wrong."""

    kind: str
    message: str
    where: str


class Refusal(BaseModel):
    """Every answer but 2xx."""

    error: Problem


class NewReview(BaseModel):
    """A decision on one part."""

    model_config = ConfigDict(extra="forbid", str_strip_whitespace=True)

    decision: Literal["OK", "NG"]
    defect_class: str | None = Field(None, max_length=300, description="one of the bundle's, if NG")
    note: str = Field("", max_length=MAX_NOTE)
    mask_sha256: str | None = Field(
        None, pattern=DIGEST, description="of a mask sent to /part/{inspection_id}/mask, if NG"
    )
    seen: int | None = Field(
        None, ge=0, le=2**31, description="reviews of it that you know of: more are a conflict"
    )


class Parts(BaseModel):
    """A page of inspections, the newest first; go on with `after=older` or `before=newer`."""

    parts: list[dict[str, Any]]
    newer: int | None
    older: int | None


_REFUSALS: dict[int | str, dict[str, Any]] = {
    status: {"model": Refusal} for status in (401, 403, 404, 422, 429, 503)
}


def part_facts(station: Station, request: Request, row: Row) -> dict[str, Any]:
    """One inspection with its scores, map and the reviews that the person may be shown."""
    manifest = views.manifest_of(station.journal, row)
    reviews = [views.review_facts(r) for r in station.reviews(request, row.inspection_id)]
    return views.part_facts(station.journal, row) | {
        "classes": views.score_rows(row, manifest),
        "map": views.map_facts(row, manifest),
        "reviews": reviews,
    }


def people_facts(station: Station) -> dict[str, Any]:
    """Who may log in, and the tokens of programs, without any secret or hash of one."""
    gate = station.gate
    if not isinstance(gate, LoginGate):
        return {"login": False, "people": [], "tokens": []}
    people = [
        {
            "name": person.name,
            "role": person.role,
            "language": person.language,
            "disabled": person.disabled,
            "made_at": views.utc_text(person.made_at),
        }
        for person in gate.people.list()
    ]
    tokens = [
        {
            "n": token.n,
            "label": token.label,
            "role": token.role,
            "made_by": token.made_by,
            "made_at": views.utc_text(token.made_at),
            "revoked": token.revoked,
        }
        for token in gate.sessions.tokens()
    ]
    return {"login": True, "people": people, "tokens": tokens}


def document(api: APIRouter) -> dict[str, Any]:
    """The OpenAPI document of the routes."""
    found = get_openapi(
        title="review station",
        version="1",
        description=__doc__.split("\n\n", 1)[1].strip().replace("\n", " "),
        routes=api.routes,
    )
    bearer = {"type": "http", "scheme": "bearer"}
    found.setdefault("components", {})["securitySchemes"] = {"token": bearer}
    found["security"] = [{"token": []}]
    return found


def router(station: Station, compared: Compared | None) -> APIRouter:
    """The routes under /api/v1, their document, and its page."""
    pages = APIRouter(dependencies=[Depends(require("look"))])
    api = APIRouter(prefix=PREFIX, responses=_REFUSALS, default_response_class=station.json)
    book = station.journal

    @api.get("/counts", summary="What became of every captured frame")
    def counts() -> dict[str, Any]:
        return views.count_facts(book) | {"dropped_by_cause": book.drops()}

    @api.get("/parts", summary="Inspections, the newest first")
    def parts(
        request: Request,
        wanted: Annotated[Asked, Depends(asked)],
        after: Place = None,
        before: Place = None,
        limit: Limit = PAGE,
    ) -> Parts:
        return Parts(**listing(station, request, wanted, after, before, limit))

    @api.get("/parts/{inspection_id}", summary="One inspection with its scores and reviews")
    def part(request: Request, inspection_id: str) -> dict[str, Any]:
        return part_facts(station, request, book.get(inspection_id))

    @api.post(
        "/parts/{inspection_id}/reviews",
        summary="Decide on one part",
        status_code=201,
        responses={409: {"model": Refusal}},
        dependencies=[Depends(require("review"))],
    )
    def review(request: Request, inspection_id: str, new: NewReview) -> dict[str, Any]:
        require_same_origin(request)
        if not station.csrf_ok(request, request.headers.get("x-csrf-token", "")):
            raise Refused(403, "refused.no_token")
        row = book.get(inspection_id)
        known = views.defect_classes(row, views.manifest_of(book, row))
        if new.defect_class and (new.decision == "OK" or new.defect_class not in known):
            raise Refused(422, "refused.class")
        if new.mask_sha256:
            if new.decision == "OK":
                raise Refused(422, "refused.mask_with_ok")
            try:
                kept_mask(book.path, inspection_id, new.mask_sha256)
            except DataError as error:
                raise Refused(422, "refused.mask") from error
        station.decide(
            request,
            inspection_id,
            Verdict(new.decision),
            defect_class=new.defect_class or None,
            note=new.note,
            mask_sha256=new.mask_sha256,
            seen=new.seen,
        )
        return part_facts(station, request, book.get(inspection_id))

    @api.get("/charts/{name}", summary="What is behind one chart")
    def chart(
        name: charts.Name,
        wanted: Annotated[Asked, Depends(asked)],
        view: Annotated[charts.View, Depends(charts.viewed)],
    ) -> dict[str, Any]:
        found = charts.data(station, name, wanted, view)
        return {key: value for key, value in found.items() if key != "points"}

    @api.get("/agreement", summary="Agreement of reviewers, and of the model with them")
    def agreement(wanted: Annotated[Asked, Depends(asked)], blind: bool = False) -> dict[str, Any]:
        return agreement_page.found(station, wanted, blind)

    @api.get("/parts/{inspection_id}/masks", summary="The masks that go with its reviews")
    def masks(request: Request, inspection_id: str) -> dict[str, Any]:
        row = book.get(inspection_id)
        reviews = station.reviews(request, row.inspection_id)
        standing = in_force(reviews)
        return {
            "masks": [
                {
                    "mask_sha256": review.mask_sha256,
                    "reviewer": review.reviewer,
                    "at": views.utc_text(review.at),
                    "in_force": review in standing,
                    "href": f"{PREFIX}/parts/{quote(inspection_id, safe='')}"
                    f"/masks/{review.mask_sha256}",
                }
                for review in reviews
                if review.mask_sha256
            ]
        }

    @api.get(
        "/parts/{inspection_id}/masks/{mask_sha256}",
        summary="One mask as PNG: white where the defect is, clear elsewhere",
        response_class=Response,
        responses={200: {"content": {"image/png": {}}}},
    )
    def mask(
        inspection_id: str, mask_sha256: Annotated[str, PathParameter(pattern=DIGEST)]
    ) -> Response:
        drawn = mask_of(book, inspection_id, mask_sha256)
        return Response(views.mask_png(drawn), media_type="image/png")

    @api.get("/trail", summary="Every decision, or every event, the newest first")
    def trail_(
        request: Request,
        kind: trail.Kind = "decisions",
        before: trail.Place = None,
        limit: Limit = trail.PAGE,
    ) -> dict[str, Any]:
        return trail.listing(station, request, kind, before, limit)

    @api.get(
        "/people",
        summary="People and tokens, for an engineer",
        dependencies=[Depends(require("manage"))],
    )
    def people() -> dict[str, Any]:
        return people_facts(station)

    @api.get("/compare", summary="Two bundles over the reviewed parts, if there are two")
    def compare(wanted: Annotated[Asked, Depends(asked)]) -> dict[str, Any]:
        if compared is None:
            raise Refused(404, "refused.compare")
        return compared.facts(wanted)

    pages.include_router(api)
    told = document(api)

    @pages.get(f"{PREFIX}/openapi.json")
    def openapi() -> Response:
        return station.json(told)

    @pages.get("/api")
    def page(request: Request) -> Response:
        routes = [
            {
                "method": method.upper(),
                "path": path,
                "does": facts["summary"],
                "parameters": [p["name"] for p in facts.get("parameters", [])],
            }
            for path, methods in told["paths"].items()
            for method, facts in methods.items()
        ]
        return station.page("api.html", request=request, routes=routes)

    return pages
