"""The class-evidence head: one map a class, and each class's logit is a pooling of its own map.

So the map is exact for the logit and is a second output of the same graph. How the map is pooled
is a plugin (training/poolings); unless told otherwise it is the mean of the average and the
maximum, so that a small defect is not averaged away
(docs/decisions/0001-pooling-of-the-evidence.md). A gain and an offset for each class lie between
the pooled evidence and its logit: the masks set the scale of the map, the labels that of the score,
and neither has to give way to the other.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from qc import plugins


@keras.saving.register_keras_serializable(package="qc")
class EvidenceHead(keras.layers.Layer):
    """Features to class scores and class evidence.

    Args:
        classes: number of classes K.
        pooling: file name in training/poolings, or a layer of that kind.

    Call arguments:
        inputs: features `(B, h, w, C)`.

    Output shape:
        `score` `(B, K)`, a softmax of `gain * pooling.of_map(attention) + offset`, and `attention`
        `(B, h, w, K)`, the map that is pooled.

    Raises:
        ValueError: fewer than two classes.
        UsageError: no such pooling; the nearest name is suggested.
    """

    def __init__(
        self, classes: int, pooling: str | keras.layers.Layer = "mean_max", **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        if classes < 2:
            raise ValueError(f"classes must be at least 2, found {classes}")
        self.classes = classes
        if isinstance(pooling, str):
            pooling = plugins.resolve("pooling", pooling).Pooling(name="pooling")
        self.pooling = pooling

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        self.evidence = keras.layers.Conv2D(self.classes, 1, name="evidence")
        self.evidence.build(input_shape)
        self.pooling.build(input_shape, (*input_shape[:-1], self.classes))
        self.gain = self.add_weight(
            name="gain",
            shape=(self.classes,),
            initializer="ones",
            constraint=keras.constraints.NonNeg(),
        )
        self.offset = self.add_weight(name="offset", shape=(self.classes,), initializer="zeros")
        super().build(input_shape)

    def call(self, inputs: Any) -> tuple[Any, Any]:
        pooled, attention = self.pooling(inputs, self.evidence(inputs))
        return ops.softmax(self.gain * pooled + self.offset), attention

    def compute_output_shape(
        self, input_shape: tuple[int | None, ...]
    ) -> tuple[tuple[int | None, ...], tuple[int | None, ...]]:
        return (input_shape[0], self.classes), (*input_shape[:-1], self.classes)

    def get_config(self) -> dict[str, Any]:
        pooling = keras.saving.serialize_keras_object(self.pooling)
        pooling.pop("build_config", None)  # the head builds it
        return {**super().get_config(), "classes": self.classes, "pooling": pooling}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> EvidenceHead:
        """The head of a config; one that names no pooling was written before there was a choice."""
        given = dict(config)
        if isinstance(given.get("pooling"), dict):
            given["pooling"] = keras.saving.deserialize_keras_object(given["pooling"])
        return super().from_config(given)
