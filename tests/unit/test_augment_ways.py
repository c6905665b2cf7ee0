"""Quicker ways to what the library makes of a picture: they make the same."""

from __future__ import annotations

from typing import Any

import albumentations as A
import cv2
import numpy as np
import pytest
from albumentations.augmentations.blur.functional import create_motion_kernel
from still import EVERYTHING, STILL

from training.augment import Augmentation
from training.augment_ways import Affine, Defocus, MotionBlur, QuarterTurn, SensorNoise


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
    masks = np.concatenate([image, image[::-1]], axis=2)
    for mask in (masks[..., 0], masks):
        turned = QuarterTurn().apply_to_mask(mask, factor)
        np.testing.assert_array_equal(turned, np.rot90(mask, factor))


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
    masks = np.where(np.arange(6) == np.arange(64)[:, None] // 10, 255, 0)[None].repeat(40, axis=0)
    for seed in range(20):
        mask = np.ascontiguousarray(masks[..., 0] if seed % 2 else masks, np.uint8)
        for move in moves:
            move.set_random_seed(seed)
        ours, theirs = (move(image=image, mask=mask) for move in moves)
        for key, before in {"image": image, "mask": mask}.items():
            np.testing.assert_array_equal(ours[key], theirs[key])
            assert ours[key].shape == before.shape and not np.array_equal(ours[key], before)
    still = Affine().apply(image, np.eye(3), (40, 64))
    np.testing.assert_array_equal(still, image)


@pytest.mark.parametrize("size", [3, 5, 9, 31])
def test_the_kernel_of_a_motion_is_the_library_s(size: int) -> None:
    motion = MotionBlur((size, size))
    for seed in range(40):
        motion.set_random_seed(seed)
        kernel = motion.get_params()["kernel"]
        motion.set_random_seed(seed)
        motion.py_random.randrange(size, size + 1, 2)
        angle = motion.py_random.uniform(0, 360)
        wanted = create_motion_kernel(size, angle, 0.0, False, motion.py_random)
        np.testing.assert_allclose(kernel, wanted / wanted.sum(), rtol=1e-6)
        np.testing.assert_array_equal(kernel > 0, (kernel > 0)[::-1, ::-1])  # to both sides alike


def test_a_motion_is_as_long_as_it_may_be_and_always_odd() -> None:
    motion = MotionBlur((3, 9))
    motion.set_random_seed(0)
    assert {motion.get_params()["kernel"].shape for _ in range(60)} == {
        (n, n) for n in (3, 5, 7, 9)
    }


@pytest.mark.parametrize("shape", [(200, 240, 1), (200, 240, 3)])
def test_noise_is_normal_and_leaves_the_mean(shape: tuple[int, int, int]) -> None:
    """Of 5 grey levels: 68.3 % within 5, 95.4 % within 10; each channel by itself."""
    noise = SensorNoise(0.1)
    noise.set_random_seed(3)
    params = noise.get_params_dependent_on_data({"shape": shape}, {})
    found = noise.apply(np.full(shape, 100, np.uint8), params["drawn"], 5.0).astype(float) - 100
    assert found.shape == shape and params["drawn"].shape == shape
    assert abs(found.mean()) < 0.1 and abs(found.std() - 5) < 0.15
    assert abs((np.abs(found) < 5.5).mean() - 0.729) < 0.01  # what rounds to 5 or less
    assert abs((np.abs(found) < 10.5).mean() - 0.964) < 0.01
    if shape[2] == 3:
        between = np.corrcoef(found.reshape(-1, 3).T)
        assert np.abs(between - np.eye(3)).max() < 0.03
    rows = np.corrcoef(found[:-1, :, 0].ravel(), found[1:, :, 0].ravel())[0, 1]
    assert abs(rows) < 0.03
    assert 0 <= params["sigma"] <= 25.5


def test_noise_ends_at_black_and_white() -> None:
    noise = SensorNoise(0.1)
    noise.set_random_seed(3)
    drawn = noise.get_params_dependent_on_data({"shape": (32, 32, 1)}, {})["drawn"]
    dark, light = (noise.apply(np.full((32, 32, 1), v, np.uint8), drawn, 20.0) for v in (0, 255))
    assert dark.max() < 70 and (dark == 0).mean() > 0.45
    assert light.min() > 185 and (light == 255).mean() > 0.45
