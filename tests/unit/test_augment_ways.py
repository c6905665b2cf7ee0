"""Quicker ways to what the library makes of a picture: they make the same."""

from __future__ import annotations

from typing import Any

import albumentations as A
import cv2
import numpy as np
import pytest
from still import EVERYTHING, STILL

from training.augment import Affine, Augmentation, Defocus, QuarterTurn


def _grey() -> np.ndarray:
    rough = np.random.default_rng(1).integers(60, 180, (16, 16)).astype(np.uint8)
    smooth = cv2.resize(rough, (64, 64), interpolation=cv2.INTER_CUBIC)
    return np.stack([np.asarray(smooth, np.uint8)] * 3, axis=2)


@pytest.mark.parametrize("radius", [1, 3, 8, 12])
@pytest.mark.parametrize("alias_blur", [0.1, 0.5])
def test_defocus_is_the_library_s(radius: int, alias_blur: float) -> None:
    """Only the weights that change nothing are left out: a rounding may differ, in few places."""
    from albumentations.augmentations.blur.functional import defocus

    image = np.random.default_rng(4).integers(0, 256, (96, 96, 3), np.uint8)
    gap = np.abs(
        Defocus().apply(image, radius, alias_blur).astype(int) - defocus(image, radius, alias_blur)
    )
    assert gap.max() <= 1
    assert (gap > 0).mean() < 0.005


@pytest.mark.parametrize("defect", [True, False])
def test_one_channel_of_a_grey_picture_becomes_what_three_equal_ones_do(defect: bool) -> None:
    """All but the file: a JPEG of one channel and one of three round otherwise."""
    image, mask = _grey(), np.zeros((64, 64), np.uint8)
    mask[16:32, 16:40] = 255 * defect
    table = EVERYTHING.model_copy(update={"jpeg": 0})
    change = Augmentation(table, "grey")
    for seed in range(40):
        whole, one = change(image, mask, seed), change(image[..., :1], mask, seed)
        assert one.image.shape == (64, 64, 1)
        np.testing.assert_array_equal(whole.image[..., :1], one.image)
        np.testing.assert_array_equal(whole.mask, one.mask)
        assert whole.applied == one.applied
    change = Augmentation(STILL.model_copy(update={"jpeg": 50}), "grey")
    for seed in range(40):
        whole, one = change(image, mask, seed), change(image[..., :1], mask, seed)
        gap = np.abs(whole.image[..., :1].astype(int) - one.image.astype(int))
        assert gap.max() <= 4 and whole.applied == one.applied


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("factor", [0, 1, 2, 3])
def test_a_quarter_turn_is_the_library_s(channels: int, factor: int) -> None:
    image = np.ascontiguousarray(_grey()[:40, :, :channels])
    image[0, 0] = 255
    found, wanted = QuarterTurn().apply(image, factor), np.rot90(image, factor)
    np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_move_is_the_library_s(channels: int) -> None:
    image = np.random.default_rng(2).integers(0, 256, (40, 64, channels), np.uint8)
    given: dict[str, Any] = {
        "rotate": (-20, 20),
        "translate_percent": (-0.2, 0.2),
        "scale": (0.8, 1.2),
    }
    moves = [
        made(**given, border_mode=cv2.BORDER_REFLECT_101, p=1.0) for made in (Affine, A.Affine)
    ]
    for seed in range(20):
        for move in moves:
            move.set_random_seed(seed)
        ours, theirs = (move(image=image)["image"] for move in moves)
        np.testing.assert_array_equal(ours, theirs)
        assert ours.shape == image.shape and not np.array_equal(ours, image)
    still = Affine().apply(image, np.eye(3), (40, 64))
    np.testing.assert_array_equal(still, image)
