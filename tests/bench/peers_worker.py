"""One side of a comparison, in a process of its own: loads a model, and runs it when it is told.

    python peers_worker.py KIND MODEL IMAGES.npy THREADS

It needs numpy and the runtime of its kind, nothing of this project but where the kind is one of
this project's. Each line on stdin is the number of seconds to run for; the answer, a JSON line, has
the milliseconds of each pass. Pixels are brought into the form that the model takes before the
clock runs, except for "bundle", whose predictor does it itself: that favours the others.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

Pass = Callable[[np.ndarray], Any]
"""Runs one picture in the model's own form; its outputs as numpy arrays."""

Ready = tuple[Pass, list[np.ndarray], str]
"""A pass, the pictures in its form, and the runtime's name and version."""


def bundle(model: Path, images: np.ndarray, threads: int) -> Ready:
    """The predictor that ships: uint8 picture to score and map in real numbers."""
    from edge.predictors.litert import LiteRTPredictor
    from qc.bundle import open_bundle

    predictor = LiteRTPredictor(open_bundle(model), threads)
    return predictor.predict, list(images), predictor.runtime


def occlusion(model: Path, images: np.ndarray, threads: int) -> Ready:
    """The occlusion map of the bundle's first defect class."""
    from edge.occlusion import occlusion_map
    from edge.predictors.litert import LiteRTPredictor
    from qc.bundle import open_bundle

    opened = open_bundle(model)
    predictor = LiteRTPredictor(opened, threads)
    manifest = opened.manifest
    defect = next(name for name in manifest.class_names if name != manifest.good)

    def run(image: np.ndarray) -> Any:
        return occlusion_map(predictor, manifest, image, defect)

    return run, list(images), predictor.runtime


def tflite(model: Path, images: np.ndarray, threads: int) -> Ready:
    """A TFLite model in LiteRT, outputs as they are stored."""
    from importlib.metadata import version

    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=str(model), num_threads=threads)
    interpreter.allocate_tensors()
    into = interpreter.get_input_details()[0]["index"]
    out = [detail["index"] for detail in interpreter.get_output_details()]

    def run(pixels: np.ndarray) -> Any:
        interpreter.set_tensor(into, pixels)
        interpreter.invoke()
        return [interpreter.get_tensor(index) for index in out]

    return run, [image[None] for image in images], f"ai-edge-litert {version('ai-edge-litert')}"


def onnxruntime(model: Path, images: np.ndarray, threads: int) -> Ready:
    """An ONNX model of channel-last float pixels, 0 to 255."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    session = ort.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name

    def run(pixels: np.ndarray) -> Any:
        return session.run(None, {name: pixels})

    return run, [i[None].astype(np.float32) for i in images], f"onnxruntime {ort.__version__}"


def openvino(model: Path, images: np.ndarray, threads: int) -> Ready:
    """An OpenVINO model of channel-last float pixels 0 to 255, or channel-first 0 to 1."""
    import openvino as ov

    core = ov.Core()
    config = {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY"}
    compiled = core.compile_model(core.read_model(str(model)), "CPU", config)
    request = compiled.create_infer_request()
    first = compiled.input(0).partial_shape[1].get_length() == 3
    pixels = images.astype(np.float32)
    if first:
        pixels = np.ascontiguousarray(pixels.transpose(0, 3, 1, 2) / 255)

    def run(one: np.ndarray) -> Any:
        return list(request.infer([one], share_inputs=True, share_outputs=True).values())

    return run, [one[None] for one in pixels], f"openvino {ov.__version__.split('-')[0]}"


def gradcam(model: Path, images: np.ndarray, threads: int) -> Ready:
    """Grad-CAM step by step, as the guide of Keras and the libraries beside it write it."""
    return _gradcam(model, images, threads, one_graph=False)


def gradcam_graph(model: Path, images: np.ndarray, threads: int) -> Ready:
    """Grad-CAM as one TensorFlow graph of static shape, which nobody hands a user."""
    return _gradcam(model, images, threads, one_graph=True)


def _gradcam(model: Path, images: np.ndarray, threads: int, *, one_graph: bool) -> Ready:
    """Grad-CAM of the class with the highest score, on the features that the head sees.

    Selvaraju et al., "Grad-CAM: visual explanations from deep networks via gradient-based
    localization", ICCV 2017 (arXiv 1610.02391). The class score before the softmax is the head's
    own pooling of its map.
    """
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    import keras
    import tensorflow as tf

    import training.model  # noqa: F401 - registers the layers
    from qc import plugins

    for kind in ("block", "pooling"):
        for name in plugins.names(kind):
            plugins.resolve(kind, name)
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    whole = keras.models.load_model(model, compile=False)
    head = whole.get_layer("head")
    features_of = keras.Model(whole.input, head.input)
    shape = (1, *whole.input_shape[1:])

    def both(pixels: Any) -> Any:
        features = features_of(pixels, training=False)
        with tf.GradientTape() as tape:
            tape.watch(features)
            score, attention = head(features)
            pooled = head.pooling.of_map(attention)
            chosen = tf.gather(pooled[0], tf.argmax(score[0]))
        weights = tf.reduce_mean(tape.gradient(chosen, features), axis=(1, 2), keepdims=True)
        heat = tf.nn.relu(tf.reduce_sum(weights * features, axis=-1))
        return score, heat / (tf.reduce_max(heat) + 1e-9)

    if one_graph:
        both = tf.function(both, input_signature=[tf.TensorSpec(shape, tf.float32)])

    def run(pixels: np.ndarray) -> Any:
        return [found.numpy() for found in both(pixels)]

    return run, [i[None].astype(np.float32) for i in images], f"tensorflow {tf.__version__}"


KINDS: dict[str, Callable[[Path, np.ndarray, int], Ready]] = {
    f.__name__: f
    for f in (bundle, occlusion, tflite, onnxruntime, openvino, gradcam, gradcam_graph)
}
LEAST = 2
"""Passes of a turn, whatever the seconds."""


def turn(run: Pass, pictures: list[np.ndarray], seconds: float) -> list[float]:
    """Milliseconds of each pass of a turn; one pass before it warms up."""
    run(pictures[0])
    found: list[float] = []
    end = time.perf_counter() + seconds
    while len(found) < LEAST or time.perf_counter() < end:
        picture = pictures[len(found) % len(pictures)]
        start = time.perf_counter_ns()
        run(picture)
        found.append((time.perf_counter_ns() - start) / 1e6)
    return found


def main() -> None:
    """Load, say so, and serve."""
    kind, model, images, threads = sys.argv[1], *map(Path, sys.argv[2:4]), int(sys.argv[4])
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what runtimes print is no answer
    run, pictures, runtime = KINDS[kind](model, np.load(images), threads)
    run(pictures[0])

    def answer(found: dict[str, Any]) -> None:
        answers.write(json.dumps(found) + "\n")
        answers.flush()

    answer({"runtime": runtime})
    for line in sys.stdin:
        answer({"ms": turn(run, pictures, float(line))})


if __name__ == "__main__":
    main()
