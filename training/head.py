"""The class-evidence head: one map a class, and each class's logit is a pooling of its own map.

So the map is exact for the logit and is a second output of the same graph. The pooling is the mean
of the average and the maximum, so that a small defect is not averaged away; unlike log-sum-exp it
is exact in int8 (docs/decisions/0001-pooling-of-the-evidence.md). A gain and an offset for each
class lie between the pooled evidence and its logit: the masks set the scale of the map, the labels
that of the score, and neither has to give way to the other.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="qc")
class EvidenceHead(keras.layers.Layer):
    """Features to class scores and class evidence.

    Args:
        classes: number of classes K.

    Call arguments:
        inputs: features `(B, h, w, C)`.

    Output shape:
        `score` `(B, K)`, a softmax, and `attention` `(B, h, w, K)`, evidence before pooling.
    """

    def __init__(self, classes: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if classes < 2:
            raise ValueError(f"classes must be at least 2, found {classes}")
        self.classes = classes

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        self.evidence = keras.layers.Conv2D(self.classes, 1, name="evidence")
        self.evidence.build(input_shape)
        self.gain = self.add_weight(
            name="gain",
            shape=(self.classes,),
            initializer="ones",
            constraint=keras.constraints.NonNeg(),
        )
        self.offset = self.add_weight(name="offset", shape=(self.classes,), initializer="zeros")
        super().build(input_shape)

    def call(self, inputs: Any) -> tuple[Any, Any]:
        attention = self.evidence(inputs)
        pooled = 0.5 * (ops.mean(attention, axis=(1, 2)) + ops.max(attention, axis=(1, 2)))
        return ops.softmax(self.gain * pooled + self.offset), attention

    def compute_output_shape(
        self, input_shape: tuple[int | None, ...]
    ) -> tuple[tuple[int | None, ...], tuple[int | None, ...]]:
        return (input_shape[0], self.classes), (*input_shape[:-1], self.classes)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "classes": self.classes}
