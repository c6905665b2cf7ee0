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
from edge.station.strings import Words, language_of
from edge.station.users import User
from qc.journal import Journal

HERE = Path(__file__).parent
IMAGE_HEADERS = {"Cache-Control": "private, max-age=3600"}
_HEADINGS = (403, 404, 409, 422, 503)


class Station:
    """The pages over one journal.

    Args:
        journal: what they show, and where reviews go.
        reviewer: the one person of a station without login; None: people log in.
        occluder: draws occlusion maps on request, for parts that its bundle judged.
        research: pictures of patients: every page says that it is not for diagnostic use.
    """

    def __init__(
        self,
        journal: Journal,
        reviewer: str | None,
        occluder: Occluder | None,
        research: bool = False,
    ) -> None:
        self.journal = journal
        self.occluded = Occluded(journal, occluder)
        self.reviewer = reviewer or ""
        self.research = research
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
            **values: what else the template names; `journal_name`, `counts`, `user`, `csrf`,
                `research` and `t` (the strings in the person's language) are always there.
        """
        user = getattr(request.state, "user", None)
        values = {
            "journal_name": self.journal.path.name,
            "counts": None,
            "user": user if isinstance(user, User) else None,
            "csrf": self.csrf_of(request),
            "research": self.research,
            "t": Words(language_of(request)),
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
        known = status if status in _HEADINGS else "other"
        heading = Words(language_of(request))(f"error.{known}")
        return self.page("error.html", status, request=request, heading=heading, message=message)
