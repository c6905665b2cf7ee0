"""The mean of the evidence: every cell has the same say.

Lin, Chen, Yan: "Network In Network", ICLR 2014 (arXiv 1312.4400), with the class map of Zhou,
Khosla, Lapedriza, Oliva, Torralba: "Learning Deep Features for Discriminative Localization", CVPR
2016 (arXiv 1512.04150). A defect of one cell among n moves the logit by 1/n of its evidence, so
this suits what is spread over the part.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from training.poolings import _pooling


@keras.saving.register_keras_serializable(package="qc")
class MeanPooling(_pooling.Pooling):
    """`mean(map)`; the map is the evidence."""

    def of_map(self, attention: Any) -> Any:
        return ops.mean(attention, axis=(1, 2))


Pooling = MeanPooling
"""What `qc.plugins.resolve("pooling", "mean")` offers to the head."""
