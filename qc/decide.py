"""The whole quality policy: a prediction and two thresholds become a verdict. Pure functions.

The model's scores are calibrated by the bundle's temperature first. With a good class, the defect
score is `1 - score[good]`; the most likely defect class names the part and gives the thresholds:
below `ok_below` OK, from `ng_above` on NG, REVIEW between them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from qc.errors import QCError
from qc.types import FloatArray, Prediction, Verdict


class EscapeBound(BaseModel):
    """What VAL shows of the escape rate of pieces that nobody has seen yet.

    Args:
        confidence: of the bound, one-sided.
        bound: the escape rate is at most this.
        escaped: groups of VAL of which a bad part scores below `ok_below`.
        groups: groups of VAL that hold a bad part.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    confidence: float = Field(ge=0.5, lt=1)
    bound: float = Field(ge=0, le=1)
    escaped: int = Field(ge=0)
    groups: int = Field(ge=1)


class DecisionSpec(BaseModel):
    """Thresholds of a bundle, per defect class.

    Args:
        ok_below: class -> the part is OK while its defect score is below this.
        ng_above: class -> the part is NG from this defect score on.
        max_escape: the escape rate that was asked for.
        max_overkill: the overkill rate that was asked for.
        escape_bound: what is shown of the escape rate, or None where no confidence was asked for.
        severity_escape: severity -> the escape rate that was asked for its defects.
        severity_bound: severity -> what is shown of it.
        temperature: of `calibrated`; the thresholds are of calibrated scores.
        independent: each defect has a probability of its own, they do not add up to 1.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    ok_below: dict[str, float]
    ng_above: dict[str, float]
    max_escape: float = Field(ge=0, lt=1)
    max_overkill: float = Field(ge=0, lt=1)
    escape_bound: EscapeBound | None = None
    severity_escape: dict[str, float] = {}
    severity_bound: dict[str, EscapeBound] = {}
    temperature: float = Field(default=1.0, ge=0.05, le=20)
    independent: bool = False

    @property
    def promised(self) -> bool:
        """Whether every escape rate that was asked for is shown with the confidence asked for."""
        found = self.escape_bound
        return (
            found is not None
            and found.bound <= self.max_escape
            and all(b.bound <= self.severity_escape[s] for s, b in self.severity_bound.items())
        )

    @property
    def escape_words(self) -> str:
        """What may be said of the escape rate, and of the rate of each severity asked for."""
        words = [_escape_words(self.max_escape, self.escape_bound, "defects")]
        for severity, asked in self.severity_escape.items():
            bound = self.severity_bound.get(severity)
            words.append(_escape_words(asked, bound, f"{severity} defects"))
        return "; ".join(words)

    @model_validator(mode="after")
    def _ordered(self) -> DecisionSpec:
        if set(self.ok_below) != set(self.ng_above) or not self.ok_below:
            raise ValueError("ok_below and ng_above must name the same classes, at least one")
        for name, low in self.ok_below.items():
            # NG from a score no model can give is legal: nothing is rejected without a person
            if not 0 <= low <= self.ng_above[name] <= 1.01:
                raise ValueError(f"thresholds of {name} must satisfy 0 <= ok_below <= ng_above")
        return self


@dataclass(frozen=True, slots=True)
class Decision:
    """A verdict with the rule that led to it; on FAULT all else is None.

    Args:
        verdict: OK, NG, REVIEW or FAULT.
        reason: the rule in words.
        defect_class: the most likely one.
        defect_score: what was compared with the thresholds.
        score: `(K,)`, calibrated.
    """

    verdict: Verdict
    reason: str
    defect_class: str | None = None
    defect_score: float | None = None
    score: FloatArray | None = None


def _escape_words(max_escape: float, found: EscapeBound | None, what: str) -> str:
    asked = f"{max_escape:.1%}"
    if found is None:
        some = "" if what == "defects" else f" of {what}"
        return (
            f"at most {asked} escape{some} on VAL, as a point: other pieces may escape more often"
        )
    seen = f"{found.escaped} of {found.groups} groups with {what} escape on VAL"
    shown = f"at most {found.bound:.1%} escape with {found.confidence:.0%} confidence"
    if found.bound <= max_escape:
        return f"{shown} ({seen})"
    needed = groups_needed(max_escape, found.confidence)
    return f"{asked} escape is not promised: {seen} shows {shown}; {asked} needs {needed} groups"


def groups_needed(rate: float, confidence: float) -> int:
    """How many groups without an escape show that the escape rate is at most `rate`.

    0 of n bounds it at `1 - (1 - confidence) ** (1 / n)`: Clopper and Pearson, 1934.
    """
    return math.ceil(math.log(1 - confidence) / math.log(1 - rate))


def defect_scores(score: FloatArray, good_index: int) -> FloatArray:
    """Defect score in [0, 1] of each row of `(N, K)` class scores."""
    return (1.0 - score[..., good_index]).astype(np.float32)


_LEAST = 1 / 1024
"""A probability that a model stores as 0: less than half a step of a uint8 score."""


def calibrated(score: FloatArray, spec: DecisionSpec, good_index: int) -> FloatArray:
    """Scores as probabilities: how often such a score is right, not how sure the model seems.

    Guo, Pleiss, Sun, Weinberger: "On Calibration of Modern Neural Networks", ICML 2017 (arXiv
    1706.04599): the logits are divided by one temperature. Here the logarithm of a probability
    takes the place of its logit, so that a quantised model needs no other output.

    Args:
        score: `(..., K)` in [0, 1], as the model gives them.
        spec: holds the temperature, and whether each defect has a probability of its own.
        good_index: where the good class stands.

    Returns:
        `(..., K)`: scores that add up to 1; of independent ones each by itself, and good is 1 - the
        greatest of the defects.
    """
    if spec.temperature == 1.0:
        return score
    # once for each part of a line: the plain functions of numpy, without what wraps them
    floor = np.maximum(np.asarray(score, np.float64), _LEAST)
    power = floor ** (1 / spec.temperature)
    if not spec.independent:
        return (power / np.add.reduce(power, axis=-1, keepdims=True)).astype(np.float32)
    against = np.maximum(1.0 - np.asarray(score, np.float64), _LEAST) ** (1 / spec.temperature)
    each = power / (power + against)
    each[..., good_index] = 0.0
    each[..., good_index] = 1.0 - each.max(axis=-1)
    return np.asarray(each, np.float32)


def decide(
    prediction: Prediction, spec: DecisionSpec, classes: Sequence[str], good: str
) -> Decision:
    """Judge one prediction.

    Args:
        prediction: the model's numbers.
        spec: the bundle's thresholds.
        classes: class names in the order of `prediction.score`.
        good: name of the class of good parts.

    Returns:
        The verdict; FAULT where a number is not finite or lies outside [0, 1].

    Raises:
        QCError: the prediction has another number of classes than the bundle.
    """
    score = prediction.score
    if len(score) != len(classes):
        raise QCError("the prediction does not fit", expected=f"{len(classes)} scores", found=score)
    if not all(0.0 <= value <= 1.0 for value in score.tolist()):  # NaN is neither
        return Decision(Verdict.FAULT, "the model gave a score that is not a number in [0, 1]")
    if prediction.attention is not None and not _is_finite(prediction.attention):
        return Decision(Verdict.FAULT, "the model gave a map that is not finite")
    good_index = classes.index(good)
    score = calibrated(score, spec, good_index)
    values = score.tolist()
    values[good_index] = -1.0
    likely = values.index(max(values))
    name = classes[likely]
    value = float(np.float32(1.0) - score[good_index])  # `defect_scores` of one part
    low, high = spec.ok_below[name], spec.ng_above[name]
    if value < low:
        verdict, reason = Verdict.OK, f"defect score {value:.3f} < {low:.3f}"
    elif value >= high:
        verdict, reason = Verdict.NG, f"{name}: defect score {value:.3f} >= {high:.3f}"
    else:
        verdict = Verdict.REVIEW
        reason = f"{name}: defect score {value:.3f} in [{low:.3f}, {high:.3f})"
    return Decision(verdict, reason, name, value, score)


def _is_finite(values: FloatArray) -> bool:
    """Whether every value is finite; the sum of squares says so at once unless it overflows."""
    flat = values.ravel()
    with np.errstate(over="ignore"):
        squares = flat.dot(flat)
    return math.isfinite(squares) or bool(np.isfinite(values).all())
