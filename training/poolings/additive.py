"""Additive attention: a cell's weight is a small network of the cell and of the whole picture.

Bahdanau, Cho, Bengio: "Neural Machine Translation by Jointly Learning to Align and Translate", ICLR
2015 (arXiv 1409.0473): `v . tanh(W q + U x_i)`. What asks is there the state of a decoder; here it
is the mean of the features, so a cell is weighed by what it is beside the rest of the part. Scores
are capped (training/poolings/_attention.py says why) and start at zero, so that training starts
from the mean.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from training.poolings import _attention
from training.poolings._pooling import Shape


@keras.saving.register_keras_serializable(package="qc")
class AdditivePooling(_attention.HiddenAttentionPooling):
    """Scores `v . tanh(W mean(x) + U x_i + c) + b`.

    Args:
        channels: of the hidden layer.
        cap: greatest size of a score.
    """

    def build(self, features_shape: Shape, evidence_shape: Shape) -> None:
        self.query = keras.layers.Conv2D(
            self.channels, 1, use_bias=False, name="query", dtype=self.dtype_policy
        )
        self.key = keras.layers.Conv2D(self.channels, 1, name="key", dtype=self.dtype_policy)
        self.score = keras.layers.Conv2D(
            1, 1, kernel_initializer="zeros", name="score", dtype=self.dtype_policy
        )
        self.query.build((None, 1, 1, features_shape[-1]))
        self.key.build(features_shape)
        self.score.build((*features_shape[:-1], self.channels))
        super().build(features_shape, evidence_shape)

    def scores(self, features: Any) -> Any:
        asked = self.query(ops.mean(features, axis=(1, 2), keepdims=True))
        return self.score(ops.tanh(self.key(features) + asked))


Pooling = AdditivePooling
"""What `qc.plugins.resolve("pooling", "additive")` offers to the head."""
