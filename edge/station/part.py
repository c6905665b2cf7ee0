"""One part on one screen: its page, the decision on it, the mask of its defect, and the way back.

A program (and the page's own script) that asks for JSON gets JSON; a plain form gets a page.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import RedirectResponse

from edge.station import order, views
from edge.station.forms import (
    REASONS,
    Typed,
    buttons,
    form_problem,
    read_body,
    read_form,
    require_same_origin,
)
from edge.station.refusal import Refused
from edge.station.station import Station
from edge.station.strings import Words, language_of
from edge.station.users import require, user_of
from qc.errors import DataError, QCError, StaleError
from qc.imageio import decode_image
from qc.journal import Row
from qc.journal_masks import kept_mask, store_mask
from qc.reviewed import TAKEN_BACK, in_force, undone
from qc.types import Review, Verdict

MAX_MASK_BYTES = 8 * 1024 * 1024


class _Part:
    """The page of one part, for one request."""

    def __init__(self, station: Station, request: Request, row: Row) -> None:
        self.station, self.request, self.row = station, request, row
        self.journal = station.journal
        self.manifest = views.manifest_of(station.journal, row)
        self.t = Words(language_of(request))
        self.wants_json = "application/json" in request.headers.get("accept", "")

    def page(
        self,
        typed: Typed | None = None,
        problem: str = "",
        status: int = 200,
        saved: str | None = None,
        occlusion: bool = False,
    ) -> Response:
        """The page; with a problem and what was typed, where that could not be saved."""
        if problem and self.wants_json:
            return self.station.json({"problem": problem}, status)
        row, journal, user = self.row, self.journal, user_of(self.request)
        following = order.following(journal, row)
        reviews = self.station.reviews(self.request, row.inspection_id)
        before, after = order.neighbours(journal, row)
        masks = [r.mask_sha256 for r in in_force(reviews) if r.mask_sha256]
        kept = masks[-1] if masks else ""
        return self.station.page(
            "part.html",
            status,
            request=self.request,
            part=views.part_facts(journal, row),
            map=self.station.occluded.facts(row, self.manifest, occlusion),
            grey=views.grey_facts(journal, row),
            scores=views.score_rows(row, self.manifest),
            gauge=views.gauge_facts(row, self.manifest),
            good=self.manifest.good if self.manifest else None,
            classes=views.defect_classes(row, self.manifest),
            severities=views.severities(self.manifest),
            reviews=[views.review_facts(r) for r in reviews],
            buttons=buttons(row.verdict, self.t),
            reasons=REASONS if row.verdict is Verdict.NG else (),
            may_review=user.may("review"),
            typed=typed or Typed(defect_class=row.defect_class or "", mask=kept),
            seen=row.n_reviews,
            blind=self.station.blind(self.request, row.inspection_id),
            problem=problem,
            waiting=order.count(journal, False),
            next_href=views.part_href(following.inspection_id) if following else None,
            before=[views.part_facts(journal, other) for other in before],
            after=[views.part_facts(journal, other) for other in after],
            saved=self._saved(saved),
        )

    def decide(self, typed: Typed) -> Response:
        """Save a review and go on to the next waiting part, or show the form again."""
        if not self.station.csrf_ok(self.request, typed.csrf):
            return self.page(typed, self.t("wrong.stale"), 403)
        classes = views.defect_classes(self.row, self.manifest)
        problem = form_problem(typed, self.row.verdict, classes, self.t)
        if problem:
            return self.page(typed, problem, 422)
        rejected = typed.decision == "NG"
        if rejected and typed.mask:
            try:
                kept_mask(self.journal.path, self.row.inspection_id, typed.mask)
            except DataError:
                return self.page(typed, self.t("wrong.mask"), 422)

        def save() -> Review:
            return self.station.decide(
                self.request,
                self.row.inspection_id,
                Verdict(typed.decision),
                defect_class=(typed.defect_class or None) if rejected else None,
                note=typed.noted(),
                mask_sha256=(typed.mask or None) if rejected else None,
                seen=typed.seen,
            )

        return self._saving(save, typed)

    def undo(self, typed: Typed) -> Response:
        """A new row that restores what the person had decided before their last row."""
        if not self.station.csrf_ok(self.request, typed.csrf):
            return self.page(None, self.t("wrong.stale"), 403)
        user = user_of(self.request)
        reviews = self.journal.reviews(self.row.inspection_id)
        back = undone(reviews, user.name, user.role)
        if back is None:
            return self.page(None, self.t("wrong.undo"), 409)

        def save() -> Review:
            self.station.add(back, len(reviews))
            return back

        return self._saving(save, None)

    def _saved(self, inspection_id: str | None) -> dict[str, str] | None:
        """What was saved last; nothing of what the person must not know."""
        if inspection_id and self.station.blind(self.request, inspection_id):
            return None
        return views.saved_facts(self.journal, inspection_id)

    def _saving(self, save: Callable[[], Review], typed: Typed | None) -> Response:
        """Save, and answer with the part to look at next: this one where nothing was typed."""
        try:
            review = save()
        except StaleError as error:
            self.row = self.journal.get(self.row.inspection_id)
            return self.page(typed, self.t("wrong.meanwhile", message=error.message), 409)
        except QCError as error:
            return self.page(typed, self.t("wrong.journal", message=error.message), 503)
        target = views.part_href(self.row.inspection_id)
        if typed is not None:
            try:
                following = order.following(self.journal, self.row)
            except QCError:
                following = None  # the review is saved; the queue will say what is wrong
            target = views.part_href(following.inspection_id) if following else "/"
        if not self.wants_json:
            query = urlencode({"saved": self.row.inspection_id})
            return RedirectResponse(f"{target}?{query}", 303)
        facts: dict[str, Any] = {
            "next": target,
            "waiting": self.t("part.waiting", n=order.count(self.journal, False)),
            "saved": views.saved_words(
                views.saved_facts(self.journal, self.row.inspection_id), self.t
            ),
            "undo": f"{views.part_href(self.row.inspection_id)}/undo",
            "can_undo": review.decision is not TAKEN_BACK,
        }
        return self.station.json(facts)


def _keep_mask(part: _Part, data: bytes) -> str:
    """Keep what was drawn on a part; the SHA-256 of its file."""
    drawn = decode_image(data, where="the mask")[..., 0] > 127
    picture = views.read_picture(part.journal, part.row)
    if drawn.shape != picture.shape[:2]:
        raise Refused(422, "refused.mask_size", mask=drawn.shape, picture=picture.shape[:2])
    if not drawn.any():
        raise Refused(422, "refused.mask_empty")
    return store_mask(part.journal.path, part.row.inspection_id, drawn)


def router(station: Station) -> APIRouter:
    """The routes of a part."""
    pages = APIRouter(dependencies=[Depends(require("look"))])
    may_review = [Depends(require("review"))]

    def of(request: Request, inspection_id: str) -> _Part:
        return _Part(station, request, station.journal.get(inspection_id))

    @pages.get("/part/{inspection_id}")
    def part(
        request: Request, inspection_id: str, saved: str | None = None, occlusion: bool = False
    ) -> Response:
        return of(request, inspection_id).page(saved=saved, occlusion=occlusion)

    @pages.post("/part/{inspection_id}", dependencies=may_review)
    def decide(
        request: Request, inspection_id: str, typed: Annotated[Typed, Depends(read_form)]
    ) -> Response:
        require_same_origin(request)
        return of(request, inspection_id).decide(typed)

    @pages.post("/part/{inspection_id}/undo", dependencies=may_review)
    def undo(
        request: Request, inspection_id: str, typed: Annotated[Typed, Depends(read_form)]
    ) -> Response:
        require_same_origin(request)
        return of(request, inspection_id).undo(typed)

    @pages.post("/part/{inspection_id}/mask", dependencies=may_review)
    async def mask(request: Request, inspection_id: str) -> Response:
        require_same_origin(request)
        if not station.csrf_ok(request, request.headers.get("x-csrf-token", "")):
            raise Refused(403, "wrong.stale")
        data = await read_body(request, MAX_MASK_BYTES)
        drawn = of(request, inspection_id)
        digest = await run_in_threadpool(_keep_mask, drawn, data)
        return station.json({"mask": digest})

    return pages
