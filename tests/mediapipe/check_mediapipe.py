"""What MediaPipe's ImageClassifier must read in a bundle; plain Python, beside the edge extra.

    python check_mediapipe.py BUNDLE IMAGES

BUNDLE is a bundle of this project and IMAGES a folder of pictures. MediaPipe opens the file as it
is, runs the model on its own runtime and must say what the shipped predictor says of the same
pixels. Run it with -P, from another folder than the checkout.
"""

from __future__ import annotations

import sys
from pathlib import Path

import mediapipe
import numpy as np
from mediapipe.tasks.python.vision import ImageClassifier

from edge.predictors.litert import LiteRTPredictor
from qc import preprocess
from qc.bundle import Bundle, open_bundle
from qc.imageio import read_image
from qc.manifest import SCORE_TOLERANCE
from qc.types import Image

ENDINGS = {".png", ".jpg", ".jpeg", ".bmp"}
IMAGES = 40
"""Pictures of the folder that are taken at most."""


def main(arguments: list[str]) -> int:
    """Run every check; the exit code."""
    places = [Path(a).resolve() for a in arguments]
    if len(places) != 2 or not places[0].is_file() or not places[1].is_dir():
        print(__doc__, file=sys.stderr)
        return 2
    bundle = open_bundle(places[0])
    pictures = [read_image(file) for file in some_pictures(places[1])]
    fitting = [preprocess.apply(bundle.manifest.preprocess, picture) for picture in pictures]
    with ImageClassifier.create_from_model_path(str(bundle.path)) as classifier:
        say(f"mediapipe {mediapipe.__version__} opened {bundle.manifest.bundle_id}")
        predictor = LiteRTPredictor(bundle)
        check_pixels(bundle, predictor, classifier, list(bundle.golden.images), "golden inputs")
        check_pixels(bundle, predictor, classifier, fitting, "pictures in the model's size")
        tell_resizing(bundle, classifier, pictures, fitting)
    say("MediaPipe reads the bundle and says what the line says")
    return 0


def some_pictures(folder: Path) -> list[Path]:
    """Pictures from all over a folder, without masks."""
    found = [f for f in sorted(folder.rglob("*")) if f.suffix.lower() in ENDINGS]
    parts = [f for f in found if not f.stem.endswith("_mask")]
    check(len(parts) >= 2, f"too few pictures in {folder}")
    return parts[:: max(1, len(parts) // IMAGES)][:IMAGES]


def check_pixels(
    bundle: Bundle,
    predictor: LiteRTPredictor,
    classifier: ImageClassifier,
    images: list[Image],
    what: str,
) -> None:
    """Same pixels, same scores and same map, to two steps of the stored numbers."""
    manifest = bundle.manifest
    worst, of_map = 0.0, 0.0
    for image in images:
        heads = classify(classifier, image)
        mine = predictor.predict(image)
        worst = max(worst, float(np.abs(scores(bundle, heads) - mine.score).max()))
        if mine.attention is not None:
            found = np.full(mine.attention.size, np.nan)
            for category in heads["attention"]:
                found[category.index] = category.score
            error = np.abs(found.reshape(mine.attention.shape) - mine.attention).max()
            of_map = max(of_map, float(np.nan_to_num(error, nan=np.inf)))
    say(f"{what}: {len(images)}, largest error of a score {worst:.4f}, of the map {of_map:.4f}")
    check(worst <= SCORE_TOLERANCE, f"{what}: scores differ by more than {SCORE_TOLERANCE:.4f}")
    if manifest.attention is not None:
        stored_float = manifest.attention.dtype == "float32"
        allowed = 0.05 if stored_float else 2.5 * manifest.attention.scale
        check(of_map <= allowed, f"{what}: the map differs by more than {allowed:.4f}")


def tell_resizing(
    bundle: Bundle, classifier: ImageClassifier, pictures: list[Image], fitting: list[Image]
) -> None:
    """Say what MediaPipe's own resizing costs: the model was trained with another."""
    pairs = [
        [scores(bundle, classify(classifier, image)) for image in pair]
        for pair in zip(pictures, fitting, strict=True)
    ]
    error = max(float(np.abs(one - two).max()) for one, two in pairs)
    same = sum(int(one.argmax() == two.argmax()) for one, two in pairs)
    say(
        f"resized by MediaPipe instead: scores move by up to {error:.3f}, "
        f"{same} of {len(pairs)} keep their first class"
    )


def classify(classifier: ImageClassifier, image: Image) -> dict[str, list]:
    """Categories by the name of their head, which is the name of the tensor in the metadata."""
    picture = mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=image)
    return {h.head_name: h.categories for h in classifier.classify(picture).classifications}


def scores(bundle: Bundle, heads: dict[str, list]) -> np.ndarray:
    """What the head `score` says, in the order of the classes; its labels are the class names."""
    names = bundle.manifest.class_names
    expected = {"score"} if bundle.manifest.attention is None else {"score", "attention"}
    check(set(heads) == expected, f"the heads are {sorted(heads)}")
    said = {c.category_name: c for c in heads["score"]}
    check(set(said) == set(names), f"the labels are {sorted(map(str, said))}")
    check([said[name].index for name in names] == list(range(len(names))), "order of the labels")
    return np.array([said[name].score for name in names])


def check(true: bool, what: str) -> None:
    """Fail where something is not as it must be; `assert` would be silent under -O."""
    if not true:
        raise SystemExit(f"FAILED: {what}")


def say(text: str) -> None:
    """One line of the record."""
    print(f"  {text}", flush=True)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
