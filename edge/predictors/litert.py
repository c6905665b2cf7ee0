"""Runs a bundle's model with LiteRT, or with its older name `tflite-runtime`, on the CPU.

LiteRT hands int8 to XNNPACK, `tflite-runtime` does not: they round otherwise, by what the export
measured and sealed as the bundle's tolerance. The replay of the golden inputs proves it on the
machine at hand.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from qc.bundle import Bundle
from qc.errors import BundleError, DataError, FaultError, UsageError
from qc.manifest import RUNTIMES, Manifest, TensorSpec
from qc.quiet import quiet_stderr
from qc.types import FloatArray, Image, Prediction

_PACKAGES = dict(zip(RUNTIMES, ("ai_edge_litert", "tflite_runtime"), strict=True))
_DTYPES: dict[str, Any] = {"uint8": np.uint8, "int8": np.int8, "float32": np.float32}


class LiteRTPredictor:
    """The model of a bundle, ready to run; owned by one thread.

    Args:
        bundle: an opened bundle.
        num_threads: CPU threads of one pass, at least 1.
        delegate: False leaves XNNPACK out: the runtime's own kernels, which `tflite-runtime` has
            for int8 on any machine, and which round otherwise.

    Attributes:
        runtime: name and version of what runs the model.

    Raises:
        BundleError: the model cannot be loaded, or its tensors are not those of the manifest.
        FaultError: no runtime is installed.
    """

    def __init__(self, bundle: Bundle, num_threads: int = 1, *, delegate: bool = True) -> None:
        if num_threads < 1:
            raise UsageError("num_threads is wrong", expected="at least 1", found=num_threads)
        make, self.runtime = _runtime(delegate)
        distribution = self.runtime.split()[0]
        if distribution not in bundle.manifest.runtimes:
            raise BundleError(
                f"this bundle is not for {distribution}",
                where=bundle.path,
                expected=f"{' or '.join(bundle.manifest.runtimes)} ({bundle.manifest.scheme})",
                found=self.runtime,
            )
        self.bundle = bundle
        self.num_threads = num_threads
        manifest = bundle.manifest
        with quiet_stderr() as printed:
            try:
                self._interpreter = make(model_content=bundle.model, num_threads=num_threads)
                self._interpreter.allocate_tensors()
                inputs = self._interpreter.get_input_details()
                blank = np.zeros(inputs[0]["shape"], inputs[0]["dtype"])
                self._interpreter.set_tensor(inputs[0]["index"], blank)
                self._interpreter.invoke()
            except (RuntimeError, ValueError, TypeError) as error:
                failure: Exception | None = error
            else:
                failure = None
        if failure is not None:
            raise BundleError(
                f"the model cannot be run by {self.runtime}",
                where=bundle.path,
                expected="a TFLite model of built-in operations",
                found=" ".join(f"{failure} {printed.text}".split())[:300],
            ) from failure
        outputs = self._interpreter.get_output_details()
        self._input = _find(inputs, manifest.input, "input", bundle.path)
        self._stored = _stored_values(manifest)
        self._score = _find(outputs, manifest.score, "score", bundle.path)
        self._attention: int | None = None
        if manifest.attention is not None:
            self._attention = _find(outputs, manifest.attention, "attention", bundle.path)

    def predict(self, image: Image) -> Prediction:
        """Run one preprocessed picture through the model.

        Args:
            image: RGB `(h, w, 3)` uint8 of the bundle's input size.

        Raises:
            DataError: the picture has another shape or type.
            FaultError: the runtime failed.
        """
        manifest = self.bundle.manifest
        expected = (*manifest.preprocess.size_hw, 3)
        if image.dtype != np.uint8 or image.shape != expected:
            raise DataError(
                "the picture does not fit the model",
                where=self.bundle.path,
                expected=f"{expected} uint8",
                found=f"{image.shape} {image.dtype}",
            )
        pixels = image[np.newaxis, ..., : manifest.input.shape[3]]
        if self._stored is not None:
            pixels = self._stored[pixels, np.arange(pixels.shape[3])]
        try:
            self._interpreter.set_tensor(self._input, pixels)
            start = time.perf_counter_ns()
            self._interpreter.invoke()
            infer_ns = time.perf_counter_ns() - start
        except (RuntimeError, ValueError) as error:
            raise FaultError(
                f"{self.runtime} failed", where=self.bundle.path, found=error
            ) from error
        attention = None
        if manifest.attention is not None and self._attention is not None:
            attention = self._real(self._attention, manifest.attention)
        score = _probabilities(self._real(self._score, manifest.score), manifest)
        return Prediction(score, attention, infer_ns)

    @property
    def partitions(self) -> int | None:
        """Parts of the graph that the delegate runs; None where the runtime does not tell."""
        tell = getattr(self._interpreter, "_get_ops_details", None)
        return None if tell is None else sum(o["op_name"] == "DELEGATE" for o in tell())

    def _real(self, index: int, spec: TensorSpec) -> FloatArray:
        """The numbers behind a stored tensor, without its batch axis; a copy."""
        stored = self._interpreter.get_tensor(index)[0]
        if spec.dtype == "float32":
            return np.array(stored, np.float32)
        real = (stored.astype(np.float32) - np.float32(spec.zero_point)) * np.float32(spec.scale)
        return np.asarray(real, np.float32)


def _stored_values(manifest: Manifest) -> np.ndarray | None:
    """What the input tensor stores for each pixel value, `(256, channels)`; None: the value."""
    spec, channels = manifest.input, manifest.input.shape[3]
    pairs = np.broadcast_to(np.array(manifest.input_range, np.float64), (channels, 2))
    real = pairs[:, 0] + np.arange(256)[:, None] / 255 * (pairs[:, 1] - pairs[:, 0])
    if spec.dtype == "float32":
        return real.astype(np.float32)
    limits = np.iinfo(_DTYPES[spec.dtype])
    stored = np.clip(np.rint(real / spec.scale) + spec.zero_point, limits.min, limits.max)
    if spec.dtype == "uint8" and (stored == np.arange(256)[:, None]).all():
        return None
    return np.asarray(stored.astype(_DTYPES[spec.dtype]))


def _probabilities(raw: FloatArray, manifest: Manifest) -> FloatArray:
    """The score of every class from what the score tensor holds."""
    if manifest.activation == "softmax":
        power = np.exp(raw - raw.max())
        raw = power / power.sum()
    elif manifest.activation == "sigmoid":
        raw = (0.5 + 0.5 * np.tanh(0.5 * raw)).astype(np.float32)  # the sigmoid, without overflow
    if len(raw) < len(manifest.classes):
        good = manifest.class_names.index(manifest.good)
        raw = np.insert(raw, good, 1.0 - raw.max())
    return np.asarray(raw, np.float32)


def _runtime(delegate: bool) -> tuple[Callable[..., Any], str]:
    """What makes an interpreter of the runtime that is installed, and its name with its version."""
    for distribution, package in _PACKAGES.items():
        try:
            module = import_module(f"{package}.interpreter")
        except ModuleNotFoundError:
            continue
        name = f"{distribution} {version(distribution)}"
        if delegate:
            return module.Interpreter, name
        plain = module.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
        make = partial(module.Interpreter, experimental_op_resolver_type=plain)
        return make, f"{name} without XNNPACK"
    raise FaultError(
        "no TFLite runtime is installed",
        expected=f"{' or '.join(RUNTIMES)}: pip install 'attention-qc[edge]'",
        found="neither",
    )


def _find(details: list[dict[str, Any]], spec: TensorSpec, role: str, path: Path) -> int:
    """Index of the tensor that the manifest describes: by its shape, then by its name."""
    found = [d for d in details if tuple(int(n) for n in d["shape"]) == spec.shape]
    if len(found) > 1:
        found = [d for d in found if spec.name in d["name"]]
    if len(found) != 1:
        raise BundleError(
            f"the model has no tensor that is the manifest's {role}",
            where=path,
            expected=f"{spec.name} {spec.shape}",
            found=", ".join(f"{d['name']} {tuple(d['shape'].tolist())}" for d in details),
        )
    detail = found[0]
    scale, zero_point = detail["quantization"]
    same = detail["dtype"] is _DTYPES[spec.dtype]
    if same and spec.dtype != "float32":
        same = bool(np.isclose(scale, spec.scale, rtol=1e-5)) and zero_point == spec.zero_point
    if not same:
        raise BundleError(
            f"the model's {role} is not as the manifest says",
            where=path,
            expected=f"{spec.dtype}, scale {spec.scale:g}, zero point {spec.zero_point}",
            found=f"{np.dtype(detail['dtype']).name}, scale {scale:g}, zero point {zero_point}",
        )
    return int(detail["index"])
