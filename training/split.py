"""Split a dataset by group: no physical piece stands in two splits, every class stands in each.

A random split of images puts pictures of one piece on both sides and flatters every figure. Here
whole groups are dealt out so that each class, and the groups of each class, come close to the
wanted shares: a greedy deal from several orders, each improved by moving and swapping groups. The
orders come from SHA-256 of the seed and the group's name, so the same dataset gives the same split
in any order of the samples. Costs are floating point: another build of numpy may break a near tie
otherwise, which is why the split file is committed and never made again on the way.
"""

from __future__ import annotations

import csv
import hashlib
import io
import uuid
import warnings
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedGroupKFold

from qc.errors import DataError, FaultError, UsageError
from qc.types import Sample

SPLITS = ("train", "val", "test")
COLUMNS = ("sample_id", "group", "split", "reason")

_SWAP_GROUPS = 600
"""Above it swaps of two groups are not tried: single moves are fine enough then."""

_Floats = NDArray[np.float64]
_Ints = NDArray[np.int64]


def group_of(sample: Sample) -> str:
    """The sample's group; a sample without one is a group of its own."""
    return sample.group or sample.sample_id


def split_samples(
    samples: Sequence[Sample],
    *,
    seed: int = 0,
    shares: tuple[float, float, float] = (0.6, 0.2, 0.2),
) -> list[Sample]:
    """Deal whole groups into train, val and test; the same input always gives the same answer.

    A class with at least three groups stands in every split where that is possible at all.

    Args:
        samples: the whole dataset; a split they already have is ignored.
        seed: chooses among the orders that are tried.
        shares: wanted shares of train, val and test, each above 0, of sum 1.

    Raises:
        UsageError: the shares are wrong.
        DataError: fewer than three groups.
    """
    if len(shares) != 3 or min(shares) <= 0 or abs(sum(shares) - 1) > 1e-6:
        raise UsageError("wrong split shares", expected="three above 0 of sum 1", found=shares)
    groups = sorted({group_of(s) for s in samples})
    if len(groups) < 3:
        raise DataError(
            "too few groups to split",
            expected="at least 3 groups (one for train, val and test)",
            found=f"{len(groups)} in {len(samples)} images",
        )
    deal = _Deal(samples, groups, shares)
    tries = 24 if len(groups) <= _SWAP_GROUPS else 3
    best = min(
        (deal.run(_order(groups, seed, attempt, deal.weight)) for attempt in range(tries)),
        key=lambda found: found[0],
    )[1]
    split_by_group = {group: SPLITS[int(s)] for group, s in zip(groups, best, strict=True)}
    return [replace(s, split=split_by_group[group_of(s)]) for s in samples]


def fold_samples(samples: Sequence[Sample], *, folds: int, seed: int = 0) -> list[list[Sample]]:
    """K splits for cross-validation: each group is TEST once, and VAL once.

    Whole groups are dealt into `folds` parts by scikit-learn's StratifiedGroupKFold; split number
    i has part i as TEST, the next one as VAL and the others as TRAIN.

    Args:
        samples: the dataset.
        folds: at least 3.
        seed: another seed, another deal.

    Raises:
        UsageError: fewer than 3 folds.
        DataError: fewer groups than folds.
    """
    if folds < 3:
        raise UsageError("too few folds", expected="at least 3: train, val and test", found=folds)
    groups = [group_of(s) for s in samples]
    if len(set(groups)) < folds:
        raise DataError(
            "too few groups for the folds",
            expected=f"at least {folds} groups",
            found=f"{len(set(groups))} in {len(samples)} images",
        )
    rows = sorted(range(len(samples)), key=lambda i: samples[i].sample_id)
    labels = [" + ".join(sorted(samples[i].labels)) for i in rows]
    deal = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    part = np.empty(len(samples), np.int64)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a class of fewer images than folds is told in the reason
        for number, (_, chosen) in enumerate(deal.split(rows, labels, [groups[i] for i in rows])):
            part[[rows[i] for i in chosen]] = number
    names = {0: "test", 1: "val"}
    return [
        [
            replace(s, split=names.get(int(part[row] - number) % folds, "train"))
            for row, s in enumerate(samples)
        ]
        for number in range(folds)
    ]


def _order(groups: list[str], seed: int, attempt: int, weight: _Floats) -> list[int]:
    """Heavy groups first; the weight is jittered by the hash so that the tries differ."""

    def key(index: int) -> tuple[float, str]:
        digest = hashlib.sha256(f"{seed}/{attempt}/{groups[index]}".encode()).hexdigest()
        return -float(weight[index]) * (0.5 + int(digest[:8], 16) / 0xFFFFFFFF), digest

    return sorted(range(len(groups)), key=key)


class _Deal:
    """Groups as rows of shares in each class; the cost is the squared distance to those wanted."""

    def __init__(
        self, samples: Sequence[Sample], groups: list[str], shares: tuple[float, float, float]
    ) -> None:
        row = {group: i for i, group in enumerate(groups)}
        column = {c: i for i, c in enumerate(sorted({c for s in samples for c in s.labels}))}
        counts = np.zeros((len(groups), len(column) + 1))
        for sample in samples:
            counts[row[group_of(sample)], [column[c] for c in sample.labels]] += 1
            counts[row[group_of(sample)], -1] += 1  # all images, whatever their class
        self.has: _Ints = (counts > 0).astype(np.int64)
        self.must = self.has.sum(0) >= 3
        images = counts / counts.sum(0)
        pieces = self.has / self.has.sum(0)
        self.rows: _Floats = np.hstack([images, pieces])
        importance = np.ones(counts.shape[1])
        importance[-1] = len(column)
        self.importance: _Floats = np.concatenate([importance, 2.0 * importance])
        self.shares: _Floats = np.asarray(shares, dtype=np.float64)[:, None]
        self.square: _Floats = (self.rows**2 * self.importance).sum(1)
        self.weight: _Floats = self.rows.max(1)

    def run(self, order: list[int]) -> tuple[tuple[int, float], _Ints]:
        """One greedy deal and its improvement: ((absences, cost), split of each group)."""
        at = np.full(len(order), -1, dtype=np.int64)
        filled = np.zeros((3, self.rows.shape[1]))
        for g in order:
            gain = ((filled - self.shares) * self.importance) @ self.rows[g]
            at[g] = int(np.argmin(gain))
            filled[at[g]] += self.rows[g]
        value = self.value(at)
        for _ in range(4 * len(order)):
            better = self._move(at, value) or self._swap(at, value)
            if better is None:
                break
            value, at = better
        return value, at

    def value(self, at: _Ints) -> tuple[int, float]:
        """How many times a class that must be there is not, and the cost."""
        filled = np.stack([self.rows[at == s].sum(0) for s in range(3)])
        present = np.stack([self.has[at == s].sum(0) for s in range(3)]) > 0
        cost = (self.importance * (filled - self.shares) ** 2).sum()
        return int((~present[:, self.must]).sum()), round(float(cost), 12)

    def _move_costs(self, at: _Ints) -> _Floats:
        """Cost change `(G, 3)` of moving each group to each split."""
        filled = np.stack([self.rows[at == s].sum(0) for s in range(3)])
        pull = self.rows @ ((filled - self.shares) * self.importance).T
        change = 2 * (pull - pull[np.arange(len(at)), at][:, None] + self.square[:, None])
        change[np.arange(len(at)), at] = np.inf
        return np.asarray(change)

    def _move(self, at: _Ints, value: tuple[int, float]) -> tuple[tuple[int, float], _Ints] | None:
        change = self._move_costs(at)
        counts = np.stack([self.has[at == s].sum(0) for s in range(3)])
        has = self.has[:, self.must]
        gain = has @ (counts[:, self.must] == 0).T
        loss = (has * (counts[at][:, self.must] == 1)).sum(1)
        total = change + 1e3 * (loss[:, None] - gain)
        g, s = np.unravel_index(int(np.argmin(total)), total.shape)
        return self._try(at, {int(g): int(s)}, value)

    def _swap(self, at: _Ints, value: tuple[int, float]) -> tuple[tuple[int, float], _Ints] | None:
        if len(at) > _SWAP_GROUPS:
            return None
        change = self._move_costs(at)
        gram = (self.rows * self.importance) @ self.rows.T
        both = change[:, at] + change[:, at].T - 4 * gram
        for flat in np.argsort(both, axis=None, kind="stable")[:20]:
            g, h = divmod(int(flat), len(at))
            if not both[g, h] < -1e-9:
                return None
            found = self._try(at, {g: int(at[h]), h: int(at[g])}, value)
            if found is not None:
                return found
        return None

    def _try(
        self, at: _Ints, moves: Mapping[int, int], value: tuple[int, float]
    ) -> tuple[tuple[int, float], _Ints] | None:
        """The changed deal where it is better, judged by its exact value."""
        changed = at.copy()
        for g, s in moves.items():
            changed[g] = s
        new = self.value(changed)
        better = new[0] < value[0] or (new[0] == value[0] and new[1] < value[1] - 1e-9)
        return (new, changed) if better else None


def crossing_groups(samples: Sequence[Sample]) -> list[str]:
    """Names of the groups that stand in more than one split; empty is right."""
    splits: defaultdict[str, set[str]] = defaultdict(set)
    for sample in samples:
        if sample.split is not None:
            splits[group_of(sample)].add(sample.split)
    return sorted(group for group, where in splits.items() if len(where) > 1)


def split_hash(samples: Sequence[Sample]) -> str:
    """SHA-256 of the sorted `sample_id<TAB>split` lines: the identity of a split.

    Raises:
        DataError: a sample has no split.
    """
    _refuse([s.sample_id for s in samples if s.split is None], "samples have no split", None)
    lines = sorted(f"{s.sample_id}\t{s.split}\n" for s in samples)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def write_split(samples: Sequence[Sample], out: Path | str) -> None:
    """Write the split as CSV `sample_id,group,split,reason`, sorted, whole or not at all.

    Raises:
        DataError: a sample has no split, or a group stands in two: it refuses to leak.
        FaultError: the file cannot be written.
    """
    _refuse([s.sample_id for s in samples if s.split is None], "samples have no split", out)
    _refuse(crossing_groups(samples), "groups stand in more than one split", out)
    sizes = Counter(group_of(s) for s in samples)
    rare = _rare_classes(samples)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for s in sorted(samples, key=lambda s: s.sample_id):
        size = sizes[group_of(s)]
        reasons = ["a group of its own" if size == 1 else f"group of {size} images kept whole"]
        reasons += [f"{c} has only {rare[c]} group(s)" for c in s.labels if c in rare]
        writer.writerow([s.sample_id, group_of(s), s.split, "; ".join(reasons)])
    target = Path(out)
    partial = target.with_name(f".{uuid.uuid4().hex}.tmp")
    try:
        partial.write_text(text.getvalue(), encoding="utf-8", newline="")
        partial.replace(target)
    except OSError as error:
        raise FaultError(
            f"split cannot be written ({error.strerror or error})", where=target
        ) from error


def _rare_classes(samples: Sequence[Sample]) -> dict[str, int]:
    groups: defaultdict[str, set[str]] = defaultdict(set)
    for sample in samples:
        for label in sample.labels:
            groups[label].add(group_of(sample))
    return {label: len(found) for label, found in groups.items() if len(found) < 3}


def apply_split(samples: Sequence[Sample], csv_path: Path | str) -> list[Sample]:
    """Give each sample the split that the file names; refuses to leak.

    Groups come from the file where it names them. It may join groups of the dataset (pieces that
    turned out to be one) and never part them.

    Args:
        samples: the whole dataset.
        csv_path: a file as `write_split` writes it; `group` and `reason` may be absent.

    Raises:
        DataError: the file is not readable, a sample is missing, unknown or there twice, a split
            has another name, a group of the dataset is parted, or a group stands in two splits.
    """
    rows = _rows(Path(csv_path))
    known = {s.sample_id for s in samples}
    _refuse(sorted(rows.keys() - known), "split names samples the dataset lacks", csv_path)
    _refuse(sorted(known - rows.keys()), "split lacks samples of the dataset", csv_path)
    done: list[Sample] = []
    joined: defaultdict[str, set[str]] = defaultdict(set)
    for sample in samples:
        split, group = rows[sample.sample_id]
        done.append(replace(sample, split=split, group=group or group_of(sample)))
        joined[group_of(sample)].add(done[-1].group)
    parted = [f"{own} ({', '.join(sorted(g))})" for own, g in sorted(joined.items()) if len(g) > 1]
    _refuse(parted, "groups of the dataset are several in the split", csv_path)
    refuse_leaks(done, csv_path)
    return done


def refuse_leaks(samples: Sequence[Sample], where: Path | str) -> None:
    """Refuse a split in which a group stands on two sides.

    Raises:
        DataError: names the groups.
    """
    _refuse(
        crossing_groups(samples), "groups stand in more than one split: this split leaks", where
    )


def _rows(path: Path) -> dict[str, tuple[str, str]]:
    """(split, group) by sample id."""
    rows: dict[str, tuple[str, str]] = {}
    twice: list[str] = []
    try:
        with path.open(newline="", encoding="utf-8-sig") as text:
            reader = csv.DictReader(text)
            columns = reader.fieldnames or []
            if not {"sample_id", "split"} <= set(columns):
                raise DataError(
                    "split file lacks a column",
                    where=path,
                    expected=", ".join(COLUMNS),
                    found=", ".join(columns) or "nothing",
                )
            for row in reader:
                name, split = row["sample_id"] or "", row["split"] or ""
                if split not in SPLITS:
                    raise DataError(
                        f"split of '{name}' has no legal name",
                        where=f"{path} line {reader.line_num}",
                        expected=", ".join(SPLITS),
                        found=repr(split),
                    )
                if name in rows:
                    twice.append(name)
                rows[name] = (split, (row.get("group") or "").strip())
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"split file cannot be read ({reason})", where=path) from error
    _refuse(twice, "split names samples twice", path)
    return rows


def _refuse(names: list[str], what: str, where: Path | str | None) -> None:
    if names:
        more = f" and {len(names) - 5} more" if len(names) > 5 else ""
        raise DataError(f"{what} ({len(names)})", where=where, found=", ".join(names[:5]) + more)
