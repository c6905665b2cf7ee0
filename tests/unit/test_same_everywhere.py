"""One preprocessing: training, export and the line make the same bytes of the same file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from odd_images import picture
from toy_line import seal

from edge.inspect import inspect_frame
from edge.picture_files import read_frame
from export.calibrate import representative
from qc.manifest import Manifest
from qc.preprocess import PreprocessSpec
from qc.types import Image, Prediction, Sample, Verdict
from training.pipeline import load_images

SIZES = ((24, 40), (33, 17), (5, 301), (101, 101), (640, 480))
SPECS = [
    PreprocessSpec(size_hw=(32, 32)),
    PreprocessSpec(size_hw=(48, 64), colour="grey"),
    PreprocessSpec(size_hw=(101, 101)),
]


def _files(folder: Path) -> dict[str, Path]:
    """Pictures of odd sizes, each as 8-bit colour, grey, 16-bit grey, with alpha, and as JPEG."""
    found = {}
    rng = np.random.default_rng(0)
    for height, width in SIZES:
        rgb = picture(height, width) if width > 20 else rng.integers(0, 256, (height, width, 3))
        bgr = np.ascontiguousarray(np.asarray(rgb, np.uint8)[..., ::-1])
        grey = cv2.cvtColor(bgr, cv2.COLOR_BGR2GRAY)
        alpha = rng.integers(0, 256, (height, width, 1), np.uint8)
        kinds: dict[str, Any] = {
            "colour.png": bgr,
            "grey.png": grey,
            "deep.png": grey.astype(np.uint16) * 257 - (grey > 0),
            "alpha.png": np.concatenate([bgr, alpha], axis=2),
            "lossy.jpg": bgr,
            "plain.bmp": bgr,
            "deep.tif": grey.astype(np.uint16) * 200,
        }
        for kind, pixels in kinds.items():
            file = folder / f"{height}x{width}-{kind}"
            assert cv2.imwrite(str(file), pixels)
            found[file.name] = file
    return found


class _Recorder:
    """A predictor that keeps what it is given."""

    runtime = "recorder"
    seen: Image | None = None

    def predict(self, image: Image) -> Prediction:
        self.seen = image
        return Prediction(np.array([1, 0, 0], np.float32), None, 0)


@pytest.mark.parametrize("spec", SPECS, ids=str)
def test_the_same_file_is_the_same_input_in_training_export_and_on_the_line(
    tmp_path: Path, spec: PreprocessSpec
) -> None:
    files = _files(tmp_path)
    samples = [Sample(name, file, ("good",)) for name, file in files.items()]
    trained = load_images(samples, ("good", "scratch"), "good", spec)
    calibrated = [one[0] for [one] in representative(trained.pixels)]
    bundle = seal(tmp_path / "toy.tflite")
    raw = bundle.manifest.model_dump(mode="json")
    raw["preprocess"] = spec.model_dump(mode="json")
    raw["input"]["shape"] = (1, *spec.size_hw, 3)
    object.__setattr__(bundle, "manifest", Manifest.model_validate(raw))
    predictor = _Recorder()
    for row, (name, file) in enumerate(files.items()):
        frame = read_frame(file, frame_id=name, source_id="test")
        assert inspect_frame(frame, bundle, predictor).verdict is not Verdict.FAULT, name
        assert predictor.seen is not None and predictor.seen.shape == (*spec.size_hw, 3)
        assert predictor.seen.tobytes() == trained.pixels[row].tobytes(), name
        # calibration sets two corner pixels, so that the input's range is 0 to 255
        different = (calibrated[row] != trained.pixels[row]).any(axis=2)
        assert not different[1:].any() and not different[0, 2:].any(), name
    flat = {name: trained.pixels[i].std() for i, name in enumerate(files)}
    assert min(flat.values()) > 2, "a picture that is flat would be the same whatever is done to it"
