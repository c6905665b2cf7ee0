"""The class-evidence head: one map a class, and each class's logit is a pooling of its own map.

So the map is exact for the logit and is a second output of the same graph. How the map is pooled
is a plugin (training/poolings); unless told otherwise it is the mean of the average and the
maximum, so that a small defect is not averaged away
(docs/decisions/0001-pooling-of-the-evidence.md). A gain and an offset for each class lie between
the pooled evidence and its logit: the masks set the scale of the map, the labels that of the score,
and neither has to give way to the other.

Where a part may have several defects, each has a sigmoid of its own, and good is what no defect is:
its logit is minus the greatest of theirs, so its score is one minus the greatest of theirs, for
`1 - sigmoid(z) = sigmoid(-z)`. In this form one sigmoid gives all scores, and the int8 graph needs
no difference of two scores (docs/decisions/0009-good-is-one-minus-the-greatest-defect.md).
"""

from __future__ import annotations

from typing import Any, Literal, get_args

import keras
import numpy as np
from keras import ops

from qc import plugins

Activation = Literal["softmax", "sigmoid"]


@keras.saving.register_keras_serializable(package="qc")
class EvidenceHead(keras.layers.Layer):
    """Features to class scores and class evidence.

    Args:
        classes: number of classes K.
        pooling: file name in training/poolings, or a layer of that kind.
        activation: "softmax": the classes exclude each other; "sigmoid": each defect has a score of
            its own, and the first class is the good one.

    Call arguments:
        inputs: features `(B, h, w, C)`.

    Output shape:
        `score` `(B, K)` and `attention` `(B, h, w, K)`, the map that is pooled: the score is a
        softmax of `gain * pooling.of_map(attention) + offset`. With "sigmoid" it is the sigmoid of
        the same for each defect, and one minus the greatest of these for the good class, whose map
        is minus the greatest of the defects' in each cell; gain and offset are of K - 1 defects.

    Raises:
        ValueError: fewer than two classes, or no such activation.
        UsageError: no such pooling; the nearest name is suggested.
    """

    def __init__(
        self,
        classes: int,
        pooling: str | keras.layers.Layer = "mean_max",
        activation: Activation = "softmax",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if classes < 2:
            raise ValueError(f"classes must be at least 2, found {classes}")
        if activation not in get_args(Activation):
            raise ValueError(f"activation must be softmax or sigmoid, found {activation!r}")
        self.classes, self.activation = classes, activation
        if isinstance(pooling, str):
            pooling = plugins.resolve("pooling", pooling).Pooling(
                name="pooling", dtype=self.dtype_policy.name
            )
        self.pooling = pooling

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        maps = self.classes if self.activation == "softmax" else self.classes - 1
        self.evidence = keras.layers.Conv2D(maps, 1, name="evidence", dtype=self.dtype_policy)
        self.evidence.build(input_shape)
        self.pooling.build(input_shape, (*input_shape[:-1], maps))
        self.gain = self.add_weight(
            name="gain",
            shape=(maps,),
            initializer="ones",
            constraint=keras.constraints.NonNeg(),
        )
        self.offset = self.add_weight(name="offset", shape=(maps,), initializer="zeros")
        super().build(input_shape)

    def call(self, inputs: Any) -> tuple[Any, Any]:
        pooled, attention = self.pooling(inputs, self.evidence(inputs))
        logits = self.gain * pooled + self.offset
        if self.activation == "softmax":
            return ops.softmax(logits), attention
        return ops.sigmoid(_logits(logits)), _maps(attention)

    def compute_output_shape(
        self, input_shape: tuple[int | None, ...]
    ) -> tuple[tuple[int | None, ...], tuple[int | None, ...]]:
        return (input_shape[0], self.classes), (*input_shape[:-1], self.classes)

    def get_config(self) -> dict[str, Any]:
        pooling = keras.saving.serialize_keras_object(self.pooling)
        pooling.pop("build_config", None)  # the head builds it
        given = {"classes": self.classes, "pooling": pooling, "activation": self.activation}
        return {**super().get_config(), **given}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> EvidenceHead:
        """The head of a config; one that names no pooling was written before there was a choice."""
        given = dict(config)
        if isinstance(given.get("pooling"), dict):
            given["pooling"] = keras.saving.deserialize_keras_object(given["pooling"])
        return super().from_config(given)


def _greatest(defects: Any) -> Any:
    return ops.max(defects, axis=-1, keepdims=True) if defects.shape[-1] > 1 else defects


def _logits(defects: Any) -> Any:
    """Logits of the defects `(B, K - 1)` with minus their greatest before them `(B, K)`.

    All on one scale in int8, so that good stays one minus the greatest there. NEG has no int8
    kernel, so minus is a difference.
    """
    greatest = _greatest(defects)
    return ops.concatenate([ops.zeros_like(greatest) - greatest, defects], axis=-1)


def _maps(defects: Any) -> Any:
    """The same of maps `(B, h, w, K - 1)`.

    Maps joined to others must have their scale, which beside the reshaping of log-sum-exp leaves
    floats in the int8 graph; a difference has a scale of its own.
    """
    first = ops.cast(np.eye(1, defects.shape[-1] + 1)[0], defects.dtype)
    return ops.pad(defects, [(0, 0)] * 3 + [(1, 0)]) - _greatest(defects) * first
