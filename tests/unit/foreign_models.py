"""TFLite classifiers as others make them: by TensorFlow's converter, small, each of another kind.

The network has 16 x 16 pixels as input and tells colours apart: its weights are made, not trained.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from qc.imageio import write_png

SIDE = 16
KINDS = (
    "float_softmax",
    "float_logits",
    "float_sigmoid",
    "float_sigmoid_logits",
    "float_defects",
    "float_grey",
    "dynamic",
    "uint8",
    "int8",
    "uint8_logits",
    "uint8_mean",
)


RANGES = {
    "float_logits": (-1.0, 1.0),
    "float_sigmoid_logits": (-2.1, 2.6),
    "int8": (-1.0, 1.0),
    "uint8_mean": (-2.1, 2.6),
}
"""What black and white are to a model; 0 and 1 to any other."""


@cache
def model(kind: str) -> bytes:
    """A model of one of KINDS, as the converter writes it, with a batch of any size."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import tensorflow as tf

    outputs = 1 if "sigmoid" in kind else 3
    channels = 1 if kind == "float_grey" else 3
    activation = "sigmoid" if kind in ("float_sigmoid", "float_defects") else None
    if kind in ("float_softmax", "float_grey", "dynamic", "uint8", "int8", "uint8_mean"):
        activation = "softmax"
    low, high = RANGES.get(kind, (0.0, 1.0))
    network = _network(tf.keras, channels, outputs, activation, (low, high))
    converter = tf.lite.TFLiteConverter.from_keras_model(network)
    if kind == "dynamic" or "int8" in kind:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if "int8" in kind:
        converter.representative_dataset = lambda: _calibration(low, high)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        border = tf.int8 if kind == "int8" else tf.uint8
        converter.inference_input_type = converter.inference_output_type = border
    found: bytes = converter.convert()
    return found


def _network(
    keras: Any, channels: int, outputs: int, activation: str | None, span: tuple[float, float]
) -> Any:
    rng = np.random.default_rng(7)
    image = keras.Input((SIDE, SIDE, channels), name="photo")
    # wide enough for the converter to store int8 weights, which it leaves float in small layers
    features = keras.layers.Conv2D(48, 3, strides=2, activation="relu", padding="same")(image)
    features = keras.layers.GlobalAveragePooling2D()(features)
    features = keras.layers.Dense(48, activation="relu")(features)
    last = keras.layers.Dense(outputs)
    score = last(features)
    logits = keras.Model(image, score)
    logits.set_weights([rng.normal(0, 0.4, w.shape) for w in logits.get_weights()])
    # pictures of any colour are to get any score
    colours = rng.uniform(*span, (256, 1, 1, channels)) * np.ones((1, SIDE, SIDE, 1))
    found = logits.predict_on_batch(colours.astype(np.float32))
    kernel, bias = last.get_weights()
    spread = found.std(axis=0) / 3
    last.set_weights([kernel / spread, (bias - found.mean(axis=0)) / spread])
    if activation is not None:
        score = keras.layers.Activation(activation)(score)
    return keras.Model(image, score)


def _calibration(low: float, high: float) -> Any:
    rng = np.random.default_rng(1)
    for _ in range(16):
        picture = rng.uniform(low, high, (1, SIDE, SIDE, 3)).astype(np.float32)
        picture[0, 0, 0], picture[0, 0, 1] = low, high
        yield [picture]


def changed(data: bytes, edit: Callable[[Any], None]) -> bytes:
    """A model with its flatbuffer edited as objects."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    graph = schema.ModelT.InitFromPackedBuf(data, 0)
    edit(graph)
    builder = flatbuffers.Builder(1024)
    builder.Finish(graph.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def photographs(folder: Path, count: int = 24) -> Path:
    """A folder of smooth pictures of any colour, 23 x 30 pixels."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(3)
    ramp = np.linspace(0, 1, 30)[None, :, None]
    for number in range(count):
        ends = rng.integers(0, 256, (2, 3))
        picture = ends[0] + ramp * (ends[1] - ends[0]) + rng.normal(0, 9, (23, 30, 3))
        write_png(folder / f"p{number:02d}.png", np.clip(picture, 0, 255).astype(np.uint8))
    return folder
