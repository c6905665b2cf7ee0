"""Groups that a dataset does not say in `groups.csv`, read out of its paths."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from qc.errors import DataError, UsageError
from qc.types import Sample


def group_by_path(samples: Sequence[Sample], pattern: str) -> list[Sample]:
    """Give each sample the group that a regular expression finds in its path.

    Args:
        samples: the dataset.
        pattern: searched in the sample id, such as `(lot\\d+)_` or `^([^/]+)/`; the group is what
        its
            parentheses hold, joined by `-` where there are several, or the whole match without any.

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
