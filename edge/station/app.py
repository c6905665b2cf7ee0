"""The review station: a person looks at the flagged parts of a journal and decides.

It meets the line only through the journal: it reads inspections and adds reviews, each a new row.

Limits, said plainly: v1 has no login; the reviewer's name is what the person typed. It is meant for
the machine it runs on or a closed network. A form is accepted only from the station's own pages.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import quote, unquote, urlencode

from fastapi import Depends, FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse
from fastapi.staticfiles import StaticFiles
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.exceptions import HTTPException as AnyHTTPException
from starlette.middleware.trustedhost import TrustedHostMiddleware

from edge.occlusion import Occluder
from edge.station import views
from edge.station.forms import (
    MAX_NAME,
    Typed,
    buttons,
    form_problem,
    read_form,
    require_same_origin,
)
from edge.station.occluded import Occluded
from qc.errors import DataError, QCError
from qc.journal import Journal, Row
from qc.types import Review, Verdict

PAGE = 24
"""Parts on one page of the queue."""

COOKIE = "qc_reviewer"
SHIFT_S = 12 * 3600
"""How long a browser remembers the reviewer's name: one shift."""

_HERE = Path(__file__).parent
_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; base-uri 'none'; form-action 'self'; "
    "object-src 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}
_IMAGE_HEADERS = {"Cache-Control": "private, max-age=3600"}
_HEADINGS = {
    403: "Refused",
    404: "Not found",
    422: "Not understood",
    503: "The journal cannot be used now",
}
_STALE = (
    "The review was NOT saved: this page was made before the station was started again. "
    "Check what stands below and decide once more."
)

Show = Literal["waiting", "reviewed", "all"]
Flagged = Literal["NG", "REVIEW", "FAULT"]
PageNumber = Annotated[int, Query(ge=1, le=1_000_000)]


class _Station:
    """The pages over one journal."""

    def __init__(self, journal: Journal, reviewer: str | None, occluder: Occluder | None) -> None:
        self.journal = journal
        self.occluded = Occluded(journal, occluder)
        self.reviewer = reviewer or ""
        self.csrf = secrets.token_urlsafe(32)
        self.templates = Environment(
            loader=FileSystemLoader(_HERE / "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )

    def page(self, template: str, status: int = 200, **values: Any) -> HTMLResponse:
        values = {"journal_name": self.journal.path.name, "counts": None, **values}
        return HTMLResponse(self.templates.get_template(template).render(values), status)

    def error(self, request: Request, status: int, message: str, kind: str) -> Response:
        path = request.url.path
        if path.startswith("/api/") or path == "/health":
            where = {"kind": kind, "message": message, "where": path}
            return JSONResponse({"error": where}, status)
        heading = _HEADINGS.get(status, "This did not work")
        return self.page("error.html", status, heading=heading, message=message)

    def listing(self, show: Show, verdict: Flagged | None, page: int) -> dict[str, Any]:
        """One page of the queue; a page behind the last is the last."""
        verdicts = (Verdict(verdict),) if verdict else views.FLAGGED
        reviewed = views.REVIEWED[show]
        total = self.journal.count(verdicts, reviewed)
        pages = max(1, -(-total // PAGE))
        page = min(page, pages)
        rows = self.journal.rows(
            verdicts=verdicts, reviewed=reviewed, limit=PAGE, offset=(page - 1) * PAGE
        )
        parts = [views.part_facts(self.journal, row) for row in rows]
        return {"total": total, "page": page, "pages": pages, "parts": parts}

    def queue(
        self, show: Show, verdict: Flagged | None, page: int, saved: str | None
    ) -> HTMLResponse:
        listing = self.listing(show, verdict, page)
        page, total = listing["page"], listing["total"]

        def href(**change: object) -> str:
            query = {"show": show, "verdict": verdict, "page": None, **change}
            return "/?" + urlencode({k: v for k, v in query.items() if v is not None})

        count = self.journal.count
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
        return self.page(
            "queue.html",
            counts=views.count_facts(self.journal),
            tabs=tabs,
            verdict_tabs=[every, *verdict_tabs],
            show=show,
            parts=listing["parts"],
            total=total,
            first=min(total, (page - 1) * PAGE + 1),
            last=min(total, page * PAGE),
            newer=href(page=page - 1) if page > 1 else None,
            older=href(page=page + 1) if page < listing["pages"] else None,
            saved=views.saved_words(self.journal, saved),
        )

    def part(
        self,
        row: Row,
        typed: Typed,
        problem: str = "",
        status: int = 200,
        saved: str | None = None,
        occlusion: bool = False,
    ) -> HTMLResponse:
        manifest = views.manifest_of(self.journal, row)
        following = views.next_waiting(self.journal, row)
        return self.page(
            "part.html",
            status,
            part=views.part_facts(self.journal, row),
            map=self.occluded.facts(row, manifest, occlusion),
            scores=views.score_rows(row, manifest),
            gauge=views.gauge_facts(row, manifest),
            good=manifest.good if manifest else None,
            classes=views.defect_classes(row, manifest),
            reviews=[views.review_facts(r) for r in self.journal.reviews(row.inspection_id)],
            buttons=buttons(row.verdict),
            typed=typed,
            problem=problem,
            csrf=self.csrf,
            waiting=self.journal.count(views.FLAGGED, False),
            next_href=views.part_href(following.inspection_id) if following else None,
            saved=views.saved_words(self.journal, saved),
        )

    def decide(self, row: Row, typed: Typed) -> Response:
        """Save a review and go on to the next waiting part, or show the form again."""
        if not hmac.compare_digest(typed.csrf.encode(), self.csrf.encode()):
            return self.part(row, typed, _STALE, 403)
        classes = views.defect_classes(row, views.manifest_of(self.journal, row))
        problem = form_problem(typed, classes)
        if problem:
            return self.part(row, typed, problem, 422)
        decision = Verdict(typed.decision)
        named = typed.defect_class if decision is Verdict.NG else ""
        try:
            self.journal.add_review(
                Review(row.inspection_id, typed.reviewer, decision, named or None, typed.note)
            )
        except QCError as error:
            return self.part(row, typed, f"The review was NOT saved: {error.message}", 503)
        try:
            following = views.next_waiting(self.journal, row)
        except QCError:
            following = None  # the review is saved; the queue will say what is wrong
        target = views.part_href(following.inspection_id) if following else "/"
        answer = RedirectResponse(f"{target}?{urlencode({'saved': row.inspection_id})}", 303)
        answer.set_cookie(
            COOKIE, quote(typed.reviewer), max_age=SHIFT_S, httponly=True, samesite="strict"
        )
        return answer


def create_app(
    journal: Path,
    reviewer: str | None = None,
    *,
    hosts: Sequence[str] = (),
    occluder: Occluder | None = None,
) -> FastAPI:
    """The station as an ASGI application.

    Args:
        journal: the journal file.
        reviewer: the name the form starts with, until a person types another.
        hosts: host names it answers to; empty = any. Named, no foreign name can reach it.
        occluder: draws occlusion maps on request, for parts that its bundle judged.

    Raises:
        DataError: there is no journal at that path.
    """
    station = _Station(Journal(journal), reviewer, occluder)
    book = station.journal
    app = FastAPI(title="review station", docs_url=None, redoc_url=None, openapi_url=None)
    if hosts:
        app.add_middleware(TrustedHostMiddleware, allowed_hosts=list(hosts), www_redirect=False)
    app.mount("/static", StaticFiles(directory=_HERE / "static"))

    @app.middleware("http")
    async def secure(
        request: Request, answer: Callable[[Request], Awaitable[Response]]
    ) -> Response:
        response = await answer(request)
        response.headers.update(_HEADERS)
        response.headers.setdefault("Cache-Control", "no-cache")
        return response

    @app.exception_handler(QCError)
    def qc_error(request: Request, error: QCError) -> Response:
        unknown = isinstance(error, DataError) and "inspection_id" in request.path_params
        lost = "The review was NOT saved: " if request.method == "POST" else ""
        return station.error(request, 404 if unknown else 503, lost + error.message, error.kind)

    @app.exception_handler(AnyHTTPException)
    def http_error(request: Request, error: AnyHTTPException) -> Response:
        message = "There is no such page." if error.status_code == 404 else error.detail
        return station.error(request, error.status_code, message, "usage")

    @app.exception_handler(RequestValidationError)
    def bad_query(request: Request, error: RequestValidationError) -> Response:
        found = "; ".join(f"{e['loc'][-1]}: {e['msg']}" for e in error.errors())
        return station.error(request, 422, f"The address is not understood: {found}", "usage")

    @app.get("/")
    def queue(
        show: Show = "waiting",
        verdict: Flagged | None = None,
        page: PageNumber = 1,
        saved: str | None = None,
    ) -> Response:
        return station.queue(show, verdict, page, saved)

    @app.get("/part/{inspection_id}")
    def part(
        request: Request, inspection_id: str, saved: str | None = None, occlusion: bool = False
    ) -> Response:
        row = book.get(inspection_id)
        known = unquote(request.cookies.get(COOKIE, ""))[:MAX_NAME] or station.reviewer
        typed = Typed(known, defect_class=row.defect_class or "")
        return station.part(row, typed, saved=saved, occlusion=occlusion)

    @app.post("/part/{inspection_id}")
    def decide(
        request: Request, inspection_id: str, typed: Annotated[Typed, Depends(read_form)]
    ) -> Response:
        require_same_origin(request)
        return station.decide(book.get(inspection_id), typed)

    @app.get("/part/{inspection_id}/image.png")
    def image(inspection_id: str) -> Response:
        data = views.picture_png(book, book.get(inspection_id))
        return Response(data, media_type="image/png", headers=_IMAGE_HEADERS)

    @app.get("/part/{inspection_id}/thumb.png")
    def thumb(inspection_id: str) -> Response:
        data = views.picture_png(book, book.get(inspection_id), thumb=True)
        return Response(data, media_type="image/png", headers=_IMAGE_HEADERS)

    @app.get("/part/{inspection_id}/heat.png")
    def heat(inspection_id: str) -> Response:
        row = book.get(inspection_id)
        data = views.heat_png(book, row, views.manifest_of(book, row))
        return Response(data, media_type="image/png", headers=_IMAGE_HEADERS)

    @app.get("/part/{inspection_id}/occlusion.png")
    def occlusion(inspection_id: str) -> Response:
        data = station.occluded.png(book.get(inspection_id))
        return Response(data, media_type="image/png", headers=_IMAGE_HEADERS)

    @app.get("/scale.png")
    def scale() -> Response:
        return Response(views.scale_png(), media_type="image/png", headers=_IMAGE_HEADERS)

    @app.get("/health")
    def health() -> Response:
        counts = views.count_facts(book)
        rule = {"rule": "captured = ok + ng + review + fault + dropped", "holds": counts["holds"]}
        facts = {k: counts[k] for k in ("captured", "ok", "ng", "review", "fault")}
        facts |= {"dropped": book.drops(), "waiting": book.count(views.FLAGGED, False)}
        return JSONResponse(facts | {"invariant": rule}, 200 if counts["holds"] else 503)

    @app.get("/api/parts")
    def api_parts(
        show: Show = "waiting", verdict: Flagged | None = None, page: PageNumber = 1
    ) -> Response:
        return JSONResponse(station.listing(show, verdict, page))

    @app.get("/api/parts/{inspection_id}")
    def api_part(inspection_id: str) -> Response:
        row = book.get(inspection_id)
        manifest = views.manifest_of(book, row)
        reviews = [views.review_facts(r) for r in book.reviews(inspection_id)]
        facts = {
            "classes": views.score_rows(row, manifest),
            "map": views.map_facts(row, manifest),
            "reviews": reviews,
        }
        return JSONResponse(views.part_facts(book, row) | facts)

    return app
