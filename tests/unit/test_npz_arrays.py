"""Arrays of pictures in one file, on arrays of a few pixels and on the public X-ray set."""

from __future__ import annotations

import io
import os
import zipfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from qc.errors import DataError, QCError, RecipeError
from qc.imageio import read_sample, write_png
from training.datasets import load_samples, npz_arrays, read_dataset

DATA_ROOT = Path(
    os.environ.get("QC_DATA_ROOT", Path(__file__).parents[2].parent / "shared" / "data")
)
XRAYS = DATA_ROOT / "pneumonia_mnist"

GREY = np.arange(3 * 4 * 5, dtype=np.uint8).reshape(3, 4, 5)
NUMBERS = np.array([[0], [1], [1]], np.uint8)


def _npz(path: Path, **arrays: Any) -> Path:
    np.savez_compressed(path, **arrays)
    return path


@pytest.fixture
def file(tmp_path: Path) -> Path:
    parts = {f"{s}_images": GREY[:n] for s, n in (("train", 3), ("val", 1), ("test", 2))}
    parts |= {f"{s}_labels": NUMBERS[:n] for s, n in (("train", 3), ("val", 1), ("test", 2))}
    return _npz(tmp_path / "set.npz", **parts)


def _refused(path: Path, what: str, **options: object) -> DataError:
    with pytest.raises(DataError, match=what) as caught:
        load_samples(path, options=options)
    assert caught.value.where.startswith(str(path))
    return caught.value


def test_a_row_is_a_sample_and_keeps_its_split(file: Path) -> None:
    name, samples = load_samples(file, options={"classes": "normal, ill"})
    assert name == "npz_arrays"
    assert [(s.sample_id, s.labels, s.split) for s in samples] == [
        ("train/000000", ("normal",), "train"),
        ("train/000001", ("ill",), "train"),
        ("train/000002", ("ill",), "train"),
        ("val/000000", ("normal",), "val"),
        ("test/000000", ("normal",), "test"),
        ("test/000001", ("ill",), "test"),
    ]
    assert {s.image_path for s in samples} == {file}
    assert [s.group for s in samples] == [s.sample_id for s in samples]
    image = read_sample(samples[5])
    assert image.shape == (4, 5, 3) and image.dtype == np.uint8
    assert np.array_equal(image, np.stack([GREY[1]] * 3, axis=-1))


def test_a_folder_with_one_file_is_read_and_classes_are_numbers_where_none_is_named(
    file: Path,
) -> None:
    name, samples = load_samples(file.parent)
    assert (name, samples[0].labels, samples[1].labels) == ("npz_arrays", ("0",), ("1",))
    _npz(file.with_name("other.npz"), images=GREY, labels=NUMBERS)
    assert not npz_arrays.detect(file.parent)
    with pytest.raises(DataError, match=r"one \.npz file.*found other\.npz, set\.npz"):
        load_samples(file.parent, "npz_arrays")


@pytest.mark.parametrize(("images", "labels"), [("images", "labels"), ("X", "Y")])
def test_without_a_split(tmp_path: Path, images: str, labels: str) -> None:
    colour = np.arange(2 * 4 * 5 * 3, dtype=np.uint8).reshape(2, 4, 5, 3)
    file = _npz(tmp_path / "set.npz", **{images: colour, labels: np.array([7, 0])})
    first, second = load_samples(file)[1]
    assert (first.sample_id, first.labels, first.split) == ("000000", ("7",), None)
    assert np.array_equal(read_sample(second), colour[1])


def test_keras_names_and_a_last_axis_of_one(tmp_path: Path) -> None:
    arrays = {"x_train": GREY[..., None], "y_train": NUMBERS, "x_test": GREY, "y_test": NUMBERS}
    samples = load_samples(_npz(tmp_path / "set.npz", **arrays))[1]
    assert Counter(s.split for s in samples) == {"train": 3, "test": 3}
    assert np.array_equal(read_sample(samples[2]), read_sample(samples[5]))


def test_labels_of_several_columns(tmp_path: Path) -> None:
    columns = np.array([[1, 0], [1, 1], [0, 0]], np.int64)
    file = _npz(tmp_path / "set.npz", images=GREY, labels=columns)
    assert [s.labels for s in load_samples(file)[1]] == [("0",), ("0", "1"), ("good",)]
    named = load_samples(file, options={"classes": ["dent", "hole"]})[1]
    assert [s.labels for s in named] == [("dent",), ("dent", "hole"), ("good",)]
    _refused(file, "member labels: classes do not fit; expected 2 classes", classes="a,b,c")
    _npz(file, images=GREY, labels=columns * 2)
    _refused(file, "member labels: .*expected 0 or 1; found 2 in row 0")


def test_sixteen_bit_is_scaled_by_the_declared_range(tmp_path: Path) -> None:
    deep = np.array([[[0, 1000, 2000], [3000, 4000, 65535]]], np.uint16)
    file = _npz(tmp_path / "set.npz", images=deep, labels=np.array([0]))
    _refused(file, "member images: .*range=LOW,HIGH.*found uint16")
    (sample,) = load_samples(file, options={"range": "1000,3000"})[1]
    # 0 and 1000 are black, 2000 is half of 255 (127.5, rounded to even), 3000 and more are white
    assert read_sample(sample)[..., 0].tolist() == [[0, 0, 128], [255, 255, 255]]
    _npz(file, images=GREY, labels=NUMBERS)
    _refused(file, "expected uint16, as a range is given.*found uint8", range="0,4095")


@pytest.mark.parametrize(
    "options", [{"range": "5"}, {"range": "9,3"}, {"classes": "a,a"}, {"class": "a,b"}]
)
def test_an_option_that_is_not_legal(file: Path, options: dict[str, str]) -> None:
    with pytest.raises(RecipeError, match="options of npz_arrays"):
        load_samples(file, options=options)


@pytest.mark.parametrize(
    ("arrays", "what"),
    [
        ({"photos": GREY}, "no images that are read.*found photos"),
        ({"images": GREY}, "images has no labels; expected an array labels; found images"),
        (
            {"images": GREY, "labels": NUMBERS[:2]},
            r"labels: .*expected \(3,\).*found \(2,\)",
        ),
        ({"images": GREY, "labels": NUMBERS[0, 0]}, "member labels: labels do not fit"),
        ({"images": GREY, "labels": NUMBERS / 2}, "member labels: .*integer type; found f"),
        ({"images": GREY, "labels": np.array(["a"] * 3)}, "member labels: .*integer type"),
        ({"images": GREY, "labels": np.array([0, -1, -1])}, r"2 row\(s\).*found -1 in row 1"),
        ({"images": GREY / 255, "labels": NUMBERS}, "member images: .*found float64"),
        ({"images": GREY[0], "labels": NUMBERS}, r"does not hold images.*found \(4, 5\)"),
        ({"images": np.zeros((3, 4, 5, 2), np.uint8), "labels": NUMBERS}, "not hold images"),
        ({"images": GREY[:, :0], "labels": NUMBERS}, "no pixel"),
        ({"images": np.array([None, {}, 1]), "labels": NUMBERS}, "member images: .*unpickled"),
        ({"val_images": GREY, "valid_images": GREY, "val_labels": NUMBERS}, "two arrays"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(
    tmp_path: Path, arrays: dict[str, Any], what: str
) -> None:
    _refused(_npz(tmp_path / "set.npz", **arrays), what)


def test_a_label_beyond_the_named_classes(file: Path) -> None:
    _refused(file, r"train_labels: .*expected 0 to 0 \(good\); found 1 in row 1", classes="good")
    # VAL has only class 0 and is read, for an audit
    assert [s.split for s in read_dataset(file, options={"classes": "good"}).samples] == ["val"]


def test_the_size_in_a_header_is_judged_before_loading(tmp_path: Path) -> None:
    def member(shape: tuple[int, ...]) -> bytes:
        stream = io.BytesIO()
        header = {"descr": "|u1", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(stream, header)
        return stream.getvalue() + GREY.tobytes()

    file = tmp_path / "set.npz"
    for shape, what in (
        ((100_000, 1000, 1000), "member images: array is refused; expected <= 4294967296 bytes"),
        ((4, 4, 5), "member images: array is cut off; expected at least 80 .*found"),
        ((-3, 4, 5), "member images: array is"),
    ):
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr("images.npy", member(shape))
        with zipfile.ZipFile(_npz(tmp_path / "labels", labels=NUMBERS).with_suffix(".npz")) as old:
            data = old.read("labels.npy")
        with zipfile.ZipFile(file, "a") as archive:
            archive.writestr("labels.npy", data)
        _refused(file, what)


def test_a_damaged_file(file: Path) -> None:
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    _refused(file, "not readable as .npz")
    with pytest.raises(DataError, match="not readable as"):
        load_samples(file.parent)
    at = whole.index(b"train_images.npy") + 60
    file.write_bytes(whole[:at] + bytes(b ^ 255 for b in whole[at : at + 20]) + whole[at + 20 :])
    _refused(file, "member train_images: array is damaged")


def test_an_array_is_loaded_once_and_again_when_the_file_changes(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loads: list[str] = []
    load = npz_arrays._load
    monkeypatch.setattr(npz_arrays, "_load", lambda f, m: loads.append(m) or load(f, m))
    samples = load_samples(file)[1]
    loads.clear()
    for sample in samples:
        read_sample(sample)
    assert loads == []
    _npz(file, train_images=GREY[:1] + 9, train_labels=NUMBERS[:1])
    os.utime(file, ns=(1, 1))
    assert read_sample(samples[0])[0, 0, 0] == 9 and loads == ["train_images"]
    with pytest.raises(DataError, match=r"train_images: array has lost rows.*found 1"):
        read_sample(samples[2])
    file.unlink()
    with pytest.raises(DataError, match="cannot be read"):
        read_sample(samples[0])


def test_detection_leaves_other_folders_alone(tmp_path: Path) -> None:
    (tmp_path / "good").mkdir()
    write_png(tmp_path / "good" / "a.png", GREY[0])
    assert load_samples(tmp_path)[0] == "class_folders"
    _npz(tmp_path / "embeddings.npz", vectors=GREY)
    assert not npz_arrays.detect(tmp_path) and not npz_arrays.detect(tmp_path / "gone.npz")


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.binary(max_size=200), at=st.floats(0, 1), flips=st.binary(min_size=1, max_size=4))
def test_only_our_errors_escape_from_damaged_bytes(
    file: Path, data: bytes, at: float, flips: bytes
) -> None:
    spoilt = file.with_name("spoilt.npz")
    whole = file.read_bytes()
    cut = int(at * (len(whole) - 4))
    flipped = bytes(a ^ b for a, b in zip(whole[cut:], flips, strict=False))
    for content in (data, whole[:cut] + data, whole[:cut] + flipped + whole[cut + len(flips) :]):
        spoilt.write_bytes(content)
        assert npz_arrays.detect(spoilt)
        npz_arrays.detect(spoilt.parent)
        try:
            for sample in load_samples(spoilt)[1]:
                read_sample(sample)
        except QCError as error:
            assert str(spoilt) in str(error)


@pytest.mark.skipif(
    not XRAYS.is_dir(), reason="pneumonia_mnist is not there; QC_DATA_ROOT names its parent folder"
)
def test_the_xray_set_is_read_whole() -> None:
    name, samples = load_samples(XRAYS, options={"classes": "normal,pneumonia"})
    assert name == "npz_arrays"
    assert Counter(s.split for s in samples) == {"train": 3882, "val": 524, "test": 624}
    assert {label for s in samples for label in s.labels} == {"normal", "pneumonia"}
    assert read_sample(samples[-1]).shape == (28, 28, 3)
