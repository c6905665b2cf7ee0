"""Thresholds and golden pictures that a person gives, where there is no labelled dataset."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from pydantic import ValidationError

from export.adopt_answers import Answers
from export.adopt_golden import LEAST
from export.adopt_labels import require_defects
from export.adopt_table import EVERY, AdoptTable
from qc import plugins
from qc.decide import DecisionSpec
from qc.errors import DataError, RecipeError
from qc.imageio import read_image
from qc.preprocess import PreprocessSpec, apply

_NO_RATE = 0.999
"""Nothing is known of thresholds that were set by hand, so nothing is promised."""

_MOST = 512


def by_hand_of(table: AdoptTable, answers: Answers, where: Path) -> DecisionSpec:
    """The thresholds that the TOML gives for every defect class.

    Raises:
        RecipeError: a class without a threshold, one that is not there, or a number that is wrong.
    """
    assert table.thresholds is not None  # it was asked for
    defects = answers.defects
    found: dict[str, dict[str, float]] = {}
    for key in ("ok_below", "ng_above"):
        given: dict[str, float] = getattr(table.thresholds, key)
        if set(given) == {EVERY}:
            given = dict.fromkeys(defects, given[EVERY])
        require_defects(f"thresholds.{key}", given, defects, where)
        missing = [name for name in defects if name not in given]
        if missing:
            raise RecipeError(
                f"thresholds.{key} lacks a class",
                where=where,
                expected=f"a number for each of {', '.join(defects)}, or one for all",
                found=f"none for {', '.join(missing)}",
            )
        found[key] = {name: given[name] for name in defects}
    try:
        return DecisionSpec(
            ok_below=found["ok_below"],
            ng_above=found["ng_above"],
            max_escape=_NO_RATE,
            max_overkill=_NO_RATE,
            independent=answers.independent,
        )
    except ValidationError as error:
        why = error.errors(include_url=False)[0]["ctx"]["error"]
        raise RecipeError(str(why), where=where, expected="both between 0 and 1") from error


def pictures(
    table: AdoptTable, spec: PreprocessSpec, where: Path, tell: Callable[[int, int], None]
) -> np.ndarray:
    """`(N, h, w, 3)` uint8 of the folder `images`; at most 512, spread evenly over the names.

    Raises:
        DataError: fewer than 16 pictures, or one that cannot be read.
    """
    assert table.images is not None  # it was asked for
    folder = where.parent / table.images
    files: list[Path] = plugins.resolve("source", "folder").Source(folder).files
    if len(files) < LEAST:
        raise DataError(
            "too few pictures become golden inputs",
            where=folder,
            expected=f"at least {LEAST}",
            found=len(files),
        )
    even = np.linspace(0, len(files) - 1, min(len(files), _MOST)).round().astype(int)
    found = []
    for i in even:
        found.append(apply(spec, read_image(files[i], listen=True)))
        tell(len(found), len(even))
    return np.stack(found)
