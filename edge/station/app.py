"""The review station: a person looks at the flagged parts of a journal and decides.

It meets the line only through the journal: it reads inspections and adds reviews, each a new row.
Everything that is asked passes the gate first; a form is taken only from the station's own pages.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import RedirectResponse
from fastapi.staticfiles import StaticFiles
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException as AnyHTTPException
from starlette.middleware.trustedhost import TrustedHostMiddleware

from edge.comparing import Comparer
from edge.occlusion import Occluder
from edge.station import (
    agreement,
    api,
    api_v1,
    charts,
    compare,
    dataset,
    gallery,
    health,
    login,
    managing,
    part,
    pictures,
    queue,
    trail,
)
from edge.station.forms import require_same_origin
from edge.station.gate import SAFE, Alone, Gate, is_open
from edge.station.login import LoginGate
from edge.station.people import People
from edge.station.refusal import Refused, in_words
from edge.station.research import HEADER, NOTICE, ResearchJournal
from edge.station.second import Second
from edge.station.station import HERE, Station
from edge.station.strings import Words, language_of
from qc.errors import DataError, QCError, StaleError, UsageError
from qc.journal import Journal

if TYPE_CHECKING:  # it needs urllib3, which is another extra
    from edge.station.webhook import Webhook

_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; base-uri 'none'; form-action 'self'; "
    "object-src 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}
_PAGES = (
    *(health, login, managing, trail, queue, part, pictures, dataset),
    *(gallery, charts, agreement, api),
)
"""Each gives its routes with `router(station)`."""


def _refusal(station: Station, request: Request) -> Response | None:
    """Find out who is asking; what a stranger or a foreign site is answered, None for a person."""
    path = request.url.path
    request.state.user = None
    try:
        request.state.user = station.gate.identify(request)
        if request.method not in SAFE:
            require_same_origin(request)
    except QCError as error:
        return None if is_open(path) else station.error(request, 503, error.message, error.kind)
    except AnyHTTPException as error:
        words = in_words(error, Words(language_of(request)))
        return station.error(request, error.status_code, words, "login")
    if request.state.user is not None or is_open(path):
        return None
    if request.method in SAFE and "text/html" in request.headers.get("accept", ""):
        wanted = f"{path}?{request.url.query}" if request.url.query else path
        return RedirectResponse(f"/login?{urlencode({'next': wanted})}", 303)
    words = Words(language_of(request))("refused.login")
    answer = station.error(request, 401, words, "login")
    answer.headers["WWW-Authenticate"] = "Bearer"
    return answer


def create_app(
    journal: Path,
    reviewer: str | None = None,
    *,
    people: People | None = None,
    hosts: Sequence[str] = (),
    occluder: Occluder | None = None,
    second: float = 0.0,
    research: bool = False,
    comparer: Comparer | None = None,
    webhook: Webhook | None = None,
) -> FastAPI:
    """The station as an ASGI application.

    Args:
        journal: the journal file.
        reviewer: the one person who reviews alone, without login; for loopback only.
        people: who may log in; either these or `reviewer`.
        hosts: host names it answers to; empty = any. Named, no foreign name can reach it.
        occluder: draws occlusion maps on request, for parts that its bundle judged.
        second: share of the reviewed parts that another person looks at blind, 0 to 1.
        research: not for diagnostic use: said everywhere, and no part is named but by its hash.
        comparer: judges pictures with two bundles, for the page that compares them.
        webhook: is told of each decision; the caller starts and stops it.

    Raises:
        UsageError: nobody may review, or `second` is no share.
        DataError: there is no journal at that path.
    """
    gate: Gate
    if reviewer is not None and people is None:
        gate = Alone(reviewer)
    elif people is not None and reviewer is None:
        gate = LoginGate(people)
    else:
        raise UsageError("either one person reviews alone, or people log in", where=journal)
    book = ResearchJournal(journal) if research else Journal(journal)
    station = Station(
        book,
        gate,
        Second(book, second),
        occluder,
        research,
        partial(webhook.tell, notice=NOTICE if research else "") if webhook else None,
        comparer is not None,
    )
    app = FastAPI(title="review station", docs_url=None, redoc_url=None, openapi_url=None)
    if hosts:
        app.add_middleware(TrustedHostMiddleware, allowed_hosts=list(hosts), www_redirect=False)
    app.mount("/static", StaticFiles(directory=HERE / "static"))

    @app.middleware("http")
    async def secure(
        request: Request, answer: Callable[[Request], Awaitable[Response]]
    ) -> Response:
        response = await run_in_threadpool(_refusal, station, request) or await answer(request)
        response.headers.update(_HEADERS)
        if research:
            response.headers[HEADER] = NOTICE
        fresh = "no-cache" if request.url.path.startswith("/static/") else "no-store"
        response.headers.setdefault("Cache-Control", fresh)
        return response

    @app.exception_handler(QCError)
    def qc_error(request: Request, error: QCError) -> Response:
        unknown = isinstance(error, DataError) and "inspection_id" in request.path_params
        stale = isinstance(error, StaleError)
        t = Words(language_of(request))
        words = in_words(error, t)
        if request.method == "POST":
            words = t("wrong.journal", message=words)
        status = 404 if unknown else 409 if stale else 503
        return station.error(request, status, words, error.kind)

    @app.exception_handler(AnyHTTPException)
    def http_error(request: Request, error: AnyHTTPException) -> Response:
        t = Words(language_of(request))
        lost = error.status_code == 404 and not isinstance(error, Refused)
        message = t("refused.page") if lost else in_words(error, t)
        kind = "login" if error.status_code in (401, 403) else "usage"
        return station.error(request, error.status_code, message, kind)

    @app.exception_handler(RequestValidationError)
    def bad_query(request: Request, error: RequestValidationError) -> Response:
        found = "; ".join(f"{e['loc'][-1]}: {e['msg']}" for e in error.errors())
        words = Words(language_of(request))("refused.address", found=found)
        return station.error(request, 422, words, "usage")

    for pages in _PAGES:
        app.include_router(pages.router(station))
    compared = None if comparer is None else compare.Compared(station, comparer)
    for two in (compare, api_v1):
        app.include_router(two.router(station, compared))
    return app
