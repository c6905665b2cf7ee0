"""Everything wrong with a dataset that a program can see, before a model learns it by heart.

Each image is decoded once, by the reader that the line uses. Kept of it are a SHA-256 of its
pixels, which finds the same picture under two names, and a 16 x 16 grey thumbnail of zero mean and
unit length, which finds a picture that was saved again, scaled, lit otherwise, mirrored or turned
by quarters. Thumbnails are compared in blocks, so memory grows with the number of images and not
with its square.

Two nearest-neighbour accuracies on thumbnails measure how far a split can leak: `random` lets an
image learn from every other one, `grouped` only from other groups. Far apart, they say that a
random split flatters every figure, and that the groups are needed.

Limits, said plainly: a slightly turned or strongly cropped copy is not found. Which class is good
is not known here: a class is held to be a defect class as soon as one of its masks is not empty.
A film of slow changes looks like parts in a fixture: of it only the closest copies are listed.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from qc.errors import DataError
from qc.imageio import read_mask, read_sample
from qc.types import Image, Sample
from training.shortcuts import properties, shortcuts
from training.split import crossing_groups, group_of

THUMBNAIL = 16
"""Side of the thumbnail, pixels: fine enough for the layout of a part, too coarse for its noise."""

NEAR = 0.01
"""Two images are near duplicates where `1 - cosine` of their thumbnails is at most this. Saving as
JPEG of quality 30 moved the thumbnail of a magnetic tile by at most 0.0009, halving its size by at
most 0.006; the closest two different tiles are 0.015 apart."""

CROWD = 0.25
"""Where one chain of near duplicates takes in this share of the images, and at least
`CROWD_IMAGES`, it is no set of copies but the likeness of parts in a fixture, and `NEAR_SHARE`
decides."""

CROWD_IMAGES = 10

NEAR_SHARE = 0.125
"""In a crowd, copies are at most this share of the distance apart that an image commonly has from
its nearest one of another group. Drawn parts in a fixture that were no copies came no closer than a
fifth of it unless almost free of noise, while copies saved as JPEG stayed below a tenth."""

FEW_GROUPS = 10
"""A class of fewer groups has about two of them in TEST: its figures say little."""

_BLOCK = 1024

_Floats = NDArray[np.float32]
_Ints = NDArray[np.int64]
Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class _Read:
    """What is kept of the images that could be read, row by row."""

    samples: list[Sample]
    digests: list[str]
    thumbnails: _Floats
    properties: list[dict[str, str]]


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
    unreadable: list[dict[str, str]] = []
    read, annotation_errors = _read_all(samples, unreadable, progress)
    exact = _exact_clusters(read)
    near, leakage = _compare(read)
    conflicts = [c for c in exact if len({frozenset(read.samples[i].labels) for i in c}) > 1]
    cross_split = _cross_split(samples, [[read.samples[i] for i in c] for c in exact + near])
    return {
        "format": format,
        "images": len(samples),
        "classes": dict(sorted(Counter(c for s in samples for c in s.labels).items())),
        "unreadable": unreadable,
        "exact_duplicates": _paths(read, exact),
        "near_duplicates": _paths(read, near),
        "cross_split": cross_split,
        "label_conflicts": _paths(read, conflicts),
        "annotation_errors": annotation_errors,
        "groups": len({group_of(s) for s in samples}),
        "leakage": leakage,
        "shortcuts": shortcuts(read.samples, read.properties),
        "cautions": cautions(samples),
        "blocking": _blocking(unreadable, cross_split, conflicts),
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


def _read_all(
    samples: Sequence[Sample], unreadable: list[dict[str, str]], progress: Progress | None
) -> tuple[_Read, list[dict[str, str]]]:
    """Decode every image and mask once; what cannot be read goes to `unreadable`."""
    kept: list[Sample] = []
    digests: list[str] = []
    thumbnails: list[_Floats] = []
    found: list[dict[str, str]] = []
    errors: list[dict[str, str]] = []
    empty: list[Sample] = []
    drawn: set[str] = set()
    for done, sample in enumerate(samples, 1):
        try:
            image = read_sample(sample)
        except DataError as error:
            unreadable.append({"path": sample.sample_id, "why": error.message})
        else:
            kept.append(sample)
            digests.append(_digest(image))
            thumbnails.append(_thumbnail(image))
            found.append(properties(sample, image))
            if sample.mask_path is not None:
                try:
                    if read_mask(sample.mask_path, image.shape[:2]).any():
                        drawn.update(sample.labels)
                    else:
                        empty.append(sample)
                except DataError as error:
                    errors.append({"path": sample.sample_id, "why": str(error)})
        if progress is not None:
            progress(done, len(samples))
    for sample in empty:
        defects = sorted(drawn.intersection(sample.labels))
        if defects:
            name = sample.mask_path.name if sample.mask_path is not None else "the"
            why = f"{name}: mask is empty, though the class is {', '.join(defects)}"
            errors.append({"path": sample.sample_id, "why": why})
    errors.sort(key=lambda e: e["path"])
    stacked = np.array(thumbnails, np.float32).reshape(len(kept), THUMBNAIL**2)
    return _Read(kept, digests, stacked, found), errors


def _digest(image: Image) -> str:
    return hashlib.sha256(str(image.shape).encode() + image.tobytes()).hexdigest()


def _thumbnail(image: Image) -> _Floats:
    """`(256,)` float32 of zero mean and unit length; all zero where the image is one flat grey."""
    grey = np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), np.float32)
    size = (THUMBNAIL, THUMBNAIL)
    small = np.asarray(cv2.resize(grey, size, interpolation=cv2.INTER_AREA), np.float32).ravel()
    small = small - small.mean()
    length = float(np.linalg.norm(small))
    return small / length if length > 1e-3 else np.zeros_like(small)


def _exact_clusters(read: _Read) -> list[list[int]]:
    rows: defaultdict[str, list[int]] = defaultdict(list)
    for i, digest in enumerate(read.digests):
        rows[digest].append(i)
    return [found for found in rows.values() if len(found) > 1]


def _numbers(values: Iterable[object]) -> _Ints:
    """Equal values get equal numbers."""
    seen: dict[object, int] = {}
    return np.array([seen.setdefault(v, len(seen)) for v in values], np.int64)


def _compare(read: _Read) -> tuple[list[list[int]], dict[str, float | None]]:
    """Near-duplicate clusters across groups, and the two nearest-neighbour accuracies."""
    usable = np.flatnonzero(read.thumbnails.any(axis=1))  # a flat image resembles nothing
    chosen = [read.samples[i] for i in usable]
    thumbnails = read.thumbnails[usable]
    group = _numbers(group_of(s) for s in chosen)
    label = _numbers(frozenset(s.labels) for s in chosen)
    pixels = _numbers(read.digests[i] for i in usable)
    hits: dict[str, list[bool]] = {"random": [], "grouped": []}
    nearest: list[_Floats] = []
    for rows, cosine in _cosines(thumbnails):
        hits["random"] += _hits(cosine, label, rows)
        cosine[group[rows][:, None] == group] = -np.inf
        hits["grouped"] += _hits(cosine, label, rows)
        nearest.append(cosine.max(axis=1))
    strange = (group, pixels)
    clusters = _clusters(thumbnails, strange, NEAR)
    if max(map(len, clusters), default=0) >= max(CROWD_IMAGES, CROWD * len(usable)):
        distances = 1 - np.concatenate(nearest)
        common = float(np.median(distances[np.isfinite(distances)]))
        clusters = _clusters(thumbnails, strange, min(NEAR, NEAR_SHARE * common))
    leakage = {k: round(float(np.mean(v)), 4) if v else None for k, v in hits.items()}
    return [[int(usable[i]) for i in found] for found in clusters], leakage


def _clusters(
    thumbnails: _Floats, strange: tuple[_Ints, _Ints], distance: float
) -> list[list[int]]:
    """Chains of images at most `distance` apart that differ in both numbers of `strange`."""
    cluster = np.arange(len(thumbnails))
    for rows, cosine in _cosines(thumbnails, turned=True):
        near = cosine >= 1 - distance
        for number in strange:
            near &= number[rows][:, None] != number
        for row in np.flatnonzero(near.any(axis=1)):
            joined = np.append(cluster[near[row]], cluster[rows[row]])
            cluster[np.isin(cluster, joined)] = joined.min()
    members: defaultdict[int, list[int]] = defaultdict(list)
    for i, root in enumerate(cluster):
        members[int(root)].append(i)
    return [found for found in members.values() if len(found) > 1]


def _cosines(thumbnails: _Floats, turned: bool = False) -> Iterator[tuple[_Ints, _Floats]]:
    """Row numbers and their cosines with every image, block by block; -inf with itself.

    With `turned`, the cosine is the highest of the eight ways to mirror and turn by quarters.
    """
    for start in range(0, len(thumbnails), _BLOCK):
        rows = np.arange(start, min(start + _BLOCK, len(thumbnails)))
        cosine = thumbnails[rows] @ thumbnails.T
        for other in _turns(thumbnails[rows]) if turned else ():
            np.maximum(cosine, other @ thumbnails.T, out=cosine)
        cosine[rows - start, rows] = -np.inf
        yield rows, cosine


def _turns(thumbnails: _Floats) -> Iterator[_Floats]:
    """The seven other ways to mirror and turn square pictures `(N, 256)` by quarters."""
    square = thumbnails.reshape(-1, THUMBNAIL, THUMBNAIL)
    for mirrored in (square, square[:, :, ::-1]):
        for quarters in range(4):
            if quarters or mirrored is not square:
                yield np.rot90(mirrored, quarters, axes=(1, 2)).reshape(len(square), -1)


def _hits(cosine: _Floats, label: _Ints, rows: _Ints) -> list[bool]:
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


def _paths(read: _Read, clusters: Iterable[Sequence[int]]) -> list[list[str]]:
    return [[read.samples[i].sample_id for i in cluster] for cluster in clusters]


def _blocking(
    unreadable: Sequence[object], cross_split: Sequence[object], conflicts: Sequence[object]
) -> list[str]:
    reasons = [
        (len(unreadable), "image(s) cannot be read"),
        (len(cross_split), "set(s) of images of one piece or alike stand in two splits"),
        (len(conflicts), "picture(s) have two different labels"),
    ]
    return [f"{count} {what}" for count, what in reasons if count]
