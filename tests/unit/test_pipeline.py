"""From files to batches: decoding, the map's target, the draw of an epoch, and augmentation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from qc.errors import DataError
from qc.imageio import write_png
from qc.preprocess import PreprocessSpec
from qc.recipe import AugmentTable
from qc.types import Region, Sample
from training.augment import augment, make_augmentation
from training.pipeline import UNKNOWN, Batches, Images, load_images, map_target
from training.regions import mask_of

STILL = AugmentTable(
    flip_horizontal=False,
    flip_vertical=False,
    rotate_deg=0,
    shift=0,
    scale=0,
    brightness=0,
    contrast=0,
    noise=0,
)
CLASSES = ("good", "hole", "stain")


# the target of the map


def test_the_target_of_a_masked_defect() -> None:
    """Cells of 2 x 2 pixels, two classes of defects; the good channel is never told."""
    mask = np.zeros((4, 6), np.uint8)
    mask[1, 1] = 255
    mask[2:, 4:] = 255
    found = map_target(mask, 1, True, 0, (2, 3, 3))
    assert found.shape == (2, 3, 3) and found.dtype == np.float32
    np.testing.assert_array_equal(found[:, :, 0], np.full((2, 3), UNKNOWN))
    np.testing.assert_array_equal(found[:, :, 1], [[1, 0, 0], [0, 0, 1]])
    np.testing.assert_array_equal(found[:, :, 2], np.zeros((2, 3)))


def test_a_grey_pixel_of_a_mask_is_on_from_128() -> None:
    mask = np.array([[127, 128]], np.uint8)
    np.testing.assert_array_equal(map_target(mask, 0, True, 1, (1, 2, 2))[0, :, 0], [0, 1])


def test_the_target_of_a_defect_without_a_mask_is_unknown_in_its_channel_only() -> None:
    found = map_target(np.zeros((4, 4), np.uint8), 2, False, 0, (2, 2, 3))
    assert (found[:, :, 2] == UNKNOWN).all() and (found[:, :, 1] == 0).all()
    assert (found[:, :, 0] == UNKNOWN).all()


def test_the_target_of_a_good_part_shows_no_defect_anywhere() -> None:
    found = map_target(np.full((4, 4), 255, np.uint8), 1, True, 1, (2, 2, 3))
    assert (found[:, :, [0, 2]] == 0).all() and (found[:, :, 1] == UNKNOWN).all()


# decoding


def _written(folder: Path) -> list[Sample]:
    """A grey good part, a coloured hole with its mask, one without, one with an empty mask."""
    grey = np.full((16, 16), 100, np.uint8)
    colour = np.zeros((16, 16, 3), np.uint8)
    colour[..., 0], colour[..., 2] = 200, 50
    mask = np.zeros((16, 16), np.uint8)
    mask[0, 15] = 255
    for name, pixels in {"g": np.stack([grey] * 3, axis=2), "c": colour}.items():
        write_png(folder / f"{name}.png", pixels)
    for name, pixels in {"m": mask, "e": np.zeros_like(mask)}.items():
        write_png(folder / f"{name}.png", pixels)
    hole = folder / "c.png"
    return [
        Sample("0", folder / "g.png", ("good",)),
        Sample("1", hole, ("hole",), mask_path=folder / "m.png"),
        Sample("2", hole, ("hole",)),
        Sample("3", hole, ("stain",), mask_path=folder / "e.png"),
        Sample("4", folder / "g.png", ("good",), mask_path=folder / "e.png"),
    ]


def test_images_masks_and_what_is_known_of_them(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    samples = _written(tmp_path)
    found = load_images(
        samples,
        CLASSES,
        "good",
        PreprocessSpec(size_hw=(8, 8)),
        lambda done, total: seen.append((done, total)),
    )
    assert len(found) == 5 and found.samples == tuple(samples)
    assert found.pixels.shape == (5, 8, 8, 3) and found.pixels.dtype == np.uint8
    assert (found.pixels[0] == 100).all() and (found.pixels[1] == (200, 0, 50)).all()
    assert found.labels.tolist() == [0, 1, 1, 2, 0]
    # a good part's mask is known to be empty; an empty mask of a defect says nothing
    assert found.has_mask.tolist() == [True, True, False, False, True]
    assert found.masks.shape == (5, 8, 8) and found.masks[1, 0, 7] == 255
    assert found.masks.astype(int).sum() == 255, "one pixel stays one cell, all else is empty"
    assert seen == [(i, 5) for i in range(1, 6)]


def test_grey_is_the_luma_in_three_channels(tmp_path: Path) -> None:
    samples = _written(tmp_path)[:2]
    spec = PreprocessSpec(size_hw=(8, 8), colour="grey")
    pixels = load_images(samples, CLASSES, "good", spec).pixels
    assert (pixels[0] == 100).all()
    assert (pixels[1] == round(0.299 * 200 + 0.114 * 50)).all()


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    samples = _written(tmp_path)
    spec = PreprocessSpec(size_hw=(8, 8))
    (tmp_path / "m.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"m\.png.*empty"):
        load_images(samples, CLASSES, "good", spec)
    (tmp_path / "g.png").unlink()
    with pytest.raises(DataError, match=r"g\.png"):
        load_images(samples, CLASSES, "good", spec)
    two = Sample("two", tmp_path / "c.png", ("hole", "stain"))
    with pytest.raises(DataError, match="two: a sample must have one class"):
        load_images([two], CLASSES, "good", spec)


# the draw


def _images(labels: list[int], side: int = 16) -> Images:
    """Each picture's red is its index; a defect has a white square that is its mask."""
    n = len(labels)
    pixels = np.zeros((n, side, side, 3), np.uint8)
    masks = np.zeros((n, side, side), np.uint8)
    rng = np.random.default_rng(7)
    for i, label in enumerate(labels):
        if label:
            y, x = rng.integers(0, side - 4, 2)
            masks[i, y : y + 4, x : x + 4] = 255
        pixels[i, ..., 0] = i
        pixels[i, ..., 1] = masks[i]
    samples = tuple(Sample(str(i), Path("none"), (CLASSES[k],)) for i, k in enumerate(labels))
    return Images(samples, pixels, np.array(labels), masks, np.ones(n, bool))


def _batches(images: Images, table: AugmentTable = STILL, **changes: object) -> Batches:
    values = {"batch_size": 4, "balance": 0.0, "seed": 3, "epoch": 0} | changes
    return Batches(images, good=0, map_shape=(4, 4, 3), table=table, **values)  # type: ignore[arg-type]


def _epoch(batches: Batches) -> list[np.ndarray]:
    """All arrays of an epoch in order."""
    found = [batches[i] for i in range(len(batches))]
    return [a for x, y in found for a in (x, y["score"], y["attention"])]


def _same(first: list[np.ndarray], second: list[np.ndarray]) -> bool:
    return len(first) == len(second) and all(
        np.array_equal(a, b) for a, b in zip(first, second, strict=True)
    )


def test_the_shapes_of_a_batch() -> None:
    batches = _batches(_images([0, 1, 2, 0, 1, 0, 0, 0, 0]))
    assert len(batches) == 2
    pixels, targets = batches[1]
    assert pixels.shape == (4, 16, 16, 3) and pixels.dtype == np.float32
    assert targets["score"].shape == (4, 3) and (targets["score"].sum(axis=1) == 1).all()
    assert targets["attention"].shape == (4, 4, 4, 3)
    assert set(np.unique(targets["attention"])) <= {UNKNOWN, 0.0, 1.0}


def test_fewer_images_than_a_batch_are_one_batch() -> None:
    batches = _batches(_images([0, 1]), batch_size=8)
    assert len(batches) == 1 and len(batches[0][0]) == 2


def test_seed_and_epoch_decide_everything() -> None:
    images, table = _images([0, 1, 2, 0] * 3), AugmentTable()
    first = _epoch(_batches(images, table))
    assert _same(first, _epoch(_batches(images, table)))
    assert not _same(first, _epoch(_batches(images, table, seed=4)))
    going = _batches(images, table)
    going.on_epoch_end()
    second = _epoch(going)
    assert not _same(first, second)
    going.on_epoch_end()
    assert _same(_epoch(going), _epoch(_batches(images, table, epoch=2)))
    # a batch is the same however often and in whatever order it is asked for
    assert _same(second, _epoch(_batches(images, table, epoch=1)))
    again = _batches(images, table, epoch=1)
    assert np.array_equal(again[2][0], again[2][0]) and np.array_equal(again[0][0], second[0])


def test_without_balance_every_image_comes_once() -> None:
    batches = _batches(_images([0] * 9 + [1, 2, 2]))
    for _ in range(3):
        drawn = sorted(int(p) for i in range(3) for p in batches[i][0][:, 0, 0, 0])
        assert drawn == list(range(12))
        batches.on_epoch_end()


def _shares(balance: float) -> np.ndarray:
    batches = _batches(_images([0] * 48 + [1] * 12 + [2] * 4), balance=balance)
    total = np.zeros(3)
    for _ in range(20):
        total += sum(batches[i][1]["score"].sum(axis=0) for i in range(len(batches)))
        batches.on_epoch_end()
    return total / total.sum()


def test_balance_by_hand() -> None:
    """Classes of 48, 12 and 4 are drawn as n^(1 - balance): 1 is even, 1/2 as 6.93 : 3.46 : 2.

    20 epochs of 64 draws: a standard deviation of at most 0.013; 0.04 is three of them.
    """
    np.testing.assert_allclose(_shares(0.0), np.array([48, 12, 4]) / 64, atol=1e-9)
    np.testing.assert_allclose(_shares(1.0), np.full(3, 1 / 3), atol=0.04)
    root = np.sqrt([48, 12, 4])
    np.testing.assert_allclose(_shares(0.5), root / root.sum(), atol=0.04)


# augmentation


def test_image_label_and_target_stay_together() -> None:
    """Green is the mask: after a flip the white square and the target are still one."""
    table = STILL.model_copy(update={"flip_horizontal": True, "flip_vertical": True})
    images = _images([0, 1, 2, 1, 2, 0, 1, 2])
    moved = 0
    batches = _batches(images, table)
    for i in range(len(batches)):
        pixels, targets = batches[i]
        for picture, score, target in zip(
            pixels, targets["score"], targets["attention"], strict=True
        ):
            index = int(picture[0, 0, 0])
            label = int(images.labels[index])
            assert score.argmax() == label
            seen = picture[..., 1].reshape(4, 4, 4, 4).max(axis=(1, 3)) > 127
            for channel in (1, 2):
                wanted = seen if channel == label else np.zeros((4, 4))
                np.testing.assert_array_equal(target[:, :, channel], wanted)
            moved += not np.array_equal(picture[..., 1], images.masks[index])
    assert moved, "nothing was flipped, so nothing was shown"


def test_a_turned_shifted_and_scaled_mask_covers_what_it_covered() -> None:
    """Also at the border, where the picture is mirrored; edges differ by the interpolation."""
    table = STILL.model_copy(update={"rotate_deg": 30.0, "shift": 0.2, "scale": 0.2})
    moved = make_augmentation(table)
    image, mask = np.zeros((64, 64, 3), np.uint8), np.zeros((64, 64), np.uint8)
    image[40:64, 44:64] = mask[40:64, 44:64] = 255
    changed = 0
    for seed in range(12):
        picture, where = augment(moved, image, mask, seed)
        assert picture.shape == image.shape and where.shape == mask.shape
        bright, covered = picture[..., 0] > 127, where > 127
        union = (bright | covered).sum()
        assert union and (bright & covered).sum() / union > 0.9, seed
        changed += not np.array_equal(where, mask)
    assert changed >= 6


def test_light_changes_the_picture_and_not_the_mask() -> None:
    table = STILL.model_copy(update={"brightness": 0.3, "contrast": 0.3, "noise": 0.1})
    lit = make_augmentation(table)
    image, mask = np.full((16, 16, 3), 120, np.uint8), np.eye(16, dtype=np.uint8) * 255
    results = [augment(lit, image, mask, seed) for seed in range(8)]
    assert all(np.array_equal(where, mask) for _, where in results)
    assert sum(not np.array_equal(picture, image) for picture, _ in results) >= 4


def test_the_seed_decides_the_change() -> None:
    change = make_augmentation(AugmentTable(noise=0.2))
    image = np.random.default_rng(0).integers(0, 256, (16, 16, 3)).astype(np.uint8)
    mask = np.zeros((16, 16), np.uint8)
    first = augment(change, image, mask, 5)[0]
    augment(change, image, mask, 6)
    np.testing.assert_array_equal(first, augment(change, image, mask, 5)[0])
    assert any(not np.array_equal(first, augment(change, image, mask, s)[0]) for s in range(6, 9))


def test_nothing_allowed_is_nothing_changed() -> None:
    image = np.random.default_rng(0).integers(0, 256, (8, 8, 3)).astype(np.uint8)
    picture, where = augment(make_augmentation(STILL), image, image[..., 0], 1)
    np.testing.assert_array_equal(picture, image)
    np.testing.assert_array_equal(where, image[..., 0])


def _with(*regions: Region) -> Sample:
    return Sample("a", Path("a.png"), ("hole",), regions=regions)


def test_a_box_is_filled_from_its_left_top_to_before_its_right_bottom() -> None:
    box = Region("hole", ((1, 1), (3, 1), (3, 4), (1, 4)), is_box=True)
    mask = mask_of(_with(box), (6, 5))
    expected = np.zeros((6, 5), bool)
    expected[1:4, 1:3] = True
    np.testing.assert_array_equal(mask, expected)


def test_a_box_that_leaves_the_image_is_cut_off() -> None:
    box = Region("hole", ((-4, -4), (2, -4), (2, 2), (-4, 2)), is_box=True)
    gone = Region("hole", ((-9, -9), (-3, -9), (-3, -3), (-9, -3)), is_box=True)
    mask = mask_of(_with(box, gone), (4, 4))
    assert mask is not None and mask.sum() == 4 and mask[:2, :2].all()


def test_regions_are_joined_and_a_polygon_keeps_its_corner_out() -> None:
    corner = Region("hole", ((0, 0), (8, 0), (0, 8)), is_box=False)
    box = Region("hole", ((9, 9), (10, 9), (10, 10), (9, 10)), is_box=True)
    mask = mask_of(_with(corner, box), (10, 10))
    assert mask is not None
    assert mask[1, 1] and mask[9, 9] and not mask[7, 7] and not mask[8, 8]
    assert 32 <= mask.sum() - 1 <= 45  # half of 8 x 8, and what the outline touches


def test_no_mask_and_no_region_is_unknown() -> None:
    assert mask_of(_with(), (4, 4)) is None


def test_regions_reach_the_target_of_the_map(tmp_path: Path) -> None:
    write_png(tmp_path / "a.png", np.full((16, 16, 3), 99, np.uint8))
    box = Region("hole", ((0, 0), (4, 0), (4, 4), (0, 4)), is_box=True)
    sample = Sample("a", tmp_path / "a.png", ("hole",), regions=(box,))
    images = load_images([sample], ("good", "hole"), "good", PreprocessSpec(size_hw=(16, 16)))
    assert images.has_mask.all() and (images.masks[0] > 127).sum() == 16
