"""Does a quantised model judge as the float model does? Compared on VAL, verdict by verdict."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from qc import metrics
from qc.decide import DecisionSpec, calibrated, defect_scores
from qc.errors import GateError
from qc.recipe import ExportTable
from qc.types import Verdict
from training.evaluate import Outputs, verdicts


def agreement(first: Sequence[Verdict], second: Sequence[Verdict]) -> float:
    """Share of equal verdicts of the same N parts."""
    return float(np.mean([a is b for a, b in zip(first, second, strict=True)]))


def compare(
    labels: np.ndarray,
    exact: Outputs,
    quantised: Outputs,
    *,
    decision: DecisionSpec,
    classes: Sequence[str],
    good: str,
    groups: Sequence[str],
) -> dict[str, Any]:
    """Figures of parity.

    Args:
        labels: `(N,)` index of the class.
        exact, quantised: outputs of the float and the quantised model on the same images.
        decision: the quantised model's thresholds, applied to both.
        classes, good: names in the order of the scores.
        groups: `(N,)` names; the 95 % intervals are by bootstrap over groups.

    Returns:
        agreement: share of equal verdicts; recall: share of the defects that the quantised model
        flags, and recall_drop: how many fewer than float; overkill: share of the good parts judged
        NG, and overkill_rise: how many more than float; each of agreement, recall_drop and
        overkill_rise with its interval `_ci`; auroc and auroc_float; map_correlation: mean Pearson
        correlation of the maps.

    Raises:
        GateError: one of good parts and defects is missing, so nothing can be compared.
    """
    index = list(classes).index(good)
    is_defect = labels != index
    area, area_float = (
        metrics.auroc(is_defect, defect_scores(calibrated(o.score, decision, index), index))
        for o in (quantised, exact)
    )
    if area is None or area_float is None:
        raise GateError(
            "float and quantised cannot be compared",
            where="VAL",
            expected="good parts and defects",
            found=f"{int((~is_defect).sum())} good, {int(is_defect.sum())} defects",
        )
    before = np.array(verdicts(exact, decision, classes, good))
    after = np.array(verdicts(quantised, decision, classes, good))
    names = np.asarray(groups)
    same = before == after
    lost = (before != Verdict.OK).astype(float) - (after != Verdict.OK).astype(float)
    risen = (after == Verdict.NG).astype(float) - (before == Verdict.NG).astype(float)
    fine = ~is_defect
    figures: dict[str, Any] = {
        "agreement": float(same.mean()),
        "agreement_ci": metrics.share_interval(same, names.tolist()),
        "recall": float((after[is_defect] != Verdict.OK).mean()),
        "recall_drop": float(lost[is_defect].mean()),
        "recall_drop_ci": metrics.mean_interval(lost[is_defect], names[is_defect].tolist()),
        "overkill": float((after[fine] == Verdict.NG).mean()),
        "overkill_rise": float(risen[fine].mean()),
        "overkill_rise_ci": metrics.mean_interval(risen[fine], names[fine].tolist()),
        "auroc": area,
        "auroc_float": area_float,
    }
    if exact.attention is not None and quantised.attention is not None:
        figures["map_correlation"] = _correlation(exact.attention, quantised.attention)
    return figures


def _correlation(first: np.ndarray, second: np.ndarray) -> float:
    a = first.reshape(len(first), -1)
    b = second.reshape(len(second), -1)
    a, b = a - a.mean(1, keepdims=True), b - b.mean(1, keepdims=True)
    norm = np.sqrt((a * a).sum(1) * (b * b).sum(1))
    return float(((a * b).sum(1) / np.maximum(norm, 1e-12)).mean())


def why_not(figures: dict[str, Any], table: ExportTable) -> str | None:
    """Why a candidate fails the recipe's gate, or None."""
    reasons = []
    if figures["agreement"] < table.min_agreement:
        reasons.append(
            f"verdicts agree on {_percent(figures['agreement'], table.min_agreement)}, "
            f"wanted {table.min_agreement:.1%}"
        )
    for name, word, limit in (
        ("recall_drop", "recall drops", table.max_recall_drop),
        ("overkill_rise", "overkill rises", table.max_overkill_rise),
    ):
        if figures[name] > limit:
            reasons.append(f"{word} by {_percent(figures[name], limit)}, allowed {limit:.1%}")
    likeness = figures.get("map_correlation")
    if likeness is not None and likeness < table.min_map_correlation:
        reasons.append(f"maps correlate by {likeness:.3f}, wanted {table.min_map_correlation}")
    drop = figures["auroc_float"] - figures["auroc"]
    if drop > table.max_auroc_drop:
        reasons.append(f"AUROC drops by {drop:.4f}, allowed {table.max_auroc_drop}")
    return "; ".join(reasons) or None


def _percent(value: float, limit: float) -> str:
    """In tenths of a per cent, or as many digits as tell it from the limit."""
    digits = next((n for n in (1, 2, 3) if f"{value:.{n}%}" != f"{limit:.{n}%}"), 4)
    return f"{value:.{digits}%}"
