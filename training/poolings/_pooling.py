"""What every pooling keeps to: the pooled number is a stated function of the exported map alone.

So the map is exact for the logit: whoever has the map can work the logit out, with no need of the
features or of the layer's weights.
"""

from __future__ import annotations

from typing import Any

import keras

Shape = tuple[int | None, ...]


class Pooling(keras.layers.Layer):
    """Evidence in each cell to one number a class, and the map that this number is a function of.

    A pooling overrides `of_map`, and `map_of` where its map is not the evidence itself.

    Call arguments:
        features: `(B, h, w, C)`.
        evidence: `(B, h, w, K)`, one weighted sum of the features a class.

    Output shape:
        pooled evidence `(B, K)`, and the map `(B, h, w, K)`.
    """

    def map_of(self, features: Any, evidence: Any) -> Any:
        """The map to export `(B, h, w, K)`."""
        return evidence

    def of_map(self, attention: Any) -> Any:
        """Pooled evidence `(B, K)` from the exported map `(B, h, w, K)`, numpy or tensor."""
        raise NotImplementedError

    def build(self, features_shape: Shape, evidence_shape: Shape) -> None:
        super().build(features_shape)

    def call(self, features: Any, evidence: Any) -> tuple[Any, Any]:
        attention = self.map_of(features, evidence)
        return self.of_map(attention), attention

    def compute_output_shape(
        self, features_shape: Shape, evidence_shape: Shape
    ) -> tuple[Shape, Shape]:
        return (evidence_shape[0], evidence_shape[-1]), evidence_shape


def cells_of(shape: Shape) -> int:
    """Number of cells h * w of `(B, h, w, C)`; ValueError where it is not known."""
    if len(shape) != 4 or shape[1] is None or shape[2] is None:
        raise ValueError(f"features must be (B, h, w, C) with h and w known, found {tuple(shape)}")
    return shape[1] * shape[2]


def check_positive(name: str, value: float) -> None:
    """Raise ValueError where an argument is not a number above zero."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e6:
        raise ValueError(f"{name} must be a number above 0, found {value!r}")
