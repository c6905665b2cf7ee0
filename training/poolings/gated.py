"""Gated attention of multiple-instance learning: the cells of a part are a bag with one label.

Ilse, Tomczak, Welling: "Attention-based Deep Multiple Instance Learning", ICML 2018 (arXiv
1802.04712), equation 9: `w . (tanh(V x_i) * sigmoid(U x_i))`. Made for what holds here too: the
label says that some cell is bad, not which. Scores are capped (training/poolings/_attention.py says
why) and start at zero, so that training starts from the mean.
"""

from __future__ import annotations

from typing import Any

import keras

from training.poolings import _attention
from training.poolings._pooling import Shape


@keras.saving.register_keras_serializable(package="qc")
class GatedPooling(_attention.HiddenAttentionPooling):
    """Scores `w . (tanh(V x_i + a) * sigmoid(U x_i + b)) + c`.

    Args:
        channels: of the hidden layer.
        cap: greatest size of a score.
    """

    def build(self, features_shape: Shape, evidence_shape: Shape) -> None:
        self.value = keras.layers.Conv2D(
            self.channels, 1, activation="tanh", name="value", dtype=self.dtype_policy
        )
        self.gate = keras.layers.Conv2D(
            self.channels, 1, activation="sigmoid", name="gate", dtype=self.dtype_policy
        )
        self.score = keras.layers.Conv2D(
            1, 1, kernel_initializer="zeros", name="score", dtype=self.dtype_policy
        )
        self.value.build(features_shape)
        self.gate.build(features_shape)
        self.score.build((*features_shape[:-1], self.channels))
        super().build(features_shape, evidence_shape)

    def scores(self, features: Any) -> Any:
        return self.score(self.value(features) * self.gate(features))


Pooling = GatedPooling
"""What `qc.plugins.resolve("pooling", "gated")` offers to the head."""
