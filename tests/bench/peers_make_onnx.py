"""A SavedModel in static int8 for ONNX Runtime or OpenVINO, in the environment `onnx`.

    python peers_make_onnx.py onnxruntime|openvino SAVED_MODEL CALIBRATION.npy OUT

Both by their own means, as their manuals say: tf2onnx and ONNX Runtime's static quantisation
(QDQ, each channel its scale), OpenVINO's converter and NNCF's post-training quantisation.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np


def for_onnxruntime(saved: Path, pictures: np.ndarray, out: Path) -> None:
    """Convert with tf2onnx, prepare, quantise."""
    import onnxruntime
    from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    with tempfile.TemporaryDirectory() as name:
        exact, prepared = Path(name) / "model.onnx", Path(name) / "prepared.onnx"
        convert = [sys.executable, "-m", "tf2onnx.convert", "--saved-model", str(saved)]
        subprocess.run([*convert, "--opset", "17", "--output", str(exact)], check=True)
        quant_pre_process(str(exact), str(prepared), skip_symbolic_shape=True)
        session = onnxruntime.InferenceSession(str(prepared), providers=["CPUExecutionProvider"])
        image = session.get_inputs()[0].name

        class Reader(CalibrationDataReader):  # type: ignore[misc]
            def __init__(self) -> None:
                self.left = iter(pictures)

            def get_next(self) -> dict[str, Any] | None:
                one = next(self.left, None)
                return None if one is None else {image: one}

        quantize_static(
            str(prepared),
            str(out),
            Reader(),
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )


def for_openvino(saved: Path, pictures: np.ndarray, out: Path) -> None:
    """Convert and quantise."""
    import nncf
    import openvino as ov

    model = ov.convert_model(str(saved))
    ov.save_model(nncf.quantize(model, nncf.Dataset(list(pictures))), str(out))


def main() -> None:
    """One model for one runtime; it appears whole or not at all."""
    runtime, saved, calibration, out = sys.argv[1], *map(Path, sys.argv[2:5])
    pictures = np.load(calibration).astype(np.float32)[:, None]
    make = {"onnxruntime": for_onnxruntime, "openvino": for_openvino}[runtime]
    out.parent.mkdir(parents=True, exist_ok=True)
    make(saved, pictures, out)


if __name__ == "__main__":
    main()
