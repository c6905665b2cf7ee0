"""Golden inputs of a foreign model: pictures that prove it on another machine."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np

from export.adopt_answers import Answers
from export.adopt_table import AdoptTable
from qc import plugins
from qc.bundle import Golden
from qc.decide import DecisionSpec, calibrated, decide, defect_scores
from qc.errors import DataError, GateError, RecipeError
from qc.imageio import read_image
from qc.manifest import SCORE_TOLERANCE
from qc.preprocess import PreprocessSpec, apply
from qc.replay import Predictor
from qc.types import Prediction, Verdict

LEAST = 16
_COUNT = 24
_MOST = 512
_NEAR = 3
"""One of so many golden inputs is one of the nearest to a threshold."""
_SPREAD = 8 / 256
"""Two kernels of the model differ by no more than this on a golden input."""
_SUM_TOLERANCE = 0.01


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


def run(
    predictor: Predictor, pixels: np.ndarray, tell: Callable[[int, int], None] | None = None
) -> np.ndarray:
    """Scores `(N, K)` float32 of N preprocessed pictures, one a pass as on the line."""
    found = []
    for i, image in enumerate(pixels, start=1):
        found.append(predictor.predict(image).score)
        if tell is not None:
            tell(i, len(pixels))
    return np.stack(found)


def verdicts(score: np.ndarray, decision: DecisionSpec, answers: Answers) -> list[Verdict]:
    """The verdict of each row, by the function that judges on the line."""
    return [
        decide(Prediction(row, None, 0), decision, answers.classes, answers.good).verdict
        for row in score
    ]


def check_scores(score: np.ndarray, answers: Answers, rounding: float, where: Path) -> None:
    """Refuse scores that are not what they were said to be.

    Args:
        score: `(N, K)`.
        answers: what was said.
        rounding: half a step of the output tensor.
        where: for an error.

    Raises:
        GateError: numbers that are not finite.
        RecipeError: no probabilities, or none that add up to 1 where they should.
    """
    if not np.isfinite(score).all():
        raise GateError("the model gives numbers that are not finite", where=where)
    low, high = float(score.min()), float(score.max())
    if low < 0 or high > 1:
        raise RecipeError(
            f"the outputs are no probabilities, as scores = {answers.scores!r} would have it",
            where=where,
            expected='numbers in [0, 1], or scores = "logits" or "sigmoid_logits"',
            found=f"{low:.3g} to {high:.3g}",
        )
    if answers.scores != "softmax":
        return
    total = score.sum(axis=1, dtype=np.float64)
    furthest = float(total[np.abs(total - 1).argmax()])
    if abs(furthest - 1) > _SUM_TOLERANCE + rounding * score.shape[1]:
        raise RecipeError(
            "the outputs are no softmax: they do not add up to 1",
            where=where,
            expected='scores = "sigmoid", where each class has a probability of its own',
            found=f"a sum of {furthest:.3f}",
        )


def choose_golden(
    pixels: np.ndarray,
    score: np.ndarray,
    plain: np.ndarray,
    decision: DecisionSpec,
    answers: Answers,
    where: Path,
) -> tuple[Golden, float]:
    """Up to 24 pictures, a third of them the nearest to a threshold, and the replay's tolerance.

    Only pictures on which XNNPACK and the runtime's own kernels nearly agree, and which are further
    from the thresholds than that, so that a flip is a changed model on either. The others are
    spread evenly over the defect scores that occur.

    Args:
        pixels: `(N, h, w, 3)` uint8, preprocessed.
        score, plain: `(N, K)` by XNNPACK and by the runtime's own kernels.
        decision: the thresholds.
        answers: classes and the good one.
        where: for an error.

    Raises:
        GateError: fewer than 16 such pictures.
    """
    good = answers.classes.index(answers.good)
    both = [calibrated(s, decision, good) for s in (score, plain)]
    spread = np.abs(plain - score).max(axis=1)
    shift = np.abs(both[0] - both[1]).max(axis=1)
    value = defect_scores(both[0], good)
    borders = np.array([*decision.ok_below.values(), *decision.ng_above.values()])
    distance = np.abs(value[:, None] - borders).min(axis=1)
    agree = spread <= _SPREAD
    clear = agree & (distance > np.maximum(_SPREAD, shift) + SCORE_TOLERANCE)
    legal = np.flatnonzero(clear)
    if len(legal) < LEAST:
        raise GateError(
            "too few pictures can certify the bundle",
            where=where,
            expected=f"at least {LEAST} clear of the thresholds, on which the kernels agree",
            found=f"{len(legal)} of {len(pixels)}: {int((~agree).sum())} differ by kernel, "
            f"{int((agree & ~clear).sum())} score within {_SPREAD + SCORE_TOLERANCE:.3f} of a "
            "threshold",
        )
    count = min(_COUNT, len(legal))
    near = legal[np.argsort(distance[legal], kind="stable")][: count // _NEAR]
    rest = np.setdiff1d(legal, near)
    rest = rest[np.argsort(value[rest], kind="stable")]
    even = np.linspace(0, len(rest) - 1, count - len(near)).round().astype(int)
    chosen = np.sort(np.concatenate([near, rest[even]]))
    judged = verdicts(score[chosen], decision, answers)
    golden = Golden(pixels[chosen], score[chosen], None, tuple(str(v) for v in judged))
    return golden, round(SCORE_TOLERANCE + float(spread[chosen].max()), 6)


def counts(golden: Golden) -> dict[str, int]:
    """How many golden inputs have which verdict."""
    found = Counter(golden.verdicts)
    return {str(v): found[str(v)] for v in Verdict if found[str(v)]}
