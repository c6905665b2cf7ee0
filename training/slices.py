"""Whether a model does worse on some parts than on others: each value of each column against the
rest.

Where all parts of a group share a value (a lot's machine), groups are dealt out anew and not parts,
since parts of a group are alike: a permutation test (Fisher, "The Design of Experiments", 1935).
Where values differ inside a group, it is Fisher's exact test of the parts. All comparisons of one
report are one family: their p-values are corrected by Holm's method (Scandinavian Journal of
Statistics 6, 1979), so that looking often finds nothing by itself.
"""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from qc.binomial import exact_interval
from qc.errors import DataError
from qc.types import Sample, Verdict
from training.judged import Judged

DRAWS = 9999
"""Permutations: the smallest p-value is 1 in 10 000."""

LEVEL = 0.05
"""A corrected p-value up to this one is marked."""

MOST_VALUES = 40
"""A column with more values than this names things, not kinds; a group is always looked at."""


@dataclass(frozen=True)
class Slice:
    """A rate of the parts with one value of a column, against all others.

    Args:
        column, value: what they have in common.
        outcome: "escape", "overkill", or "wrong" where there are no thresholds.
        count, n: parts of which it is true, and all.
        groups: of these parts.
        rest: rate of the others.
        p: of no difference, two-sided, for this look alone.
        p_holm: the same corrected for all looks.
        unit: what was dealt out: "parts" or "groups".
    """

    column: str
    value: str
    outcome: str
    count: int
    n: int
    groups: int
    rest: float
    p: float
    unit: str
    p_holm: float = 1.0

    @property
    def rate(self) -> float:
        """Of the parts with this value."""
        return self.count / self.n

    @property
    def interval(self) -> tuple[float, float]:
        """Exact, of parts."""
        return exact_interval(self.count, self.n) or (0.0, 1.0)

    @property
    def marked(self) -> bool:
        """The difference is more than chance explains."""
        return self.p_holm <= LEVEL


def columns_of(judged: Judged, table: Mapping[str, Mapping[str, str]]) -> dict[str, list[str]]:
    """Values of each part by column: class, group, folder, and the columns of a table.

    Args:
        judged: the split.
        table: of `read_metadata`.
    """
    samples = judged.images.samples
    found = {"class": [judged.names(row) for row in judged.truth]}
    if len(set(judged.groups)) < len(samples):
        found["group"] = list(judged.groups)
    # the last folder is often the class itself, which is looked at already
    folders = [s.sample_id.rpartition("/")[0] for s in samples]
    if len(set(zip(folders, found["class"], strict=True))) > len(set(found["class"])):
        found["source folder"] = folders
    for column in sorted({name for row in table.values() for name in row}):
        found[column] = [table.get(s.sample_id, {}).get(column, "") for s in samples]
    return {
        name: values
        for name, values in found.items()
        if len(set(values)) > 1 and (name == "group" or len(set(values)) <= MOST_VALUES)
    }


def read_metadata(path: Path, samples: Sequence[Sample]) -> dict[str, dict[str, str]]:
    """Rows by `sample_id`: a CSV with a column sample_id or path, and any others.

    Args:
        path: the CSV file.
        samples: what it is about; a part without a row has empty values.

    Raises:
        DataError: the file cannot be read, has no such column, or knows none of the parts.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError("the table cannot be read", where=path, found=error) from error
    names = list(rows[0]) if rows else []
    key = next((name for name in ("sample_id", "path") if name in names), None)
    if key is None:
        raise DataError(
            "the table has no column that names the part",
            where=path,
            expected="sample_id or path",
            found=", ".join(map(str, names)) or "no row",
        )
    table = {row[key]: {n: row[n] or "" for n in names if n not in (key, None)} for row in rows}
    if not any(s.sample_id in table for s in samples):
        raise DataError(
            "the table knows none of the parts",
            where=path,
            expected=samples[0].sample_id,
            found=rows[0][key],
        )
    return table


def slices(judged: Judged, columns: Mapping[str, Sequence[str]], seed: int = 0) -> list[Slice]:
    """Every value of every column against the rest; marked ones first, then as the columns come.

    Args:
        judged: the split.
        columns: of `columns_of`.
        seed: of the permutations.
    """
    found: list[Slice] = []
    for outcome, among, happened in _outcomes(judged):
        if not happened[among].any() or happened[among].all():
            continue
        rows = np.flatnonzero(among)
        groups = [judged.groups[i] for i in rows]
        for column, values in columns.items():
            here = [values[i] for i in rows]
            if len(set(here)) > 1:
                found += _column(column, here, outcome, happened[rows], groups, seed)
    ranked = sorted(range(len(found)), key=lambda i: found[i].p)
    worst = 0.0
    for place, i in enumerate(ranked):
        worst = max(worst, min(1.0, found[i].p * (len(found) - place)))
        found[i] = replace(found[i], p_holm=worst)
    return sorted(found, key=lambda s: not s.marked)


def _outcomes(judged: Judged) -> list[tuple[str, np.ndarray, np.ndarray]]:
    """Name, among which parts, and whether it happened to them."""
    bad, verdicts = judged.is_defect, judged.verdicts
    if judged.decision is None:
        wrong = (judged.said != judged.truth).any(axis=1)
        return [("wrong", np.ones(len(bad), bool), wrong)]
    return [
        ("escape", bad, verdicts == str(Verdict.OK)),
        ("overkill", ~bad, verdicts == str(Verdict.NG)),
    ]


def _column(
    column: str,
    values: Sequence[str],
    outcome: str,
    happened: np.ndarray,
    groups: Sequence[str],
    seed: int,
) -> list[Slice]:
    held: defaultdict[str, set[str]] = defaultdict(set)
    for group, value in zip(groups, values, strict=True):
        held[group].add(value)
    # a group's own name is dealt out by parts: there is nothing larger to deal
    by_group = all(len(found) == 1 for found in held.values()) and len(set(values)) < len(held)
    each = np.asarray(values)
    result = []
    for value in sorted(set(values)):
        inside = each == value
        p = permuted(inside, happened, groups, seed) if by_group else exact(inside, happened)
        result.append(
            Slice(
                column,
                value,
                outcome,
                int(happened[inside].sum()),
                int(inside.sum()),
                len({g for g, there in zip(groups, inside, strict=True) if there}),
                float(happened[~inside].mean()),
                p,
                "groups" if by_group else "parts",
            )
        )
    return result


def exact(inside: np.ndarray, happened: np.ndarray) -> float:
    """Two-sided p-value of Fisher's exact test; both `(N,)` bool."""
    from scipy.stats import fisher_exact

    table = [[int((happened & s).sum()), int((~happened & s).sum())] for s in (inside, ~inside)]
    found: Any = fisher_exact(table)
    return float(found.pvalue)


def permuted(
    inside: np.ndarray, happened: np.ndarray, groups: Sequence[str], seed: int = 0
) -> float:
    """Two-sided p-value of the difference of two rates when whole groups are dealt out anew.

    Args:
        inside: `(N,)` bool, the same for all parts of a group.
        happened: `(N,)` bool.
        groups: of each part.
        seed: of the draws.
    """
    names, group = np.unique(np.asarray(groups), return_inverse=True)
    count, n = np.bincount(group, happened), np.bincount(group)
    chosen = np.zeros(len(names), bool)
    chosen[group[inside]] = True
    rng = np.random.default_rng(seed)
    dealt = rng.permuted(np.tile(chosen, (DRAWS, 1)), axis=1)

    def gap(which: np.ndarray) -> np.ndarray:
        a, b = which @ count / (which @ n), ~which @ count / (~which @ n)
        return np.abs(a - b)

    seen = gap(chosen[None])[0]
    return float((1 + (gap(dealt) >= seen - 1e-12).sum()) / (1 + DRAWS))
