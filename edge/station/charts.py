"""The charts: what a line did, by time, line, lot, shift and class, with the data behind each."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query, Request, Response
from markupsafe import Markup

from edge.station import svg
from edge.station.asked import Asked, asked
from edge.station.refusal import Refused
from edge.station.research import NOTICE
from edge.station.station import Station
from edge.station.strings_charts import ChartWords, words_of
from edge.station.users import require
from qc.binomial import rate
from qc.journal_search import (
    SCORE_BINS,
    Cell,
    Settled,
    cells,
    known,
    newest,
    scores_by_day,
    settled,
)
from qc.spc import histogram_quantiles, p_chart, pareto, stability_index
from qc.types import Verdict

Name = Literal["pareto", "control", "estimates", "throughput", "drift"]
By = Literal["day", "hour", "shift", "lot"]
NAMES: tuple[Name, ...] = ("pareto", "control", "estimates", "throughput", "drift")
DAYS = 30
"""How far back the charts look where no time is asked for."""

_MOST_POINTS = 400
_MEASURED = (Verdict.OK, Verdict.NG, Verdict.REVIEW)
_SHARES = (0.1, 0.5, 0.9)


@dataclass(frozen=True, slots=True)
class View:
    """How the charts are cut.

    Args:
        by: what one point of the p-chart is.
        starts: hours at which the three shifts begin, the station's own time.
        shift: only this one, from 1; 0: all.
    """

    by: By
    starts: tuple[int, ...]
    shift: int

    def shift_of(self, moment: datetime) -> tuple[str, int]:
        """The day (its begin's) and the number of the shift that a moment falls into."""
        local = moment.astimezone()
        before = [n for n, hour in enumerate(self.starts, 1) if hour <= local.hour]
        if before:
            return local.strftime("%Y-%m-%d"), before[-1]
        return (local - timedelta(days=1)).strftime("%Y-%m-%d"), len(self.starts)

    def holds(self, moment: datetime) -> bool:
        """Whether a moment is in the shift that is asked for."""
        return not self.shift or self.shift_of(moment)[1] == self.shift

    def label(self, moment: datetime, lot: str | None) -> str:
        """The point of the p-chart that an inspection belongs to."""
        if self.by == "lot":
            return lot or "-"
        if self.by == "shift":
            day, number = self.shift_of(moment)
            return f"{day} {number}"
        return moment.astimezone().strftime("%Y-%m-%d" if self.by == "day" else "%Y-%m-%d %H")


def viewed(
    by: By = "day",
    shifts: Annotated[str, Query(max_length=20, examples=["6,14,22"])] = "6,14,22",
    shift: Annotated[int, Query(ge=0, le=3)] = 0,
) -> View:
    """How an address cuts the charts."""
    words = shifts.split(",")
    hours = [int(word) for word in words if word.strip().isascii() and word.strip().isdigit()]
    if len(hours) != 3 or len(words) != 3 or hours != sorted(set(hours)) or hours[-1] > 23:
        raise Refused(422, "refused.shifts")
    return View(by, tuple(hours), shift)


def within(station: Station, wanted: Asked) -> Asked:
    """The same conditions; where no begin is asked for, the last 30 days that have inspections."""
    end = wanted.wanted.until or newest(station.journal)
    if wanted.wanted.since is not None or end is None:
        return wanted
    try:
        since = end - timedelta(days=DAYS)
    except OverflowError:
        return wanted
    return Asked(replace(wanted.wanted, since=since), wanted.query)


def data(
    station: Station,
    name: Name,
    wanted: Asked,
    view: View,
    counted: Sequence[Cell] | None = None,
) -> dict[str, Any]:
    """What is behind one chart, as JSON values.

    The class that is asked for holds for what is counted, not for what it is a share of: the share
    of one defect is that of all measured parts.

    Args:
        station: whose journal.
        name: of the chart.
        wanted: which inspections; see `within`.
        view: how they are cut.
        counted: of `count`, where it is known already.
    """
    wanted = within(station, wanted)
    if name == "drift":
        return _drift(station, wanted)
    if name == "estimates":
        whole = replace(wanted.wanted, reviewer=None, decision=None, verdicts=None)
        found = [s for s in settled(station.journal, whole) if view.holds(s.at)]
        return _estimates(found)
    if counted is None:
        counted = count(station, wanted, view)
    kind = wanted.wanted.defect_class
    make: dict[str, Callable[[Sequence[Cell], str | None, View], dict[str, Any]]] = {
        "pareto": _pareto,
        "control": _control,
        "throughput": _throughput,
    }
    return make[name](counted, kind, view)


def count(station: Station, wanted: Asked, view: View) -> list[Cell]:
    """The counts that Pareto, p-chart and throughput are made from."""
    scope = replace(
        within(station, wanted).wanted,
        defect_class=None,
        reviewer=None,
        decision=None,
        reviewed=None,
        verdicts=None,
    )
    return [cell for cell in cells(station.journal, scope) if view.holds(cell.at)]


def _pareto(counted: Sequence[Cell], kind: str | None, view: View) -> dict[str, Any]:
    counts: Counter[str] = Counter()
    for cell in counted:
        if cell.verdict in (Verdict.NG, Verdict.REVIEW) and kind in (None, cell.defect_class):
            counts[cell.defect_class or "-"] += cell.n
    return {"rows": pareto(counts)}


def _control(counted: Sequence[Cell], kind: str | None, view: View) -> dict[str, Any]:
    groups: dict[str, list[int]] = {}
    for cell in sorted(counted, key=lambda c: c.at):
        if cell.verdict in _MEASURED:
            group = groups.setdefault(view.label(cell.at, cell.lot), [0, 0])
            group[0] += cell.n * (cell.verdict is Verdict.NG and kind in (None, cell.defect_class))
            group[1] += cell.n
    centre, points = p_chart([(label, bad, n) for label, (bad, n) in groups.items()])
    rows = [
        {
            "label": p.label,
            "count": p.count,
            "n": p.n,
            "rate": p.rate,
            "low": p.low,
            "high": p.high,
            "rules": list(p.rules),
        }
        for p in points
    ]
    return {"centre": centre, "rows": rows, "points": points}


def _throughput(counted: Sequence[Cell], kind: str | None, view: View) -> dict[str, Any]:
    hours: Counter[datetime] = Counter()
    for cell in counted:
        hours[cell.at.replace(minute=0)] += cell.n
    return {
        "rows": [
            {"label": at.astimezone().strftime("%Y-%m-%d %H"), "count": hours[at]}
            for at in sorted(hours)
        ]
    }


def _estimates(found: Sequence[Settled]) -> dict[str, Any]:
    audited = [s for s in found if s.verdict is Verdict.OK and s.sampled]
    rejected = [s for s in found if s.verdict is Verdict.NG]
    return {
        "rows": [
            {"name": "escape", **rate(_said(audited, Verdict.NG), len(audited))},
            {"name": "overkill", **rate(_said(rejected, Verdict.OK), len(rejected))},
        ]
    }


def _said(found: Sequence[Settled], decision: Verdict) -> int:
    return sum(s.decision is decision for s in found)


def _drift(station: Station, wanted: Asked) -> dict[str, Any]:
    whole = replace(wanted.wanted, reviewer=None, decision=None, reviewed=None, verdicts=None)
    days = scores_by_day(station.journal, whole)
    reference = next(iter(days.values()), None)
    rows = []
    for day, bins in days.items():
        low, half, high = histogram_quantiles(bins, _SHARES)
        psi = 0.0 if reference is None else stability_index(reference, bins)
        rows.append(
            {"label": day, "n": int(bins.sum()), "q10": low, "q50": half, "q90": high, "psi": psi}
        )
    return {"rows": rows, "bin": 1 / SCORE_BINS}


def draw(name: Name, found: dict[str, Any], words: ChartWords) -> Markup | None:
    """The chart of some data; None where there is nothing to draw, or it is a table alone."""
    rows = found["rows"][-_MOST_POINTS:]
    if not rows:
        return None
    labels = [row.get("label", "") for row in rows]
    if name == "pareto":
        return svg.pareto(rows[:20], words(name))
    if name == "control":
        return svg.control(found["centre"], found["points"][-_MOST_POINTS:], words(name))
    if name == "throughput":
        return svg.bars(labels, [row["count"] for row in rows], words(name))
    if name == "drift":
        names = (("10 %", "q10"), (words("median"), "q50"), ("90 %", "q90"))
        lines = [(text, [row[column] for row in rows]) for text, column in names]
        return svg.quantiles(labels, lines, words(name))
    return None


def as_csv(rows: Sequence[dict[str, Any]]) -> str:
    """Rows as CSV with a head; a spreadsheet takes no text of it for a formula."""
    out = io.StringIO()
    if rows:
        writer = csv.DictWriter(out, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        for row in rows:
            writer.writerow({name: _plain(value) for name, value in row.items()})
    return out.getvalue()


def _plain(value: object) -> object:
    if isinstance(value, list):
        return " ".join(map(str, value))
    if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r") and value != "-":
        return "'" + value
    return value


def csv_response(station: Station, rows: Sequence[dict[str, Any]], name: str) -> Response:
    """Rows as a CSV file to keep; in research mode its name says what it is not for."""
    notice = f"{NOTICE.replace(' ', '-')}-" if station.research else ""
    headers = {"Content-Disposition": f'attachment; filename="{notice}{name}.csv"'}
    return Response(as_csv(rows), media_type="text/csv; charset=utf-8", headers=headers)


def router(station: Station) -> APIRouter:
    """The routes of the charts."""
    pages = APIRouter(dependencies=[Depends(require("look"))])

    @pages.get("/charts")
    def charts(
        request: Request,
        wanted: Annotated[Asked, Depends(asked)],
        view: Annotated[View, Depends(viewed)],
    ) -> Response:
        words = words_of(request)
        counted = count(station, wanted, view)
        found = {name: data(station, name, wanted, view, counted) for name in NAMES}
        scope = within(station, wanted).wanted
        until = scope.until or newest(station.journal)
        link = wanted.href
        cut = {"by": view.by, "shifts": ",".join(map(str, view.starts)), "shift": view.shift or ""}
        signals = [p for p in found["control"]["points"] if p.rules]
        return station.page(
            "charts.html",
            request=request,
            w=words,
            asked=wanted.query,
            view=view,
            shifts=cut["shifts"],
            known=known(station.journal),
            charts=[
                {
                    "name": name,
                    "svg": draw(name, found[name], words),
                    "rows": found[name]["rows"],
                    "csv": link(f"/charts/{name}.csv", **cut),
                }
                for name in NAMES
            ],
            signals=signals,
            n=sum(row["n"] for row in found["control"]["rows"]),
            since=scope.since.astimezone().strftime("%Y-%m-%d %H:%M") if scope.since else "",
            until=until.astimezone().strftime("%Y-%m-%d %H:%M") if until else "",
            gallery=link("/gallery"),
        )

    @pages.get("/charts/{name}.csv", dependencies=[Depends(require("export"))])
    def table(
        name: Name,
        wanted: Annotated[Asked, Depends(asked)],
        view: Annotated[View, Depends(viewed)],
    ) -> Response:
        return csv_response(station, data(station, name, wanted, view)["rows"], name)

    return pages
