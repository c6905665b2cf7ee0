"""Charts of a report as SVG in a data address: the same figures give the same bytes."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from qc.types import Verdict
from training.judged import Judged
from training.robustness import KINDS, Point

INK, GOOD, BAD, AMBER = "#17415f", "#1a6b3c", "#b3211c", "#b26a00"
_STYLE = {
    "svg.hashsalt": "attention-qc",
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 9,
}


def _drawn(draw: Any, size: tuple[float, float], columns: int = 1, rows: int = 1) -> str:
    """What `draw` puts on the axes, as a data address; size in inches."""
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=size, layout="constrained")
        FigureCanvasSVG(figure)
        axes = figure.subplots(rows, columns, squeeze=False)
        for each in axes.flat:
            each.grid(alpha=0.3)
            each.spines[["top", "right"]].set_visible(False)
        draw(axes)
        text = io.BytesIO()
        figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
    return "data:image/svg+xml;base64," + base64.b64encode(text.getvalue()).decode()


def operating_points(judged: Judged) -> list[dict[str, Any]]:
    """Where the thresholds stand on the curves, counted from the verdicts.

    Returns:
        name, hit (share of bad parts), false (share of good ones) and precision (None of nothing)
        of what is rejected, and, with thresholds, of what is not passed.
    """
    kinds = [("rejected (NG)", judged.verdicts == str(Verdict.NG))]
    if judged.decision is not None:
        kinds.append(("not passed (NG or REVIEW)", judged.verdicts != str(Verdict.OK)))
    bad = judged.is_defect
    return [
        {
            "name": name,
            "hit": float(flagged[bad].mean()) if bad.any() else 0.0,
            "false": float(flagged[~bad].mean()) if not bad.all() else 0.0,
            "precision": float(bad[flagged].mean()) if flagged.any() else None,
        }
        for name, flagged in kinds
    ]


def curves(judged: Judged) -> str | None:
    """ROC and precision against recall, with the operating points; None without good and bad."""
    bad, value = judged.is_defect, judged.value
    if bad.all() or not bad.any():
        return None
    from sklearn.metrics import precision_recall_curve, roc_curve

    false, hit, _ = roc_curve(bad, value)
    precision, recall, _ = precision_recall_curve(bad, value)

    def draw(axes: Any) -> None:
        left, right = axes[0]
        left.plot([0, 1], [0, 1], color="#98a4ae", linestyle=":", label="by chance")
        left.plot(false, hit, color=INK, label="this model")
        right.axhline(bad.mean(), color="#98a4ae", linestyle=":", label="by chance")
        right.plot(recall, precision, color=INK, label="this model", drawstyle="steps-post")
        for point, mark, colour in zip(
            operating_points(judged), ("s", "o"), (BAD, AMBER), strict=False
        ):
            marked = {"marker": mark, "color": colour, "linestyle": "none", "label": point["name"]}
            left.plot([point["false"]], [point["hit"]], **marked)
            if point["precision"] is not None:
                right.plot([point["hit"]], [point["precision"]], **marked)
        left.set(title="ROC", xlabel="share of good parts", ylabel="share of bad parts found")
        right.set(
            title="Precision and recall",
            xlabel="share of bad parts found",
            ylabel="bad among those flagged",
        )
        for each in (left, right):
            each.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
        left.legend(frameon=False, loc="lower right")
        right.legend(frameon=False, loc="lower left")

    return _drawn(draw, (9, 3.9), columns=2)


def histogram(judged: Judged) -> str:
    """How many good and bad parts have which defect score, and where the thresholds stand."""
    edges = np.linspace(0, 1, 26)
    counts = [
        np.histogram(judged.value[w], edges)[0] for w in (~judged.is_defect, judged.is_defect)
    ]

    def draw(axes: Any) -> None:
        for side, (ax, count, name, colour) in enumerate(
            zip(axes[:, 0], counts, ("good parts", "bad parts"), (GOOD, BAD), strict=True)
        ):
            ax.bar(edges[:-1], count, 0.036, align="edge", color=colour)
            ax.set(ylabel=name, xlim=(0, 1), ylim=(0, max(1, 1.1 * count.max())))
            ax.yaxis.get_major_locator().set_params(integer=True, nbins=4)
            if judged.decision is None:
                continue
            lows, highs = judged.decision.ok_below, judged.decision.ng_above
            for spec, word in ((lows, "OK below"), (highs, "NG from")):
                for number, at in enumerate(sorted(set(spec.values()))):
                    ax.axvline(at, color="#17222d", linestyle="--", linewidth=1)
                    if side == 0 and number == 0 and at <= 1:
                        top = ax.get_ylim()[1]
                        ax.annotate(
                            f"{word} {at:.3f}",
                            (at, top),
                            (3, -2),
                            textcoords="offset points",
                            va="top",
                            fontsize=8,
                        )
        axes[1, 0].set(xlabel="defect score")

    return _drawn(draw, (9, 3.4), rows=2)


def reliability(parts: Sequence[tuple[str, Sequence[Mapping[str, float]]]]) -> str:
    """Reliability diagrams side by side.

    Args:
        parts: title and bins (confidence, right, n) of each.
    """

    def draw(axes: Any) -> None:
        for ax, (title, bins) in zip(axes[0], parts, strict=True):
            ax.plot([0, 1], [0, 1], color="#98a4ae", linestyle=":")
            ax.plot(
                [b["confidence"] for b in bins],
                [b["right"] for b in bins],
                color=INK,
                linewidth=1,
            )
            most = max((b["n"] for b in bins), default=1)
            for b in bins:
                size = 3 + 9 * (b["n"] / most) ** 0.5
                ax.plot([b["confidence"]], [b["right"]], "o", color=INK, markersize=size, alpha=0.6)
            ax.set(
                title=title,
                xlabel="confidence the model claims",
                ylabel="share that is right",
                xlim=(-0.02, 1.02),
                ylim=(-0.02, 1.02),
            )

    return _drawn(draw, (4.5 * len(parts), 3.7), columns=len(parts))


def robust(found: Mapping[str, Sequence[Point]]) -> str:
    """Escape, overkill and verdicts that stay, over the strength of each change."""

    def draw(axes: Any) -> None:
        for ax, kind in zip(axes.flat, KINDS, strict=True):
            points = found[kind.name]
            place = [p.strength for p in points]
            for key, name, colour, mark in (
                ("same", "same verdict", INK, "o"),
                ("escape", "escape", BAD, "s"),
                ("overkill", "overkill", AMBER, "^"),
            ):
                values = [getattr(p, key) for p in points]
                if None not in values:
                    ax.plot(place, values, color=colour, marker=mark, markersize=4, label=name)
            ax.set(title=kind.name, xlabel=kind.unit, ylim=(-0.03, 1.03))
        axes[0, 0].legend(frameon=False, loc="center right", fontsize=8)

    return _drawn(draw, (9, 5.0), columns=3, rows=2)
