"""What every page of the station shares: the journal, the templates, and who is asking."""

from __future__ import annotations

import hmac
import secrets
from pathlib import Path
from typing import Any

from fastapi import Request, Response
from fastapi.responses import HTMLResponse, JSONResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from edge.occlusion import Occluder
from edge.station.occluded import Occluded
from edge.station.users import User
from qc.journal import Journal

HERE = Path(__file__).parent
IMAGE_HEADERS = {"Cache-Control": "private, max-age=3600"}
_HEADINGS = {
    403: "Refused",
    404: "Not found",
    422: "Not understood",
    503: "The journal cannot be used now",
}


class Station:
    """The pages over one journal.

    Args:
        journal: what they show, and where reviews go.
        reviewer: the one person of a station without login; None: people log in.
        occluder: draws occlusion maps on request, for parts that its bundle judged.
    """

    def __init__(self, journal: Journal, reviewer: str | None, occluder: Occluder | None) -> None:
        self.journal = journal
        self.occluded = Occluded(journal, occluder)
        self.reviewer = reviewer or ""
        self._csrf = secrets.token_urlsafe(32)
        self._templates = Environment(
            loader=FileSystemLoader(HERE / "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )

    def page(
        self, template: str, status: int = 200, *, request: Request, **values: Any
    ) -> HTMLResponse:
        """A page from a template.

        Args:
            template: its file name.
            status: of the answer.
            request: that it answers; says who is asking (`user`, or None) and their form token.
            **values: what else the template names; `journal_name`, `counts`, `user` and `csrf`
                are always there.
        """
        user = getattr(request.state, "user", None)
        values = {
            "journal_name": self.journal.path.name,
            "counts": None,
            "user": user if isinstance(user, User) else None,
            "csrf": self.csrf_of(request),
            **values,
        }
        return HTMLResponse(self._templates.get_template(template).render(values), status)

    def csrf_of(self, request: Request) -> str:
        """The token that a form must carry which the person behind this request sends."""
        return self._csrf

    def csrf_ok(self, request: Request, sent: str) -> bool:
        """Whether what a form sent is that token."""
        return hmac.compare_digest(sent.encode(), self.csrf_of(request).encode())

    def error(self, request: Request, status: int, message: str, kind: str) -> Response:
        """A refusal or a failure: a page for a person, JSON for a program."""
        path = request.url.path
        if path.startswith("/api/") or path == "/health":
            where = {"kind": kind, "message": message, "where": path}
            return JSONResponse({"error": where}, status)
        heading = _HEADINGS.get(status, "This did not work")
        return self.page("error.html", status, request=request, heading=heading, message=message)
