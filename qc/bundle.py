"""Read, check and write a bundle: one `.tflite` file with its papers appended as a ZIP.

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
from typing import Any

import numpy as np

from qc.errors import BundleError, FaultError
from qc.manifest import SCHEMA_VERSION, SEALED_PARTS, Manifest

MAX_BYTES = 256 * 1024 * 1024

_PARTS = ("manifest.json", *SEALED_PARTS[1:])
_COMMENT = b"attention-qc sha256:"


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
