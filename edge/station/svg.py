"""Charts as SVG for a page without scripts: plain marks with classes, coloured by the style sheet.

A chart is read without colour too: limits are dashed, signals are ringed and carry their rules'
numbers, lines end in their names. Every mark has its figures as a tooltip.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from markupsafe import Markup, escape

from qc.spc import Point

WIDTH, HEIGHT = 760, 280
_LEFT, _RIGHT, _TOP, _BOTTOM = 60, 72, 16, 58
_MOST_LABELS = 10


class _Plane:
    """The drawing area: values from 0 to `top` over `n` places side by side."""

    def __init__(self, n: int, top: float) -> None:
        self.n, self.top = n, top or 1.0
        self.step = (WIDTH - _LEFT - _RIGHT) / n

    def x(self, place: float) -> float:
        return round(_LEFT + (place + 0.5) * self.step, 1)

    def y(self, value: float) -> float:
        return round(_TOP + (1 - value / self.top) * (HEIGHT - _TOP - _BOTTOM), 1)

    def axes(self, labels: Sequence[str], percent: bool) -> str:
        parts = []
        for tick in _ticks(self.top):
            y = self.y(tick)
            text = f"{100 * tick:.3g} %" if percent else f"{tick:,.5g}".replace(",", " ")
            parts.append(
                f'<line class="grid" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{y}" y2="{y}"/>'
            )
            parts.append(f'<text class="tick" x="{_LEFT - 8}" y="{y + 4}">{text}</text>')
        every = max(1, math.ceil(self.n / _MOST_LABELS))
        for place in range(0, self.n, every):
            label = labels[place]
            short = label if len(label) <= 16 else label[:15] + "…"
            y = HEIGHT - _BOTTOM + 18 + 14 * (place // every % 2)
            parts.append(f'<text class="name" x="{self.x(place)}" y="{y}">{escape(short)}</text>')
        return "".join(parts)

    def line(self, values: Sequence[float | None], kind: str) -> str:
        """A line that breaks where a value is missing."""
        runs: list[list[str]] = [[]]
        for place, value in enumerate(values):
            if value is None:
                runs.append([])
            else:
                runs[-1].append(f"{self.x(place)},{self.y(value)}")
        return "".join(
            f'<polyline class="{kind}" points="{" ".join(run)}"/>' for run in runs if len(run) > 1
        )


def pareto(rows: Sequence[dict[str, Any]], words: str) -> Markup:
    """Bars from the most frequent on, and the line of their sum.

    Args:
        rows: of `qc.spc.pareto`, at least one.
        words: what it shows, for who cannot see it.
    """
    total = sum(row["count"] for row in rows)
    plane = _Plane(len(rows), total)
    parts = [plane.axes([row["name"] for row in rows], percent=False)]
    for place, row in enumerate(rows):
        x, y = plane.x(place) - 0.36 * plane.step, plane.y(row["count"])
        title = f"{row['name']}: {row['count']} ({100 * row['share']:.1f} %)"
        parts.append(
            f'<rect class="bar-mark" x="{x:.1f}" y="{y}" width="{0.72 * plane.step:.1f}" '
            f'height="{plane.y(0) - y:.1f}"><title>{escape(title)}</title></rect>'
        )
    parts.append(plane.line([row["sum"] * total for row in rows], "sum-line"))
    for place, row in enumerate(rows):
        x, y = plane.x(place), plane.y(row["sum"] * total)
        parts.append(f'<circle class="sum-dot" cx="{x}" cy="{y}" r="3"/>')
        if len(rows) <= _MOST_LABELS:
            text = f"{100 * row['sum']:.0f} %"
            parts.append(f'<text class="value" x="{x}" y="{max(y - 7, 11)}">{text}</text>')
    return _svg(parts, words)


def control(centre: float, points: Sequence[Point], words: str) -> Markup:
    """A p-chart: shares, centre line, limits, and the points that break a rule.

    Args:
        centre: mean share.
        points: at least one.
        words: what it shows.
    """
    top = max([p.rate for p in points] + [min(p.high, 3 * centre) for p in points] + [centre, 1e-6])
    plane = _Plane(len(points), min(1.0, 1.15 * top))
    parts = [plane.axes([p.label for p in points], percent=True)]
    for kind in ("low", "high"):
        steps: list[str] = []
        for place, point in enumerate(points):
            y = plane.y(min(getattr(point, kind), plane.top))
            steps += [f"{plane.x(place - 0.5):.1f},{y}", f"{plane.x(place + 0.5):.1f},{y}"]
        parts.append(f'<polyline class="limit" points="{" ".join(steps)}"/>')
    y = plane.y(centre)
    parts.append(f'<line class="centre" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{y}" y2="{y}"/>')
    parts.append(
        f'<text class="end" x="{WIDTH - _RIGHT + 6}" y="{y + 4}">{100 * centre:.3g} %</text>'
    )
    parts.append(plane.line([p.rate for p in points], "rate-line"))
    for place, point in enumerate(points):
        x, y = plane.x(place), plane.y(point.rate)
        rules = ", ".join(map(str, point.rules))
        title = f"{point.label}: {point.count}/{point.n} = {100 * point.rate:.2f} %"
        title += f" [{100 * point.low:.2f}, {100 * point.high:.2f}]"
        title += f" WE {rules}" if rules else ""
        parts.append(f"<g><title>{escape(title)}</title>")
        parts.append(f'<circle class="rate-dot" cx="{x}" cy="{y}" r="3.5"/>')
        if rules:
            parts.append(f'<circle class="signal" cx="{x}" cy="{y}" r="8"/>')
            parts.append(f'<text class="signal-rule" x="{x}" y="{max(y - 12, 10)}">{rules}</text>')
        parts.append("</g>")
    return _svg(parts, words)


def bars(labels: Sequence[str], values: Sequence[int], words: str) -> Markup:
    """One bar for each place, in order of time."""
    plane = _Plane(len(values), max(values))
    parts = [plane.axes(labels, percent=False)]
    for place, value in enumerate(values):
        x, y = plane.x(place) - 0.4 * plane.step, plane.y(value)
        parts.append(
            f'<rect class="bar-mark" x="{x:.1f}" y="{y}" width="{0.8 * plane.step:.1f}" '
            f'height="{plane.y(0) - y:.1f}"><title>{escape(labels[place])}: {value}</title></rect>'
        )
    return _svg(parts, words)


def quantiles(
    labels: Sequence[str], lines: Sequence[tuple[str, Sequence[float]]], words: str
) -> Markup:
    """Lines of values from 0 to 1, each with its name at its end.

    Args:
        labels: of the places.
        lines: name and values of each, from the lowest to the highest.
        words: what it shows.
    """
    plane = _Plane(len(labels), 1.0)
    parts = [plane.axes(labels, percent=False)]
    last = math.inf
    for number, (name, values) in enumerate(lines):
        parts.append(plane.line(values, f"quantile q{number}"))
        for place, value in enumerate(values):
            title = f"{labels[place]}, {name}: {value:.3f}"
            parts.append(
                f'<circle class="quantile-dot" cx="{plane.x(place)}" cy="{plane.y(value)}" r="3">'
                f"<title>{escape(title)}</title></circle>"
            )
        last = min(plane.y(values[-1]) + 4, last - 13)  # names do not lie on each other
        parts.append(f'<text class="end" x="{WIDTH - _RIGHT + 6}" y="{last}">{escape(name)}</text>')
    return _svg(parts, words)


def _ticks(top: float) -> list[float]:
    """About four round values from 0 to the top."""
    raw = top / 4
    size = 10 ** math.floor(math.log10(raw))
    step = next(size * factor for factor in (1, 2, 2.5, 5, 10) if size * factor >= raw * 0.999)
    return [step * n for n in range(int(top / step * 1.0001) + 1)]


def _svg(parts: Sequence[str], words: str) -> Markup:
    head = (
        f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="{escape(words)}" xmlns="http://www.w3.org/2000/svg">'
    )
    return Markup(head + "".join(parts) + "</svg>")
