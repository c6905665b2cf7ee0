"""Batch normalisation in one pass over the features, where TensorFlow trains on a CPU.

Keras makes it of eight operations that each read or write the whole feature map; with their
gradients that is two fifths of the time of a small network. TensorFlow has both as one kernel each.
What is computed is the same up to rounding; inference, and so the exported graph, is Keras' own.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from training.backend import cpu_tensorflow


@keras.saving.register_keras_serializable(package="qc")
class BatchNormalization(keras.layers.BatchNormalization):
    """Normalises each channel by the mean and variance of the batch.

    Ioffe, Szegedy: "Batch normalization", ICML 2015 (arXiv 1502.03167). Arguments, weights and
    what it computes are those of `keras.layers.BatchNormalization`.
    """

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        """`(B, H, W, C)` to the same shape; other shapes and frozen layers take Keras' own way."""
        live = training and self.trainable and len(inputs.shape) == 4 and mask is None
        tf = cpu_tensorflow() if live and self.scale and self.center else None
        if tf is None or self.synchronized or self.renorm or self.axis not in (-1, 3):
            return super().call(inputs, training=training, mask=mask)
        features = ops.cast(inputs, "float32")
        found, mean, variance = tf.compat.v1.nn.fused_batch_norm(
            features,
            ops.convert_to_tensor(self.gamma),
            ops.convert_to_tensor(self.beta),
            epsilon=self.epsilon,
            is_training=True,
        )
        # the kernel divides by n - 1, Keras by n
        n = ops.cast(ops.size(features[..., 0]), "float32")
        self._follow(self.moving_mean, mean)
        self._follow(self.moving_variance, variance * (n - 1.0) / n)
        return ops.cast(found, self.compute_dtype)

    def _follow(self, kept: Any, now: Any) -> None:
        kept.assign(kept * self.momentum + now * (1.0 - self.momentum))
