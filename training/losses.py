"""The map's loss: evidence goes up on the mask, down elsewhere, and is free where unknown."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops


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
