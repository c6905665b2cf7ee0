"""SeqPool: the weight of a cell is a softmax of one weighted sum of its features.

Hassani, Walton, Shah, Abuduweili, Li, Shi: "Escaping the Big Data Paradigm with Compact
Transformers", 2021 (arXiv 2104.05704). The cheapest attention here: one more convolution filter.
Scores are capped, which the paper does not do (training/poolings/_attention.py says why), and start
at zero, so that training starts from the mean.
"""

from __future__ import annotations

from typing import Any

import keras

from training.poolings import _attention
from training.poolings._pooling import Shape


@keras.saving.register_keras_serializable(package="qc")
class SeqPooling(_attention.AttentionPooling):
    """Scores `g . x_i + b`.

    Args:
        cap: greatest size of a score.
    """

    def build(self, features_shape: Shape, evidence_shape: Shape) -> None:
        self.score = keras.layers.Conv2D(
            1, 1, kernel_initializer="zeros", name="score", dtype=self.dtype_policy
        )
        self.score.build(features_shape)
        super().build(features_shape, evidence_shape)

    def scores(self, features: Any) -> Any:
        return self.score(features)


Pooling = SeqPooling
"""What `qc.plugins.resolve("pooling", "seq_pool")` offers to the head."""
