"""Groups that a dataset does not say in `groups.csv`: from paths, folders, or the pictures."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from qc.errors import DataError, UsageError
from qc.types import Sample
from training.likeness import chains
from training.split import group_of


def group_by_path(samples: Sequence[Sample], pattern: str) -> list[Sample]:
    """Give each sample the group that a regular expression finds in its path.

    Args:
        samples: the dataset.
        pattern: searched in the sample id, such as `(lot\\d+)_` or `^([^/]+)/`; the group is
            what its parentheses hold, joined by `-` where there are several, or the whole match
            without any.

    Raises:
        UsageError: the pattern is not a regular expression.
        DataError: it finds nothing, or nothing but emptiness, in some path.
    """
    try:
        expression = re.compile(pattern)
    except re.error as error:
        raise UsageError(
            f"--group-regex is not a regular expression ({error})", found=repr(pattern)
        ) from error
    done: list[Sample] = []
    without: list[str] = []
    for sample in samples:
        match = expression.search(sample.sample_id)
        parts = () if match is None else (match.groups() or (match.group(),))
        group = "-".join(part for part in parts if part)
        if group:
            done.append(replace(sample, group=group))
        else:
            without.append(sample.sample_id)
    if without:
        raise DataError(
            f"--group-regex finds no group in {len(without)} of {len(samples)} paths",
            where=without[0],
            expected=f"a match of {pattern}",
            found=", ".join(without[:3]),
        )
    return done


def group_by_folder(samples: Sequence[Sample]) -> list[Sample]:
    """Give each sample the folder of its image as its group: one folder, one piece, lot or patient.

    Raises:
        DataError: an image lies in no folder.
    """
    loose = [s.sample_id for s in samples if "/" not in s.sample_id]
    if loose:
        raise DataError(
            f"{len(loose)} of {len(samples)} images lie in no folder that could be their group",
            where=loose[0],
        )
    return [replace(s, group=s.sample_id.rsplit("/", 1)[0]) for s in samples]


def join_groups(samples: Sequence[Sample], alike: Sequence[tuple[int, int]]) -> list[Sample]:
    """Put samples whose pictures show the same thing into one group, with the groups they have.

    What is found is the least that belongs together: pictures that show different sides of one
    piece are not recognised. A group goes by the first of its members' groups.

    Args:
        samples: the dataset.
        alike: pairs of their rows, of `training.looks.alike_pairs`.
    """
    first: dict[str, int] = {}
    links = [(first.setdefault(group_of(s), row), row) for row, s in enumerate(samples)]
    done = list(samples)
    for chain in chains([*alike, *links]):
        name = min(group_of(samples[row]) for row in chain)
        for row in chain:
            done[row] = replace(samples[row], group=name)
    return done


def refuse_torn(samples: Sequence[Sample], alike: Sequence[tuple[int, int]], where: object) -> None:
    """Refuse a split in which pictures of the same thing stand on two sides.

    Args:
        samples: with their splits.
        alike: pairs of their rows, of `training.looks.alike_pairs`.
        where: the dataset, which an error names.

    Raises:
        DataError: names the pairs.
    """
    torn = [(samples[a], samples[b]) for a, b in alike if samples[a].split != samples[b].split]
    if not torn:
        return
    shown = [f"{a.sample_id} ({a.split}) and {b.sample_id} ({b.split})" for a, b in torn[:3]]
    more = [f"{len(torn) - 3} pairs more"] if len(torn) > 3 else []
    raise DataError(
        f"this split leaks: {len(torn)} pair(s) of pictures show the same thing on two sides; "
        "name the pieces in groups.csv, or let qc data split --infer-groups keep them together",
        where=where,
        found="; ".join(shown + more),
    )
