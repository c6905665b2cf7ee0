"""The agreement page: how far people agree, and what they and the model miss or reject wrongly."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response

from edge.station.asked import Asked, asked
from edge.station.charts import csv_response
from edge.station.station import Station
from edge.station.users import require
from qc.agreement import agreement
from qc.journal_search import judged, known


def found(station: Station, wanted: Asked, blind: bool) -> dict[str, Any]:
    """Everything of the page, as JSON values."""
    return agreement(*judged(station.journal, wanted.wanted), blind=blind)


def table(result: dict[str, Any]) -> list[dict[str, Any]]:
    """The same as rows of one table: what, who, with whom, count, n, value and its interval."""
    rows: list[dict[str, Any]] = []

    def row(what: str, who: str, other: str, values: dict[str, Any], value: str) -> None:
        rows.append(
            {
                "what": what,
                "who": who,
                "other": other,
                "count": values.get("count"),
                "n": values.get("n"),
                "value": values[value],
                "low": values.get("low"),
                "high": values.get("high"),
            }
        )

    for pair in result["pairs"]:
        row("cohen_kappa", pair["first"], pair["second"], pair, "kappa")
        row(
            "observed_agreement",
            pair["first"],
            pair["second"],
            {**pair, "low": None, "high": None},
            "observed",
        )
    if result["fleiss"]:
        row("fleiss_kappa", "", "", {**result["fleiss"], "n": result["twice"]}, "kappa")
    for rater in result["raters"]:
        for what in ("miss", "false_alarm"):
            row(what, rater["name"], "", rater[what], "rate")
    return rows


def router(station: Station) -> APIRouter:
    """The routes of agreement."""
    pages = APIRouter(dependencies=[Depends(require("look"))])

    @pages.get("/agreement")
    def page(
        request: Request, wanted: Annotated[Asked, Depends(asked)], blind: bool = False
    ) -> Response:
        flag = "true" if blind else None
        return station.page(
            "agreement.html",
            request=request,
            asked=wanted.query,
            known=known(station.journal),
            found=found(station, wanted, blind),
            csv=wanted.href("/agreement.csv", blind=flag),
            other=wanted.href("/agreement", blind=None if blind else "true"),
        )

    @pages.get("/agreement.csv", dependencies=[Depends(require("export"))])
    def as_csv(wanted: Annotated[Asked, Depends(asked)], blind: bool = False) -> Response:
        return csv_response(station, table(found(station, wanted, blind)), "agreement")

    return pages
