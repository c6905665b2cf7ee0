"""Signatures of bundles: what a right key proves, and that nothing else passes for it."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from toy_line import seal

from qc import bundle as bundle_module
from qc.bundle import open_bundle, write_signature
from qc.console import Command
from qc.errors import BundleError, FaultError, UsageError
from qc.signature import (
    KeyPair,
    keys_new,
    new_key,
    read_private_key,
    read_public_key,
    require_signature,
    sign_bundle,
)


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return seal(tmp_path / "toy.tflite").path


@pytest.fixture
def plant(tmp_path: Path) -> KeyPair:
    return new_key(tmp_path / "keys" / "plant")


@pytest.fixture
def other(tmp_path: Path) -> KeyPair:
    return new_key(tmp_path / "keys" / "other")


# --- keys


def test_a_new_key_is_two_files_and_the_private_one_is_private(plant: KeyPair) -> None:
    assert (plant.private.name, plant.public.name) == ("plant.key", "plant.pub")
    assert stat.S_IMODE(plant.private.stat().st_mode) == 0o600
    assert b"BEGIN PRIVATE KEY" in plant.private.read_bytes()
    assert b"BEGIN PUBLIC KEY" in plant.public.read_bytes()
    raw = read_private_key(plant.private).public_key().public_bytes_raw()
    assert raw == read_public_key(plant.public).public_bytes_raw() and len(raw) == 32
    assert plant.key_id == hashlib.sha256(raw).hexdigest()[:16]


def test_two_keys_are_two(plant: KeyPair, other: KeyPair) -> None:
    assert plant.key_id != other.key_id


@pytest.mark.parametrize("ending", [".key", ".pub"])
def test_a_key_that_exists_is_not_overwritten(tmp_path: Path, ending: str) -> None:
    there = tmp_path / f"plant{ending}"
    there.write_text("mine")
    with pytest.raises(UsageError, match="exists and is not overwritten") as caught:
        new_key(tmp_path / "plant")
    assert caught.value.where == str(there) and there.read_text() == "mine"
    assert list(tmp_path.iterdir()) == [there]


def test_a_place_that_cannot_be_written_is_a_fault(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(FaultError, match="folder cannot be made"):
        new_key(tmp_path / "file" / "plant")
    with pytest.raises(FaultError, match="key cannot be written; found File name too long"):
        new_key(tmp_path / ("n" * 252))  # with its ending, 256 bytes
    assert [f.name for f in tmp_path.iterdir()] == ["file"]


def test_half_a_key_is_not_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = os.open

    def full(file: Path, *arguments: int) -> int:
        if file.suffix == ".pub":
            raise OSError(28, "No space left on device", str(file))
        return made(file, *arguments)

    monkeypatch.setattr(os, "open", full)
    with pytest.raises(FaultError, match="No space left"):
        new_key(tmp_path / "plant")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["../plant", "a/b", "/plant", "..", ".", ""])
def test_the_name_of_a_key_is_no_path(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="a key has a plain name"):
        keys_new(Command(as_json=False, verbose=False), name, tmp_path / "keys")
    assert list(tmp_path.iterdir()) == []


def _pem(key: Any, password: bytes | None = None) -> bytes:
    lock = serialization.BestAvailableEncryption(password) if password else None
    pem: bytes = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        lock or serialization.NoEncryption(),
    )
    return pem


def _public(key: Any) -> bytes:
    pem: bytes = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return pem


@pytest.mark.parametrize("read", [read_private_key, read_public_key])
def test_a_file_that_is_no_key_is_refused(tmp_path: Path, read: Callable[[Path], object]) -> None:
    file = tmp_path / "file"
    begin = b"-----BEGIN " + (b"PRIVATE" if read is read_private_key else b"PUBLIC") + b" KEY-----"
    for content in (b"", b"text\n", b"\xff\xfe\0" * 9, bytes(100_000), begin, begin + b"\nAAAA\n"):
        file.write_bytes(content)
        with pytest.raises(UsageError, match=r"no key that can be read") as caught:
            read(file)
        assert caught.value.where == str(file)
    with pytest.raises(UsageError, match="No such file"):
        read(tmp_path / "nowhere")
    with pytest.raises(UsageError, match="Is a directory"):
        read(tmp_path)


def test_the_other_half_is_refused_by_name(plant: KeyPair) -> None:
    with pytest.raises(UsageError, match=r"not the private key.*found a public key"):
        read_private_key(plant.public)
    with pytest.raises(UsageError, match=r"not the public key.*\.pub file.*found a private key"):
        read_public_key(plant.private)


def test_another_kind_of_key_is_refused(tmp_path: Path) -> None:
    file, key = tmp_path / "file", rsa.generate_private_key(65537, 2048)
    file.write_bytes(_pem(key))
    with pytest.raises(UsageError, match="another kind of key"):
        read_private_key(file)
    file.write_bytes(_public(key))
    with pytest.raises(UsageError, match="another kind of key"):
        read_public_key(file)


def test_a_key_with_a_password_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(_pem(ed25519.Ed25519PrivateKey.generate(), b"secret"))
    with pytest.raises(UsageError, match="a key with a password"):
        read_private_key(file)


# --- signing


def test_signing_changes_nothing_but_the_signature(bundle: Path, plant: KeyPair) -> None:
    before = open_bundle(bundle)
    made = sign_bundle(bundle, plant.private)
    after = open_bundle(bundle)
    assert before.signature is None and after.signature == made
    assert made.key_id == plant.key_id
    assert after.manifest == before.manifest  # the bundle id is in it
    assert after.model == before.model
    assert {k: v for k, v in after.members.items() if k != "signature"} == before.members
    assert set(json.loads(after.members["signature"])) == {"algorithm", "key_id", "signature"}
    require_signature(after, [plant.public])
    assert sorted(f.name for f in bundle.parent.iterdir()) == ["keys", "toy.tflite"]


def test_what_is_signed_is_the_prefix_and_the_manifest(bundle: Path, plant: KeyPair) -> None:
    signature = base64.b64decode(sign_bundle(bundle, plant.private).signature)
    manifest = open_bundle(bundle).members["manifest.json"]
    key = read_public_key(plant.public)
    key.verify(signature, b"attention-qc bundle signature 1\0" + manifest)
    assert b'"model": "' in manifest and b'"golden.npz": "' in manifest


def test_the_same_bundle_and_key_give_the_same_bytes(
    bundle: Path, tmp_path: Path, plant: KeyPair
) -> None:
    second = seal(tmp_path / "second.tflite").path
    sign_bundle(bundle, plant.private)
    sign_bundle(second, read_private_key(plant.private))
    once = bundle.read_bytes()
    assert once == second.read_bytes()
    sign_bundle(bundle, plant.private)
    assert bundle.read_bytes() == once


def test_signing_again_replaces_the_signature(bundle: Path, plant: KeyPair, other: KeyPair) -> None:
    sign_bundle(bundle, plant.private)
    once = bundle.read_bytes()
    sign_bundle(bundle, other.private)
    opened = open_bundle(bundle)
    require_signature(opened, [other.public])
    with pytest.raises(BundleError, match="foreign key"):
        require_signature(opened, [plant.public])
    sign_bundle(bundle, plant.private)
    assert bundle.read_bytes() == once


def test_a_link_to_a_bundle_stays_a_link(bundle: Path, plant: KeyPair) -> None:
    link = bundle.with_name("current.tflite")
    link.symlink_to(bundle.name)
    sign_bundle(link, plant.private)
    assert link.is_symlink() and open_bundle(bundle).signature is not None


def test_a_bundle_that_cannot_be_written_stays_as_it_was(
    bundle: Path, plant: KeyPair, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = bundle.read_bytes()

    def refuse(self: Path, target: Path) -> Path:
        raise OSError(1, "Operation not permitted", str(target))

    monkeypatch.setattr(Path, "replace", refuse)
    with pytest.raises(FaultError, match="cannot be written"):
        sign_bundle(bundle, plant.private)
    assert bundle.read_bytes() == before
    assert sorted(f.name for f in bundle.parent.iterdir()) == ["keys", "toy.tflite"]


def test_an_altered_bundle_is_not_signed(bundle: Path, plant: KeyPair) -> None:
    data = bundle.read_bytes()
    bundle.write_bytes(data[:20] + b"?" + data[21:])
    with pytest.raises(BundleError, match="altered"):
        sign_bundle(bundle, plant.private)
    assert bundle.read_bytes() == data[:20] + b"?" + data[21:]


def test_every_altered_byte_of_a_signed_bundle_is_refused(bundle: Path, plant: KeyPair) -> None:
    sign_bundle(bundle, plant.private)
    data = bundle.read_bytes()
    start = data.index(b"signature")
    for at in {*range(0, len(data), 53), *range(start, len(data), 3)}:
        bundle.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
        with pytest.raises(BundleError):
            open_bundle(bundle)


# --- checking


def test_any_one_of_the_trusted_keys_will_do(bundle: Path, plant: KeyPair, other: KeyPair) -> None:
    sign_bundle(bundle, plant.private)
    require_signature(open_bundle(bundle), [other.public, plant.public])
    require_signature(open_bundle(bundle), [plant.public, other.public])


def test_a_bundle_without_a_signature_is_refused(bundle: Path, plant: KeyPair) -> None:
    with pytest.raises(BundleError, match="is not signed") as caught:
        require_signature(open_bundle(bundle), [plant.public])
    assert plant.key_id in caught.value.message and caught.value.where == str(bundle)


def test_a_foreign_key_is_named_beside_the_trusted_ones(
    bundle: Path, tmp_path: Path, plant: KeyPair, other: KeyPair
) -> None:
    third = new_key(tmp_path / "third")
    sign_bundle(bundle, other.private)
    expected = rf"foreign key.*{plant.key_id} or {third.key_id}.*found one by key {other.key_id}"
    with pytest.raises(BundleError, match=expected):
        require_signature(open_bundle(bundle), [plant.public, third.public])


def test_who_trusts_nobody_is_given_nothing(bundle: Path, plant: KeyPair) -> None:
    sign_bundle(bundle, plant.private)
    with pytest.raises(BundleError, match="foreign"):
        require_signature(open_bundle(bundle), [])


def test_every_trusted_file_must_be_a_public_key(bundle: Path, plant: KeyPair) -> None:
    sign_bundle(bundle, plant.private)
    with pytest.raises(UsageError, match="not the public key"):
        require_signature(open_bundle(bundle), [plant.public, plant.private])


def _resealed(path: Path, **members: bytes) -> Path:
    """Other members under a seal that fits, as someone would make who knows how it is made."""
    opened = open_bundle(path)
    named = {name.replace("__", "."): data for name, data in members.items()}
    bundle_module._seal(path, opened.model, {**opened.members, **named})
    return path


def test_a_changed_threshold_does_not_fit_the_signature(bundle: Path, plant: KeyPair) -> None:
    sign_bundle(bundle, plant.private)
    manifest = json.loads(open_bundle(bundle).members["manifest.json"])
    manifest["decision"]["ng_above"]["scratch"] = 0.99
    manifest["bundle_id"] = bundle_module._bundle_id(manifest)
    _resealed(bundle, manifest__json=bundle_module._canonical(manifest))
    opened = open_bundle(bundle)  # all checksums fit
    assert opened.signature is not None
    with pytest.raises(BundleError, match=rf"does not fit.*{plant.key_id}"):
        require_signature(opened, [plant.public])


def test_the_signature_of_another_bundle_does_not_fit(
    bundle: Path, tmp_path: Path, plant: KeyPair
) -> None:
    second = seal(tmp_path / "second.tflite", name="second").path
    write_signature(open_bundle(second), sign_bundle(bundle, plant.private))
    with pytest.raises(BundleError, match="does not fit"):
        require_signature(open_bundle(second), [plant.public])


def test_an_altered_signature_does_not_fit(bundle: Path, plant: KeyPair) -> None:
    made = sign_bundle(bundle, plant.private)
    for at in (0, 40, 80):
        letter = "B" if made.signature[at] == "A" else "A"
        text = made.signature[:at] + letter + made.signature[at + 1 :]
        write_signature(open_bundle(bundle), made.model_copy(update={"signature": text}))
        with pytest.raises(BundleError, match="does not fit"):
            require_signature(open_bundle(bundle), [plant.public])


def test_a_signature_under_the_name_of_another_key_does_not_fit(
    bundle: Path, plant: KeyPair, other: KeyPair
) -> None:
    made = sign_bundle(bundle, other.private)
    write_signature(open_bundle(bundle), made.model_copy(update={"key_id": plant.key_id}))
    with pytest.raises(BundleError, match="does not fit"):
        require_signature(open_bundle(bundle), [plant.public, other.public])


_GOOD = {"algorithm": "Ed25519", "key_id": "0" * 16, "signature": "A" * 86 + "=="}


def test_the_right_form_opens(bundle: Path) -> None:
    assert open_bundle(_resealed(bundle, signature=json.dumps(_GOOD).encode())).signature


@pytest.mark.parametrize(
    ("member", "says"),
    [
        (b"", "Invalid JSON"),
        (b"\xff\xfe\x00", "Invalid JSON"),
        (b"[1]", "an object"),
        (b"null", "an object"),
        (json.dumps(_GOOD | {"algorithm": "RSA"}).encode(), "'algorithm'"),
        (json.dumps(_GOOD | {"key_id": "0" * 15}).encode(), "'key_id'"),
        (json.dumps(_GOOD | {"key_id": "0" * 16 + "\n"}).encode(), "'key_id'"),
        (json.dumps(_GOOD | {"signature": "A" * 84}).encode(), "'signature'"),
        (json.dumps(_GOOD | {"signature": "A" * 85 + "\u00e9=="}).encode(), "'signature'"),
        (json.dumps(_GOOD | {"signature": None}).encode(), "'signature'"),
        (json.dumps(_GOOD | {"note": 1}).encode(), "'note'"),
        (json.dumps({k: v for k, v in _GOOD.items() if k != "key_id"}).encode(), "'key_id'"),
        (json.dumps({k: v for k, v in _GOOD.items() if k != "algorithm"}).encode(), "'algorithm'"),
    ],
)
def test_a_malformed_member_is_refused_at_opening(bundle: Path, member: bytes, says: str) -> None:
    _resealed(bundle, signature=member)
    with pytest.raises(BundleError, match="signature in the bundle is malformed") as caught:
        open_bundle(bundle)
    assert says in caught.value.message and caught.value.where == str(bundle)
    assert "\n" not in caught.value.message


# --- without the package


def test_without_the_package_one_error_says_what_to_install(
    bundle: Path, plant: KeyPair, monkeypatch: pytest.MonkeyPatch
) -> None:
    sign_bundle(bundle, plant.private)
    for name in [n for n in sys.modules if n.split(".")[0] == "cryptography"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "cryptography", None)
    opened = open_bundle(bundle)  # opening needs no package
    for call in (
        lambda: require_signature(opened, [plant.public]),
        lambda: sign_bundle(bundle, plant.private),
        lambda: new_key(bundle.with_name("third")),
    ):
        with pytest.raises(UsageError, match=r"pip install 'attention-qc\[edge\]'") as caught:
            call()
        assert caught.value.where == "cryptography"
    assert not bundle.with_name("third.key").exists()
