"""Parts with several defects on their way to a batch: masks of their own, labels, draw, paste."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from still import STILL
from two_defects import draw_two_defects

from export.calibrate import choose_stratified
from qc.errors import DataError
from qc.imageio import read_image, write_png
from qc.preprocess import PreprocessSpec
from qc.recipe import AugmentTable
from qc.types import Region, Sample
from training.augment import Augmentation
from training.copy_paste import Defects
from training.datasets import load_samples
from training.images import Images, class_weights, load_images
from training.pipeline import Batches
from training.preview import _rows
from training.rows import UNKNOWN, map_target
from training.run import plan_run
from training.variants import Variants

CLASSES = ("good", "hole", "stain", "scratch")
SIDE = 16


def _box(label: str, left: int, top: int, side: int = 4, is_box: bool = True) -> Region:
    right, bottom = left + side, top + side
    corners = ((left, top), (right, top), (right, bottom), (left, bottom))
    return Region(label, tuple((float(x), float(y)) for x, y in corners), is_box)


def _loaded(folder: Path, *samples: tuple[tuple[str, ...], tuple[Region, ...]]) -> Images:
    """Pictures of 16 x 16 in one grey, with their labels and regions."""
    write_png(folder / "a.png", np.full((SIDE, SIDE, 3), 90, np.uint8))
    made = [
        Sample(str(i), folder / "a.png", labels, regions=regions)
        for i, (labels, regions) in enumerate(samples)
    ]
    return load_images(made, CLASSES, "good", PreprocessSpec(size_hw=(SIDE, SIDE)))


HOLE, STAIN = _box("hole", 0, 0), _box("stain", 8, 12)
BOTH = (("stain", "hole"), (HOLE, STAIN))


# masks and labels


def test_each_region_fills_the_mask_of_its_class(tmp_path: Path) -> None:
    images = _loaded(tmp_path, BOTH)
    assert images.classes_of(0) == (1, 2) and images.labels.tolist() == [1]
    assert images.has_mask.all() and images.layers[0].shape == (SIDE, SIDE, 4)
    assert (images.layers[0] > 127).sum(axis=(0, 1)).tolist() == [0, 16, 16, 0]
    assert images.layers[0][0:4, 0:4, 1].all() and images.layers[0][12:16, 8:12, 2].all()
    assert (images.masks[0] > 127).sum() == 32, "the whole mask is that of any defect"
    np.testing.assert_array_equal(images.mask_of_class(0, 2), images.layers[0][:, :, 2])
    np.testing.assert_array_equal(images.mask_of_class(0, 3), images.masks[0])


def test_a_mask_file_counts_for_all_defects_of_its_part(tmp_path: Path) -> None:
    mask = np.zeros((SIDE, SIDE), np.uint8)
    mask[4:8, 4:8] = 255
    write_png(tmp_path / "m.png", mask)
    write_png(tmp_path / "a.png", np.full((SIDE, SIDE, 3), 90, np.uint8))
    sample = Sample("0", tmp_path / "a.png", ("hole", "stain"), mask_path=tmp_path / "m.png")
    images = load_images([sample], CLASSES, "good", PreprocessSpec(size_hw=(SIDE, SIDE)))
    assert images.has_mask.all() and not images.layers
    drawn = Variants(images, 0, STILL).draw(0, 0)
    found = map_target(drawn.mask, drawn.labels, drawn.has_mask, 0, (4, 4, 4))
    for k in (1, 2):
        assert found[1, 1, k] == 1 and found[:, :, k].sum() == 1
    assert (found[:, :, 3] == 0).all() and (found[:, :, 0] == UNKNOWN).all()


def test_regions_of_only_some_defects_are_no_mask(tmp_path: Path) -> None:
    images = _loaded(tmp_path, (("hole", "stain"), (HOLE,)), (("hole", "stain"), ()))
    assert not images.has_mask.any() and not images.layers
    found = map_target(images.masks[0], images.classes_of(0), False, 0, (4, 4, 4))
    assert (found[:, :, :3] == UNKNOWN).all() and (found[:, :, 3] == 0).all()


def test_the_target_of_the_map_by_hand(tmp_path: Path) -> None:
    """Cells of 4 pixels: the hole fills the first, the stain the third of the last row."""
    images = _loaded(tmp_path, BOTH)
    found = map_target(images.layers[0], (1, 2), True, 0, (4, 4, 4))
    hole, stain = np.zeros((4, 4)), np.zeros((4, 4))
    hole[0, 0] = stain[3, 2] = 1
    np.testing.assert_array_equal(found[:, :, 1], hole)
    np.testing.assert_array_equal(found[:, :, 2], stain)
    assert (found[:, :, 3] == 0).all() and (found[:, :, 0] == UNKNOWN).all()


def test_the_matrix_of_labels(tmp_path: Path) -> None:
    images = _loaded(tmp_path, (("good",), ()), BOTH, (("scratch",), (_box("scratch", 4, 4),)))
    wanted = np.array([[1, 0, 0, 0], [0, 1, 1, 0], [0, 0, 0, 1]], bool)
    np.testing.assert_array_equal(images.truth(4), wanted)
    np.testing.assert_array_equal(images.truth(), wanted)
    assert images.labels.tolist() == [0, 1, 3] and images.has_mask.all()


# the draw


def test_a_part_is_drawn_as_its_rarest_class_by_hand() -> None:
    """4 good, 2 holes, 1 stain: a part with hole and stain weighs 1, a hole alone 1/2."""
    truth = np.array([[1, 0, 0]] * 4 + [[0, 1, 0], [0, 1, 1]], bool)
    np.testing.assert_allclose(class_weights(truth, 1.0), [0.25] * 4 + [0.5, 1.0])
    np.testing.assert_allclose(class_weights(truth, 0.0), [1.0] * 6)


def _batches(images: Images, table: AugmentTable = STILL, **changes: object) -> Batches:
    values = {"batch_size": 4, "balance": 0.0, "seed": 3} | changes
    return Batches(images, good=0, map_shape=(4, 4, 4), table=table, **values)  # type: ignore[arg-type]


def test_a_batch_carries_every_label_and_the_maps_follow(tmp_path: Path) -> None:
    images = _loaded(tmp_path, (("good",), ()), BOTH, (("good",), ()), BOTH)
    table = STILL.model_copy(update={"flip_horizontal": True, "flip_vertical": True})
    moved = 0
    for seed in range(6):
        _, targets = _batches(images, table, seed=seed)[0]
        for score, target in zip(targets["score"], targets["attention"], strict=True):
            assert score.tolist() in ([1, 0, 0, 0], [0, 1, 1, 0])
            on = (target == 1).sum(axis=(0, 1)).tolist()
            assert on == ([0, 1, 1, 0] if score[1] else [0, 0, 0, 0])
            if score[1]:
                (y, x), (v, u) = (np.argwhere(target[:, :, k] == 1)[0] for k in (1, 2))
                assert (abs(y - v), abs(x - u)) == (3, 2), "both move with the picture"
                moved += (y, x) != (0, 0)
    assert moved


def test_mixup_mixes_sets_of_labels(tmp_path: Path) -> None:
    images = _loaded(tmp_path, (("good",), ()), BOTH, BOTH, (("scratch",), ()))
    _, targets = _batches(images, mixup=1.0)[0]
    score = targets["score"]
    assert score.min() >= 0 and score.max() <= 1 and ((score > 0) & (score < 1)).any()
    np.testing.assert_allclose(score[:, 1], score[:, 2], err_msg="hole and stain come together")


def test_no_defect_of_a_part_may_leave_the_picture() -> None:
    """A large stain in the middle, a hole in the corner: a shift may take neither."""
    picture = np.zeros((64, 64, 3), np.uint8)
    masks = np.zeros((64, 64, 4), np.uint8)
    masks[20:44, 20:44, 2] = 255
    masks[0:3, 0:3, 1] = 255
    table = STILL.model_copy(update={"shift": 0.5})
    for seed in range(40):
        found = Augmentation(table)(picture, masks, seed)
        kept = np.count_nonzero(found.mask, axis=(0, 1))
        assert kept[1] >= 0.25 * 9 and kept[2] >= 0.25 * 576 and kept[[0, 3]].sum() == 0


# defects that are pasted


def test_defects_that_regions_tell_apart_are_not_pasted(tmp_path: Path) -> None:
    shapes = tuple(_box(k, x, 4, 3, is_box=False) for k, x in (("hole", 1), ("stain", 10)))
    images = _loaded(
        tmp_path, (("good",), ()), (("hole", "stain"), shapes), (("hole",), shapes[:1])
    )
    table = STILL.model_copy(update={"copy_paste": 1.0})
    assert images.outlined.tolist() == [False, True, True]
    assert Defects(images, 0, table, 0.5).sources.tolist() == [2]
    with pytest.raises(DataError, match="no defect can be pasted"):
        Defects(_loaded(tmp_path, (("good",), ()), (("hole", "stain"), shapes)), 0, table, 0.5)


def test_a_pasted_defect_brings_all_its_labels() -> None:
    pixels = np.full((2, 64, 64, 3), 100, np.uint8)
    masks = np.zeros((2, 64, 64), np.uint8)
    masks[1, 20:28, 30:36] = 255
    samples = (Sample("0", Path("none"), ("good",)), Sample("1", Path("none"), ("hole", "stain")))
    known, outlined = np.ones(2, bool), np.array([False, True])
    images = Images(samples, pixels, np.array([0, 1]), masks, known, outlined, several={1: (1, 2)})
    table = STILL.model_copy(update={"copy_paste": 1.0})
    variants = Variants(images, 0, table)
    assert variants.draw(0, 0).labels == (1, 2) and variants.defects is not None
    assert variants.defects.of_class(2).tolist() == [1]


# what is chosen and shown


def test_calibration_takes_turns_over_all_labels_and_takes_no_part_twice() -> None:
    rows = [("good",)] * 6 + [("hole",)] * 3 + [("hole", "stain")] * 2 + [("stain", "scratch")]
    samples = [Sample(str(i), Path("x"), labels) for i, labels in enumerate(rows)]
    chosen = choose_stratified(samples, 4, seed=0)
    assert {label for s in chosen for label in s.labels} == set(CLASSES)
    everything = choose_stratified(samples, 99, seed=0)
    assert sorted(s.sample_id for s in everything) == sorted(s.sample_id for s in samples)


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("two") / "parts"
    return draw_two_defects(folder, seed=2, lots=4, parts_per_lot=16)


RECIPE = """
name = "two"
[data]
path = "parts"
good = "good"
[model]
task = "{task}"
backbone = "inverted_residual"
size_hw = [64, 64]
[train]
epochs = 1
[train.augment]
copy_paste = 0.5
"""


def test_the_drawn_set_has_parts_with_two_defects(parts: Path) -> None:
    _, samples = load_samples(parts)
    sizes = [len(s.labels) if s.labels != ("good",) else 0 for s in samples]
    assert len(samples) == 64 and sizes.count(0) == 32 and sizes.count(2) >= 8
    assert all({r.label for r in s.regions} == set(s.labels) - {"good"} for s in samples)
    assert read_image(samples[0].image_path).shape == (64, 64, 3)


def test_the_preview_titles_a_part_with_all_its_defects(parts: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "two.toml"
    recipe.write_text(RECIPE.format(task="multilabel"))
    plan = plan_run(recipe, data=parts, runs=tmp_path)
    train = plan.of_split("train")
    images = load_images(train, plan.classes, "good", plan.preprocess)
    two = next(s for s in train if len(s.labels) == 2)
    fine = next(s for s in train if s.labels == ("good",))
    rows = list(_rows(plan, images, {"good": [fine], two.labels[0]: [two]}, seed=1))
    title = " + ".join(sorted(two.labels, key=plan.classes.index))
    assert {cell.title for cell in rows[1]} == {title}
    assert all(cell.mask is not None and cell.mask.shape == (64, 64) for cell in rows[1])
    assert any(cell.pasted for row in rows for cell in row)


def test_one_class_of_several_refuses_the_set_with_the_way_out(parts: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "two.toml"
    recipe.write_text(RECIPE.format(task="multiclass"))
    with pytest.raises(DataError, match=r'model\.task = "multilabel"'):
        plan_run(recipe, data=parts, runs=tmp_path)
    recipe.write_text(RECIPE.format(task="binary"))
    assert plan_run(recipe, data=parts, runs=tmp_path).classes == ("good", "defect")
