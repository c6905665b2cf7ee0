"""Who sealed a bundle: an Ed25519 signature (RFC 8032) that a line can demand.

Signed is the manifest, byte for byte as it lies in the bundle. It holds the SHA-256 of the model
and of every other part, so the signature covers all that a line works with. The package
`cryptography` is imported only where a key is made or read.
"""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from qc.bundle import Bundle, Signature, open_bundle, write_signature
from qc.console import Command
from qc.errors import BundleError, FaultError, UsageError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import (
        Ed25519PrivateKey,
        Ed25519PublicKey,
    )

_DOMAIN = b"attention-qc bundle signature 1\0"
"""Stands before what is signed: a signature of something else never fits a bundle."""

_MAX_KEY_BYTES = 16 * 1024
"""A key file has less than 200 bytes; more than this of any file is not read."""


@dataclass(frozen=True, slots=True)
class KeyPair:
    """The two files of a new key, and its id."""

    private: Path
    public: Path
    key_id: str


def key_id(key: Ed25519PublicKey) -> str:
    """The short name of a key: the first 16 hex digits of the SHA-256 of its 32 raw bytes."""
    return hashlib.sha256(key.public_bytes_raw()).hexdigest()[:16]


def new_key(path: Path) -> KeyPair:
    """Make a key: `path` with `.key` for who signs, with `.pub` for who checks.

    Args:
        path: folder and plain name; the folder is made where it is missing.

    Raises:
        UsageError: a file of this name exists, or `cryptography` is not installed.
        FaultError: the files cannot be written; neither is left.
    """
    _need_cryptography()
    from cryptography.hazmat.primitives import serialization as form
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, form.NoEncryption())
    public = key.public_key().public_bytes(
        form.Encoding.PEM, form.PublicFormat.SubjectPublicKeyInfo
    )
    pair = KeyPair(
        path.with_name(path.name + ".key"),
        path.with_name(path.name + ".pub"),
        key_id(key.public_key()),
    )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        where = path.parent
        raise FaultError("the folder cannot be made", where=where, found=error.strerror) from error
    written: list[Path] = []
    try:
        for file, data, mode in ((pair.private, private, 0o600), (pair.public, public, 0o644)):
            number = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
            written.append(file)
            with os.fdopen(number, "wb") as stream:
                stream.write(data)
    except OSError as error:
        for file in written:
            with suppress(OSError):
                file.unlink()
        where = error.filename or pair.private
        if isinstance(error, FileExistsError):
            raise UsageError("the key exists and is not overwritten", where=where) from error
        raise FaultError("the key cannot be written", where=where, found=error.strerror) from error
    return pair


def read_private_key(file: Path) -> Ed25519PrivateKey:
    """Read the key that signs: PEM, PKCS 8, without a password.

    Raises:
        UsageError: not readable, another kind of key or none, or `cryptography` is not installed.
    """
    _need_cryptography()
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    key = _read(file, "private", lambda pem: load_pem_private_key(pem, None))
    if not isinstance(key, Ed25519PrivateKey):
        raise _not_a_key(file, "private", "another kind of key")
    return key


def read_public_key(file: Path) -> Ed25519PublicKey:
    """Read the key that checks: PEM.

    Raises:
        UsageError: not readable, another kind of key or none, or `cryptography` is not installed.
    """
    _need_cryptography()
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    key = _read(file, "public", load_pem_public_key)
    if not isinstance(key, Ed25519PublicKey):
        raise _not_a_key(file, "public", "another kind of key")
    return key


def sign_bundle(path: Path, key: Path | Ed25519PrivateKey) -> Signature:
    """Sign a sealed bundle in place, in place of a signature that it has.

    The bundle keeps its id; the same key gives the same bytes again.

    Args:
        path: the bundle.
        key: a private key, or the file of one.

    Raises:
        BundleError: not a whole bundle.
        UsageError: not a private key.
        FaultError: the bundle cannot be written; it is then as it was.
    """
    private = read_private_key(key) if isinstance(key, Path) else key
    bundle = open_bundle(path)
    made = Signature(
        algorithm="Ed25519",
        key_id=key_id(private.public_key()),
        signature=base64.b64encode(private.sign(_signed(bundle))).decode(),
    )
    write_signature(bundle, made)
    return made


def require_signature(bundle: Bundle, trusted: Sequence[Path]) -> None:
    """Refuse a bundle that none of the trusted keys has signed.

    Args:
        bundle: an opened bundle.
        trusted: files of public keys; one of them must have signed.

    Raises:
        BundleError: not signed, signed by another key, or the signature does not fit.
        UsageError: a file of `trusted` is not a public key, or `cryptography` is not installed.
    """
    _need_cryptography()
    from cryptography.exceptions import InvalidSignature

    keys = {key_id(key): key for key in map(read_public_key, trusted)}
    wanted = f"a signature by key {' or '.join(keys)}"
    signature = bundle.signature
    if signature is None:
        raise BundleError("the bundle is not signed", where=bundle.path, expected=wanted)
    if signature.key_id not in keys:
        raise BundleError(
            "the bundle is signed by a foreign key",
            where=bundle.path,
            expected=wanted,
            found=f"one by key {signature.key_id}",
        )
    try:
        keys[signature.key_id].verify(base64.b64decode(signature.signature), _signed(bundle))
    except InvalidSignature as error:
        raise BundleError(
            "the signature does not fit: by another key, or for another bundle",
            where=bundle.path,
            expected=f"what key {signature.key_id} signed",
        ) from error


def open_trusted(path: Path, keys: Sequence[Path]) -> Bundle:
    """Open a bundle; where keys are named, one of them must have signed it.

    Raises:
        BundleError: not a whole bundle, or one that none of the keys has signed.
        UsageError: as for `require_signature`.
    """
    bundle = open_bundle(path)
    if keys:
        require_signature(bundle, keys)
    return bundle


def keys_new(running: Command, name: str, out: Path) -> None:
    """`qc keys new`: make a key and say where its two files belong."""
    if name != Path(name).name or name in ("", ".."):
        raise UsageError(
            "a key has a plain name", expected="no path: the folder goes by --out", found=repr(name)
        )
    pair = new_key(out / name)
    running.result(
        {"private": str(pair.private), "public": str(pair.public), "key_id": pair.key_id}
    )
    running.say(
        f"key {pair.key_id}\n"
        f"{pair.private}: signs; it stays secret, with who exports bundles, with a backup\n"
        f"{pair.public}: checks; it goes to every line, into trusted_keys of its line file"
    )


def keys_sign(running: Command, path: Path, key: Path) -> None:
    """`qc keys sign`: sign a bundle in place."""
    signature = sign_bundle(path, key)
    running.result({"bundle": str(path), "signed_by": signature.key_id})
    running.say(f"{path} is signed by key {signature.key_id}")


def _signed(bundle: Bundle) -> bytes:
    return _DOMAIN + bundle.members["manifest.json"]


def _read(file: Path, wanted: str, load: Callable[[bytes], object]) -> object:
    from cryptography.exceptions import UnsupportedAlgorithm

    try:
        with file.open("rb") as stream:
            pem = stream.read(_MAX_KEY_BYTES)
    except OSError as error:
        raise UsageError("the key cannot be read", where=file, found=error.strerror) from error
    other = "public" if wanted == "private" else "private"
    if f"{other.upper()} KEY-----".encode() in pem:
        raise _not_a_key(file, wanted, f"a {other} key")
    try:
        return load(pem)
    except TypeError as error:  # it is encrypted
        raise _not_a_key(file, wanted, "a key with a password") from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise _not_a_key(file, wanted, "no key that can be read") from error


def _not_a_key(file: Path, wanted: str, found: str) -> UsageError:
    ending = ".key" if wanted == "private" else ".pub"
    return UsageError(
        f"this is not the {wanted} key",
        where=file,
        expected=f"Ed25519 in PEM without a password, the {ending} file of `qc keys new`",
        found=found,
    )


def _need_cryptography() -> None:
    try:
        import cryptography  # noqa: F401
    except ImportError as error:
        raise UsageError(
            "signatures need the package 'cryptography', part of the extras edge and train: "
            "pip install 'attention-qc[edge]'",
            where="cryptography",
            found="not installed",
        ) from error
