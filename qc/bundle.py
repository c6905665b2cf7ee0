"""Read, check and write a bundle: one `.tflite` file with its papers appended as a ZIP.

Layout: the TFLite flatbuffer, then a ZIP of `manifest.json`, `labels.txt`, `golden.npz`,
`report.json` and, where it was signed, `signature`. The ZIP comment holds the SHA-256 of every byte
before it, so no byte of the file can change unseen; the manifest holds the SHA-256 of each part but
the signature, which is made over the manifest; the bundle id is a hash of the manifest.
"""

from __future__ import annotations

import hashlib
import io
import json
import lzma
import struct
import tokenize
import zipfile
import zlib
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from qc.errors import BundleError, FaultError
from qc.manifest import SCHEMA_VERSION, SEALED_PARTS, Manifest

MAX_BYTES = 256 * 1024 * 1024

_PARTS = ("manifest.json", *SEALED_PARTS[1:])
_SIGNATURE = "signature"
_COMMENT = b"attention-qc sha256:"
_DAMAGE = (  # what zipfile, json and numpy raise on damaged bytes
    *(OSError, EOFError, ValueError, TypeError, LookupError, ArithmeticError, RuntimeError),
    *(AttributeError, SyntaxError, MemoryError, struct.error, tokenize.TokenError),
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError),
)


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
        """Read back what `to_bytes` wrote; damaged bytes raise one of many errors of numpy."""
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            unpacked = sum(i.file_size for i in archive.infolist())
        if unpacked > MAX_BYTES:
            raise ValueError(f"golden.npz unpacks to {unpacked} bytes, more than {MAX_BYTES}")
        with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
            return cls(
                images=arrays["images"],
                score=arrays["score"],
                attention=arrays.get("attention"),
                verdicts=tuple(str(v) for v in arrays["verdicts"]),
            )


class Signature(BaseModel):
    """The member `signature` as it lies in a bundle; `qc.signature` makes and checks it.

    Args:
        algorithm: Ed25519 and no other.
        key_id: of the key that made it, by its own account.
        signature: 64 bytes as base64.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    algorithm: Literal["Ed25519"]
    key_id: str = Field(pattern="^[0-9a-f]{16}$")
    signature: str = Field(pattern="^[A-Za-z0-9+/]{86}==$")

    def to_bytes(self) -> bytes:
        """As the JSON of the member."""
        return _canonical(self.model_dump())


@dataclass(frozen=True, slots=True)
class Bundle:
    """An opened bundle: every checksum held; whether it is signed, not yet by whom.

    Args:
        path: the file.
        manifest, model, golden, report: its contents.
        signature: None where the bundle is not signed. It has the right form and no more:
            `qc.signature.require_signature` checks it.
        members: the parts beside the model, byte for byte; none where no file was read.
    """

    path: Path
    manifest: Manifest
    model: bytes
    golden: Golden
    report: dict[str, Any]
    signature: Signature | None = None
    members: dict[str, bytes] = field(default_factory=dict, repr=False)


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
    _seal(path, model, {"manifest.json": _canonical(checked), **parts})
    return Manifest.model_validate(checked)


def write_signature(bundle: Bundle, signature: Signature) -> None:
    """Put a signature into the file of an opened bundle, in the place of one that it has.

    Raises:
        FaultError: the file cannot be written; the bundle is then as it was.
    """
    path = bundle.path.resolve()  # a link stays a link
    _seal(path, bundle.model, {**bundle.members, _SIGNATURE: signature.to_bytes()})


def _seal(path: Path, model: bytes, members: dict[str, bytes]) -> None:
    """Write model, ZIP and the checksum over both; the file appears whole or not at all."""
    buffer = io.BytesIO()
    buffer.write(model)
    with zipfile.ZipFile(buffer, "a") as archive:
        for name in (n for n in (*_PARTS, _SIGNATURE) if n in members):
            info = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
            info.compress_type = zipfile.ZIP_STORED  # MediaPipe reads no other
            archive.writestr(info, members[name])
        archive.comment = _COMMENT + b"0" * 64
    body = buffer.getvalue()[: -len(_COMMENT) - 64]
    partial = path.with_name(path.name + ".partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_bytes(body + _COMMENT + _sha256(body).encode())
        partial.replace(path)
    except OSError as error:
        with suppress(OSError):
            partial.unlink()
        raise FaultError("the bundle cannot be written", where=path, found=error) from error


def _fits(golden: Golden, manifest: Manifest) -> None:
    """Refuse golden inputs that the replay could not compare; raises ValueError."""
    n, k = len(golden.images), len(manifest.classes)
    size_hw = manifest.preprocess.size_hw
    attention = golden.attention
    fits = (
        golden.images.dtype == np.uint8
        and golden.images.shape == (n, *size_hw, 3)
        and golden.score.dtype == np.float32
        and golden.score.shape == (n, k)
        and len(golden.verdicts) == n
        and (attention is None) == (manifest.attention is None)
        and (
            attention is None
            or (
                attention.dtype == np.float32
                and attention.ndim == 4
                and (len(attention), attention.shape[3]) == (n, k)
            )
        )
    )
    if not fits:
        shapes = [golden.images.shape, golden.score.shape, len(golden.verdicts)]
        shapes += [] if attention is None else [attention.shape]
        raise ValueError(f"golden inputs and outputs do not fit the manifest: {shapes}")


def _members(path: Path, data: bytes) -> dict[str, bytes]:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            infos = archive.infolist()
            names = sorted(i.filename for i in infos)
            if names not in (sorted(_PARTS), sorted((*_PARTS, _SIGNATURE))):
                raise BundleError(
                    "this is not a bundle of this project",
                    where=path,
                    expected=", ".join(_PARTS) + f", and {_SIGNATURE} or not",
                    found=", ".join(i.filename for i in infos)[:200],
                )
            if sum(i.file_size for i in infos) > MAX_BYTES:
                raise BundleError("the bundle unpacks to too much", where=path, expected=MAX_BYTES)
            return {i.filename: archive.read(i) for i in infos}
    except _DAMAGE as error:
        raise BundleError(
            "not a bundle, or a truncated one",
            where=path,
            expected="a .tflite file sealed by `qc export`",
            found=f"{len(data)} bytes whose end is not the sealed ZIP ({error})",
        ) from error


def _signature(path: Path, data: bytes | None) -> Signature | None:
    try:
        return None if data is None else Signature.model_validate_json(data)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(map(str, first["loc"]))
        raise BundleError(
            "the signature in the bundle is malformed",
            where=path,
            expected="JSON of algorithm Ed25519, key_id and signature",
            found=(f"key '{key[:60]}': " if key else "") + first["msg"],
        ) from error


def open_bundle(path: Path) -> Bundle:
    """Open a bundle and check every byte of it; whose signature it has is not checked here.

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
    seal, found = data[-64:].decode("ascii", "replace"), _sha256(data[:-tail])
    if data[-tail:-64] != _COMMENT or seal != found:
        raise BundleError(
            "the bundle was altered after it was sealed",
            where=path,
            expected=f"SHA-256 {seal[:16]}...",
            found=f"{found[:16]}...",
        )
    try:
        raw = json.loads(members["manifest.json"])
        version = raw.get("schema_version") if isinstance(raw, dict) else None
        if version != SCHEMA_VERSION:
            raise BundleError(
                "the bundle has another schema", where=path, expected=SCHEMA_VERSION, found=version
            )
        manifest = Manifest.model_validate(raw)
    except (ValueError, RecursionError) as error:  # a ValidationError is a ValueError
        raise BundleError("the manifest is not valid", where=path, found=error) from error
    parts = {**members, "model": data[: manifest.model_bytes]}
    for name, digest in manifest.sha256.items():  # of every part and of no other
        found = _sha256(parts[name])
        if found != digest:
            raise BundleError(
                f"part {name} of the bundle was altered",
                where=path,
                expected=f"SHA-256 {digest[:16]}...",
                found=f"{found[:16]}...",
            )
    if manifest.bundle_id != _bundle_id(raw):
        raise BundleError("the manifest does not match its bundle id", where=path)
    try:
        golden = Golden.from_bytes(members["golden.npz"])
        _fits(golden, manifest)
        report = json.loads(members["report.json"])
    except _DAMAGE as error:
        raise BundleError("a part of the bundle is not valid", where=path, found=error) from error
    signature = _signature(path, members.get(_SIGNATURE))
    return Bundle(path, manifest, parts["model"], golden, report, signature, members)
