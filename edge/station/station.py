"""What every page of the station shares: the journal, the templates, and who is asking."""

from __future__ import annotations

import hmac
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fastapi import Request, Response
from fastapi.responses import HTMLResponse, JSONResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from edge.occlusion import Occluder
from edge.station.gate import Gate
from edge.station.occluded import Occluded
from edge.station.research import NoticedJSON
from edge.station.second import Second
from edge.station.strings import Words, language_of
from edge.station.strings_charts import words_of
from edge.station.users import User, require, user_of
from qc.journal import Journal, Row
from qc.types import Review, Verdict

HERE = Path(__file__).parent
IMAGE_HEADERS = {"Cache-Control": "private, max-age=3600"}
_HEADINGS = (401, 403, 404, 409, 422, 429, 503)


class Station:
    """The pages over one journal.

    Args:
        journal: what they show, and where reviews go.
        gate: says who is asking.
        second: which parts are looked at twice.
        occluder: draws occlusion maps on request, for parts that its bundle judged.
        research: pictures of patients: every page says that it is not for diagnostic use.
        on_decided: is told of each decision after it is journaled; does not wait.
        compares: whether two bundles were given to compare.
    """

    def __init__(
        self,
        journal: Journal,
        gate: Gate,
        second: Second,
        occluder: Occluder | None,
        research: bool = False,
        on_decided: Callable[[Row, Review], None] | None = None,
        compares: bool = False,
    ) -> None:
        self.journal = journal
        self.gate = gate
        self.second = second
        self.research = research
        self.on_decided = on_decided
        self.compares = compares
        self.json: type[JSONResponse] = NoticedJSON if research else JSONResponse
        self.occluded = Occluded(journal, occluder)
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
                `login` (whether people log in), `n_second` (parts for a second look), `research`,
                `compares` and `t` (the strings in the person's language) are always there.
        """
        user = getattr(request.state, "user", None)
        values = {
            "journal_name": self.journal.path.name,
            "counts": None,
            "user": user if isinstance(user, User) else None,
            "login": self.gate.login,
            "n_second": len(self.second.due(user.name)) if isinstance(user, User) else 0,
            "csrf": self.csrf_of(request),
            "w": words_of(request),
            "here": request.url.path,
            "research": self.research,
            "compares": self.compares,
            "t": Words(language_of(request)),
            **values,
        }
        return HTMLResponse(self._templates.get_template(template).render(values), status)

    def csrf_of(self, request: Request) -> str:
        """The token that a form must carry which the person behind this request sends."""
        return str(getattr(request.state, "csrf", ""))

    def csrf_ok(self, request: Request, sent: str) -> bool:
        """Whether a form carries that token; a program with a token of its own needs none."""
        if getattr(request.state, "by_token", False):
            return True  # no browser adds that header by itself, so no other site can forge it
        told = self.csrf_of(request)
        return bool(told) and hmac.compare_digest(sent.encode(), told.encode())

    def blind(self, request: Request, inspection_id: str) -> bool:
        """Whether the person must not be shown what was decided on this part: a second look."""
        return self.second.is_due(inspection_id, user_of(request).name)

    def reviews(self, request: Request, inspection_id: str) -> list[Review]:
        """The reviews of a part that the person may be shown, the oldest first."""
        if self.blind(request, inspection_id):
            return []
        return self.journal.reviews(inspection_id)

    def decide(
        self,
        request: Request,
        inspection_id: str,
        decision: Verdict,
        *,
        defect_class: str | None = None,
        note: str = "",
        mask_sha256: str | None = None,
        seen: int | None = None,
    ) -> Review:
        """Journal a decision of the person behind the request; every decision goes this way.

        Args:
            request: of a person who may review.
            inspection_id: what was decided on.
            decision: OK or NG.
            defect_class: of the defect, where it is NG.
            note: free words.
            mask_sha256: of the mask file that was drawn.
            seen: how many reviews the page said there were; None: not asked.

        Raises:
            HTTPException: the person may not review.
            DataError: the journal has no such inspection.
            StaleError: somebody else decided on it meanwhile.
            FaultError: the journal cannot be written.
        """
        user = require("review")(request)
        review = Review(
            inspection_id,
            user.name,
            decision,
            defect_class,
            note,
            role=user.role,
            mask_sha256=mask_sha256,
            blind=self.blind(request, inspection_id),
        )
        self.add(review, seen)
        return review

    def add(self, review: Review, seen: int | None = None) -> None:
        """Journal a review, and tell of it; decisions and what takes them back go this way.

        Args:
            review: of a person who may review.
            seen: how many reviews of the part the person knew of; None: not asked.

        Raises:
            DataError: the journal has no such inspection.
            StaleError: somebody else decided on it meanwhile.
            FaultError: the journal cannot be written.
        """
        self.journal.add_review(review, seen)
        if self.on_decided is not None:
            self.on_decided(self.journal.get(review.inspection_id), review)

    def error(self, request: Request, status: int, message: str, kind: str) -> Response:
        """A refusal or a failure: a page for a person, JSON for a program."""
        path = request.url.path
        if path.startswith("/api/") or path == "/health":
            where = {"kind": kind, "message": message, "where": path}
            return self.json({"error": where}, status)
        known = status if status in _HEADINGS else "other"
        heading = Words(language_of(request))(f"error.{known}")
        return self.page("error.html", status, request=request, heading=heading, message=message)
