"""Augmentation: each key does what it says, image and mask stay together, and no label turns false.

A picture made from its mask shows whether the mask follows: after any change of the geometry the
bright pixels and the mask must be the same.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from still import EVERYTHING, STILL

from qc.errors import RecipeError
from qc.recipe import AugmentTable, Recipe
from qc.tables import read_table
from training.augment import KEPT, Augmentation, Changed, make_augmentation

SEEDS = range(40)


def _table(**keys: object) -> AugmentTable:
    return AugmentTable.model_validate({**STILL.model_dump(), **keys})


def _defect(side: int = 64) -> tuple[np.ndarray, np.ndarray]:
    """White on black where the mask is: an L, which no mirroring or turn leaves as it is."""
    mask = np.zeros((side, side), np.uint8)
    mask[side // 4 : side // 2, side // 4 : side // 3] = 255
    mask[side // 2 - 4 : side // 2, side // 4 : side // 2] = 255
    return np.stack([mask] * 3, axis=2), mask


def _textured(side: int = 64) -> np.ndarray:
    rng = np.random.default_rng(1)
    rough = rng.integers(60, 180, (side // 4, side // 4, 3)).astype(np.uint8)
    return np.asarray(cv2.resize(rough, (side, side), interpolation=cv2.INTER_CUBIC), np.uint8)


def _changes(table: AugmentTable, image: np.ndarray, mask: np.ndarray) -> list[Changed]:
    change = Augmentation(table)
    return [change(image, mask, seed) for seed in SEEDS]


def _changed(found: list[Changed], image: np.ndarray) -> int:
    return sum(not np.array_equal(c.image, image) for c in found)


# geometry


@pytest.mark.parametrize(
    ("keys", "least"),
    [
        ({"flip_horizontal": True}, 10),
        ({"flip_vertical": True}, 10),
        ({"quarter_turns": True}, 20),
    ],
)
def test_the_mask_follows_a_mirroring_or_turn_to_the_pixel(
    keys: dict[str, object], least: int
) -> None:
    image, mask = _defect()
    found = _changes(_table(**keys), image, mask)
    for one in found:
        np.testing.assert_array_equal(one.image[..., 1], one.mask)
    assert len(SEEDS) > _changed(found, image) >= least
    looks = {one.mask.tobytes() for one in found}
    assert len(looks) == (4 if "quarter_turns" in keys else 2)


@pytest.mark.parametrize("keys", [{"rotate_deg": 30.0}, {"shift": 0.2}, {"scale": 0.3}])
def test_the_mask_follows_what_moves_between_pixels(keys: dict[str, object]) -> None:
    """Edges differ by the interpolation; at the border picture and mask are mirrored alike."""
    image, mask = _defect()
    mask[50:64, 58:64] = 255
    image[50:64, 58:64] = 255
    found = _changes(_table(**keys), image, mask)
    for seed, one in enumerate(found):
        bright, covered = one.image[..., 0] > 127, one.mask > 127
        union = (bright | covered).sum()
        assert (bright & covered).sum() / union > 0.85, seed
        assert set(np.unique(one.mask)) <= {0, 255}
    assert _changed(found, image) >= 20


def test_the_two_mirrorings_are_drawn_apart() -> None:
    """Each of the four outcomes comes a quarter of the time; 400 draws, three deviations are 26."""
    image, mask = _defect()
    change = Augmentation(_table(flip_horizontal=True, flip_vertical=True))
    looks: dict[bytes, int] = {}
    for seed in range(400):
        key = change(image, mask, seed).mask.tobytes()
        looks[key] = looks.get(key, 0) + 1
    assert len(looks) == 4 and all(abs(n - 100) <= 26 for n in looks.values())


def test_no_two_steps_share_a_stream() -> None:
    """Kinds drawn at 0.3 each must not come all together or not at all."""
    image, mask = _defect()
    change = Augmentation(EVERYTHING)
    sets = {frozenset(w.split()[0] for w in change(image, mask, s).applied) for s in range(60)}
    assert len(sets) > 40


def test_only_a_square_input_can_be_turned() -> None:
    raw = {
        "name": "a",
        "data": {"path": "a", "good": "b"},
        "model": {"backbone": "c", "size_hw": [64, 96]},
        "train": {"epochs": 1, "augment": {"quarter_turns": True}},
    }
    with pytest.raises(RecipeError, match=r"^a\.toml: key 'train\.augment\.quarter_turns': only a"):
        read_table(raw, Recipe, Path("a.toml"))
    raw["model"] = {"backbone": "c", "size_hw": [64, 64]}
    assert read_table(raw, Recipe, Path("a.toml")).train.augment.quarter_turns


def test_an_oblong_picture_keeps_its_shape() -> None:
    image, mask = np.zeros((32, 48, 3), np.uint8), np.zeros((32, 48), np.uint8)
    table = EVERYTHING.model_copy(update={"quarter_turns": False})
    for one in _changes(table, image, mask):
        assert one.image.shape == (32, 48, 3) and one.mask.shape == (32, 48)


# light, lens, sensor, file


@pytest.mark.parametrize(
    "keys",
    [
        {"brightness": 0.3},
        {"contrast": 0.3},
        {"gamma": 0.5},
        {"uneven_light": 0.2},
        {"defocus": 3},
        {"motion_blur": 8},
        {"noise": 0.1},
        {"jpeg": 80},
        {"cut_out": 0.3},
    ],
)
def test_light_and_camera_change_the_picture_and_not_the_mask(keys: dict[str, object]) -> None:
    image, mask = _textured(), _defect()[1]
    found = _changes(_table(**keys), image, mask)
    assert all(np.array_equal(one.mask, mask) for one in found)
    changed = _changed(found, image)
    assert 5 <= changed < len(SEEDS)
    assert changed == sum(bool(one.applied) for one in found), "what was done is told"


def _strength(table: AugmentTable, image: np.ndarray) -> float:
    """Mean change of a pixel over the pictures that were changed at all."""
    found = [c.image for c in _changes(table, image, np.zeros(image.shape[:2], np.uint8))]
    gaps = [np.abs(p.astype(int) - image).mean() for p in found if not np.array_equal(p, image)]
    return float(np.mean(gaps))


@pytest.mark.parametrize(
    ("key", "weak", "strong"),
    [
        ("brightness", 0.05, 0.5),
        ("contrast", 0.05, 0.5),
        ("gamma", 0.1, 1.0),
        ("uneven_light", 0.02, 0.5),
        ("defocus", 1, 8),
        ("motion_blur", 3, 21),
        ("noise", 0.01, 0.2),
        ("jpeg", 5, 90),
        ("cut_out", 0.1, 0.5),
    ],
)
def test_a_larger_number_changes_more(key: str, weak: float, strong: float) -> None:
    image = _textured()
    less, more = (_strength(_table(**{key: k}), image) for k in (weak, strong))
    assert more > 1.5 * less > 0


def test_gamma_by_hand() -> None:
    """64 of 255 becomes 255 x (64 / 255) ^ g, g between 1/1.5 and 1.5: 32 to 102."""
    image = np.full((8, 8, 3), 64, np.uint8)
    values = {int(c.image[0, 0, 0]) for c in _changes(_table(gamma=0.5), image, image[..., 0] * 0)}
    assert min(values) >= 31 and max(values) <= 102 and min(values) < 60 and max(values) > 70


def test_uneven_light_is_smooth_and_bounded() -> None:
    image, none = np.full((64, 64, 3), 100, np.uint8), np.zeros((64, 64), np.uint8)
    for one in _changes(_table(uneven_light=0.2), image, none):
        grey = one.image[..., 0].astype(int)
        assert grey.min() >= 80 and grey.max() <= 120
        assert np.abs(np.diff(grey, axis=0)).max() <= 2 and np.abs(np.diff(grey, axis=1)).max() <= 2


@pytest.mark.parametrize("keys", [{"defocus": 5}, {"motion_blur": 10}])
def test_a_blurred_point_stays_where_it_was(keys: dict[str, object]) -> None:
    """Else the picture would leave its mask: the middle of what a point became is the point."""
    image = np.zeros((33, 33, 3), np.uint8)
    image[16, 16] = 255
    found = _changes(_table(**keys), image, np.zeros((33, 33), np.uint8))
    blurred = [c.image[..., 0].astype(float) for c in found if not np.array_equal(c.image, image)]
    assert blurred
    for spread in blurred:
        rows, columns = np.indices(spread.shape)
        middle = np.array([(spread * rows).sum(), (spread * columns).sum()]) / spread.sum()
        assert np.abs(middle - 16).max() < 0.51
        reach = np.argwhere(spread > 0) - 16
        assert np.abs(reach).max() <= 6


def test_a_grey_picture_stays_grey() -> None:
    image = np.stack([_textured()[..., 0]] * 3, axis=2)
    change = Augmentation(EVERYTHING, "grey")
    for seed in SEEDS:
        found = change(image, np.zeros((64, 64), np.uint8), seed).image
        assert (found[..., 0] == found[..., 1]).all() and (found[..., 0] == found[..., 2]).all()


# no label turns false


def _hidden(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    return np.asarray((before != after).any(axis=2))


def test_a_patch_is_square_flat_and_beside_the_defect() -> None:
    image, mask = _textured(), np.zeros((64, 64), np.uint8)
    mask[20:44, 20:44] = 255
    found = _changes(_table(cut_out=0.5), image, mask)
    assert _changed(found, image) >= 5
    for one in found:
        hidden = _hidden(image, one.image)
        assert not (hidden & (mask > 0)).any()
        if hidden.any():
            left, top, wide, high = cv2.boundingRect(hidden.astype(np.uint8))
            assert wide == high <= 32
            patch = one.image[top : top + high, left : left + wide]
            assert (patch == np.rint(image.mean(axis=(0, 1)))).all()


def test_where_a_defect_may_be_anywhere_nothing_is_hidden() -> None:
    image, change = _textured(), Augmentation(_table(cut_out=0.3))
    for mask, known in ((np.full((64, 64), 255, np.uint8), True), (_defect()[1] * 0, False)):
        for seed in SEEDS:
            one = change(image, mask, seed, known=known)
            np.testing.assert_array_equal(one.image, image)
            np.testing.assert_array_equal(one.mask, mask)
            assert one.applied == ()


def test_a_defect_is_not_moved_out_of_the_picture() -> None:
    """A small one in the corner, shifts of up to half: most draws would lose it."""
    mask = np.zeros((64, 64), np.uint8)
    mask[2:8, 2:8] = 255
    image = np.stack([mask] * 3, axis=2)
    table = _table(shift=0.5)
    raw = make_augmentation(table)
    lost = 0
    for seed in SEEDS:
        raw.set_random_seed(seed)
        lost += not raw(image=image, mask=mask)["mask"].any()
    assert lost >= 3, "nothing would be lost, so nothing is shown"
    found = _changes(table, image, mask)
    assert all(np.count_nonzero(c.mask) >= KEPT * 36 for c in found)
    assert _changed(found, image) >= 20, "other draws of the same seed are taken"


def test_a_defect_that_no_draw_keeps_leaves_the_picture_as_it_was() -> None:
    change = Augmentation(_table(brightness=0.3, shift=0.4))
    change.kept = 2.0
    image, mask = _defect()
    one = change(image, mask, 3)
    assert one.image is image and one.mask is mask and one.applied == ()
    # what has no known mask is changed all the same
    assert any(change(image, mask, seed, known=False).applied for seed in SEEDS)


def test_an_unknown_mask_comes_back_as_it_was_given() -> None:
    change, (image, _) = Augmentation(EVERYTHING), _defect()
    nothing = np.zeros((64, 64), np.uint8)
    assert not any(change(image, nothing, seed, known=False).mask.any() for seed in SEEDS)


# seeds


def test_the_seed_decides_the_change() -> None:
    change, image = Augmentation(EVERYTHING), _textured()
    mask = _defect()[1]
    first = change(image, mask, 5)
    change(image, mask, 6)
    again = Augmentation(EVERYTHING)(image, mask, 5)
    np.testing.assert_array_equal(first.image, again.image)
    np.testing.assert_array_equal(first.mask, again.mask)
    assert first.applied == again.applied
    assert len({change(image, mask, s).image.tobytes() for s in SEEDS}) == len(SEEDS)


def test_nothing_allowed_is_nothing_changed() -> None:
    image, mask = _textured(), _defect()[1]
    for one in _changes(STILL, image, mask):
        np.testing.assert_array_equal(one.image, image)
        np.testing.assert_array_equal(one.mask, mask)


def test_what_was_given_is_not_written_to() -> None:
    image, mask = _textured(), _defect()[1]
    before = image.copy(), mask.copy()
    _changes(EVERYTHING, image, mask)
    np.testing.assert_array_equal(image, before[0])
    np.testing.assert_array_equal(mask, before[1])


# the recipe


def test_new_keys_are_off_where_a_recipe_does_not_name_them() -> None:
    table = AugmentTable()
    new = ("gamma", "uneven_light", "defocus", "motion_blur", "jpeg", "cut_out", "copy_paste")
    assert not table.quarter_turns and all(getattr(table, key) == 0 for key in new)
    assert (table.rotate_deg, table.shift, table.scale) == (8.0, 0.04, 0.08)
    assert (table.brightness, table.contrast, table.noise) == (0.15, 0.15, 0.02)


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("gamma", 1.1, "less than or equal to 1"),
        ("uneven_light", 0.6, r"less than or equal to 0\.5"),
        ("defocus", 16, "less than or equal to 15"),
        ("defocus", 1.5, "valid integer"),
        ("motion_blur", 2, "nothing is seen below 3; 0 leaves it out"),
        ("motion_blur", 40, "less than or equal to 31"),
        ("jpeg", 95, "less than or equal to 90"),
        ("jpeg", -1, "greater than or equal to 0"),
        ("cut_out", 0.6, r"less than or equal to 0\.5"),
        ("copy_paste", 1.5, "less than or equal to 1"),
        ("quarter_turns", "often", "valid boolean"),
    ],
)
def test_a_strength_that_cannot_be_is_named(key: str, value: object, said: str) -> None:
    with pytest.raises(RecipeError, match=rf"^a\.toml: key '{key}': .*{said}.*found") as caught:
        read_table({key: value}, AugmentTable, Path("a.toml"))
    assert caught.value.exit_code == 2
    with pytest.raises(RecipeError, match="unknown key 'motion_blurr', did you mean 'motion_blur'"):
        read_table({"motion_blurr": 3}, AugmentTable, Path("a.toml"))


@pytest.mark.parametrize(
    ("key", "low", "high"),
    [
        ("gamma", 0.001, 1),
        ("uneven_light", 0.001, 0.5),
        ("defocus", 1, 15),
        ("motion_blur", 3, 31),
        ("noise", 0.001, 0.5),
        ("jpeg", 1, 90),
        ("cut_out", 0.001, 0.5),
    ],
)
def test_every_legal_strength_can_be_used(key: str, low: float, high: float) -> None:
    image, mask = _textured(), _defect()[1]
    for value in (low, high):
        _changes(_table(**{key: value}), image, mask)
