"""The rows of the accuracy bench as Markdown tables: means, spreads, intervals, paired differences.

    python tests/bench/accuracy_table.py docs/benchmarks/accuracy.jsonl [more rows ...]

A figure is the mean over the runs of a variant (folds and seeds), with their standard deviation,
and a 95 % interval by bootstrap over groups: the groups of each fold's TEST are drawn again, the
same draw for every seed and every variant, so that a difference of two variants is one of the same
parts. A difference whose interval holds 0 is not shown to be one. All figures are those of int8.
"""

from __future__ import annotations

import argparse
import hashlib
import statistics
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from accuracy import BLOCKS, FIGURES, VARIANTS, read_rows

from qc import metrics

Row = dict[str, Any]
DRAWS = 1000
STANDS_IN = ("neu_det", "bccd")
"""Sets in which one class stands in for good: good against defect means nothing there."""

PAIRS = (
    ("flagship", "flagship-without-masks"),
    ("flagship", "flagship-without-block"),
    ("cnn-none", "cnn-none-without-masks"),
    *((f"cnn-{block}", "cnn-none") for block in BLOCKS if block != "none"),
    ("cnn-fast", "cnn-cbam"),
    ("cct", "cnn-wide"),
)
"""Variants that are compared, over the folds and seeds that both have."""


def figure(row: Row, name: str, chosen: np.ndarray | None = None) -> float:
    """A figure of a row over the parts that were drawn, by default over all; NaN where it has none.

    Args:
        row: with its parts: group, labels, said, defect score, and whether the map points right.
        name: "auroc", "macro_f1", "accuracy" or "pointing".
        chosen: indices of the parts, repeated ones counted again.
    """
    labels, said, scores, hits, _ = _columns(row)
    if chosen is not None:
        labels, said, scores, hits = labels[chosen], said[chosen], scores[chosen], hits[chosen]
    if name == "pointing":
        return float(np.nanmean(hits)) if np.isfinite(hits).any() else float("nan")
    if name == "accuracy":
        return float((labels == said).mean())
    if name == "macro_f1":
        kinds = sorted({p[1] for p in row["parts"]})
        return float(np.mean([_f1(labels == k, said == k) for k in kinds]))
    area = metrics.auroc(labels != row["good"], scores)
    return float("nan") if area is None else area


def _columns(row: Row) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, list[np.ndarray]]:
    """Labels, what was said, scores, whether the map points right (NaN: not asked), and the indices
    of each group by its name; worked out once for each row."""
    if "columns" not in row:
        groups, labels, said, scores, points = zip(*row["parts"], strict=True)
        hits = np.array([float(p) if p != "" else np.nan for p in points])
        places = [np.flatnonzero(np.array(groups) == name) for name in np.unique(groups)]
        row["columns"] = np.array(labels), np.array(said), np.array(scores), hits, places
    return row["columns"]  # type: ignore[no-any-return]


def _f1(truth: np.ndarray, said: np.ndarray) -> float:
    both = int(truth.sum() + said.sum())
    return 2 * int((truth & said).sum()) / both if both else 0.0


def drawn(row: Row, draw: int) -> np.ndarray:
    """Indices of the parts of a row in one draw of its groups, the same for the same fold."""
    places = _columns(row)[4]
    seed = hashlib.sha256(f"{row['set']}/{row['protocol']}/{row['fold']}/{draw}".encode()).digest()
    rng = np.random.default_rng(int.from_bytes(seed[:8], "little"))
    return np.concatenate([places[i] for i in rng.choice(len(places), len(places))])


def interval(rows: list[Row], value: Callable[[Row, int], float]) -> tuple[float, float]:
    """95 % interval of the mean of a value over rows, by bootstrap over groups."""
    found = np.array([[value(row, draw) for row in rows] for draw in range(DRAWS)])
    known = found[~np.isnan(found).all(axis=1)]  # a draw without defects has no AUROC
    low, high = np.quantile(np.nanmean(known, axis=1), [0.025, 0.975])
    return float(low), float(high)


def cell(rows: list[Row], name: str) -> str:
    """Mean, standard deviation over the runs, and the interval."""
    values = [v for v in (figure(row, name) for row in rows) if not np.isnan(v)]
    if not values:
        return "-"
    low, high = interval(rows, lambda row, draw: figure(row, name, drawn(row, draw)))
    spread = f" ± {statistics.stdev(values):.3f}" if len(values) > 1 else ""
    return f"{np.mean(values):.3f}{spread} [{low:.3f}, {high:.3f}]"


def paired(rows: list[Row], base: list[Row], name: str) -> str | None:
    """Mean difference over the folds and seeds that both have, with its interval."""
    others = {(r["fold"], r["seed"]): r for r in base}
    pairs = [(r, o) for r in rows if (o := others.get((r["fold"], r["seed"]))) is not None]
    if not pairs:
        return None
    other = {id(row): o for row, o in pairs}
    mine = [row for row, _ in pairs]

    def value(row: Row, draw: int) -> float:
        chosen = drawn(row, draw)
        return figure(row, name, chosen) - figure(other[id(row)], name, chosen)

    mean = np.nanmean([figure(row, name) - figure(o, name) for row, o in pairs])
    low, high = interval(mine, value)
    verdict = "" if low > 0 or high < 0 else ", not shown"
    return f"{mean:+.3f} [{low:+.3f}, {high:+.3f}] of {len(pairs)}{verdict}"


def lines(rows: list[Row]) -> Iterable[str]:
    """The tables."""
    for kind, protocol in sorted({(r["set"], r["protocol"]) for r in rows}):
        here = [r for r in rows if (r["set"], r["protocol"]) == (kind, protocol)]
        found: dict[tuple[str, int], list[Row]] = {}
        for row in here:
            found.setdefault((row["variant"], row["epochs"]), []).append(row)
        order = sorted(found, key=lambda key: (list(VARIANTS).index(key[0]), key[1]))
        of = {key: [r for r in found[key] if r["exported"]] for key in order}
        shown = ("macro_f1", "accuracy") if kind in STANDS_IN else (*FIGURES, "pointing")
        yield f"\n**{kind}, {protocol}**\n"
        yield f"| variant | runs | epochs | {' | '.join(shown)} | parameters | MMACs | int8 kB |"
        yield "|---" * (len(shown) + 6) + "|"
        for (name, epochs), mine in of.items():
            lost = len(found[name, epochs]) - len(mine)
            if not mine:
                yield f"| {name} | none of {lost} could be exported |"
                continue
            first = mine[0]
            cells = " | ".join(cell(mine, figure_name) for figure_name in shown)
            runs = f"{len(mine)}" + (f" ({lost} not exported)" if lost else "")
            yield (
                f"| {name} | {runs} | {epochs} | {cells} | {first['parameters']:,} | "
                f"{first['mmacs']:.0f} | {first['bytes'] / 1024:.0f} |"
            )
        fewest: dict[str, list[Row]] = {}
        for (name, _), mine in of.items():
            fewest.setdefault(name, mine)
        for name, base in PAIRS:
            area, pointing = (
                paired(fewest.get(name, []), fewest.get(base, []), f) for f in ("auroc", "pointing")
            )
            if area is not None:
                yield f"\n{name} against {base}: AUROC {area}; pointing {pointing}"


def print_tables(told: str, lines: Callable[[list[dict[str, Any]]], Iterable[str]]) -> None:
    """Print the tables of the files of rows that the command line names.

    Args:
        told: what the program is for, on its first line.
        lines: the tables of some rows.
    """
    parser = argparse.ArgumentParser(description=told.splitlines()[0])
    parser.add_argument("rows", type=Path, nargs="+")
    rows = read_rows(parser.parse_args().rows)
    if not rows:
        sys.exit("no rows yet")
    print("\n".join(lines(rows)).lstrip())


if __name__ == "__main__":
    print_tables(__doc__, lines)
