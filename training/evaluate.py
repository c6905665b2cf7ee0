"""Figures on a named split, from the outputs of any model: Keras floats or the bundle's int8."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from qc import metrics
from qc.decide import DecisionSpec, calibrated, decide, defect_scores
from qc.replay import Predictor
from qc.types import Prediction, Task, Verdict
from training.pipeline import Images, Progress
from training.split import group_of


@dataclass(frozen=True)
class Outputs:
    """Outputs of a model on N images.

    Args:
        score: `(N, K)` float32.
        attention: `(N, h, w, K)` float32, or None.
        infer_ms: duration of each pass, or empty where not measured one by one.
    """

    score: np.ndarray
    attention: np.ndarray | None
    infer_ms: tuple[float, ...] = ()


def run_keras(
    model: keras.Model, pixels: np.ndarray, progress: Progress | None = None, batch_size: int = 32
) -> Outputs:
    """Outputs of the float model on `(N, H, W, 3)` uint8."""
    scores, maps = [], []
    for start in range(0, len(pixels), batch_size):
        batch = pixels[start : start + batch_size]
        # one shape for every batch, so that the graph is traced once
        padded = np.zeros((batch_size, *batch.shape[1:]), np.float32)
        padded[: len(batch)] = batch
        found = model.predict_on_batch(padded)
        scores.append(found["score"][: len(batch)])
        maps.append(found["attention"][: len(batch)])
        if progress is not None:
            progress(start + len(batch), len(pixels))
    return Outputs(np.concatenate(scores), np.concatenate(maps))


def run_predictor(
    predictor: Predictor, pixels: np.ndarray, progress: Progress | None = None
) -> Outputs:
    """Outputs of a bundle's predictor on `(N, H, W, 3)` uint8, one image a pass as on the line."""
    found = []
    for i, image in enumerate(pixels):
        found.append(predictor.predict(image))
        if progress is not None:
            progress(i + 1, len(pixels))
    maps = None
    if all(p.attention is not None for p in found):
        maps = np.stack([p.attention for p in found])  # type: ignore[misc]
    return Outputs(np.stack([p.score for p in found]), maps, tuple(p.infer_ns / 1e6 for p in found))


def likely_defects(score: np.ndarray, good: int) -> np.ndarray:
    """Index of the likeliest defect class of each row of `(N, K)`: whose map is shown."""
    others = score.copy()
    others[:, good] = -1
    return others.argmax(axis=1)


def overlay_range(outputs: Outputs, images: Images, good: int) -> dict[str, float]:
    """Coldest colour: what good parts' cells hardly exceed. Hottest: the peak of a usual defect."""
    if outputs.attention is None:
        return {"lo": 0.0, "hi": 1.0}
    defects = np.delete(outputs.attention, good, axis=3).max(axis=3)
    is_defect = images.labels != good
    low = float(np.quantile(defects[~is_defect], 0.95))
    high = float(np.quantile(defects[is_defect].max(axis=(1, 2)), 0.75))
    return {"lo": round(low, 4), "hi": round(max(high, low + 1.0), 4)}


def verdicts(
    outputs: Outputs, decision: DecisionSpec, classes: Sequence[str], good: str
) -> list[Verdict]:
    """The verdict of each row, by the same function that judges on the line."""
    return [
        decide(Prediction(score, None, 0), decision, classes, good).verdict
        for score in outputs.score
    ]


def quick_figures(
    images: Images, score: np.ndarray, good: int, task: Task = "multiclass"
) -> dict[str, float]:
    """What is watched while training: AUROC good against defect, and macro-F1."""
    area = metrics.auroc(images.labels != good, defect_scores(score, good))
    if task == "multilabel":
        said = metrics.labels_said(score, good, several=True)
        found = metrics.several_labels(images.truth(score.shape[1]), said)
    else:
        names = [str(k) for k in range(score.shape[1])]
        found = metrics.classification(score, images.labels, names)
    return {"auroc": float("nan") if area is None else area, "macro_f1": found["macro_f1"]}


def measure(
    images: Images,
    outputs: Outputs,
    *,
    split: str,
    classes: Sequence[str],
    good: str,
    decision: DecisionSpec | None,
    task: Task = "multiclass",
) -> dict[str, Any]:
    """The keys of `qc evaluate --json`.

    Where a part may have several defects, accuracy is the share of parts with exactly the right
    ones, each counted from a score of 0.5 on, and confusion is None. `per_class` is each class
    against all others, `map` the mean of the defects' average precision, whatever the task.

    Args:
        images: the decoded split.
        outputs: of the model on them.
        split: its name.
        classes, good: names in the order of the scores.
        decision: thresholds, or None for a run, which has none: then escape, overkill and review
            are None.
        task: of the model.
    """
    good_index = list(classes).index(good)
    is_defect = images.labels != good_index
    score = outputs.score if decision is None else calibrated(outputs.score, decision, good_index)
    value = defect_scores(score, good_index)
    groups = [group_of(s) for s in images.samples]
    truth = images.truth(len(classes))
    several = task == "multilabel"
    said = metrics.labels_said(score, good_index, several)
    each = metrics.of_each_class(truth, said, score, classes)
    if several:
        right = metrics.several_labels(truth, said)
        ece = metrics.calibration_of_several(truth, score, good_index)
    else:
        right = metrics.classification(score, images.labels, classes)
        ece = metrics.expected_calibration_error(score, images.labels)
    area = metrics.auroc(is_defect, value)
    figures: dict[str, Any] = {
        "split": split,
        "n": len(images),
        "groups": len(set(groups)),
        "classes": {name: row["n"] for name, row in each.items()},
        **right,
        "auroc": area,
        "auroc_ci": None if area is None else metrics.auroc_interval(is_defect, value, groups),
        "average_precision": metrics.average_precision(is_defect, value),
        **_rates(outputs, decision, is_defect, classes, good),
        "localisation": _localisation(images, outputs, good_index, groups),
        "calibration": {"ece": ece},
        "map": metrics.mean_average_precision(each, good),
        "per_class": each,
    }
    return figures


def _rates(
    outputs: Outputs,
    decision: DecisionSpec | None,
    is_defect: np.ndarray,
    classes: Sequence[str],
    good: str,
) -> dict[str, Any]:
    if decision is None:
        keys = ("escape", "escape_ci", "overkill", "overkill_ci", "review")
        return dict.fromkeys(keys)
    found = np.array(verdicts(outputs, decision, classes, good))
    escaped = int((found[is_defect] == Verdict.OK).sum())
    rejected = int((found[~is_defect] == Verdict.NG).sum())
    escape, escape_ci = metrics.rate_with_interval(escaped, int(is_defect.sum()))
    overkill, overkill_ci = metrics.rate_with_interval(rejected, int((~is_defect).sum()))
    return {
        "escape": escape,
        "escape_ci": escape_ci,
        "overkill": overkill,
        "overkill_ci": overkill_ci,
        "review": float((found == Verdict.REVIEW).mean()),
    }


def _localisation(
    images: Images, outputs: Outputs, good: int, groups: Sequence[str]
) -> dict[str, Any]:
    """The map of the likeliest defect, as a person sees it, against the mask of that defect."""
    known = images.has_mask
    if outputs.attention is None or not known.any():
        return metrics.localisation(np.zeros((1, 1, 1)), np.zeros((1, 1, 1), bool))
    likely = likely_defects(outputs.score, good)
    maps = outputs.attention[np.arange(len(likely)), :, :, likely]
    of_known = np.asarray(groups)[known].tolist()
    rows = np.flatnonzero(known)
    masks = np.stack([images.mask_of_class(i, likely[i]) for i in rows]) > 127
    return metrics.localisation(maps[known], masks, of_known)
