"""TFLite classifiers as others make them: by TensorFlow's converter, small, each of another kind.

Weights are made, not trained. "red" has 48 x 48 pixels as input and one score, of how red the
reddest place is; every other has 16 x 16 and tells colours apart.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from qc.imageio import read_image, write_png

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
    "red",
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

    if kind == "red":
        made: bytes = tf.lite.TFLiteConverter.from_keras_model(_reddest(tf.keras)).convert()
        return made
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


def _reddest(keras: Any) -> Any:
    """Red less green and blue, mean of 3 x 3 pixels, the greatest of it: 0.4 is a score of 0.5."""
    image = keras.Input((48, 48, 3), name="photo")
    redness = keras.layers.Conv2D(1, 3, padding="same", use_bias=False)
    score = keras.layers.Dense(1, activation="sigmoid")
    model = keras.Model(image, score(keras.layers.GlobalMaxPooling2D()(redness(image))))
    redness.set_weights([np.ones((3, 3, 1, 1)) * np.array([1, -0.5, -0.5])[:, None] / 9])
    score.set_weights([np.array([[12.0]]), np.array([-4.8])])
    return model


def _calibration(low: float, high: float) -> Any:
    rng = np.random.default_rng(1)
    for _ in range(16):
        picture = rng.uniform(low, high, (1, SIDE, SIDE, 3)).astype(np.float32)
        picture[0, 0, 0], picture[0, 0, 1] = low, high
        yield [picture]


Edit = Callable[[Any], None]


def changed(data: bytes, edit: Edit) -> bytes:
    """A model with its flatbuffer edited as objects."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    graph = schema.ModelT.InitFromPackedBuf(data, 0)
    edit(graph)
    builder = flatbuffers.Builder(1024)
    builder.Finish(graph.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def on_input(**values: Any) -> Edit:
    """Changes fields of the input's tensor."""

    def edit(graph: Any) -> None:
        main = graph.subgraphs[0]
        vars(main.tensors[main.inputs[0]]).update(values)

    return edit


def on_output(**values: Any) -> Edit:
    """Changes fields of the output's tensor."""

    def edit(graph: Any) -> None:
        main = graph.subgraphs[0]
        vars(main.tensors[main.outputs[0]]).update(values)

    return edit


def more_borders(inputs: int = 0, outputs: tuple[list[int], ...] = ()) -> Edit:
    """Adds inputs `(1, 4)`, and outputs of given shapes that nothing computes."""

    def edit(graph: Any) -> None:
        from ai_edge_litert import schema_py_generated as schema

        main = graph.subgraphs[0]
        for shape in [[1, 4]] * inputs + list(outputs):
            tensor = schema.TensorT()
            tensor.name, tensor.shape, tensor.type = "more", shape, schema.TensorType.FLOAT32
            tensor.buffer = 0
            main.tensors.append(tensor)
        new = list(range(len(main.tensors) - inputs - len(outputs), len(main.tensors)))
        main.inputs = [*main.inputs, *new[:inputs]]
        main.outputs = [*main.outputs, *new[inputs:]]

    return edit


def custom(name: str) -> Edit:
    """Makes the first kind of operation a custom one."""

    def edit(graph: Any) -> None:
        from ai_edge_litert import schema_py_generated as schema

        graph.operatorCodes[0].customCode = name
        graph.operatorCodes[0].builtinCode = schema.BuiltinOperator.CUSTOM

    return edit


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


def red_parts(folder: Path, lots: int = 4) -> Path:
    """Drawn parts as class folders, 24 a lot at 96 pixels, half of them with a defect in red."""
    from training.datasets.drawn import draw_dataset

    draw_dataset(folder, seed=3, lots=lots, parts_per_lot=24, defect_share=0.5, size_hw=(96, 96))
    wider = np.ones((7, 7), np.uint8)
    for mask_file in sorted(folder.glob("*/*_mask.png")):
        file = mask_file.with_name(mask_file.name.replace("_mask", ""))
        image, mask = read_image(file), cv2.dilate(read_image(mask_file)[..., 0], wider)
        image[mask > 127] = (220, 20, 20)
        write_png(file, image)
    return folder
