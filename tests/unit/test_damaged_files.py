"""Images and bundles of any bytes: a whole result, or one error that names the file."""

from __future__ import annotations

import io
import tempfile
import zipfile
from pathlib import Path

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
from resealed import resealed
from toy_line import FirstPixel, seal

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


def test_sealing_anew_without_change_opens(whole: bytes) -> None:
    """A guard of this file: what is refused below is refused for its contents."""
    assert isinstance(_opened(resealed(whole, lambda members: None)), Bundle)


@given(data=st.data(), name=st.sampled_from(["manifest.json", "report.json", "golden.npz"]))
@bounded(120)
def test_a_damaged_part_under_a_right_seal_opens_or_is_refused(
    whole: bytes, name: str, data: st.DataObject
) -> None:
    def change(members: dict[str, bytes]) -> None:
        members[name] = data.draw(any_bytes(members[name]))

    _opened(resealed(whole, change))


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

    _opened(resealed(whole, change))
