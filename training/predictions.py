"""What a model said of each part, as a table: the evidence behind the figures of `qc evaluate`."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from qc import metrics
from qc.decide import DecisionSpec, calibrated, defect_scores
from qc.errors import FaultError
from training.evaluate import Outputs, likely_defects, verdicts
from training.pipeline import Images
from training.split import group_of


def write_predictions(
    path: Path,
    images: Images,
    outputs: Outputs,
    *,
    classes: Sequence[str],
    good: str,
    decision: DecisionSpec | None,
    several: bool = False,
) -> None:
    """Write one row a part, in the order of the split.

    Columns: sample_id, group, labels and said (several joined by " + "), verdict (empty without
    thresholds), defect_score, points (whether the hottest cell of the likeliest defect's map
    touches its mask: 1, 0, or empty without a mask), and one score for each class.

    Args:
        path: the CSV file.
        images: the decoded split.
        outputs: of the model on them.
        classes, good: names in the order of the scores.
        decision: thresholds of a bundle, or None.
        several: a part may have several defects.

    Raises:
        FaultError: the file cannot be written.
    """
    index = list(classes).index(good)
    truth = images.truth(len(classes))
    score = outputs.score if decision is None else calibrated(outputs.score, decision, index)
    said = metrics.labels_said(score, index, several)
    judged = [""] * len(images)
    if decision is not None:
        judged = [str(v) for v in verdicts(outputs, decision, classes, good)]
    likely = likely_defects(outputs.score, index)
    value = defect_scores(score, index)
    columns = ["sample_id", "group", "labels", "said", "verdict", "defect_score", "points"]
    try:
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow([*columns, *(f"score:{name}" for name in classes)])
            for row, sample in enumerate(images.samples):
                writer.writerow(
                    [
                        sample.sample_id,
                        group_of(sample),
                        _names(truth[row], classes),
                        _names(said[row], classes),
                        judged[row],
                        f"{value[row]:.6f}",
                        _points(images, outputs, row, int(likely[row])),
                        *(f"{p:.6f}" for p in score[row]),
                    ]
                )
    except OSError as error:
        raise FaultError(
            "the predictions cannot be written", where=path, found=error.strerror or error
        ) from error


def _names(chosen: np.ndarray, classes: Sequence[str]) -> str:
    return " + ".join(name for name, there in zip(classes, chosen, strict=True) if there)


def _points(images: Images, outputs: Outputs, row: int, likely: int) -> str:
    if outputs.attention is None or not images.has_mask[row]:
        return ""
    mask = images.mask_of_class(row, likely) > 127
    if not mask.any():
        return ""
    one = outputs.attention[row : row + 1, :, :, likely]
    return str(int(metrics.points_at(one, mask[None])[0]))
