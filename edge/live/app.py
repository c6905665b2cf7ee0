"""The page of a running line as an ASGI application; see `edge.live`."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from edge.live.pictures import Pictures
from edge.metrics import TEXT_TYPE, metrics_text
from edge.status import LATENCY_BUCKETS_MS, LineStatus
from qc.errors import printable
from qc.types import Inspection

if TYPE_CHECKING:
    from edge.live import Watched

FRAME_S = 0.1
"""Seconds between two live pictures at least."""

MAX_WATCHERS = 16
"""Live pictures that are sent at once; one more is refused with 503."""

_STATIC = Path(__file__).parent / "static"
_BOUNDARY = "qc-live-picture"
_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; base-uri 'none'; form-action 'none'; "
    "object-src 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class _Secure:
    """Sets the headers of every answer."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                extra = [(k.lower().encode(), v.encode()) for k, v in _HEADERS.items()]
                message["headers"] = [*message["headers"], *extra]
            await send(message)

        await self.app(scope, receive, send_with_headers)


def health_facts(status: LineStatus) -> dict[str, Any]:
    """What `/health` says: the account, then how source, sinks and the disk do."""
    return {
        "state": status.state,
        "captured": status.captured,
        "ok": status.ok,
        "ng": status.ng,
        "review": status.review,
        "fault": status.fault,
        "dropped": dict(status.dropped),
        "in_flight": status.in_flight,
        "queued": status.queued,
        "p50_ms": status.p50_ms,
        "p99_ms": status.p99_ms,
        "bundle_id": status.bundle_id,
        "runtime": status.runtime,
        "started_at": status.started_at.isoformat(),
        "disk_free_bytes": status.disk_free_bytes,
        "images_why": printable(status.images_why),
        "sources": [
            {
                "source_id": s.source_id,
                "kind": s.kind,
                "state": s.state,
                "since": s.since.isoformat(),
                "why": printable(s.why),
                "frames": s.frames,
                "reopened": s.reopened,
            }
            for s in status.sources
        ],
        "sinks": [
            {
                "sink_id": s.sink_id,
                "state": s.state,
                "waiting": s.waiting,
                "delivered": s.delivered,
                "why": printable(s.why),
            }
            for s in status.sinks
        ],
    }


def _latest_facts(inspection: Inspection | None) -> dict[str, Any] | None:
    if inspection is None:
        return None
    return {
        "inspection_id": inspection.inspection_id,
        "verdict": inspection.verdict.value,
        "reason": printable(inspection.reason),
        "part_id": None if inspection.part_id is None else printable(inspection.part_id),
        "lot": None if inspection.lot is None else printable(inspection.lot),
        "captured_at": inspection.captured_at.isoformat(),
        "has_image": inspection.image is not None,
    }


class _Page:
    """The handlers; all run in the thread that serves."""

    def __init__(self, line: Watched, ending: threading.Event) -> None:
        self.line = line
        self.ending = ending
        self.pictures = Pictures(line)
        self.watchers = 0

    async def page(self, request: Request) -> Response:
        return Response((_STATIC / "live.html").read_bytes(), media_type="text/html")

    async def health(self, request: Request) -> Response:
        status = self.line.status()
        code = 200 if status.state == "running" else 503
        return JSONResponse(health_facts(status), code)

    async def state(self, request: Request) -> Response:
        """What the page shows: `/health`, the histogram, and the last inspection of each source."""
        status = self.line.status()
        facts = health_facts(status)
        facts["manifest"] = self.line.bundle.manifest.name
        facts["latency"] = {
            "up_to_ms": list(LATENCY_BUCKETS_MS),
            "counts": list(status.latency_counts),
        }
        for source in facts["sources"]:
            source["latest"] = _latest_facts(self.line.latest(source["source_id"]))
        return JSONResponse(facts)

    async def metrics(self, request: Request) -> Response:
        return Response(metrics_text(self.line.status()), headers={"Content-Type": TEXT_TYPE})

    async def live(self, request: Request) -> Response:
        source_id = request.path_params["source_id"]
        if source_id not in {s.source_id for s in self.line.status().sources}:
            return JSONResponse({"error": "there is no such source"}, 404)
        if self.watchers >= MAX_WATCHERS:
            return JSONResponse({"error": f"{MAX_WATCHERS} live pictures are sent already"}, 503)
        kind = f"multipart/x-mixed-replace; boundary={_BOUNDARY}"
        return StreamingResponse(self._stream(source_id), media_type=kind)

    async def still(self, request: Request) -> Response:
        picture = self.pictures.picture(request.path_params["source_id"])
        if picture is None:
            return JSONResponse({"error": "no picture so far"}, 404)
        return Response(picture.jpeg, media_type="image/jpeg")

    async def _stream(self, source_id: str) -> AsyncIterator[bytes]:
        """Parts of the multipart answer, each picture once.

        The head of the next part is sent with each picture: browsers show a part when another
        begins, and would be one part late otherwise.
        """
        self.watchers += 1
        sent = ""
        head = f"--{_BOUNDARY}\r\nContent-Type: image/jpeg\r\n\r\n".encode()
        try:
            yield head
            while not self.ending.is_set():
                begun = time.monotonic()
                picture = self.pictures.picture(source_id)
                if picture is not None and picture.inspection_id != sent:
                    sent = picture.inspection_id
                    yield picture.jpeg + b"\r\n" + head
                await asyncio.sleep(max(0.01, FRAME_S - (time.monotonic() - begun)))
        finally:
            self.watchers -= 1


async def _broken(request: Request, error: Exception) -> Response:
    with suppress(Exception):  # an error whose text cannot be made is still an error
        return JSONResponse({"error": printable(f"{type(error).__name__}: {error}")}, 500)
    return JSONResponse({"error": type(error).__name__}, 500)


def create_app(line: Watched, ending: threading.Event, *, local_only: bool = True) -> Starlette:
    """The page as an application.

    Args:
        line: what is shown.
        ending: set when the server is to stop: live pictures end then.
        local_only: answer to the names of this machine alone, so that no foreign name reaches it.
    """
    page = _Page(line, ending)
    middleware = [Middleware(_Secure)]
    if local_only:
        hosts = ["127.0.0.1", "localhost", "[::1]"]
        middleware.append(
            Middleware(TrustedHostMiddleware, allowed_hosts=hosts, www_redirect=False)
        )
    return Starlette(
        routes=[
            Route("/", page.page),
            Route("/health", page.health),
            Route("/metrics", page.metrics),
            Route("/state.json", page.state),
            Route("/live/{source_id:path}.mjpg", page.live),
            Route("/live/{source_id:path}.jpg", page.still),
            Mount("/static", StaticFiles(directory=_STATIC)),
        ],
        middleware=middleware,
        exception_handlers={Exception: _broken},
    )
