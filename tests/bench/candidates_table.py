"""The rows of the candidates bench as Markdown: what was taken, all candidates, calibration sizes.

python tests/bench/candidates_table.py docs/benchmarks/candidates.jsonl [more rows ...]
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from accuracy import VARIANTS
from accuracy_table import print_tables

from qc.card_figures import scheme_name

Row = dict[str, Any]

BARS = {"compact_transformer": 0.7}
"""Backbone -> share of float32's latency on the CPU that the taken scheme may have; else BAR."""
BAR = 0.8
_CHOSEN = (
    *("set, variant", "taken", "ms", "of float32", "allowed", "kB", "of float32"),
    *("agreement on VAL", "on TEST"),
)
_SIZES = ("set, variant", "images", "AUROC", "AUROC float", "agreement", "recall drop", "maps")
_COLUMNS = ("scheme", "kB", "ms", "AUROC", "agreement", "recall drop", "overkill rise", "maps")


def candidate_of(row: Row, scheme: str) -> Row | None:
    """The measured candidate of a scheme, the first that passed or else the first; None: none."""
    found = [c for c in row.get("candidates", ()) if c["scheme"] == scheme]
    return next((c for c in found if c["why_not"] is None), found[0] if found else None)


def taken(row: Row) -> Row | None:
    """The candidate that was sealed, which is the only one that nothing speaks against."""
    return next((c for c in row.get("candidates", ()) if c["why_not"] is None), None)


def name(row: Row) -> str:
    """What a row is of."""
    return f"{row['set']}, {row['variant']}{' with --qat' * row['qat']}"


def share(of: Row, whole: Row | None, key: str) -> float | None:
    """What part of the other's figure a candidate has; None where there is none to compare."""
    if whole is None or not whole.get(key) or of.get(key) is None:
        return None
    return float(of[key]) / float(whole[key])


def table(columns: Iterable[str], rows: Iterable[Iterable[str]]) -> Iterator[str]:
    """A Markdown table."""
    columns = list(columns)
    yield f"| {' | '.join(columns)} |"
    yield "|---" * len(columns) + "|"
    for row in rows:
        yield f"| {' | '.join(row)} |"


def chosen(row: Row) -> list[str]:
    """What was taken on the CPU, against float32 in the same pass."""
    found = taken(row)
    if found is None:
        return [name(row), "none", *["-"] * (len(_CHOSEN) - 2)]
    exact = candidate_of(row, "float32")
    fast, small = (share(found, exact, key) for key in ("latency_ms", "bytes"))
    bar = BARS.get(VARIANTS[row["variant"]][1]["backbone"], BAR)
    return [
        name(row),
        scheme_name(found),
        _number(found["latency_ms"], ".2f"),
        "-" if fast is None else f"{fast:.2f} ({'held' if fast <= bar else 'missed'})",
        f"{bar}",
        _number(found["bytes"] / 1024, ".0f"),
        _number(small, ".2f"),
        _with_interval(found, "agreement"),
        _with_interval(row, "test_agreement") if "test_agreement" in row else "-",
    ]


def cells(candidate: Row) -> list[str]:
    """One candidate, and why it was not taken."""
    taken_here = candidate["why_not"] is None
    return [
        f"**{scheme_name(candidate)}**" if taken_here else scheme_name(candidate),
        _number(candidate["bytes"] and candidate["bytes"] / 1024, ".0f"),
        _number(candidate["latency_ms"], ".2f"),
        _number(candidate["auroc"], ".3f"),
        _with_interval(candidate, "agreement"),
        _number(candidate["recall_drop"], ".1%"),
        _number(candidate.get("overkill_rise"), ".1%"),
        _number(candidate.get("map_correlation"), ".3f"),
        "taken" if taken_here else candidate["why_not"].replace("|", "/"),
    ]


def npu(candidate: Row) -> list[str]:
    """What the NPU's compiler estimates, in place of nothing."""
    return [
        _number(candidate.get("cycles"), ",.0f"),
        _number(candidate.get("sram_kb"), ".0f"),
        _number(candidate.get("npu_share"), ".0%"),
    ]


def calibration(row: Row) -> list[str]:
    """int8 with so many calibration images."""
    found = candidate_of(row, "int8")
    if found is None:
        return [name(row), str(row["calibration_images"]), *["-"] * (len(_SIZES) - 2)]
    return [
        name(row),
        str(row["calibration_images"]),
        _number(found["auroc"], ".4f"),
        _number(found.get("auroc_float"), ".4f"),
        _with_interval(found, "agreement"),
        _number(found["recall_drop"], ".1%"),
        _number(found.get("map_correlation"), ".4f"),
    ]


def lines(rows: list[Row]) -> Iterator[str]:
    """The tables."""
    default = [r for r in rows if r["calibration_images"] is None]
    on_cpu = [r for r in default if r["target"] == "cpu"]
    if on_cpu:
        yield "\n**Taken on the CPU**\n"
        yield from table(_CHOSEN, (chosen(r) for r in on_cpu))
    for row in default:
        yield (
            f"\n**{name(row)}, {row['target']}**: fold {row['fold']}, seed {row['seed']}, "
            f"{row['epochs']} epochs, VAL {row['val_images']} images of {row['val_groups']} "
            f"groups, {row['protocol']}; gate: {row.get('gate', 'not reached')}{_noise(row)}\n"
        )
        if "candidates" not in row:
            yield f"No table: {row['error']['message']}"
            continue
        on_npu = row["target"].startswith("ethos")
        more = ("cycles est.", "SRAM kB est.", "on the NPU") if on_npu else ()
        yield from table(
            (*_COLUMNS, "", *more),
            ([*cells(c), *(npu(c) if on_npu else ())] for c in row["candidates"]),
        )
    sizes = [r for r in rows if r["calibration_images"] is not None]
    if sizes:
        yield "\n**Calibration images, int8 on VAL**\n"
        yield from table(_SIZES, (calibration(r) for r in sizes))


def _noise(row: Row) -> str:
    share = row.get("noise_agreement")
    return "" if share is None else f"; noise of one grey level leaves {share:.1%} of float's own"


def _with_interval(candidate: Row, key: str) -> str:
    value, interval = candidate[key], candidate.get(f"{key}_ci")
    if value is None or interval is None:
        return _number(value, ".1%")
    return f"{value:.1%} [{interval[0]:.1%}, {interval[1]:.1%}]"


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


if __name__ == "__main__":
    print_tables(__doc__, lines)
