"""What the poolings by attention share: a weight a cell, and the map that is weighed evidence.

With weights `a_i` that sum to 1 over the n cells, the map is `n a_i (w_c . x_i)` and its mean is
the pooled evidence: the map shows what each cell adds, not the bare weight. The factor n keeps the
scale of the evidence: where all weights are alike the map is the evidence itself, so the masks'
loss has the same zero as with the other poolings.

In int8 a softmax has steps of 1/256, and 144 equal weights of 1/144 would be one or two of them. So
the weight is `exp(log_softmax(s) + log n)`: LOG_SOFTMAX has steps of 1/16, an error of 3 % at most
for a heavy cell and a light one alike, and the exponential has a range of its own. Scores are kept
within `cap` by `cap * tanh(s / cap)`: no weight passes `exp(2 cap)` times another, which bounds the
range of the map that 256 levels are for (docs/decisions/0007-poolings-in-int8.md). Bello et al.,
"Neural Combinatorial Optimization with Reinforcement Learning" (2016, arXiv 1611.09940) bound
attention in this way.
"""

from __future__ import annotations

import math
from typing import Any

from keras import ops

from training.poolings import _pooling
from training.poolings._pooling import Shape


class AttentionPooling(_pooling.Pooling):
    """`mean(map)`; the map is the evidence times n times the cell's weight.

    Args:
        cap: greatest size of a score.

    Raises:
        ValueError: cap not above 0, or features whose height and width are not known.
    """

    def __init__(self, cap: float = 3.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        _pooling.check_positive("cap", cap)
        self.cap = cap

    def build(self, features_shape: Shape, evidence_shape: Shape) -> None:
        _pooling.cells_of(features_shape)
        super().build(features_shape, evidence_shape)

    def scores(self, features: Any) -> Any:
        """A score a cell `(B, h, w, 1)`, from features `(B, h, w, C)`."""
        raise NotImplementedError

    def weights_of(self, features: Any) -> Any:
        """n times the weight of each cell `(B, h, w, 1)`: their mean is 1."""
        height, width = features.shape[1:3]
        cells = _pooling.cells_of(features.shape)
        capped = self.cap * ops.tanh(self.scores(features) / self.cap)
        row = ops.log_softmax(ops.reshape(capped, (-1, cells)), axis=-1)
        return ops.reshape(ops.exp(row + math.log(cells)), (-1, height, width, 1))

    def map_of(self, features: Any, evidence: Any) -> Any:
        return evidence * self.weights_of(features)

    def of_map(self, attention: Any) -> Any:
        return ops.mean(attention, axis=(1, 2))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "cap": self.cap}


class HiddenAttentionPooling(AttentionPooling):
    """An attention whose score has a hidden layer.

    Args:
        channels: of the hidden layer.
        cap: greatest size of a score.

    Raises:
        ValueError: channels not a whole number above 0, cap not above 0, or features whose height
            and width are not known.
    """

    def __init__(self, channels: int = 64, cap: float = 3.0, **kwargs: Any) -> None:
        super().__init__(cap, **kwargs)
        if not isinstance(channels, int) or isinstance(channels, bool) or channels < 1:
            raise ValueError(f"channels must be a whole number of at least 1, found {channels!r}")
        self.channels = channels

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "channels": self.channels}
