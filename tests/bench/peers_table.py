"""The rows of the peers' bench as Markdown: bars first, then every side, also those not to be had.

    python tests/bench/peers_table.py bench-peers/rows.jsonl [more rows ...]

A ratio is the median over the rounds of the ratio of both sides in that round, with the least and
the greatest of them in brackets.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from accuracy_table import print_tables
from candidates_table import table

Row = dict[str, Any]
MISSING = "not to be had"

LEAST_ANOMALIB, LEAST_GRADCAM, MOST_MAP_COST = 20.0, 10.0, 0.05
LEAST_TRAINING, LEAST_START, LEAST_MEMORY = 0.9, 5.0, 4.0


@dataclass(frozen=True)
class Ratio:
    """A ratio over rounds."""

    middle: float
    low: float
    high: float

    def __str__(self) -> str:
        form = ".1f" if self.middle >= 5 else ".2f"
        return f"{self.middle:{form}} [{self.low:{form}}, {self.high:{form}}]"


def ratio(above: Sequence[float], below: Sequence[float]) -> Ratio | None:
    """The ratio of two sides that took turns; None where one measured nothing.

    Args:
        above, below: what each measured, a number for each round that both took part in.
    """
    found = [a / b for a, b in zip(above, below, strict=False) if b]
    return Ratio(statistics.median(found), min(found), max(found)) if found else None


def had(row: Row, group: str | None = None) -> list[Row]:
    """Entries of a row that were measured, of one group or of all."""
    return [
        entry
        for entry in row["entries"]
        if "why_not" not in entry and group in (None, entry["group"])
    ]


def first(row: Row, group: str) -> Row | None:
    """The first measured entry of a group; None: there is none."""
    return next(iter(had(row, group)), None)


def why_missing(row: Row, group: str) -> str:
    """Why a group has no entry that was measured."""
    said = [e["why_not"] for e in row["entries"] if e["group"] == group and "why_not" in e]
    return f"{MISSING}: {said[0]}" if said else f"{MISSING}: not in the bench"


def bar(
    what: str, wanted: str, found: Ratio | None, holds: bool, told: str = "", why: str = ""
) -> list[str]:
    """A line of the bars; where a side is missing, the reason stands in place of a figure."""
    if found is None:
        return [what, wanted, plain(why), "unknown"]
    return [what, wanted, f"{found}{told}", "held" if holds else "**missed**"]


def plain(text: str) -> str:
    """A text that can stand in a cell."""
    return " ".join(text.replace("|", "/").split())


def bars(rows: Iterable[Row]) -> Iterator[list[str]]:
    """What was wanted and what was measured."""
    for row in rows:
        if row["part"] == "latency" and row["threads"] == 1:
            yield from _latency_bars(row)
        elif row["part"] == "maps":
            yield from _map_bars(row)
        elif row["part"] == "training":
            ours, other = first(row, "ours"), first(row, "plain")
            found = ours and other and ratio(ours["round_fps"], other["round_fps"])
            why = why_missing(row, "plain" if ours else "ours")
            what = f"qc train ÷ plain fit, {row['model']} at {row['size']}, {row['augment']}"
            held = bool(found) and found.middle >= LEAST_TRAINING
            yield bar(what, f">= {LEAST_TRAINING}", found, held, why=why)
        elif row["part"] == "start":
            yield from _start_bars(row)


def _latency_bars(row: Row) -> Iterator[list[str]]:
    peers = sorted(had(row, "anomalib"), key=lambda e: float(e["p50_ms"]))
    own = had(row, "ours")
    for ours in own or [{"name": "this project"}]:
        found = ratio(peers[0]["round_ms"], ours["round_ms"]) if peers and own else None
        why = why_missing(row, "anomalib" if own else "ours")
        what = f"fastest of anomalib ÷ {ours['name']}, {row['size']} px, one thread"
        told = f" ({peers[0]['name']})" if peers else ""
        held = bool(found) and found.middle >= LEAST_ANOMALIB
        yield bar(what, f">= {LEAST_ANOMALIB:g}", found, held, told, why)


def _map_bars(row: Row) -> Iterator[list[str]]:
    ours, alone = first(row, "ours"), first(row, "alone")
    for group, way in (("gradcam", "in Keras"), ("gradcam graph", "as one graph")):
        seen = first(row, group)
        found = ours and seen and ratio(seen["round_ms"], ours["round_ms"])
        held = bool(found) and found.middle >= LEAST_GRADCAM
        what = f"Grad-CAM {way} ÷ map of the bundle, {row['model']} at {row['size']}"
        why = why_missing(row, group if ours else "ours")
        yield bar(what, f">= {LEAST_GRADCAM:g}", found, held, why=why)
    found = ours and alone and ratio(ours["round_ms"], alone["round_ms"])
    held = bool(found) and found.middle <= 1 + MOST_MAP_COST
    what = f"score and map ÷ score alone, {row['model']} at {row['size']}"
    why = why_missing(row, "alone" if ours else "ours")
    yield bar(what, f"<= {1 + MOST_MAP_COST:g}", found, held, why=why)


def _start_bars(row: Row) -> Iterator[list[str]]:
    ours = first(row, "ours")
    for key, least, what in (
        ("start_s", LEAST_START, "start to first verdict"),
        ("rss_mb", LEAST_MEMORY, "resident memory"),
    ):
        peers = sorted(had(row, "tensorflow"), key=lambda e: statistics.median(e[key]))
        found = ratio(peers[0][key], ours[key]) if ours and peers else None
        why = why_missing(row, "tensorflow" if ours else "ours")
        told = f" ({peers[0]['name']})" if peers else ""
        held = bool(found) and found.middle >= least
        yield bar(f"{what}, TensorFlow ÷ edge", f">= {least:g}", found, held, told, why)


def side_lines(row: Row) -> Iterator[list[str]]:
    """Every side of a row of latencies, against the first of this project's."""
    ours = first(row, "ours")
    for entry in row["entries"]:
        if "why_not" in entry:
            yield [entry["name"], f"{MISSING}: {plain(entry['why_not'])}", *["-"] * 5]
            continue
        share = ratio(entry["round_ms"], ours["round_ms"]) if ours else None
        yield [
            entry["name"],
            entry["runtime"],
            f"{entry['p50_ms']:.2f}",
            f"{entry['p95_ms']:.2f}",
            f"{entry['fps']:.0f}",
            "-" if share is None else "1" if entry is ours else str(share),
            f"{entry['rss_mb']:.0f}",
        ]


def told_of(row: Row) -> str:
    """When, where and of what a row is."""
    load = f"load {row['load_before']} before and {row['load_after']} after"
    return (
        f"{row['date']}, commit {row['commit']}, seed {row['seed']}, {row['cores']} cores, {load}"
    )


def lines(rows: list[Row]) -> Iterator[str]:
    """The tables."""
    if rows:
        yield f"{rows[0]['cpu']}\n"
        yield from table(("bar", "wanted", "measured", "state"), bars(rows))
    columns = ("what", "runtime", "p50 ms", "p95 ms", "images/s", "÷ the first", "MB")
    for row in (r for r in rows if r["part"] in ("latency", "maps")):
        of = f"{row['size']} px, {row['threads']} thread{'s' * (row['threads'] > 1)}"
        title = of if row["part"] == "latency" else f"A map for each picture, {row['model']}, {of}"
        yield f"\n**{title}** ({told_of(row)}; {row['rounds']} rounds)\n"
        yield from table(columns, side_lines(row))
    trained = [r for r in rows if r["part"] == "training"]
    if trained:
        yield "\n**Training, images a second**\n"
        yield from table(
            ("model, augmentation", "side", "images/s", "of rounds", "measured"),
            (line for row in trained for line in _training_lines(row)),
        )
    for row in (r for r in rows if r["part"] == "start"):
        yield f"\n**Start of a program to its first verdict** ({told_of(row)})\n"
        yield from table(("program", "s", "of", "MB", "verdict"), _start_lines(row))


def _training_lines(row: Row) -> Iterator[list[str]]:
    of = f"{row['model']} at {row['size']}, batch {row['batch']}, {row['augment']}"
    for entry in row["entries"]:
        if "why_not" in entry:
            yield [of, entry["name"], f"{MISSING}: {plain(entry['why_not'])}", "-", told_of(row)]
            continue
        least, most = min(entry["round_fps"]), max(entry["round_fps"])
        yield [of, entry["name"], f"{entry['fps']:.1f}", f"{least:.1f} to {most:.1f}", told_of(row)]


def _start_lines(row: Row) -> Iterator[list[str]]:
    for entry in row["entries"]:
        if "why_not" in entry:
            yield [entry["name"], f"{MISSING}: {plain(entry['why_not'])}", "-", "-", "-"]
            continue
        seconds, mb = entry["start_s"], statistics.median(entry["rss_mb"])
        spread = f"{min(seconds):.2f} to {max(seconds):.2f}, {len(seconds)} starts"
        middle = f"{statistics.median(seconds):.2f}"
        yield [entry["name"], middle, spread, f"{mb:.0f}", entry["verdict"]]


if __name__ == "__main__":
    print_tables(__doc__, lines)
