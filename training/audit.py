"""Everything wrong with a dataset that a program can see, before a model learns it by heart.

A digest of the pixels finds the same picture under two names; an outline finds the same thing lit
otherwise, shifted, saved again, mirrored or turned by quarters (`training.likeness`).

Two nearest-neighbour accuracies on thumbnails measure how far a split can leak: `random` lets an
image learn from every other one, `grouped` only from other groups. Far apart, they say that a
random split flatters every figure, and that the groups are needed.

Limits, said plainly: a strongly cropped or a slightly turned copy is not found. Which class is good
is not known here: a class is held to be a defect class as soon as one of its masks is not empty.
Where all pictures are alike, as parts in a fixture are, only the closest copies are listed.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qc.errors import DataError
from qc.imageio import MASK_THRESHOLD
from qc.types import Sample
from training.likeness import chains
from training.looks import Look, Progress, alike_pairs, look_at, numbers
from training.shortcuts import shortcuts
from training.split import crossing_groups, group_of

FEW_GROUPS = 10
"""A class of fewer groups has about two of them in TEST: its figures say little."""

_BLOCK = 1024

_Floats = NDArray[np.float32]


def audit(
    samples: Sequence[Sample], format: str, *, progress: Progress | None = None
) -> dict[str, Any]:
    """Look through a dataset, as the keys of `qc data audit --json`.

    Args:
        samples: the whole dataset; with splits, leaks between them are looked for.
        format: the layout's name, handed through.
        progress: called with (done, total) after each image.

    Returns:
        Counts and lists; an image goes by its `sample_id`. `near_duplicates` holds only what spans
        several groups: alike inside one group is what groups are for. `leakage` has None where
        there is nothing to compare with. `blocking` says what must be mended before training.

    Raises:
        DataError: no samples.
    """
    if not samples:
        raise DataError("nothing to audit", expected="at least one sample", found="none")
    looks = look_at(samples, progress)
    unreadable = [
        {"path": look.sample.sample_id, "why": look.why} for look in looks if look.why is not None
    ]
    looks = [look for look in looks if look.why is None]
    seen = [look.sample for look in looks]
    exact = _exact_clusters(looks)
    near = _near_clusters(looks)
    conflicts = [c for c in exact if len({frozenset(seen[i].labels) for i in c}) > 1]
    cross_split = _cross_split(samples, [[seen[i] for i in c] for c in exact + near])

    def paths(clusters: Iterable[Sequence[int]]) -> list[list[str]]:
        return [[seen[i].sample_id for i in cluster] for cluster in clusters]

    return {
        "format": format,
        "images": len(samples),
        "classes": dict(sorted(Counter(c for s in samples for c in s.labels).items())),
        "unreadable": unreadable,
        "exact_duplicates": paths(exact),
        "near_duplicates": paths(near),
        "cross_split": cross_split,
        "label_conflicts": paths(conflicts),
        "annotation_errors": _mask_errors(looks),
        "groups": len({group_of(s) for s in samples}),
        "leakage": _leakage(looks),
        "shortcuts": shortcuts(seen, [look.properties for look in looks]),
        "cautions": cautions(samples) + _grey_masks(looks),
        "blocking": _blocking(
            unreadable, cross_split, conflicts, [k for k in looks if k.mask == "wrong"]
        ),
    }


def cautions(samples: Iterable[Sample]) -> list[str]:
    """What limits the claims and does not block training: classes of few groups."""
    groups: defaultdict[str, set[str]] = defaultdict(set)
    images: Counter[str] = Counter()
    samples = list(samples)
    for sample in samples:
        images.update(sample.labels)
        for label in sample.labels:
            groups[label].add(group_of(sample))
    found = []
    if len({group_of(s) for s in samples}) == len(samples) > 1:
        found.append(
            "no two images share a group: where several show one piece, lot or patient, say so in "
            "groups.csv, or any split will flatter"
        )
    for label, pieces in sorted(groups.items()):
        has = f"class {label} has {images[label]} images of {len(pieces)} group(s)"
        if len(pieces) < 3:
            found.append(f"{has}: it cannot stand in train, val and test at once")
        elif len(pieces) < FEW_GROUPS:
            found.append(f"{has}: expect wide intervals")
    return found


def _mask_errors(looks: Sequence[Look]) -> list[dict[str, str]]:
    """Masks that cannot be read or used, and empty ones of a class whose masks are not empty."""
    drawn = {label for k in looks if k.mask in ("drawn", "grey") for label in k.sample.labels}
    errors = []
    for look in looks:
        why = look.mask_why
        defects = sorted(drawn.intersection(look.sample.labels))
        if look.mask == "empty" and look.sample.mask_path is not None and defects:
            name = look.sample.mask_path.name
            why = f"{name}: mask is empty, though the class is {', '.join(defects)}"
        if why is not None:
            errors.append({"path": look.sample.sample_id, "why": why})
    return sorted(errors, key=lambda e: e["path"])


def _grey_masks(looks: Sequence[Look]) -> list[str]:
    grey = [look.sample.sample_id for look in looks if look.mask == "grey"]
    masks = sum(look.mask in ("drawn", "grey", "empty") for look in looks)
    if not grey:
        return []
    return [
        f"{len(grey)} of {masks} masks are not binary, such as that of {grey[0]}: a pixel counts "
        f"as defect above {MASK_THRESHOLD}"
    ]


def _exact_clusters(looks: Sequence[Look]) -> list[list[int]]:
    rows: defaultdict[str, list[int]] = defaultdict(list)
    for i, look in enumerate(looks):
        rows[look.digest].append(i)
    return [found for found in rows.values() if len(found) > 1]


def _near_clusters(looks: Sequence[Look]) -> list[list[int]]:
    """Chains of pictures that show the same thing, are not the same pixels, and span groups."""
    return chains(
        (a, b)
        for a, b in alike_pairs(looks)
        if group_of(looks[a].sample) != group_of(looks[b].sample)
        and looks[a].digest != looks[b].digest
    )


def _leakage(looks: Sequence[Look]) -> dict[str, float | None]:
    """The two nearest-neighbour accuracies; None where there is nothing to compare with."""
    usable = [look for look in looks if look.thumbnail.any()]
    if not usable:
        return {"random": None, "grouped": None}
    thumbnails = np.stack([look.thumbnail for look in usable])
    group = numbers(group_of(look.sample) for look in usable)
    label = numbers(frozenset(look.sample.labels) for look in usable)
    hits: dict[str, list[bool]] = {"random": [], "grouped": []}
    for start in range(0, len(usable), _BLOCK):
        rows = np.arange(start, min(start + _BLOCK, len(usable)))
        cosine = thumbnails[rows] @ thumbnails.T
        cosine[rows - start, rows] = -np.inf
        hits["random"] += _hits(cosine, label, rows)
        cosine[group[rows][:, None] == group] = -np.inf
        hits["grouped"] += _hits(cosine, label, rows)
    return {k: round(float(np.mean(v)), 4) if v else None for k, v in hits.items()}


def leakage_sentence(found: Mapping[str, Any]) -> str | None:
    """What the two nearest-neighbour accuracies mean, for a quality engineer; None without them.

    Args:
        found: what `audit` gave.
    """
    alone, apart = found["leakage"]["random"], found["leakage"]["grouped"]
    if alone is None:
        return None
    begin = (
        "A program that only looks for the most similar picture names the class of "
        f"{100 * alone:.1f} % of the images"
    )
    if found["groups"] == found["images"] or apart is None:
        why = "no groups are known" if apart is not None else "there is only one group"
        return f"{begin}; {why}, so it is not known how much of that is one piece seen twice."
    begin += f", and of {100 * apart:.1f} % where it may not look at pictures of the same group."
    if alone - apart > 0.1:
        return f"{begin} A random split would flatter a model by that difference: split by group."
    return f"{begin} The two are close: as far as this comparison sees, groups hide no copies."


def _hits(cosine: _Floats, label: NDArray[np.int64], rows: NDArray[np.int64]) -> list[bool]:
    """Whether the nearest image has the same labels, for each row that has one to compare with."""
    nearest = cosine.argmax(axis=1)
    comparable = cosine[np.arange(len(rows)), nearest] > -np.inf
    return list((label[nearest] == label[rows])[comparable])


def _cross_split(
    samples: Sequence[Sample], alike: Iterable[Sequence[Sample]]
) -> list[list[dict[str, str]]]:
    """Groups, and clusters of images that are alike, that stand in two splits; each once."""
    crossing = set(crossing_groups(samples))
    by_group: defaultdict[str, list[Sample]] = defaultdict(list)
    for sample in samples:
        if group_of(sample) in crossing:
            by_group[group_of(sample)].append(sample)
    found: dict[tuple[str, ...], list[dict[str, str]]] = {}
    for members in [*by_group.values(), *alike]:
        placed = [(s.sample_id, s.split) for s in members if s.split is not None]
        if len({split for _, split in placed}) > 1:
            key = tuple(sorted(sample_id for sample_id, _ in placed))
            found[key] = [{"path": sample_id, "split": split} for sample_id, split in placed]
    return list(found.values())


def _blocking(
    unreadable: Sequence[object],
    cross_split: Sequence[object],
    conflicts: Sequence[object],
    wrong_masks: Sequence[object],
) -> list[str]:
    reasons = [
        (len(unreadable), "image(s) cannot be read"),
        (len(cross_split), "set(s) of images of one piece or alike stand in two splits"),
        (len(conflicts), "picture(s) have two different labels"),
        (len(wrong_masks), "mask(s) cannot be read, or are of another size than their image"),
    ]
    return [f"{count} {what}" for count, what in reasons if count]
