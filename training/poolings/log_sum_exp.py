"""Log-sum-exp of the evidence: between the mean and the maximum, and every cell learns.

Pinheiro, Collobert: "From Image-level to Pixel-level Labeling with Convolutional Networks", CVPR
2015 (arXiv 1411.6228): `log(mean(exp(r x))) / r`, near the mean for a small r and near the maximum
for a great one. Worked out as `max(x) - (max(log_softmax(r x)) + log(n)) / r` over the n cells,
which is the same number: exponential, sum and logarithm are within LOG_SOFTMAX and have no int8
range of their own. It has a fixed step of 1/16, so in int8 the pooling is not exact but within
1/(32 r) of evidence, 0.008 for r = 4 (docs/decisions/0007-poolings-in-int8.md).
"""

from __future__ import annotations

import math
from typing import Any

import keras
from keras import ops

from training.poolings import _pooling
from training.poolings._pooling import Shape


@keras.saving.register_keras_serializable(package="qc")
class LogSumExpPooling(_pooling.Pooling):
    """`log(mean(exp(sharpness * map))) / sharpness`; the map is the evidence.

    Args:
        sharpness: r of the paper. Cells of evidence within 1/r of the highest count about alike.

    Raises:
        ValueError: sharpness not above 0, or a map whose height and width are not known.
    """

    def __init__(self, sharpness: float = 4.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        _pooling.check_positive("sharpness", sharpness)
        self.sharpness = sharpness

    def build(self, features_shape: Shape, evidence_shape: Shape) -> None:
        _pooling.cells_of(features_shape)
        super().build(features_shape, evidence_shape)

    def of_map(self, attention: Any) -> Any:
        cells, classes = _pooling.cells_of(attention.shape), attention.shape[-1]
        rows = ops.transpose(ops.reshape(attention, (-1, cells, classes)), (0, 2, 1))
        top = ops.max(ops.log_softmax(self.sharpness * rows, axis=-1), axis=-1)
        return ops.max(rows, axis=-1) - (top + math.log(cells)) / self.sharpness

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "sharpness": self.sharpness}


Pooling = LogSumExpPooling
"""What `qc.plugins.resolve("pooling", "log_sum_exp")` offers to the head."""
