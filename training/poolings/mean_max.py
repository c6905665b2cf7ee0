"""Half the mean and half the maximum of the evidence: a small defect is not averaged away.

A defect of one cell among n moves the logit by (1 + 1/n) / 2 of its evidence. The maximum is exact
in int8 (docs/decisions/0001-pooling-of-the-evidence.md).
"""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from training.poolings import _pooling


@keras.saving.register_keras_serializable(package="qc")
class MeanMaxPooling(_pooling.Pooling):
    """`(mean(map) + max(map)) / 2`; the map is the evidence."""

    def of_map(self, attention: Any) -> Any:
        return 0.5 * (ops.mean(attention, axis=(1, 2)) + ops.max(attention, axis=(1, 2)))


Pooling = MeanMaxPooling
"""What `qc.plugins.resolve("pooling", "mean_max")` offers to the head."""
