"""Multiplicative attention: a cell's weight is a product of the cell and of the whole picture.

Luong, Pham, Manning: "Effective Approaches to Attention-based Neural Machine Translation", EMNLP
2015 (arXiv 1508.04025), the score named general: `q' W x_i`. What asks is there the state of a
decoder; here it is the mean of the features. W is a product of two matrices of `channels` rows,
which saves parameters, and the score is divided by `sqrt(channels)` as in Vaswani et al.,
"Attention Is All You Need" (2017, arXiv 1706.03762). Scores are capped
(training/poolings/_attention.py says why) and start at zero, so that training starts from the mean.
"""

from __future__ import annotations

import math
from typing import Any

import keras
from keras import ops

from training.poolings import _attention
from training.poolings._pooling import Shape


@keras.saving.register_keras_serializable(package="qc")
class MultiplicativePooling(_attention.HiddenAttentionPooling):
    """Scores `(Q mean(x) + a) . (U x_i + b) / sqrt(channels)`.

    Args:
        channels: of the two factors.
        cap: greatest size of a score.
    """

    def build(self, features_shape: Shape, evidence_shape: Shape) -> None:
        self.query = keras.layers.Conv2D(self.channels, 1, name="query", dtype=self.dtype_policy)
        self.key = keras.layers.Conv2D(
            self.channels, 1, kernel_initializer="zeros", name="key", dtype=self.dtype_policy
        )
        self.query.build((None, 1, 1, features_shape[-1]))
        self.key.build(features_shape)
        super().build(features_shape, evidence_shape)

    def scores(self, features: Any) -> Any:
        asked = self.query(ops.mean(features, axis=(1, 2), keepdims=True))
        product = ops.sum(self.key(features) * asked, axis=-1, keepdims=True)
        return product / math.sqrt(self.channels)


Pooling = MultiplicativePooling
"""What `qc.plugins.resolve("pooling", "multiplicative")` offers to the head."""
