"""What a model is asked, and the labels that fit: one class, good or not, or several defects.

A dataset says what it sees; the task says what is to be told apart. So one set serves for all
three: labels are fitted when a run is planned, and again when it is opened.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from qc.errors import DataError
from qc.types import Sample, Task

DEFECT = "defect"
"""The class that several classes of defects are merged into."""


def fit_labels(samples: Sequence[Sample], task: Task, good: str) -> list[Sample]:
    """The samples with labels as the task wants them.

    Args:
        samples: with at least one label each.
        task: "multiclass" and "multilabel" keep the labels; "binary" gives every defect, and every
            region of one, the same class: `DEFECT`, or its own name where there is only one.
        good: the class of good parts.

    Raises:
        DataError: a good part has a defect as well, a part has several classes where one is wanted,
            or the merged class would have the name of the good one.
    """
    for sample in samples:
        if len(set(sample.labels)) > 1:
            _refuse(sample, task, good)
    if task != "binary":
        return list(samples)
    defects = {label for s in samples for label in s.labels} - {good}
    name = next(iter(defects)) if len(defects) == 1 else DEFECT
    if name == good:
        raise DataError(
            "the merged class of all defects would have the name of the good one",
            where="data.good",
            expected=f"another name than {DEFECT!r}",
            found=repr(good),
        )
    return [_merged(s, name) if s.labels[0] != good else s for s in samples]


def _refuse(sample: Sample, task: Task, good: str) -> None:
    found = ", ".join(sample.labels)
    if good in sample.labels:
        raise DataError("a good part cannot have a defect too", where=sample.sample_id, found=found)
    if task == "multiclass":
        raise DataError(
            "a part must have one class; where parts have several defects, set "
            'model.task = "multilabel", or "binary" to tell good from bad only',
            where=sample.sample_id,
            expected="one label",
            found=found,
        )


def _merged(sample: Sample, name: str) -> Sample:
    regions = tuple(replace(region, label=name) for region in sample.regions)
    return replace(sample, labels=(name,), regions=regions)
