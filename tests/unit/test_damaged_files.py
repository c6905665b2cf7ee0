"""Images and bundles of any bytes: a whole result, or one error that names the file."""

from __future__ import annotations

import hashlib
import io
import json
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from damaged import answer, any_bytes, bounded, contents, damaged, no_hang
from hypothesis import given
from hypothesis import strategies as st
from odd_images import (
    ARITHMETIC_JPEG,
    animated_png,
    bmp_file,
    bmp_rows,
    four_ink_jpeg,
    jpeg_with,
    picture,
    png_of,
    tiff_of,
)
from toy_line import FirstPixel, seal

from qc import bundle as bundle_module
from qc.bundle import Bundle, open_bundle
from qc.errors import BundleError, DataError, QCError
from qc.imageio import decode_image, read_image
from qc.replay import replay

RGB = picture(12, 16)


def _jpeg(*options: int) -> bytes:
    ok, data = cv2.imencode(".jpg", RGB[..., ::-1], list(options))
    assert ok
    return data.tobytes()


IMAGES = {
    "png": [
        png_of(RGB, 2),
        png_of(RGB[..., 0], 0, interlaced=True),
        png_of(RGB.astype(np.uint16), 2, depth=16),
        animated_png(RGB, RGB),
    ],
    "jpeg": [
        _jpeg(),
        _jpeg(cv2.IMWRITE_JPEG_PROGRESSIVE, 1, cv2.IMWRITE_JPEG_RST_INTERVAL, 1),
        ARITHMETIC_JPEG,
        four_ink_jpeg(np.full((2, 2, 4), 90, np.uint8), 0),
        jpeg_with(_jpeg(), 0xE1, b"Exif\0\0II*\0"),
    ],
    "bmp": [bmp_file((16, 12), 24, bmp_rows(RGB, 24))],
    "tiff": [tiff_of(RGB, 2), tiff_of(RGB, 2, deflate=True, tile_hw=(16, 16))],
}


def _is_picture(found: object) -> bool:
    return (
        isinstance(found, np.ndarray)
        and found.dtype == np.uint8
        and found.ndim == 3
        and found.shape[2] == 3
        and found.size > 0
        and found.flags["C_CONTIGUOUS"]
    )


@pytest.mark.parametrize("kind", IMAGES)
def test_the_whole_images_are_read(kind: str) -> None:
    """A guard of this file: what is damaged below is right before."""
    assert all(_is_picture(decode_image(data, "x")) for data in IMAGES[kind])


@given(data=st.data())
@pytest.mark.parametrize("kind", IMAGES)
@bounded(120)
def test_any_image_is_a_picture_or_an_error(kind: str, data: st.DataObject) -> None:
    given_bytes = data.draw(any_bytes(*IMAGES[kind]))
    found = answer(lambda: decode_image(given_bytes, "part.img"), "part.img")
    assert _is_picture(found) or isinstance(found, DataError)
    again = answer(lambda: decode_image(given_bytes, "part.img"), "part.img")
    assert str(again) == str(found) if isinstance(found, QCError) else _is_picture(again)


@given(data=st.data())
@bounded(60)
def test_whoever_listens_gets_a_picture_or_an_error_too(data: st.DataObject) -> None:
    given_bytes = data.draw(any_bytes(*IMAGES["jpeg"], *IMAGES["tiff"]))
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "part.jpg"
        file.write_bytes(given_bytes)
        found = answer(lambda: read_image(file, listen=True), str(file))
        assert _is_picture(found) or isinstance(found, DataError)
        assert contents(Path(folder)) == {"part.jpg": given_bytes}
    # nothing of a damaged image is left in the decoder or on stderr
    np.testing.assert_array_equal(decode_image(IMAGES["png"][0], "x", listen=True), RGB)


@pytest.mark.parametrize("end", [b"", b"\0", b"\xd9"])
def test_a_megabyte_of_fill_bytes_is_judged_at_once(end: bytes) -> None:
    """Once a time that grew with the square of the length: hours."""
    with no_hang(), pytest.raises(DataError, match="JPEG"):
        decode_image(b"\xff\xd8" + b"\xff" * 1_000_000 + end, "x")


def test_fill_bytes_before_a_marker_are_skipped() -> None:
    whole = _jpeg()
    filled = whole[:2] + b"\xff" * 100 + whole[2:]
    np.testing.assert_array_equal(decode_image(filled, "x"), decode_image(whole, "x"))


# bundles


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return seal(tmp_path_factory.mktemp("whole") / "toy.tflite").path.read_bytes()


def _opened(data: bytes) -> Bundle | QCError:
    """Open bytes as a bundle; what opens can be replayed, and nothing beside it is left."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "toy.tflite"
        file.write_bytes(data)
        found = answer(lambda: open_bundle(file), str(file))
        assert contents(Path(folder)) == {"toy.tflite": data}
        if isinstance(found, Bundle):
            assert found.path == file and replay(found, FirstPixel()).n == len(found.golden.images)
        else:
            assert isinstance(found, BundleError)
        return found


@given(data=st.data())
@bounded(120)
def test_no_damaged_bundle_opens(whole: bytes, data: st.DataObject) -> None:
    given_bytes = data.draw(any_bytes(whole))
    found = _opened(given_bytes)
    assert isinstance(found, Bundle) == (given_bytes == whole)


def _resealed(whole: bytes, change: Callable[[dict[str, bytes]], None]) -> bytes:
    """The bundle with other members under checksums, id and seal that fit: made with intent."""
    with zipfile.ZipFile(io.BytesIO(whole)) as archive:
        members = {i.filename: archive.read(i) for i in archive.infolist()}
    model = whole[: json.loads(members["manifest.json"])["model_bytes"]]
    change(members)
    try:
        manifest: dict[str, Any] = json.loads(members["manifest.json"])
        for name in ("labels.txt", "golden.npz", "report.json"):
            manifest["sha256"][name] = hashlib.sha256(members[name]).hexdigest()
        manifest["bundle_id"] = bundle_module._bundle_id(manifest)
        members["manifest.json"] = json.dumps(manifest).encode()
    except (ValueError, TypeError, LookupError, RecursionError):
        pass  # no manifest any more: it is sealed as it is
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "made.tflite"
        bundle_module._seal(file, model, members)
        return file.read_bytes()


def test_sealing_anew_without_change_opens(whole: bytes) -> None:
    """A guard of this file: what is refused below is refused for its contents."""
    assert isinstance(_opened(_resealed(whole, lambda members: None)), Bundle)


@given(data=st.data(), name=st.sampled_from(["manifest.json", "report.json", "golden.npz"]))
@bounded(120)
def test_a_damaged_part_under_a_right_seal_opens_or_is_refused(
    whole: bytes, name: str, data: st.DataObject
) -> None:
    def change(members: dict[str, bytes]) -> None:
        members[name] = data.draw(any_bytes(members[name]))

    _opened(_resealed(whole, change))


@given(data=st.data())
@bounded(80)
def test_damaged_arrays_inside_golden_are_refused(whole: bytes, data: st.DataObject) -> None:
    """The ZIP of the arrays is right, what it holds is not: the header of an array is a text."""

    def change(members: dict[str, bytes]) -> None:
        with zipfile.ZipFile(io.BytesIO(members["golden.npz"])) as archive:
            arrays = {i.filename: archive.read(i) for i in archive.infolist()}
        name = data.draw(st.sampled_from(sorted(arrays)))
        arrays[name] = data.draw(damaged(arrays[name]))
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            for member, content in arrays.items():
                archive.writestr(member, content)
        members["golden.npz"] = buffer.getvalue()

    _opened(_resealed(whole, change))


def _npz(**arrays: Any) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


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
    whole: bytes, wrong: dict[str, Any]
) -> None:
    def change(arrays: dict[str, Any]) -> bytes:
        return _resealed(whole, lambda m: m.update({"golden.npz": _npz(**arrays)}))

    assert isinstance(_opened(change(_GOOD)), Bundle)
    found = _opened(change(_GOOD | wrong))
    assert isinstance(found, BundleError) and "do not fit the manifest" in found.message


def test_a_map_that_the_manifest_has_must_be_in_golden(whole: bytes) -> None:
    arrays = {key: value for key, value in _GOOD.items() if key != "attention"}
    found = _opened(_resealed(whole, lambda m: m.update({"golden.npz": _npz(**arrays)})))
    assert isinstance(found, BundleError) and "do not fit the manifest" in found.message


def test_golden_inputs_that_unpack_to_too_much_are_refused(
    whole: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    big = {**_GOOD, "spare": np.zeros(200_000, np.uint8)}
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **big)
    sealed = _resealed(whole, lambda m: m.update({"golden.npz": buffer.getvalue()}))
    assert isinstance(_opened(sealed), Bundle)
    monkeypatch.setattr(bundle_module, "MAX_BYTES", 100_000)
    assert len(sealed) < 100_000
    found = _opened(sealed)
    assert isinstance(found, BundleError) and "unpacks to" in found.message
