"""The inputs that prove a bundle: VAL images, some of them as near the thresholds as can be."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from export.calibrate import choose_stratified
from qc.bundle import Golden
from qc.decide import DecisionSpec, calibrated, defect_scores
from qc.errors import GateError
from qc.manifest import SCORE_TOLERANCE
from training.evaluate import Outputs, verdicts
from training.pipeline import Images

_SPREAD = 8 / 256
"""Golden inputs are images on which two kernels of a model differ by no more than this."""

_NEAR = 3
"""One of so many golden inputs is one of the nearest to a threshold."""


def choose_golden(
    val: Images,
    outputs: Outputs,
    plain: Outputs,
    decision: DecisionSpec,
    *,
    classes: tuple[str, ...],
    good: str,
    count: int,
    seed: int,
    where: Path,
) -> tuple[Golden, float]:
    """VAL images of every class with what the model made of them, and the tolerance of a replay.

    They are images on which XNNPACK and the runtime's own kernels nearly agree, further away from
    the thresholds than that: a flip is a changed model, on either. A third of them are the nearest
    to a threshold that this leaves.

    Args:
        val: the decoded split.
        outputs, plain: of the model on it by XNNPACK and by the runtime's own kernels.
        decision: the thresholds.
        classes, good: names in the order of the scores.
        count, seed: how many to choose, and the order.
        where: the run, for an error.

    Raises:
        GateError: fewer than 16 such images.
    """
    index = classes.index(good)
    both = [calibrated(o.score, decision, index) for o in (outputs, plain)]
    spread = np.abs(plain.score - outputs.score).max(axis=1)
    shift = np.abs(both[0] - both[1]).max(axis=1)
    value = defect_scores(both[0], index)
    borders = np.array([*decision.ok_below.values(), *decision.ng_above.values()])
    distance = np.abs(value[:, None] - borders).min(axis=1)
    clear = (spread <= _SPREAD) & (distance > np.maximum(_SPREAD, shift) + SCORE_TOLERANCE)
    rows = {s.sample_id: i for i, s in enumerate(val.samples)}
    legal = [s for s in val.samples if clear[rows[s.sample_id]]]
    if len(legal) < 16:
        raise GateError(
            "too few VAL images can certify the bundle",
            where=where,
            expected="at least 16 clear of the thresholds, on which the kernels agree",
            found=len(legal),
        )
    nearest = sorted(legal, key=lambda s: (distance[rows[s.sample_id]], s.sample_id))
    near = nearest[: count // _NEAR]
    others = [s for s in legal if s not in near]
    rest = choose_stratified(others, count - len(near), seed) if others else []
    chosen = [rows[s.sample_id] for s in (*near, *rest)]
    judged = verdicts(outputs, decision, classes, good)
    golden = Golden(
        images=val.pixels[chosen],
        score=outputs.score[chosen],
        attention=None if outputs.attention is None else outputs.attention[chosen],
        verdicts=tuple(str(judged[i]) for i in chosen),
    )
    return golden, round(SCORE_TOLERANCE + float(spread[chosen].max()), 6)
