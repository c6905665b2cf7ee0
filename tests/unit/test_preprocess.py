"""The one geometry: sizes, colours and masks, worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from qc.errors import DataError
from qc.preprocess import PreprocessSpec, apply, apply_to_mask


@pytest.mark.parametrize("size_hw", [(8, 8), (3, 17), (40, 6), (64, 64), (1, 1)])
@pytest.mark.parametrize("shape", [(8, 8, 3), (20, 10, 3), (1, 1, 3), (9, 31, 3)])
def test_any_picture_becomes_the_wanted_size(
    shape: tuple[int, int, int], size_hw: tuple[int, int]
) -> None:
    image = np.full(shape, 77, np.uint8)
    out = apply(PreprocessSpec(size_hw=size_hw), image)
    assert out.shape == (*size_hw, 3) and out.dtype == np.uint8 and out.flags["C_CONTIGUOUS"]
    assert (out == 77).all()


def test_the_same_size_is_the_same_picture() -> None:
    image = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
    np.testing.assert_array_equal(apply(PreprocessSpec(size_hw=(5, 7)), image), image)


def test_shrinking_averages_blocks() -> None:
    image = np.zeros((4, 4, 3), np.uint8)
    image[0, 0] = (200, 100, 40)  # a quarter of the first 2 x 2 block
    out = apply(PreprocessSpec(size_hw=(2, 2)), image)
    assert out[0, 0].tolist() == [50, 25, 10]
    assert not out[0, 1].any() and not out[1].any()


def test_stretch_maps_each_half_onto_a_half() -> None:
    image = np.zeros((10, 40, 3), np.uint8)
    image[:, 20:] = 255
    out = apply(PreprocessSpec(size_hw=(8, 8)), image)
    assert (out[:, :4] == 0).all() and (out[:, 4:] == 255).all()


@pytest.mark.parametrize(
    ("colour", "luma"), [((255, 0, 0), 76), ((0, 255, 0), 150), ((0, 0, 255), 29), ((9, 9, 9), 9)]
)
def test_grey_is_the_luma_in_all_channels(colour: tuple[int, int, int], luma: int) -> None:
    # 0.299, 0.587 and 0.114 of 255, rounded
    image = np.full((4, 4, 3), colour, np.uint8)
    out = apply(PreprocessSpec(size_hw=(4, 4), colour="grey"), image)
    assert (out == luma).all()
    assert (apply(PreprocessSpec(size_hw=(4, 4)), image) == image).all()


def test_the_given_picture_is_not_changed() -> None:
    image = np.random.default_rng(1).integers(0, 256, (6, 6, 3), np.uint8)
    before = image.copy()
    apply(PreprocessSpec(size_hw=(3, 3), colour="grey"), image)
    np.testing.assert_array_equal(image, before)


@pytest.mark.parametrize(
    "wrong",
    [
        np.zeros((4, 4, 3), np.float32),
        np.zeros((4, 4, 3), np.uint16),
        np.zeros((4, 4), np.uint8),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((4, 4, 1), np.uint8),
        np.zeros((0, 4, 3), np.uint8),
        np.zeros((1, 4, 4, 3), np.uint8),
    ],
)
def test_what_is_no_rgb_uint8_picture_is_refused(wrong: np.ndarray) -> None:
    with pytest.raises(DataError, match=r"expected \(H, W, 3\) uint8"):
        apply(PreprocessSpec(size_hw=(2, 2)), wrong)


@pytest.mark.parametrize("at", [(0, 0), (99, 199), (37, 150), (50, 100)])
def test_a_defect_of_one_pixel_survives_shrinking(at: tuple[int, int]) -> None:
    mask = np.zeros((100, 200), bool)
    mask[at] = True
    small = apply_to_mask(PreprocessSpec(size_hw=(10, 10)), mask)
    assert small.shape == (10, 10) and small.dtype == np.bool_
    assert np.argwhere(small).tolist() == [[at[0] // 10, at[1] // 20]]


def test_a_mask_grows_without_holes() -> None:
    mask = np.array([[True, False], [False, True]])
    grown = apply_to_mask(PreprocessSpec(size_hw=(4, 6)), mask)
    expected = np.zeros((4, 6), bool)
    expected[:2, :3] = True
    expected[2:, 3:] = True
    np.testing.assert_array_equal(grown, expected)


def test_a_mask_that_grows_and_shrinks_keeps_its_pixel() -> None:
    mask = np.zeros((4, 100), bool)
    mask[1, 57] = True
    out = apply_to_mask(PreprocessSpec(size_hw=(8, 10)), mask)
    assert out[2, 5] and not out[:, :5].any() and not out[:, 6:].any()


def test_an_empty_and_a_full_mask_stay_so() -> None:
    spec = PreprocessSpec(size_hw=(7, 5))
    assert not apply_to_mask(spec, np.zeros((30, 3), bool)).any()
    assert apply_to_mask(spec, np.ones((30, 3), bool)).all()


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"size_hw": (4, 4), "fit": "letterbox"},
        {"size_hw": (4, 4), "colour": "bgr"},
        {"size_hw": (4, 4), "scale": 2},
        {"size_hw": (4,)},
        {"size_hw": (0, 4)},
        {"size_hw": (4, -1)},
    ],
)
def test_an_unknown_geometry_is_refused(fields: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        PreprocessSpec.model_validate(fields)
