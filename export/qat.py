"""Fine-tuning under simulated int8: the model learns weights that survive being rounded.

Jacob et al.: "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only
Inference", CVPR 2018 (arXiv 1712.05877). The outputs of layers are rounded to the ranges that
calibration found, and the kernels of convolutions to int8 for each output channel; gradients pass
as if nothing was rounded. Batch normalisation, which the converter folds into the kernel, scales a
channel's kernel and its step alike, so the kernel is rounded before it. What happens inside a layer
of several operations, an attention block or the head, is not simulated.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops

from export.candidates import FineTune
from qc.errors import FaultError
from training.fit import fit
from training.pipeline import Images, Progress, load_images
from training.run import RunPlan

_RATE = 0.05
"""Of the run's own learning rate: the weights are good already."""


@keras.saving.register_keras_serializable(package="qc")
class FakeQuant(keras.layers.Layer):
    """Rounds to the 256 steps of a range; any shape.

    Args:
        low, high: the range.
    """

    def __init__(self, low: float, high: float, **options: Any) -> None:
        super().__init__(**options)
        self.low, self.high = min(low, 0.0), max(high, 0.0, low + 1e-6)

    def call(self, x: Any) -> Any:
        """Round; the gradient passes inside the range."""
        import tensorflow as tf

        return tf.quantization.fake_quant_with_min_max_vars(x, self.low, self.high, num_bits=8)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"low": self.low, "high": self.high}


def _rounded(kernel: Any) -> Any:
    """A kernel rounded to int8 for each slice of its last axis, symmetric about 0."""
    import tensorflow as tf

    most = ops.stop_gradient(ops.max(ops.abs(kernel), axis=list(range(len(kernel.shape) - 1))))
    most = ops.maximum(most, 1e-6)
    return tf.quantization.fake_quant_with_min_max_vars_per_channel(
        kernel, -most, most, num_bits=8, narrow_range=True
    )


@keras.saving.register_keras_serializable(package="qc")
class RoundedConv2D(keras.layers.Conv2D):
    """A convolution whose kernel is rounded to int8."""

    def convolution_op(self, inputs: Any, kernel: Any) -> Any:
        return super().convolution_op(inputs, _rounded(kernel))


@keras.saving.register_keras_serializable(package="qc")
class RoundedDepthwiseConv2D(keras.layers.DepthwiseConv2D):
    """A depthwise convolution whose kernel is rounded to int8."""

    def call(self, inputs: Any) -> Any:
        shape = self.kernel.shape
        flat = ops.reshape(self.kernel, (*shape[:2], shape[2] * shape[3]))
        found = ops.depthwise_conv(
            inputs,
            ops.reshape(_rounded(flat), shape),
            strides=self.strides,
            padding=self.padding,
            dilation_rate=self.dilation_rate,
            data_format=self.data_format,
        )
        return self.activation(found if self.bias is None else found + self.bias)


_ROUNDED = {
    keras.layers.Conv2D: RoundedConv2D,
    keras.layers.DepthwiseConv2D: RoundedDepthwiseConv2D,
}
_FUSED = (keras.layers.BatchNormalization, keras.layers.ReLU)
"""What the converter folds into the layer before: between the two nothing is rounded."""
_EXACT = (keras.layers.InputLayer, keras.layers.Dropout, keras.layers.SpatialDropout2D)


def simulated(model: keras.Model, calibration: np.ndarray) -> keras.Model:
    """A copy of a model that computes as int8 would, with the same weights in the same order.

    Args:
        model: a functional model, float32.
        calibration: `(N, H, W, 3)` uint8, which the ranges are taken from.
    """
    ranges = _ranges(model, _rounding_points(model), calibration)

    def clone(layer: Any) -> Any:
        kind = _ROUNDED.get(type(layer), type(layer))
        return kind.from_config(layer.get_config())

    def call(layer: Any, *args: Any, **kwargs: Any) -> Any:
        found = layer(*args, **kwargs)
        if layer.name not in ranges:
            return found
        return FakeQuant(*ranges[layer.name], name=f"{layer.name}_rounded")(found)

    copy = keras.models.clone_model(model, clone_function=clone, call_function=call)
    copy.set_weights(model.get_weights())
    return copy


def _rounding_points(model: keras.Model) -> list[str]:
    """Layers whose single output int8 rounds: not those that are folded into the next one."""
    found = []
    for layer in model.layers:
        if isinstance(layer, _EXACT) or not isinstance(layer.output, keras.KerasTensor):
            continue
        users = [node.operation for node in layer._outbound_nodes]
        folded = users and all(isinstance(user, _FUSED) for user in users)
        if users and not folded:  # an output of the model is read as it is
            found.append(layer.name)
    return found


def _ranges(
    model: keras.Model, names: list[str], calibration: np.ndarray
) -> dict[str, tuple[float, float]]:
    probe = keras.Model(model.input, [model.get_layer(name).output for name in names])
    low = np.full(len(names), np.inf)
    high = np.full(len(names), -np.inf)
    for start in range(0, len(calibration), 16):
        values = probe(calibration[start : start + 16].astype(np.float32), training=False)
        values = values if isinstance(values, (list, tuple)) else [values]
        low = np.minimum(low, [float(ops.min(v)) for v in values])
        high = np.maximum(high, [float(ops.max(v)) for v in values])
    return {n: (float(a), float(b)) for n, a, b in zip(names, low, high, strict=True)}


def fine_tuner(plan: RunPlan, model: keras.Model, val: Images) -> FineTune:
    """What fine-tunes a run's model for a few epochs, and gives it back without the rounding.

    The training leaves a run of its own in `<run>/qat`, with its history.

    Args:
        plan: the run.
        model: its float model, which is not changed.
        val: decoded, chooses the epoch.
    """

    def tune(tell: Progress) -> keras.Model:
        train = load_images(
            plan.of_split("train"),
            plan.classes,
            plan.recipe.data.good,
            plan.preprocess,
        )
        copy = simulated(model, train.pixels[:: max(1, len(train) // 128)])
        table = plan.recipe.train.model_copy(
            update={
                "epochs": plan.recipe.export.qat_epochs,
                "learning_rate": _RATE * plan.recipe.train.learning_rate,
                "warmup_epochs": 0.0,
            }
        )
        recipe = plan.recipe.model_copy(update={"train": table})
        place = _folder(plan.path / "qat")
        keras.utils.set_random_seed(plan.recipe.seed)
        fit(
            replace(plan, path=place, recipe=recipe),
            copy,
            train,
            val,
            resume=False,
            report=lambda done, total, _: tell(done, total),
        )
        best = keras.models.load_model(place / "model.keras", compile=False)
        tuned = keras.models.clone_model(model)
        tuned.set_weights(best.get_weights())
        return tuned

    return tune


def _folder(path: Path) -> Path:
    try:
        path.mkdir(exist_ok=True)
    except OSError as error:
        raise FaultError("the folder cannot be made", where=path, found=error) from error
    return path
