"""Makes what one input size of the peers' bench is measured with, in this project's environment.

    python peers_make.py OUT SIZE

Drawn parts, then each of this project's models through `qc train` and `qc export` to a bundle:
trained for a minute, since weights do not change the time. MobileNetV2 starts from ImageNet's
weights (QC_WEIGHTS names the file where there is no network): its running averages need more than a
minute. From the same Keras model come a SavedModel for other runtimes, and a bundle of the score
alone. Beside them two classifiers of keras.applications, without weights, through the same
converter. What is there is not made again.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from accuracy import REPORTED, qc, tables_of

SEED = 0
MODELS: dict[str, dict[str, Any]] = {
    "cnn": {"backbone": "inverted_residual", "block": "cbam", "stride": 8},
    "cnn_fast": {"backbone": "inverted_residual", "block": "cbam", "stem_stride": 4},
    "mobilenet_v2": {
        "backbone": "mobilenet_v2",
        "block": "cbam",
        "block_at": ["neck"],
        "stride": 16,
        "weights": "imagenet",
        "trainable_from": "block_6_expand",
    },
}
"""`[model]` of what this project ships, as in data/recipes and the accuracy bench."""

TRAIN = {
    "epochs": 10,
    "batch_size": 8,
    "learning_rate": 3e-3,
    "average": 0.9,
    "label_smoothing": 0.0,
    "mask_weight": 3.0,
    "augment": {"rotate_deg": 0.0, "noise": 0.0},
}
"""As much as lets a bundle be certified: verdicts must be clear of the thresholds."""

SPLITS = ["train"] * 6 + ["val"] * 3 + ["test"]
"""By the last digit of the lot's number."""

CALIBRATION = 64
IMAGES = 8


def draw(out: Path, lots: int = 10, parts_per_lot: int = 20) -> Path:
    """Drawn parts at 256 pixels, and beside them a split by lot; those that lie there are kept."""
    from training.datasets.drawn import draw_dataset

    out = out / f"{lots}-lots"
    parts = out / "parts"
    if not parts.is_dir():
        partial = out / "parts-partial"
        shutil.rmtree(partial, ignore_errors=True)
        out.mkdir(parents=True, exist_ok=True)
        draw_dataset(partial, seed=SEED, lots=lots, parts_per_lot=parts_per_lot)
        lines = (partial / "groups.csv").read_text().splitlines()[1:]
        rows = (line.split(",") for line in lines)
        dealt = (f"{name},{lot},{SPLITS[int(lot[3:]) % len(SPLITS)]}\n" for name, lot in rows)
        (out / "split.csv").write_text("".join(["sample_id,group,split\n", *dealt]))
        partial.rename(parts)
    return parts


def recipe(name: str, parts: Path, model: dict[str, Any], size: int, train: dict[str, Any]) -> str:
    """A recipe on drawn parts whose export is int8, whatever it loses.

    Args:
        name: of the recipe.
        parts: the dataset.
        model: `[model]` without its size.
        size: pixels of each side of the input.
        train: `[train]`, with `augment` where it is not as usual.
    """
    tables = {
        "data": {
            "path": str(parts.resolve()),
            "good": "good",
            "format": "class_folders",
            "split": str(parts.with_name("split.csv").resolve()),
        },
        "model": {**model, "size_hw": [size, size]},
        "train": {k: v for k, v in train.items() if k != "augment"},
        "train.augment": train.get("augment", {}),
        "export": {**REPORTED, "calibration_images": CALIBRATION},
        "decision": {"max_escape": 0.2, "max_overkill": 0.2},
    }
    return tables_of(name, SEED, tables)


def make_bundle(out: Path, parts: Path, name: str, size: int) -> Path:
    """Train and export one model; the folder that holds its run and its bundle."""
    place = out / f"{name}-{size}"
    if not (place / "bundle.tflite").is_file():
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        file = place / "recipe.toml"
        title = f"{name}-{size}".replace("_", "-")
        file.write_text(recipe(title, parts, MODELS[name], size, TRAIN))
        run = qc("train", file, "--runs", place / "runs")["run"]
        qc("export", run, "--out", place / "bundle.tflite")
        shutil.copyfile(Path(run) / "model.keras", place / "model.keras")
    return place


def pictures(out: Path, parts: Path, size: int) -> np.ndarray:
    """The pictures of the bench and of every calibration, in two files; the latter."""
    from qc.imageio import read_image
    from qc.preprocess import PreprocessSpec, apply

    files = sorted(f for f in parts.glob("*/*.png") if not f.stem.endswith("_mask"))
    rng = np.random.default_rng(SEED)
    chosen = rng.permutation(len(files))[: CALIBRATION + IMAGES]
    spec = PreprocessSpec(size_hw=(size, size))
    pixels = np.stack([apply(spec, read_image(files[i])) for i in chosen])
    np.save(out / f"images-{size}.npy", pixels[:IMAGES])
    np.save(out / f"calibration-{size}.npy", pixels[IMAGES:])
    return pixels[IMAGES:]


def load(file: Path) -> Any:
    """A Keras model of this project."""
    import keras

    import training.head  # noqa: F401 - registers the layer
    from qc.plugins import names, resolve

    for kind in ("backbone", "block", "pooling"):
        for name in names(kind):  # type: ignore[arg-type]
            resolve(kind, name)  # type: ignore[arg-type]
    return keras.models.load_model(file, compile=False)


def save(model: Any, folder: Path) -> None:
    """A Keras model as TensorFlow's SavedModel of batch 1."""
    import keras

    from export.convert import silence

    shape = (1, *model.input_shape[1:])
    signature = [keras.InputSpec(shape=shape, dtype="float32", name="image")]
    with silence(True):
        model.export(folder, format="tf_saved_model", input_signature=signature, verbose=False)


def int8(folder: Path, calibration: np.ndarray) -> bytes:
    """A SavedModel in full int8, as `qc export` converts it, with whatever outputs it has."""
    import tensorflow as tf

    from export.calibrate import representative
    from export.convert import silence

    def inputs() -> Iterator[list[np.ndarray]]:
        yield from representative(calibration)

    with silence(True):
        converter = tf.lite.TFLiteConverter.from_saved_model(str(folder))
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = inputs
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = tf.uint8
        converter.inference_output_type = tf.uint8
        found: bytes = converter.convert()
    return found


def without_map(place: Path, calibration: np.ndarray) -> None:
    """A bundle of the same model's score alone, sealed beside the whole one."""
    import keras
    from ai_edge_litert import schema_py_generated as schema

    from qc.bundle import Golden, open_bundle, write_bundle
    from training.columns import side_by_side

    model = load(place / "model.keras")
    folder = place / "score_model"
    alone = keras.Model(model.input, {"score": model.output["score"]})
    save(side_by_side(alone), folder)  # as an export lays int8 out
    data = int8(folder, calibration)
    graph = schema.ModelT.InitFromPackedBuf(data, 0).subgraphs[0]
    (tensor,) = (graph.tensors[i] for i in graph.outputs)
    whole = open_bundle(place / "bundle.tflite")
    facts = whole.manifest.model_dump(mode="json", exclude={"bundle_id", "model_bytes", "sha256"})
    score = {
        **facts["score"],
        "name": tensor.name.decode(),
        "scale": float(tensor.quantization.scale[0]),
        "zero_point": int(tensor.quantization.zeroPoint[0]),
    }
    golden = Golden(whole.golden.images, whole.golden.score, None, whole.golden.verdicts)
    facts |= {"attention": None, "score": score}
    write_bundle(place / "score.tflite", model=data, golden=golden, report={}, facts=facts)


def classifiers(out: Path, size: int, calibration: np.ndarray) -> None:
    """Two networks of keras.applications with five classes, in int8."""
    import keras

    shape = (size, size, 3)
    options: dict[str, Any] = {"input_shape": shape, "weights": None, "classes": 5}
    image = keras.Input(shape)
    small = keras.applications.MobileNetV2(alpha=0.35, **options)
    scaled = keras.layers.Rescaling(1 / 127.5, offset=-1.0)(image)
    made = {
        "mobilenet_v2_035": keras.Model(image, small(scaled)),
        # this one scales its pixels itself
        "mobilenet_v3_small": keras.applications.MobileNetV3Small(**options),
    }
    for name, model in made.items():
        file = out / f"{name}-{size}.tflite"
        if not file.is_file():
            folder = out / f"{name}-{size}"
            save(model, folder)
            file.write_bytes(int8(folder, calibration))


def main() -> None:
    """Make what is missing of one size."""
    out, size = Path(sys.argv[1]), int(sys.argv[2])
    out.mkdir(parents=True, exist_ok=True)
    mark = out / f"made-{size}"
    if mark.is_file():
        return
    parts = draw(out)
    places = [make_bundle(out, parts, name, size) for name in MODELS]
    from training.backend import wake

    wake(quiet=True)
    calibration = pictures(out, parts, size)
    for place in places:
        save(load(place / "model.keras"), place / "saved_model")
        without_map(place, calibration)
    classifiers(out, size, calibration)
    mark.touch()


if __name__ == "__main__":
    main()
