"""Read, check, write and replay a bundle: one `.tflite` file with its papers appended as a ZIP.

Layout: the TFLite flatbuffer, then a ZIP of `manifest.json`, `labels.txt`, `golden.npz` and
`report.json`. The ZIP comment holds the SHA-256 of every byte before it, so no byte of the file can
change unseen; the manifest holds the SHA-256 of each part; the bundle id is a hash of the manifest.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from qc.decide import DecisionSpec, decide
from qc.errors import BundleError, FaultError
from qc.preprocess import PreprocessSpec
from qc.types import Image, Prediction, Task

SCHEMA_VERSION = 1
MAX_BYTES = 256 * 1024 * 1024
SCORE_TOLERANCE = 2.5 / 256
"""Two quantisation steps of a uint8 score, with room for rounding in float."""

MAX_TOLERANCE = 0.2
"""What a bundle may allow at most."""

SEALED_PARTS = ("model", "labels.txt", "golden.npz", "report.json")
"""What the manifest holds a checksum of."""

_PARTS = ("manifest.json", *SEALED_PARTS[1:])
_COMMENT = b"attention-qc sha256:"


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ClassSpec(_Strict):
    """One class of the model, in output order."""

    name: str
    severity: Literal["good", "minor", "major", "critical"]


class TensorSpec(_Strict):
    """A tensor of the graph: `real = scale * (stored - zero_point)`."""

    name: str
    shape: tuple[int, ...]
    dtype: Literal["uint8", "float32"]
    scale: float
    zero_point: int


class OverlaySpec(_Strict):
    """Evidence shown as coldest and hottest colour."""

    lo: float
    hi: float

    @model_validator(mode="after")
    def _ordered(self) -> OverlaySpec:
        if not self.lo < self.hi:
            raise ValueError(f"overlay range must have lo < hi, found {self.lo} and {self.hi}")
        return self


class Provenance(_Strict):
    """Where the bundle came from, as hashes and versions."""

    recipe_hash: str
    split_hash: str
    calibration_hash: str
    dataset: str
    seed: int
    commit: str
    versions: dict[str, str]


class Manifest(_Strict):
    """What a bundle says of itself."""

    schema_version: Literal[1] = 1
    bundle_id: str
    name: str
    task: Task
    classes: tuple[ClassSpec, ...] = Field(min_length=2)
    preprocess: PreprocessSpec
    input: TensorSpec
    score: TensorSpec
    attention: TensorSpec | None
    decision: DecisionSpec
    replay_tolerance: float = Field(default=SCORE_TOLERANCE, ge=SCORE_TOLERANCE, le=MAX_TOLERANCE)
    overlay: OverlaySpec
    target: str
    provenance: Provenance
    data_licence: str
    model_bytes: int
    sha256: dict[str, str]

    @model_validator(mode="after")
    def _consistent(self) -> Manifest:
        goods = [c.name for c in self.classes if c.severity == "good"]
        if len(goods) != 1:
            raise ValueError(f"exactly one class must have severity 'good', found {goods}")
        defects = {c.name for c in self.classes if c.severity != "good"}
        if set(self.decision.ok_below) != defects:
            raise ValueError("the thresholds must name every defect class and no other")
        if self.task == "binary" and len(self.classes) != 2:
            raise ValueError("a binary task has one defect class")
        if set(self.sha256) != set(SEALED_PARTS):
            raise ValueError("sha256 must hold the checksum of every part and of no other")
        return self

    @property
    def class_names(self) -> tuple[str, ...]:
        """Class names in the order of the scores."""
        return tuple(c.name for c in self.classes)

    @property
    def good(self) -> str:
        """Name of the class of good parts."""
        return next(c.name for c in self.classes if c.severity == "good")


@dataclass(frozen=True, slots=True)
class Golden:
    """Inputs with the outputs and verdicts that the bundle was certified with.

    Args:
        images: `(N, H, W, 3)` uint8, already preprocessed.
        score: `(N, K)` float32.
        attention: `(N, h, w, K)` float32, or None.
        verdicts: N verdict words.
    """

    images: np.ndarray
    score: np.ndarray
    attention: np.ndarray | None
    verdicts: tuple[str, ...]

    def to_bytes(self) -> bytes:
        """As a compressed `.npz`, the same bytes for the same values."""
        arrays = {"images": self.images, "score": self.score, "verdicts": np.array(self.verdicts)}
        if self.attention is not None:
            arrays["attention"] = self.attention
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
        return buffer.getvalue()

    @classmethod
    def from_bytes(cls, data: bytes) -> Golden:
        """Read back what `to_bytes` wrote."""
        with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
            return cls(
                images=arrays["images"],
                score=arrays["score"],
                attention=arrays.get("attention"),
                verdicts=tuple(str(v) for v in arrays["verdicts"]),
            )


@dataclass(frozen=True, slots=True)
class Bundle:
    """An opened bundle: every checksum held."""

    path: Path
    manifest: Manifest
    model: bytes
    golden: Golden
    report: dict[str, Any]


class Predictor(Protocol):
    """What can run a bundle's model."""

    runtime: str

    def predict(self, image: Image) -> Prediction:
        """Run the model on one preprocessed `(h, w, 3)` uint8 image."""
        ...


@dataclass(frozen=True, slots=True)
class Replay:
    """Outcome of running the golden inputs."""

    n: int
    verdict_flips: int
    max_score_error: float
    max_map_error: float
    missing_maps: int
    tolerance: float

    @property
    def ok(self) -> bool:
        """Something ran, no verdict changed, no map is missing, and no score moved by more than the
        bundle allows."""
        same = self.verdict_flips == 0 and self.missing_maps == 0
        return self.n > 0 and same and self.max_score_error <= self.tolerance

    @property
    def expected(self) -> str:
        """What was expected, in words."""
        return f"no verdict flip and scores within {self.tolerance:.4f}"

    @property
    def found(self) -> str:
        """What was found, in words."""
        missing = f", {self.missing_maps} maps missing" if self.missing_maps else ""
        return (
            f"{self.verdict_flips} flips of {self.n}, "
            f"score error {self.max_score_error:.4f}{missing}"
        )


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _canonical(manifest: dict[str, Any]) -> bytes:
    return json.dumps(manifest, sort_keys=True, indent=1, ensure_ascii=True).encode()


def _bundle_id(manifest: dict[str, Any]) -> str:
    return _sha256(_canonical({**manifest, "bundle_id": ""}))[:16]


def write_bundle(
    path: Path, *, model: bytes, golden: Golden, report: dict[str, Any], facts: dict[str, Any]
) -> Manifest:
    """Seal a model with its papers into one file.

    Args:
        path: the `.tflite` file to write; it appears whole or not at all.
        model: the TFLite flatbuffer.
        golden: certified inputs and outputs.
        report: figures of the model on VAL, JSON values only.
        facts: the manifest's fields, without bundle_id, model_bytes and sha256.

    Returns:
        The sealed manifest.
    """
    names = [c["name"] for c in facts["classes"]]
    parts = {
        "labels.txt": ("\n".join(names) + "\n").encode(),
        "golden.npz": golden.to_bytes(),
        "report.json": _canonical(report),
    }
    raw = {
        **facts,
        "schema_version": SCHEMA_VERSION,
        "bundle_id": "",
        "model_bytes": len(model),
        "sha256": {"model": _sha256(model)} | {k: _sha256(v) for k, v in parts.items()},
    }
    checked = Manifest.model_validate(raw).model_dump(mode="json")
    checked["bundle_id"] = _bundle_id(checked)
    buffer = io.BytesIO()
    buffer.write(model)
    with zipfile.ZipFile(buffer, "a") as archive:
        for name, data in {"manifest.json": _canonical(checked), **parts}.items():
            info = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
            info.compress_type = zipfile.ZIP_STORED if name == "golden.npz" else 8
            archive.writestr(info, data)
        archive.comment = _COMMENT + b"0" * 64
    body = buffer.getvalue()[: -len(_COMMENT) - 64]
    partial = path.with_name(path.name + ".partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_bytes(body + _COMMENT + _sha256(body).encode())
        partial.replace(path)
    except OSError as error:
        raise FaultError("the bundle cannot be written", where=path, found=error) from error
    return Manifest.model_validate(checked)


def _members(path: Path, data: bytes) -> dict[str, bytes]:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            infos = archive.infolist()
            if sorted(i.filename for i in infos) != sorted(_PARTS):
                raise BundleError(
                    "this is not a bundle of this project",
                    where=path,
                    expected=", ".join(_PARTS),
                    found=", ".join(i.filename for i in infos)[:200],
                )
            if sum(i.file_size for i in infos) > MAX_BYTES:
                raise BundleError("the bundle unpacks to too much", where=path, expected=MAX_BYTES)
            return {i.filename: archive.read(i) for i in infos}
    except (zipfile.BadZipFile, zlib.error, ValueError, RuntimeError, EOFError, OSError) as error:
        raise BundleError(
            "not a bundle, or a truncated one",
            where=path,
            expected="a .tflite file sealed by `qc export`",
            found=f"{len(data)} bytes whose end is not the sealed ZIP ({error})",
        ) from error


def open_bundle(path: Path) -> Bundle:
    """Open a bundle and check every byte of it.

    Raises:
        BundleError: missing, truncated, altered, of another schema, or not a bundle.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise BundleError("the file is too large", where=path, expected=f"<= {MAX_BYTES} bytes")
        data = path.read_bytes()
    except OSError as error:
        raise BundleError(
            "the bundle cannot be read", where=path, expected="a file", found=error.strerror
        ) from error
    members = _members(path, data)
    tail = len(_COMMENT) + 64
    if data[-tail:-64] != _COMMENT or data[-64:].decode("ascii", "replace") != _sha256(
        data[:-tail]
    ):
        raise BundleError(
            "the bundle was altered after it was sealed",
            where=path,
            expected=f"SHA-256 {data[-64:].decode('ascii', 'replace')[:16]}...",
            found=f"{_sha256(data[:-tail])[:16]}...",
        )
    try:
        raw = json.loads(members["manifest.json"])
        version = raw.get("schema_version") if isinstance(raw, dict) else None
        if version != SCHEMA_VERSION:
            raise BundleError(
                "the bundle has another schema", where=path, expected=SCHEMA_VERSION, found=version
            )
        manifest = Manifest.model_validate(raw)
    except ValueError as error:  # a ValidationError and a JSONDecodeError are one
        raise BundleError("the manifest is not valid", where=path, found=error) from error
    model = data[: manifest.model_bytes]
    found = {k: _sha256(v) for k, v in members.items() if k != "manifest.json"}
    found["model"] = _sha256(model)
    for name, digest in manifest.sha256.items():
        if found.get(name) != digest:
            raise BundleError(
                f"part {name} of the bundle was altered",
                where=path,
                expected=f"SHA-256 {digest[:16]}...",
                found=f"{str(found.get(name))[:16]}...",
            )
    if manifest.bundle_id != _bundle_id(raw):
        raise BundleError("the manifest does not match its bundle id", where=path)
    try:
        golden = Golden.from_bytes(members["golden.npz"])
        report = json.loads(members["report.json"])
    except (ValueError, KeyError, OSError) as error:
        raise BundleError("a part of the bundle is not valid", where=path, found=error) from error
    return Bundle(path, manifest, model, golden, report)


def replay(bundle: Bundle, predictor: Predictor) -> Replay:
    """Run the golden inputs on the runtime that is here and compare with the certified outputs."""
    golden, manifest = bundle.golden, bundle.manifest
    flips, missing, score_error, map_error = 0, 0, 0.0, 0.0
    for i, image in enumerate(golden.images):
        prediction = predictor.predict(image)
        decision = decide(prediction, manifest.decision, manifest.class_names, manifest.good)
        flips += decision.verdict != golden.verdicts[i]
        score_error = max(score_error, float(np.abs(prediction.score - golden.score[i]).max()))
        if golden.attention is None:
            continue
        if prediction.attention is None:
            missing += 1
        else:
            difference = np.abs(prediction.attention - golden.attention[i])
            map_error = max(map_error, float(difference.max()))
    tolerance = manifest.replay_tolerance
    return Replay(len(golden.images), flips, score_error, map_error, missing, tolerance)


def require_replay(bundle: Bundle, predictor: Predictor) -> Replay:
    """Replay, and refuse a bundle that does not give what it was certified with.

    Raises:
        BundleError: a verdict flipped or a score moved, naming the runtime.
    """
    outcome = replay(bundle, predictor)
    if not outcome.ok:
        raise BundleError(
            f"the bundle does not replay on {predictor.runtime}",
            where=bundle.path,
            expected=outcome.expected,
            found=outcome.found,
        )
    return outcome
