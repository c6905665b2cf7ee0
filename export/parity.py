"""Does the int8 model judge as the float model does? Compared on VAL, verdict by verdict."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from qc import metrics
from qc.decide import DecisionSpec, defect_scores
from qc.errors import GateError
from qc.recipe import ExportTable
from qc.types import Verdict
from training.evaluate import Outputs, verdicts


def compare(
    labels: np.ndarray,
    exact: Outputs,
    quantised: Outputs,
    *,
    decision: DecisionSpec,
    classes: Sequence[str],
    good: str,
) -> dict[str, float]:
    """Figures of parity.

    Args:
        labels: `(N,)` index of the class.
        exact, quantised: outputs of the float and the int8 model on the same images.
        decision: the bundle's thresholds, applied to both.
        classes, good: names in the order of the scores.

    Returns:
        agreement: share of equal verdicts; recall_drop: how much less of the defects int8 flags;
        auroc and auroc_float; map_correlation: mean Pearson correlation of the maps.

    Raises:
        GateError: one of good parts and defects is missing, so nothing can be compared.
    """
    index = list(classes).index(good)
    is_defect = labels != index
    area = metrics.auroc(is_defect, defect_scores(quantised.score, index))
    area_float = metrics.auroc(is_defect, defect_scores(exact.score, index))
    if area is None or area_float is None:
        raise GateError(
            "float and int8 cannot be compared",
            where="VAL",
            expected="good parts and defects",
            found=f"{int((~is_defect).sum())} good, {int(is_defect.sum())} defects",
        )
    judged_float = np.array(verdicts(exact, decision, classes, good))
    judged_int8 = np.array(verdicts(quantised, decision, classes, good))
    flagged_float = (judged_float[is_defect] != Verdict.OK).mean()
    flagged_int8 = (judged_int8[is_defect] != Verdict.OK).mean()
    figures = {
        "agreement": float((judged_float == judged_int8).mean()),
        "recall_drop": float(flagged_float - flagged_int8),
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


def why_not(figures: dict[str, float], table: ExportTable) -> str | None:
    """Why a candidate fails the recipe's gate, or None."""
    reasons = []
    drop = figures["auroc_float"] - figures["auroc"]
    if drop > table.max_auroc_drop:
        reasons.append(f"AUROC drops by {drop:.4f}, allowed {table.max_auroc_drop}")
    if figures["agreement"] < table.min_agreement:
        reasons.append(
            f"verdicts agree on {figures['agreement']:.3f}, wanted {table.min_agreement}"
        )
    return "; ".join(reasons) or None


def candidate(scheme: str, size: int, latency_ms: float, **figures: Any) -> dict[str, Any]:
    """One row of `candidates` in `qc export --json`."""
    return {"scheme": scheme, "bytes": size, "latency_ms": round(latency_ms, 4), **figures}
