"""From files to batches: decoding, the map's target, the draw of an epoch, and augmentation."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path

import numpy as np
import pytest
from still import STILL

from qc.errors import DataError, FaultError
from qc.imageio import write_png
from qc.preprocess import PreprocessSpec
from qc.recipe import AugmentTable
from qc.types import Sample
from training.pipeline import Batches, Images, load_images
from training.rows import UNKNOWN, map_target
from training.variants import Variant

CLASSES = ("good", "hole", "stain")


# the target of the map


def test_the_target_of_a_masked_defect() -> None:
    """Cells of 2 x 2 pixels, two classes of defects; the good channel is never told."""
    mask = np.zeros((4, 6), np.uint8)
    mask[1, 1] = 255
    mask[2:, 4:] = 255
    found = map_target(mask, [1], True, 0, (2, 3, 3))
    assert found.shape == (2, 3, 3) and found.dtype == np.float32
    np.testing.assert_array_equal(found[:, :, 0], np.full((2, 3), UNKNOWN))
    np.testing.assert_array_equal(found[:, :, 1], [[1, 0, 0], [0, 0, 1]])
    np.testing.assert_array_equal(found[:, :, 2], np.zeros((2, 3)))


def test_a_grey_pixel_of_a_mask_is_on_from_128() -> None:
    mask = np.array([[127, 128]], np.uint8)
    np.testing.assert_array_equal(map_target(mask, [0], True, 1, (1, 2, 2))[0, :, 0], [0, 1])


def test_the_target_of_a_defect_without_a_mask_is_unknown_in_its_channel_only() -> None:
    found = map_target(np.zeros((4, 4), np.uint8), [2], False, 0, (2, 2, 3))
    assert (found[:, :, 2] == UNKNOWN).all() and (found[:, :, 1] == 0).all()
    assert (found[:, :, 0] == UNKNOWN).all()


def test_the_target_of_a_good_part_shows_no_defect_anywhere() -> None:
    found = map_target(np.full((4, 4), 255, np.uint8), [1], True, 1, (2, 2, 3))
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
    outlined = masks.any(axis=(1, 2))
    return Images(samples, pixels, np.array(labels), masks, np.ones(n, bool), outlined)


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
    assert pixels.shape == (4, 16, 16, 3) and pixels.dtype == np.uint8
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


# threads and pasted defects

BUSY = AugmentTable(copy_paste=0.5, noise=0.1, cut_out=0.3, defocus=2, jpeg=50, gamma=0.4)


def test_threads_change_nothing() -> None:
    images = _images([0, 1, 2, 0, 0, 0, 1, 0] * 3)
    serial = _batches(images, BUSY, threads=1)
    parallel = _batches(images, BUSY, threads=4)
    for _ in range(2):
        assert _same(_epoch(serial), _epoch(parallel))
        serial.on_epoch_end()
        parallel.on_epoch_end()
    assert _same(_epoch(serial), _epoch(_batches(images, BUSY, epoch=2)))


def test_the_next_batches_are_made_while_one_is_used() -> None:
    """In the order they are used, no further than the epoch, and from its draw, not the last."""
    images = _images([0, 1, 2, 0, 0, 0, 1, 0] * 2)
    batches = _batches(images, BUSY)
    made: list[int] = []
    drawn = {int(seed): i for i, seed in enumerate(batches.seeds)}
    plain = batches.rows.variants.draw

    def draw(index: int, seed: int) -> Variant:
        made.append(drawn[seed] // batches.batch_size)
        return plain(index, seed)

    batches.rows.variants.draw = draw  # type: ignore[method-assign]
    batches[0]
    for _, filling in batches._making.values():
        wait(filling)
    assert sorted(made) == [0] * 4 + [1] * 4 + [2] * 4 and set(batches._making) == {1, 2}
    batches[1]
    batches[2]
    batches[3]
    assert sorted(made) == sorted([0, 1, 2, 3] * 4) and not batches._making
    batches[0]
    batches.rows.variants.draw = plain  # type: ignore[method-assign]
    batches.on_epoch_end()
    assert not batches._making and _same(_epoch(batches), _epoch(_batches(images, BUSY, epoch=1)))


def test_a_picture_that_cannot_be_made_stops_training() -> None:
    batches = _batches(_images([0, 1, 2, 0]))

    def fail(index: int, seed: int) -> Variant:
        raise FaultError("no memory")

    batches.rows.variants.draw = fail  # type: ignore[method-assign]
    with pytest.raises(FaultError, match="no memory"):
        batches[0]


def test_batches_asked_for_at_once_are_the_same() -> None:
    images = _images([0, 1, 2, 0, 0, 0, 1, 0] * 3)
    batches = _batches(images, BUSY)
    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(batches.__getitem__, range(len(batches))))
    assert _same([a for x, y in found for a in (x, *y.values())], _epoch(_batches(images, BUSY)))


def test_a_good_part_with_a_pasted_defect_is_a_defect_in_score_and_map() -> None:
    """Green is the mask, also where it was pasted; the red says which good part it was."""
    table = STILL.model_copy(update={"copy_paste": 0.5})
    images = _images([0] * 10 + [1, 2])
    batches = _batches(images, table)
    pasted = {0: 0, 1: 0, 2: 0}
    for i in range(len(batches)):
        pixels, targets = batches[i]
        for picture, score, target in zip(
            pixels, targets["score"], targets["attention"], strict=True
        ):
            label = int(score.argmax())
            pasted[label] += 1
            seen = picture[..., 1].reshape(4, 4, 4, 4).max(axis=(1, 3)) > 200
            assert seen.any() == (label > 0)
            for channel in (1, 2):
                wanted = seen if channel == label else np.zeros((4, 4))
                np.testing.assert_array_equal(target[:, :, channel], wanted)
            assert (target[:, :, 0] == UNKNOWN).all()
    assert pasted[0] < 10 and pasted[1] + pasted[2] > 2


def test_pasted_defects_come_from_the_images_that_were_given() -> None:
    """Each split has a grey of its own; a batch of TRAIN shows none but that of TRAIN."""
    greys = {"train": 60, "val": 140, "test": 220}
    loaded = {}
    for split, grey in greys.items():
        images = _images([0] * 6 + [1, 2], side=32)
        images.pixels[:] = 20
        images.pixels[images.masks > 0] = grey
        loaded[split] = images
    table = STILL.model_copy(update={"copy_paste": 1.0})
    for split, grey in greys.items():
        batches = _batches(loaded[split], table)
        brightest = {int(p.max()) for i in range(2) for p in batches[i][0]}
        assert max(abs(b - grey) for b in brightest) <= 2
        assert all(batches[i][1]["score"][:, 0].sum() == 0 for i in range(2)), "none is left good"


def test_the_colour_is_known(tmp_path: Path) -> None:
    """So that the noise of a grey camera has no colour."""
    samples = _written(tmp_path)[:2]
    for colour in ("grey", "rgb"):
        spec = PreprocessSpec(size_hw=(8, 8), colour=colour)
        images = load_images(samples, CLASSES, "good", spec)
        assert images.colour == colour
        noisy = STILL.model_copy(update={"noise": 0.3})
        pixels = np.concatenate([_batches(images, noisy, seed=s)[0][0] for s in range(8)])
        equal = (pixels[..., 0] == pixels[..., 1]).all() and (
            pixels[..., 0] == pixels[..., 2]
        ).all()
        assert equal == (colour == "grey")
