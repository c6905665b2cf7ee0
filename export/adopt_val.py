"""A labelled dataset for a foreign model: thresholds from its VAL, and how the model does there.

Whether the model has seen these parts when it was trained is not known here: where it has, the
thresholds are set on parts that are too easy.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from export.adopt_answers import Answers
from export.adopt_golden import verdicts
from export.fit_decision import Parts, fit_decision
from export.temperature import fit_temperature
from qc import metrics
from qc.decide import DecisionSpec, calibrated, defect_scores
from qc.errors import DataError, GateError
from qc.preprocess import PreprocessSpec
from qc.recipe import DataTable, DecisionTable
from qc.types import Sample, Verdict
from training.datasets import load_samples
from training.images import Images, load_images
from training.split import apply_split, group_of, refuse_leaks, split_hash, split_samples
from training.task import fit_labels

_ORDER = ("good", "minor", "major", "critical")


@dataclass(frozen=True)
class Val:
    """The VAL parts of a dataset, labelled with the model's classes.

    Args:
        images: decoded.
        split_hash: identity of the split.
    """

    images: Images
    split_hash: str


def read_val(
    data: DataTable,
    answers: Answers,
    spec: PreprocessSpec,
    where: Path,
    tell: Callable[[int, int], None] | None = None,
) -> Val:
    """Read the dataset of `[data]` and decode its VAL.

    Args:
        data: names it, relative to the TOML.
        answers: the model's classes and task.
        spec: the geometry.
        where: the TOML.
        tell: told of images read.

    Raises:
        DataError: the dataset or split is wrong, or has a class that the model does not know.
    """
    place = where.parent / data.path
    _, samples = load_samples(place, data.format, data.options)
    known = {label for s in samples for label in s.labels}
    if answers.good not in known:
        raise DataError(
            "the good class is not in the dataset",
            where=place,
            expected=repr(answers.good),
            found=", ".join(sorted(known)),
        )
    if data.split is not None:
        samples = apply_split(samples, where.parent / data.split)
    elif all(s.split is not None for s in samples):
        refuse_leaks(samples, place)
    else:
        samples = split_samples(samples, seed=0, shares=data.shares)
    identity = split_hash(samples)
    samples = fit_labels(samples, answers.task, answers.good)
    if answers.task == "binary":
        samples = [_binary(s, answers) for s in samples]
    foreign = sorted({label for s in samples for label in s.labels} - set(answers.classes))
    if foreign:
        raise DataError(
            "the dataset has classes that the model does not know",
            where=place,
            expected=f"none but {', '.join(answers.classes)}",
            found=", ".join(foreign),
        )
    val = [replace(s, mask_path=None, regions=()) for s in samples if s.split == "val"]
    if not val:
        raise DataError("the dataset has no VAL part", where=place)
    return Val(load_images(val, answers.classes, answers.good, spec, tell), identity)


def _binary(sample: Sample, answers: Answers) -> Sample:
    """Whatever the defect is called in the dataset, the model has one name for it."""
    return sample if sample.labels[0] == answers.good else replace(sample, labels=answers.defects)


def decide_on(
    val: Val, score: np.ndarray, answers: Answers, table: DecisionTable, where: Path
) -> DecisionSpec:
    """Temperature and thresholds of a model by its scores `(N, K)` on VAL.

    Raises:
        GateError: VAL lacks good parts or defects, or the scores point the wrong way.
    """
    good, images = answers.classes.index(answers.good), val.images
    temperature = 1.0
    if table.temperature:
        truth = images.truth(len(answers.classes))
        temperature = fit_temperature(score, truth, good, answers.independent)
    spec = {"temperature": temperature, "independent": answers.independent}
    blank = DecisionSpec(ok_below={"": 0}, ng_above={"": 0}, max_escape=0, max_overkill=0)
    value = defect_scores(calibrated(score, blank.model_copy(update=spec), good), good)
    worst = [
        max((answers.severity[name] for name in s.labels), key=_ORDER.index) for s in images.samples
    ]
    parts = Parts(value, np.array(worst), [group_of(s) for s in images.samples])
    decision = fit_decision(parts, answers.defects, table).model_copy(update=spec)
    area = metrics.auroc(parts.bad, value)
    if area is not None and area < 0.5:
        raise GateError(
            "the model's defect scores are higher on good parts than on bad ones",
            where=where,
            expected="an AUROC on VAL above 0.5: look at the order of the labels, good, "
            "input_range and colour",
            found=f"{area:.3f}",
        )
    return decision


def figures(
    val: Val, score: np.ndarray, decision: DecisionSpec, answers: Answers
) -> dict[str, Any]:
    """How the model does on VAL, in the words of `qc evaluate`."""
    images, good = val.images, answers.classes.index(answers.good)
    is_defect = images.labels != good
    value = defect_scores(calibrated(score, decision, good), good)
    groups = [group_of(s) for s in images.samples]
    judged = np.array(verdicts(score, decision, answers))
    escaped = int((judged[is_defect] == Verdict.OK).sum())
    rejected = int((judged[~is_defect] == Verdict.NG).sum())
    escape, escape_ci = metrics.rate_with_interval(escaped, int(is_defect.sum()))
    overkill, overkill_ci = metrics.rate_with_interval(rejected, int((~is_defect).sum()))
    of_class = images.truth(len(answers.classes)).sum(axis=0)
    return {
        "split": "val",
        "n": len(images),
        "groups": len(set(groups)),
        "classes": {n: int(c) for n, c in zip(answers.classes, of_class, strict=True)},
        "auroc": metrics.auroc(is_defect, value),
        "auroc_ci": metrics.auroc_interval(is_defect, value, groups),
        "average_precision": metrics.average_precision(is_defect, value),
        "escape": escape,
        "escape_ci": escape_ci,
        "overkill": overkill,
        "overkill_ci": overkill_ci,
        "review": float((judged == Verdict.REVIEW).mean()),
    }
