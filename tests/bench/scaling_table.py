"""The rows of the scaling bench as Markdown, and one plot for each question.

    python tests/bench/scaling_table.py bench-peers/scaling.jsonl [--plots docs/benchmarks]

What limits a point is the longest of: what a source spends on a picture, shared by the sources;
what the judge spends on it; and the processor's time of it, shared by the cores.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from accuracy import read_rows
from candidates_table import table
from peers_table import told_of

Row = dict[str, Any]
STAGES = ("disk", "decode", "resize", "interpreter")
AXES = {"threads": "threads of a pass", "size": "side of the picture, pixels", "sources": "sources"}
COLOURS = ("#17415f", "#b3211c", "#1a6b3c", "#b26a00")


def bounds(point: Row, cores: int) -> dict[str, float]:
    """Milliseconds of a picture by each thing that can limit the line.

    Args:
        point: with `stages_ms`, `processor_ms`, and `sources` where there are several.
        cores: of the machine.
    """
    spent, sources = point["stages_ms"], point.get("sources", 1)
    return {
        # pictures lie in the page cache, so the disk stands apart
        "decode": spent["decode"] / sources,
        "interpreter": spent["resize"] + spent["interpreter"],
        "processor": point["processor_ms"] / cores,
    }


def limit(point: Row, cores: int) -> tuple[str, float]:
    """What limits a point, and the share of the rate that it would allow which the line reaches."""
    found = bounds(point, cores)
    name = max(found, key=found.__getitem__)
    return name, point["fps"] * found[name] / 1000


def name_of(point: Row) -> str:
    """What tells a point from the others of its question."""
    if "side" in point:
        return f"{point['side']} x {point['side']} {point['format'].upper()}"
    key = "threads" if "threads" in point else "sources"
    return f"{point[key]} {key if point[key] > 1 else key[:-1]}"


def point_line(point: Row, cores: int) -> list[str]:
    """A line of the table."""
    what, share = limit(point, cores)
    least, most = min(point["round_fps"]), max(point["round_fps"])
    return [
        name_of(point),
        f"{point['fps']:.0f}",
        f"{least:.0f} to {most:.0f}",
        *(f"{point['stages_ms'][stage]:.2f}" for stage in STAGES),
        f"{point['processor_ms']:.2f}",
        f"{what} ({share:.0%})",
    ]


def lines(rows: list[Row]) -> Iterator[str]:
    """The tables."""
    for row in rows:
        yield (
            f"\n**{AXES[row['question']].capitalize()}**: {row['model']} at {row['input']}, "
            f"{row['rounds']} rounds; {told_of(row)}\n"
        )
        stage_columns = (f"{stage} ms" for stage in STAGES)
        columns = ("point", "pictures/s", "of rounds", *stage_columns, "processor ms", "limit")
        yield from table(columns, (point_line(p, row["cores"]) for p in row["points"]))


def curves(rows: Sequence[Row]) -> dict[str, tuple[list[float], list[float]]]:
    """The curves of a question: name -> where, and pictures a second there."""
    found: dict[str, tuple[list[float], list[float]]] = {}
    for row in rows:
        for point in row["points"]:
            name = point["format"].upper() if "format" in point else row["model"]
            at = next(point[k] for k in ("side", "threads", "sources") if k in point)
            xs, ys = found.setdefault(name, ([], []))
            xs.append(at)
            ys.append(point["fps"])
    return found


def plot(question: str, rows: Sequence[Row], out: Path) -> None:
    """Draw a question's plot as an SVG: the same rows give the same bytes."""
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    style = {"svg.hashsalt": "attention-qc", "svg.fonttype": "path", "font.size": 10}
    with matplotlib.rc_context(style):
        figure = Figure(figsize=(6.4, 3.8), layout="constrained", facecolor="white")
        FigureCanvasSVG(figure)
        axes = figure.subplots()
        for colour, (name, (xs, ys)) in zip(COLOURS, curves(rows).items(), strict=False):
            axes.plot(xs, ys, marker="o", color=colour, label=name)
        if question == "size":
            cores = rows[0]["cores"]
            for point in rows[0]["points"]:
                what, _ = limit(point, cores)
                at = (point["side"], point["fps"])
                off, side = ((4, 6), "left") if point["format"] == "jpg" else ((-4, -14), "right")
                axes.annotate(what, at, off, textcoords="offset points", fontsize=8, ha=side)
            axes.margins(x=0.12, y=0.1)
            axes.set_xscale("log", base=2)
            axes.set_yscale("log")
            axes.set_xticks(xs, [str(x) for x in xs])
        else:
            axes.set_ylim(0, 1.1 * axes.get_ylim()[1])
            axes.set_xticks(xs)
        axes.set(xlabel=AXES[question], ylabel="pictures a second of the line")
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False)
        figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None})


def main() -> None:
    """Print the tables; draw the plots where a folder is named."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("rows", type=Path, nargs="+")
    parser.add_argument("--plots", type=Path)
    told = parser.parse_args()
    rows = read_rows(told.rows)
    if not rows:
        sys.exit("no rows yet")
    print("\n".join(lines(rows)).lstrip())
    if told.plots is not None:
        for question in AXES:
            mine = [row for row in rows if row["question"] == question]
            if mine:
                plot(question, mine, told.plots / f"scaling-{question}.svg")


if __name__ == "__main__":
    main()
