"""The review station: a person looks at the flagged parts of a journal and decides.

It meets the line only through the journal: it reads inspections and adds reviews, each a new row.

Limits, said plainly: v1 has no login; the reviewer's name is what the person typed. It is meant for
the machine it runs on or a closed network. A form is accepted only from the station's own pages.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException as AnyHTTPException
from starlette.middleware.trustedhost import TrustedHostMiddleware

from edge.occlusion import Occluder
from edge.station import agreement, api, api_v1, charts, gallery, health, queue
from edge.station.station import HERE, Station
from edge.station.users import User
from qc.errors import DataError, QCError
from qc.journal import Journal

_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; base-uri 'none'; form-action 'self'; "
    "object-src 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}
_PAGES = (health, queue, gallery, charts, agreement, api, api_v1)
"""Each gives its routes with `router(station)`."""


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
    station = Station(Journal(journal), reviewer, occluder)
    app = FastAPI(title="review station", docs_url=None, redoc_url=None, openapi_url=None)
    if hosts:
        app.add_middleware(TrustedHostMiddleware, allowed_hosts=list(hosts), www_redirect=False)
    app.mount("/static", StaticFiles(directory=HERE / "static"))

    @app.middleware("http")
    async def secure(
        request: Request, answer: Callable[[Request], Awaitable[Response]]
    ) -> Response:
        request.state.user = User(station.reviewer or "reviewer", "engineer")
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

    for pages in _PAGES:
        app.include_router(pages.router(station))
    return app
