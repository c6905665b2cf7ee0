"""The page that compares two bundles over what people reviewed: who is right where they differ.

A bundle is right where its verdict is the decision that stands; one that leaves the part to people
is not. Pictures are judged while the page is asked for, some seconds at a time, and remembered.
"""

from __future__ import annotations

import threading
import time
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response

from edge.comparing import Comparer, Opinion
from edge.station import views
from edge.station.asked import Asked, asked
from edge.station.charts import csv_response
from edge.station.refusal import Refused
from edge.station.station import Station
from edge.station.users import require
from qc.agreement import mcnemar
from qc.errors import QCError
from qc.journal_search import Settled, known, settled

BUDGET_S = 3.0
"""Seconds that one request spends on judging; the next goes on."""

SHOWN = 60
"""Flips on the page."""


class Compared:
    """What two bundles say of the reviewed parts of one journal.

    Args:
        station: whose journal.
        comparer: judges.
    """

    def __init__(self, station: Station, comparer: Comparer) -> None:
        self._station = station
        self._comparer = comparer
        self._lock = threading.Lock()
        self._said: dict[str, tuple[Opinion, Opinion] | None] = {}

    def facts(self, wanted: Asked) -> dict[str, Any]:
        """The comparison as JSON values.

        Returns:
            names of the two; n parts that both judged; skipped, whose picture is gone or not
            readable; left, that are not judged yet; table [both right, only the first, only the
            second, neither]; p of McNemar's exact test; flips.
        """
        parts = settled(self._station.journal, wanted.wanted)
        end = time.monotonic() + BUDGET_S
        with self._lock:
            for part in reversed(parts):  # the newest review first
                if time.monotonic() > end:
                    break
                if part.inspection_id not in self._said:
                    self._said[part.inspection_id] = self._judge(part)
            said = dict(self._said)
        table, flips, skipped, left = [0, 0, 0, 0], [], 0, 0
        for part in reversed(parts):
            if part.inspection_id not in said:
                left += 1
            elif (two := said[part.inspection_id]) is None:
                skipped += 1
            else:
                right = [opinion.verdict is part.decision for opinion in two]
                table[(not right[0]) * 2 + (not right[1])] += 1
                if two[0].verdict is not two[1].verdict:
                    flips.append(_flip(part, two, right))
        return {
            "names": list(self._comparer.names),
            "n": sum(table),
            "skipped": skipped,
            "left": left,
            "table": table,
            "p": mcnemar(table[1], table[2]),
            "flips": flips,
        }

    def _judge(self, part: Settled) -> tuple[Opinion, Opinion] | None:
        try:
            row = self._station.journal.get(part.inspection_id)
            return self._comparer.judge(views.read_picture(self._station.journal, row))
        except QCError:
            return None  # counted on the page: not judged by both


def _flip(part: Settled, two: tuple[Opinion, Opinion], right: list[bool]) -> dict[str, Any]:
    return {
        "inspection_id": part.inspection_id,
        "href": views.part_href(part.inspection_id),
        "decision": part.decision.value,
        "said": [
            {
                "verdict": opinion.verdict.value,
                "defect_class": opinion.defect_class,
                "defect_score": opinion.defect_score,
                "right": good,
            }
            for opinion, good in zip(two, right, strict=True)
        ],
    }


def router(station: Station, compared: Compared | None) -> APIRouter:
    """The routes of the comparison; without two bundles the page says how to give them."""
    pages = APIRouter(dependencies=[Depends(require("look"))])

    @pages.get("/compare")
    def page(request: Request, wanted: Annotated[Asked, Depends(asked)]) -> Response:
        return station.page(
            "compare.html",
            request=request,
            asked=wanted.query,
            known=known(station.journal),
            found=None if compared is None else compared.facts(wanted),
            shown=SHOWN,
            again=wanted.href("/compare"),
            csv=wanted.href("/compare.csv"),
        )

    @pages.get("/compare.csv", dependencies=[Depends(require("export"))])
    def table(wanted: Annotated[Asked, Depends(asked)]) -> Response:
        if compared is None:
            raise Refused(404, "refused.compare")
        rows = [
            {
                "inspection_id": flip["inspection_id"],
                "decision": flip["decision"],
                **{
                    f"{side}_{key}": said[key]
                    for side, said in zip("ab", flip["said"], strict=True)
                    for key in ("verdict", "defect_class", "defect_score", "right")
                },
            }
            for flip in compared.facts(wanted)["flips"]
        ]
        return csv_response(station, rows, "flips")

    return pages
