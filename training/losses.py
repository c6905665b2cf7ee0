"""What is learnt from labels and from masks.

The map's loss: evidence goes up on the mask, down elsewhere, and is free where unknown. The score's
loss is the negative logarithm of how likely the labels are: of one class among all, or of each
defect being there or not.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from qc.types import Task


@keras.saving.register_keras_serializable(package="qc")
class MapLoss(keras.losses.Loss):
    """Balanced cross-entropy between the sigmoid of the evidence and the mask.

    Cells on the mask and cells off it weigh the same, so that a defect of one cell counts; cells
    with target -1 do not count.

    Call arguments:
        y_true: `(B, h, w, K)` of 1, 0 and -1.
        y_pred: evidence `(B, h, w, K)`.
    """

    def call(self, y_true: Any, y_pred: Any) -> Any:
        on = ops.cast(y_true > 0.5, y_pred.dtype)
        off = ops.cast(ops.abs(y_true) < 0.5, y_pred.dtype)
        axes = (1, 2, 3)
        push_up = ops.sum(on * ops.softplus(-y_pred), axes) / ops.maximum(ops.sum(on, axes), 1)
        push_down = ops.sum(off * ops.softplus(y_pred), axes) / ops.maximum(ops.sum(off, axes), 1)
        return 0.5 * (push_up + push_down)


@keras.saving.register_keras_serializable(package="qc")
class DefectLoss(keras.losses.Loss):
    """Binary cross-entropy of the defects, summed over them; the good class does not count.

    The sum is the negative log-likelihood of all labels of a part, as the cross-entropy of a
    softmax is that of its one label: so a weight against the masks means the same for both.

    Args:
        label_smoothing: share of each label that is one half instead.

    Call arguments:
        y_true: `(B, K)` in [0, 1], the good class first.
        y_pred: scores `(B, K)` in [0, 1].
    """

    def __init__(self, label_smoothing: float = 0.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.label_smoothing = label_smoothing

    def call(self, y_true: Any, y_pred: Any) -> Any:
        there = y_true[:, 1:] * (1 - self.label_smoothing) + self.label_smoothing / 2
        score = ops.clip(y_pred[:, 1:], keras.config.epsilon(), 1 - keras.config.epsilon())
        return -ops.sum(there * ops.log(score) + (1 - there) * ops.log(1 - score), axis=-1)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "label_smoothing": self.label_smoothing}


def score_loss(task: Task, label_smoothing: float) -> keras.losses.Loss:
    """The loss of the score that a task wants."""
    if task == "multiclass":
        return keras.losses.CategoricalCrossentropy(label_smoothing=label_smoothing)
    return DefectLoss(label_smoothing)
