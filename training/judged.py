"""A split as one model judged it: what every figure, table and picture of a report is made from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from qc import metrics
from qc.decide import DecisionSpec, calibrated, defect_scores
from qc.types import Task, Verdict
from training.evaluate import Outputs, likely_defects, verdicts
from training.images import Images
from training.split import group_of

Run = Callable[[np.ndarray], Outputs]
"""A model: `(N, H, W, 3)` uint8 to its outputs."""


@dataclass(frozen=True)
class Judged:
    """What a model said of a split.

    Args:
        images: the decoded split.
        outputs: of the model on them.
        split: its name.
        classes, good: names in the order of the scores.
        task: of the model.
        decision: thresholds of a bundle; None for a run, which has none.
        overlay: evidence that is shown coldest and hottest.
        run: the model itself.
        randomise: the same with random weights by a seed; None where that cannot be done.
        exact: gives what the float model that a bundle was made from says of these parts; None for
            a run, and where that model is gone.
    """

    images: Images
    outputs: Outputs
    split: str
    classes: tuple[str, ...]
    good: str
    task: Task
    decision: DecisionSpec | None
    overlay: tuple[float, float]
    run: Run
    randomise: Callable[[int], Run | None]
    exact: Callable[[], Outputs] | None = None

    @property
    def good_index(self) -> int:
        """Where the good class stands."""
        return self.classes.index(self.good)

    @property
    def several(self) -> bool:
        """Whether a part may have several defects."""
        return self.task == "multilabel"

    @cached_property
    def groups(self) -> list[str]:
        """The group of each part."""
        return [group_of(s) for s in self.images.samples]

    @cached_property
    def is_defect(self) -> np.ndarray:
        """`(N,)` bool, by the labels."""
        return np.asarray(self.images.labels != self.good_index)

    @cached_property
    def truth(self) -> np.ndarray:
        """`(N, K)` bool, the classes that each part has."""
        return self.images.truth(len(self.classes))

    @cached_property
    def score(self) -> np.ndarray:
        """`(N, K)`, calibrated where there is a temperature."""
        if self.decision is None:
            return self.outputs.score
        return np.asarray(calibrated(self.outputs.score, self.decision, self.good_index))

    @cached_property
    def value(self) -> np.ndarray:
        """`(N,)`, the defect score."""
        return np.asarray(defect_scores(self.score, self.good_index))

    @cached_property
    def said(self) -> np.ndarray:
        """`(N, K)` bool, the classes the model gives each part."""
        return metrics.labels_said(self.score, self.good_index, self.several)

    @cached_property
    def likely(self) -> np.ndarray:
        """`(N,)`, the likeliest defect class of each part."""
        return likely_defects(self.outputs.score, self.good_index)

    @cached_property
    def verdicts(self) -> np.ndarray:
        """`(N,)` of words; without thresholds a model says OK or NG by its likeliest class."""
        return self.judge(self.outputs)

    @cached_property
    def as_float(self) -> np.ndarray | None:
        """`(N,)` bool, where the float model has the same verdict at the same thresholds."""
        return None if self.exact is None else self.judge(self.exact()) == self.verdicts

    def judge(self, outputs: Outputs) -> np.ndarray:
        """The same for other pictures of the same model."""
        if self.decision is not None:
            found = verdicts(outputs, self.decision, self.classes, self.good)
            return np.array([str(v) for v in found])
        said = metrics.labels_said(outputs.score, self.good_index, self.several)
        return np.where(said[:, self.good_index], str(Verdict.OK), str(Verdict.NG))

    def names(self, chosen: np.ndarray) -> str:
        """Class names of a row of `truth` or `said`."""
        return " + ".join(n for n, there in zip(self.classes, chosen, strict=True) if there)
