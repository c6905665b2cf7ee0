"""The job of `qc inspect` as a program that imports TensorFlow would do it: one picture's verdict.

    python peers_tensorflow.py BUNDLE PICTURE interpreter|keras [SAVED_MODEL]

The same model, thresholds and geometry: the bundle's flatbuffer in `tf.lite.Interpreter`, or the
model it came from as a SavedModel. Nothing of this project is imported. It checks no checksum and
replays no golden inputs, as `qc inspect` does: that favours it.
"""

from __future__ import annotations

import json
import os
import sys
import zipfile

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import cv2
import numpy as np
import tensorflow as tf


def scores_of_interpreter(model: bytes, manifest: dict, pixels: np.ndarray) -> np.ndarray:
    """Scores in real numbers."""
    interpreter = tf.lite.Interpreter(model_content=model, num_threads=1)
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], pixels[None])
    interpreter.invoke()
    wanted = manifest["score"]
    found = [d for d in interpreter.get_output_details() if list(d["shape"]) == wanted["shape"]]
    stored = interpreter.get_tensor(found[0]["index"])[0].astype(np.float32)
    return (stored - wanted["zero_point"]) * wanted["scale"]


def scores_of_saved(folder: str, pixels: np.ndarray) -> np.ndarray:
    """Scores in real numbers."""
    loaded = tf.saved_model.load(folder)
    return np.asarray(loaded.serve(pixels[None].astype(np.float32))["score"])[0]


def tempered(scores: np.ndarray, temperature: float) -> np.ndarray:
    """Scores that add up to 1, after the bundle's temperature."""
    power = np.maximum(scores.astype(np.float64), 1 / 1024) ** (1 / temperature)
    return power / power.sum()


def verdict_of(scores: np.ndarray, manifest: dict) -> str:
    """OK, NG or REVIEW by the bundle's thresholds of the likeliest defect."""
    names = [spec["name"] for spec in manifest["classes"]]
    defects = [spec["name"] for spec in manifest["classes"] if spec["severity"] != "good"]
    of = dict(zip(names, scores.tolist(), strict=True))
    likely = max(defects, key=of.__getitem__)
    value = 1 - sum(of[name] for name in names if name not in defects)
    if value < manifest["decision"]["ok_below"][likely]:
        return "OK"
    return "NG" if value >= manifest["decision"]["ng_above"][likely] else "REVIEW"


def main() -> None:
    """Print the verdict."""
    path, picture, way, *saved = sys.argv[1:]
    with zipfile.ZipFile(path) as archive:
        manifest = json.loads(archive.read("manifest.json"))
    height, width = manifest["preprocess"]["size_hw"]
    rgb = cv2.cvtColor(cv2.imread(picture), cv2.COLOR_BGR2RGB)
    pixels = cv2.resize(rgb, (width, height), interpolation=cv2.INTER_AREA)
    if way == "keras":
        scores = scores_of_saved(saved[0], pixels)
    else:
        with open(path, "rb") as file:  # noqa: PTH123
            scores = scores_of_interpreter(file.read(), manifest, pixels)
    print(verdict_of(tempered(scores, manifest["decision"]["temperature"]), manifest), flush=True)


if __name__ == "__main__":
    main()
