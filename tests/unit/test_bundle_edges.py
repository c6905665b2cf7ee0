"""The edges of the sealed file: limits to the byte, words of each refusal, nothing left behind."""

from __future__ import annotations

import io
import json
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from resealed import npz, resealed
from toy_line import MODEL, facts, seal

from qc import bundle as bundle_module
from qc.bundle import Bundle, Golden, Signature, open_bundle, write_bundle
from qc.errors import BundleError, FaultError

SIGNED = {"algorithm": "Ed25519", "key_id": "0123456789abcdef", "signature": "A" * 86 + "=="}


@pytest.fixture
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Sealed for each test: `make mutation` runs the tests that reach a function themselves."""
    return seal(tmp_path_factory.mktemp("whole") / "toy.tflite").path.read_bytes()


@pytest.fixture
def file(tmp_path: Path, whole: bytes) -> Path:
    path = tmp_path / "toy.tflite"
    path.write_bytes(whole)
    return path


def refused(file: Path, data: bytes | None = None) -> str:
    """The words with which a file is refused; it must be named."""
    if data is not None:
        file.write_bytes(data)
    with pytest.raises(BundleError) as caught:
        open_bundle(file)
    assert caught.value.where == str(file)
    return caught.value.message


# limits


def test_a_file_may_have_as_many_bytes_as_the_limit_says(
    file: Path, whole: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bundle_module, "MAX_BYTES", len(whole))
    assert open_bundle(file).manifest.name == "toy"
    monkeypatch.setattr(bundle_module, "MAX_BYTES", len(whole) - 1)
    assert refused(file) == f"the file is too large; expected <= {len(whole) - 1} bytes"


def test_the_parts_may_unpack_to_as_much_as_the_limit_says(
    file: Path, whole: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A packed part: the file is small, what it holds is not."""
    with zipfile.ZipFile(io.BytesIO(whole)) as archive:
        members = {i.filename: archive.read(i) for i in archive.infolist()}
    members["report.json"] = b" " * 100_000 + b"{}"
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    total = sum(map(len, members.values()))
    monkeypatch.setattr(bundle_module, "MAX_BYTES", total)
    assert "altered after it was sealed" in refused(file, buffer.getvalue())
    monkeypatch.setattr(bundle_module, "MAX_BYTES", total - 1)
    assert refused(file) == f"the bundle unpacks to too much; expected {total - 1}"


def test_golden_inputs_may_unpack_to_as_much_as_the_limit_says(
    file: Path, whole: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **_GOOD, spare=np.zeros(200_000, np.uint8))
    with zipfile.ZipFile(buffer) as archive:
        total = sum(i.file_size for i in archive.infolist())
    data = resealed(whole, lambda m: m.update({"golden.npz": buffer.getvalue()}))
    assert len(data) < total
    file.write_bytes(data)
    monkeypatch.setattr(bundle_module, "MAX_BYTES", total)
    assert len(open_bundle(file).golden.verdicts) == 2
    monkeypatch.setattr(bundle_module, "MAX_BYTES", total - 1)
    says = f"found golden.npz unpacks to {total} bytes, more than {total - 1}"
    assert says in refused(file)


# words


def test_each_refusal_says_what_was_expected_and_found(file: Path, whole: bytes) -> None:
    assert refused(file.with_name("gone.tflite")) == (
        "the bundle cannot be read; expected a file; found No such file or directory"
    )
    text = b"no bundle"
    words = "expected a .tflite file sealed by `qc export`; found 9 bytes whose end is not the "
    assert refused(file, text).startswith(f"not a bundle, or a truncated one; {words}sealed ZIP (")


def test_a_foreign_zip_is_told_what_a_bundle_holds(file: Path) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("b.txt", "x")
        archive.writestr("a.txt", "y")
    assert refused(file, buffer.getvalue()) == (
        "this is not a bundle of this project; expected manifest.json, labels.txt, golden.npz, "
        "report.json, and signature or not; found b.txt, a.txt"
    )
    with zipfile.ZipFile(buffer, "a") as archive:
        archive.writestr("n" * 300, "z")
    assert refused(file, buffer.getvalue()).endswith(f"; found b.txt, a.txt, {'n' * 186}")


def test_an_altered_seal_tells_both_sums(file: Path, whole: bytes) -> None:
    other = bytearray(whole)
    other[3] ^= 1
    seal_said = whole[-64:-48].decode()
    found = bundle_module._sha256(bytes(other[: -len(bundle_module._COMMENT) - 64]))[:16]
    assert refused(file, bytes(other)) == (
        f"the bundle was altered after it was sealed; expected SHA-256 {seal_said}...; "
        f"found {found}..."
    )
    # one digit of the sum itself, and one letter of the words before it
    for at in (len(whole) - 1, len(whole) - 64, len(whole) - 65):
        other = bytearray(whole)
        other[at] ^= 1
        assert "altered after it was sealed" in refused(file, bytes(other))
    no_digit = refused(file, whole[:-64] + b"\xff" + whole[-63:])
    assert f"; expected SHA-256 \ufffd{whole[-63:-48].decode()}...; found " in no_digit


def test_a_part_that_does_not_fit_its_checksum_is_named_with_both(file: Path, whole: bytes) -> None:
    def change(members: dict[str, bytes]) -> None:
        members["manifest.json"] = members["manifest.json"].replace(
            bundle_module._sha256(members["labels.txt"]).encode(), b"0" * 64
        )
        manifest = json.loads(members["manifest.json"])
        manifest["bundle_id"] = bundle_module._bundle_id(manifest)
        kept["manifest"] = json.dumps(manifest).encode()
        kept["labels"] = members["labels.txt"]

    kept: dict[str, bytes] = {}
    resealed(whole, change)
    members = dict(open_bundle(file).members, **{"manifest.json": kept["manifest"]})
    bundle_module._seal(file, open_bundle(file).model, members)
    labels = bundle_module._sha256(kept["labels"])[:16]
    assert refused(file) == (
        f"part labels.txt of the bundle was altered; expected SHA-256 {'0' * 16}...; "
        f"found {labels}..."
    )


def test_the_bundle_id_is_a_hash_of_all_but_itself(file: Path) -> None:
    opened = open_bundle(file)
    raw = json.loads(opened.members["manifest.json"])
    assert opened.manifest.bundle_id == raw["bundle_id"] and len(raw["bundle_id"]) == 16
    text = json.dumps(raw | {"bundle_id": ""}, sort_keys=True, indent=1).encode()
    assert bundle_module._sha256(text).startswith(raw["bundle_id"])
    assert opened.members["manifest.json"] == json.dumps(raw, sort_keys=True, indent=1).encode()


# signatures


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"algorithm": "RSA"}, "key 'algorithm': "),
        ({"key_id": "0123456789abcde"}, "key 'key_id': "),
        ({"key_id": "0123456789abcdefa"}, "key 'key_id': "),
        ({"key_id": "0123456789ABCDEF"}, "key 'key_id': "),
        ({"signature": "A" * 85 + "=="}, "key 'signature': "),
        ({"signature": "A" * 87 + "=="}, "key 'signature': "),
        ({"x" * 70: 1}, f"key '{'x' * 60}': "),
    ],
)
def test_a_malformed_signature_is_refused_with_its_key(
    file: Path, change: dict[str, Any], says: str
) -> None:
    opened = open_bundle(file)
    data = json.dumps(SIGNED).encode()
    bundle_module._seal(file, opened.model, {**opened.members, "signature": data})
    assert open_bundle(file).signature == Signature(**SIGNED)  # type: ignore[arg-type]
    data = json.dumps(SIGNED | change).encode()
    bundle_module._seal(file, opened.model, {**opened.members, "signature": data})
    expected = "expected JSON of algorithm Ed25519, key_id and signature"
    assert refused(file).startswith(
        f"the signature in the bundle is malformed; {expected}; found {says}"
    )


def test_a_signature_that_is_no_json_is_refused(file: Path) -> None:
    opened = open_bundle(file)
    bundle_module._seal(file, opened.model, {**opened.members, "signature": b"none"})
    assert "; found Invalid JSON" in refused(file), "no key is named: there is none"


# writing


def test_a_bundle_is_written_into_a_new_folder(tmp_path: Path, whole: bytes) -> None:
    path = tmp_path / "a" / "b" / "toy.tflite"
    assert seal(path).path.read_bytes() == whole
    assert seal(path).path.read_bytes() == whole, "an older one is replaced"
    assert [f.name for f in path.parent.iterdir()] == ["toy.tflite"]


def test_nothing_is_left_of_a_bundle_that_cannot_take_its_place(tmp_path: Path) -> None:
    path = tmp_path / "toy.tflite"
    path.mkdir()
    (path / "kept").touch()
    with pytest.raises(FaultError, match="the bundle cannot be written; found ") as caught:
        seal(path)
    assert caught.value.where == str(path)
    assert [f.name for f in tmp_path.iterdir()] == ["toy.tflite"] and (path / "kept").exists()


def test_every_member_is_stored_with_the_same_date(file: Path) -> None:
    with zipfile.ZipFile(file) as archive:
        for info in archive.infolist():
            assert info.compress_type == zipfile.ZIP_STORED
            assert info.date_time == (1980, 1, 1, 0, 0, 0)
        names = [i.filename for i in archive.infolist()]
    assert names == ["manifest.json", "labels.txt", "golden.npz", "report.json"]


def test_the_zip_says_how_long_its_comment_is(whole: bytes) -> None:
    """Readers less patient than Python's take the comment to end where the file does."""
    at = whole.rindex(b"PK\x05\x06")  # the end of central directory, 22 bytes
    comment = whole[at + 22 :]
    assert struct.unpack("<H", whole[at + 20 : at + 22]) == (len(comment),)
    assert comment == b"attention-qc sha256:" + bundle_module._sha256(whole[: at + 22]).encode()


def test_it_is_written_under_another_name_beside_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    moves: list[tuple[Path, Path]] = []

    def move(self: Path, target: Path) -> None:
        moves.append((self, target))

    monkeypatch.setattr(Path, "replace", move)
    with pytest.raises(BundleError, match="cannot be read"):
        seal(tmp_path / "toy.tflite")
    assert moves == [(tmp_path / "toy.tflite.partial", tmp_path / "toy.tflite")]
    assert [f.name for f in tmp_path.iterdir()] == ["toy.tflite.partial"]


def test_labels_and_report_are_as_they_were_given(tmp_path: Path) -> None:
    golden = Golden(np.zeros((0, 4, 4, 3), np.uint8), np.zeros((0, 3), np.float32), None, ())
    path = tmp_path / "toy.tflite"
    given, report = facts() | {"attention": None}, {"b": 1, "a": "\u00e9"}
    made = write_bundle(path, model=MODEL, golden=golden, report=report, facts=given)
    opened = open_bundle(path)
    assert opened.manifest == made and opened.report == report
    assert opened.members["labels.txt"] == b"good\nscratch\ndent\n"
    assert opened.members["report.json"] == b'{\n "a": "\\u00e9",\n "b": 1\n}'


# golden inputs


def opened(data: bytes, folder: Path) -> Bundle | BundleError:
    """What comes of these bytes."""
    file = folder / "toy.tflite"
    file.write_bytes(data)
    try:
        return open_bundle(file)
    except BundleError as error:
        assert error.where == str(file)
        return error


_GOOD: dict[str, Any] = {
    "images": np.zeros((2, 4, 4, 3), np.uint8),
    "score": np.zeros((2, 3), np.float32),
    "attention": np.zeros((2, 2, 2, 3), np.float32),
    "verdicts": np.array(["OK", "OK"]),
}


@pytest.mark.parametrize(
    "wrong",
    [
        {"images": np.zeros((2, 4, 4, 1), np.uint8)},
        {"images": np.zeros((2, 5, 4, 3), np.uint8)},
        {"images": np.zeros((2, 4, 4, 3), np.float32)},
        {"images": np.zeros((3, 4, 4, 3), np.uint8)},
        {"score": np.zeros((2, 2), np.float32)},
        {"score": np.zeros((1, 3), np.float32)},
        {"score": np.zeros((2, 3), np.float64)},
        {"attention": np.zeros((2, 2, 2, 2), np.float32)},
        {"attention": np.zeros((1, 2, 2, 3), np.float32)},
        {"attention": np.zeros((2, 2, 3), np.float32)},
        {"attention": np.zeros((2, 2, 2, 3), np.int32)},
        {"verdicts": np.array(["OK"])},
    ],
)
def test_golden_outputs_that_do_not_fit_the_manifest_are_refused(
    tmp_path: Path, whole: bytes, wrong: dict[str, Any]
) -> None:
    def change(arrays: dict[str, Any]) -> bytes:
        return resealed(whole, lambda m: m.update({"golden.npz": npz(**arrays)}))

    assert isinstance(opened(change(_GOOD), tmp_path), Bundle)
    found = opened(change(_GOOD | wrong), tmp_path)
    assert isinstance(found, BundleError) and "do not fit the manifest" in found.message


def test_a_map_that_the_manifest_has_must_be_in_golden(tmp_path: Path, whole: bytes) -> None:
    arrays = {key: value for key, value in _GOOD.items() if key != "attention"}
    found = opened(resealed(whole, lambda m: m.update({"golden.npz": npz(**arrays)})), tmp_path)
    assert isinstance(found, BundleError) and "do not fit the manifest" in found.message


def test_what_does_not_fit_is_told_by_its_shapes(tmp_path: Path, whole: bytes) -> None:
    arrays = _GOOD | {"verdicts": np.array(["OK"])}
    found = opened(resealed(whole, lambda m: m.update({"golden.npz": npz(**arrays)})), tmp_path)
    assert isinstance(found, BundleError)
    assert found.message.endswith("manifest: [(2, 4, 4, 3), (2, 3), 1, (2, 2, 2, 3)]")


class _Armed:
    """Unpickled, it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("name", ["images", "score", "attention", "verdicts"])
def test_nothing_in_golden_is_unpickled(tmp_path: Path, whole: bytes, name: str) -> None:
    trace = tmp_path / "ran"
    arrays = _GOOD | {name: np.array([_Armed(trace), _Armed(trace)])}
    found = opened(resealed(whole, lambda m: m.update({"golden.npz": npz(**arrays)})), tmp_path)
    assert isinstance(found, BundleError) and not trace.exists()
    assert found.message.startswith("a part of the bundle is not valid; found Object arrays cannot")
