"""Copy-paste: a defect of TRAIN on a good part, where it fits, with its mask and its class."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from still import STILL

from qc.errors import DataError
from qc.imageio import write_png
from qc.preprocess import PreprocessSpec
from qc.recipe import AugmentTable
from qc.types import Region, Sample
from training.copy_paste import LARGEST, Defects, _soft
from training.images import Images, load_images
from training.variants import Variant, Variants

PASTE = STILL.model_copy(update={"copy_paste": 1.0})
SIDE = 64
RIM = 2 * 2  # how far the soft rim reaches: twice its width, which is 2 pixels at least


def _images(
    *parts: tuple[int, int, tuple[int, int, int, int] | None], outlined: bool = True
) -> Images:
    """Even parts of a label and a grey; a defect is a black rectangle `(top, left, high, wide)`."""
    n = len(parts)
    pixels, masks = np.zeros((n, SIDE, SIDE, 3), np.uint8), np.zeros((n, SIDE, SIDE), np.uint8)
    for i, (_, grey, place) in enumerate(parts):
        pixels[i] = grey
        if place is not None:
            top, left, high, wide = place
            masks[i, top : top + high, left : left + wide] = 255
            pixels[i][masks[i] > 0] = 10
    labels = np.array([label for label, *_ in parts])
    samples = tuple(Sample(str(i), Path("none"), (str(k),)) for i, k in enumerate(labels))
    is_outlined = masks.any(axis=(1, 2)) & outlined
    return Images(samples, pixels, labels, masks, np.ones(n, bool), is_outlined)


def _spot(mask: np.ndarray) -> tuple[int, int, int, int]:
    ys, xs = np.nonzero(mask)
    return int(ys.min()), int(xs.min()), int(np.ptp(ys)) + 1, int(np.ptp(xs)) + 1


def _all(images: Images, table: AugmentTable, n: int = 40) -> list[Variant]:
    variants = Variants(images, 0, table)
    return [variants.draw(0, seed) for seed in range(n)]


# the picture


def test_a_pasted_defect_by_hand() -> None:
    """Grey 100 takes the defect of a part of grey 100: black in the mask, 100 beyond the rim."""
    images = _images((0, 100, None), (2, 100, (20, 30, 8, 6)))
    places = set()
    for found in _all(images, PASTE):
        top, left, high, wide = _spot(found.mask)
        assert (high, wide) == (8, 6) and (found.mask > 0).sum() == 48
        assert found.labels == (2,) and found.has_mask and found.source == 1
        assert (found.image[found.mask > 0] == 10).all()
        far = np.ones((SIDE, SIDE), bool)
        reach = np.s_[max(top - RIM, 0) : top + high + RIM, max(left - RIM, 0) : left + wide + RIM]
        far[reach] = False
        assert (found.image[far] == 100).all()
        assert min(top, left) > 0 and top + high < SIDE and left + wide < SIDE
        places.add((top, left))
    assert len(places) > 30, "it lies anywhere"
    assert (images.pixels[0] == 100).all() and not images.masks[0].any(), "nothing was written to"


def test_the_defect_takes_the_light_of_its_place() -> None:
    """Twice the light around it makes twice the light in it: 10 of 60 becomes 20 of 121."""
    images = _images((0, 121, None), (1, 60, (20, 30, 8, 6)))
    for found in _all(images, PASTE, 5):
        assert (found.image[found.mask > 0] == 20).all()


def test_the_light_has_bounds() -> None:
    """Four times the light is not believed: the defect is made twice as light, no more."""
    images = _images((0, 240, None), (1, 50, (20, 30, 8, 6)))
    for found in _all(images, PASTE, 5):
        assert (found.image[found.mask > 0] == 20).all()


def test_a_defect_beside_the_border_brings_no_mirror_of_itself() -> None:
    images = _images((0, 100, None), (1, 100, (20, 1, 8, 6)))
    for found in _all(images, PASTE, 10):
        assert (found.image[found.mask == 0] == 100).all()


def test_the_rim_is_soft_by_hand() -> None:
    """Rim 2: the mask grows by 2 and is smoothed by a bell of sigma 1 (0.054, 0.244, 0.403)."""
    mask = np.zeros((40, 40), np.uint8)
    mask[:, :20] = 255
    weight = _soft(mask, 2)[20, 18:26]
    np.testing.assert_allclose(weight, [1, 1, 0.946, 0.701, 0.299, 0.054, 0, 0], atol=0.001)


def test_a_place_is_taken_that_looks_as_around_the_defect() -> None:
    """The right half is background: a chance place would be there half of the time."""
    images = _images((0, 100, None), (1, 100, (20, 30, 8, 6)))
    images.pixels[0][:, SIDE // 2 :] = 0
    middles = [_spot(found.mask)[1] + 3 for found in _all(images, PASTE)]
    assert sum(x > SIDE // 2 for x in middles) <= 4


@pytest.mark.parametrize(
    ("place", "fixed"),
    [
        ((0, 20, 6, 8), {"top": 0}),
        ((58, 20, 6, 8), {"top": 58}),
        ((20, 0, 8, 6), {"left": 0}),
        ((20, 3, 8, 6), {"left": 3}),
        ((0, 56, 8, 8), {"top": 0, "left": 56}),
        ((0, 30, 64, 3), {"top": 0}),
    ],
)
def test_a_defect_at_the_border_stays_at_it(
    place: tuple[int, int, int, int], fixed: dict[str, int]
) -> None:
    images = _images((0, 100, None), (1, 100, place))
    defects = Defects(images, 0, PASTE.model_copy(update={"rotate_deg": 30.0}), 0.0)
    found = [
        _spot(defects.paste(images.pixels[0], 1, np.random.default_rng(k)).mask) for k in range(30)
    ]
    assert all((high, wide) == place[2:] for _, _, high, wide in found)
    for name, at in (("top", 0), ("left", 1)):
        seen = {spot[at] for spot in found}
        assert seen == {fixed[name]} if name in fixed else len(seen) > 10


def test_a_mirrored_border_is_the_other_border() -> None:
    images = _images((0, 100, None), (1, 100, (20, 0, 8, 6)))
    defects = Defects(images, 0, PASTE.model_copy(update={"flip_horizontal": True}), 0.0)
    found = {
        _spot(defects.paste(images.pixels[0], 1, np.random.default_rng(k)).mask)[1]
        for k in range(20)
    }
    assert found == {0, 58}


@pytest.mark.parametrize(
    ("keys", "shapes"),
    [
        ({}, 1),
        ({"flip_horizontal": True}, 2),
        ({"flip_horizontal": True, "flip_vertical": True}, 4),
        ({"quarter_turns": True}, 4),
        ({"rotate_deg": 45.0}, 20),
        ({"scale": 0.5}, 10),
    ],
)
def test_a_defect_is_turned_as_far_as_the_part_may_be(keys: dict[str, object], shapes: int) -> None:
    images = _images((0, 100, None), (1, 100, (20, 30, 16, 4)))
    for array, value in ((images.masks[1], 255), (images.pixels[1], 10)):
        array[20:24, 30:40] = value  # an L
    defects = Defects(images, 0, PASTE.model_copy(update=keys), 0.0)
    looks = set()
    for k in range(40):
        pasted = defects.paste(images.pixels[0], 1, np.random.default_rng(k))
        top, left, high, wide = _spot(pasted.mask)
        looks.add(pasted.mask[top : top + high, left : left + wide].tobytes() + bytes([high]))
        inside = pasted.image[pasted.mask > 0].max(axis=1)
        assert (inside < 60).mean() > 0.8, "the mask lies on the defect"
    assert len(looks) == shapes if shapes <= 4 else len(looks) >= shapes


# which defects


def test_only_outlined_defects_of_modest_size_are_pasted() -> None:
    side = int(SIDE * np.sqrt(LARGEST)) + 2
    parts = [
        (0, 100, None),
        (1, 100, (4, 4, 8, 8)),
        (1, 100, (0, 0, side, side)),
        (2, 100, None),
        (2, 100, (30, 30, 2, 2)),
        (0, 100, (30, 30, 2, 2)),
    ]
    defects = Defects(_images(*parts), 0, PASTE, 0.0)
    assert defects.sources.tolist() == [1, 4]
    assert defects.of_class(1).tolist() == [1] and defects.of_class(2).tolist() == [4]


def test_a_filled_box_is_not_pasted_and_a_polygon_or_mask_is(tmp_path: Path) -> None:
    corners = ((2.0, 2.0), (9.0, 2.0), (9.0, 9.0), (2.0, 9.0))
    write_png(tmp_path / "a.png", np.full((32, 32, 3), 90, np.uint8))
    mask = np.zeros((32, 32), np.uint8)
    mask[3:6, 3:6] = 255
    write_png(tmp_path / "m.png", mask)
    write_png(tmp_path / "e.png", mask * 0)

    def part(name: str, *regions: Region, mask: str | None = None) -> Sample:
        path = None if mask is None else tmp_path / mask
        return Sample(name, tmp_path / "a.png", ("hole",), mask_path=path, regions=regions)

    box, polygon = Region("hole", corners, is_box=True), Region("hole", corners, is_box=False)
    samples = [
        part("box", box),
        part("polygon", polygon),
        part("both", box, polygon),
        part("mask", mask="m.png"),
        part("empty", mask="e.png"),
        part("nothing"),
        Sample("good", tmp_path / "a.png", ("good",)),
    ]
    images = load_images(samples, ("good", "hole"), "good", PreprocessSpec(size_hw=(32, 32)))
    assert images.outlined.tolist() == [False, True, False, True, False, False, False]
    assert Defects(images, 0, PASTE, 0.0).sources.tolist() == [1, 3]


def test_a_set_of_boxes_cannot_paste_and_says_so() -> None:
    images = _images((0, 100, None), (1, 100, (20, 30, 8, 6)), outlined=False)
    with pytest.raises(DataError, match=r"copy_paste: no defect can be pasted.*found 1 defects"):
        Variants(images, 0, PASTE)
    Variants(images, 0, PASTE.model_copy(update={"copy_paste": 0.0}))


def test_balance_by_hand() -> None:
    """Twelve of one class and three of another: 1 is even, 0 is four to one.

    400 draws: a standard deviation of at most 10; 35 is more than three.
    """
    spot = (20, 30, 8, 6)
    images = _images((0, 100, None), *[(1, 100, spot)] * 12, *[(2, 100, spot)] * 3)
    for balance, expected in ((0.0, 80), (1.0, 200)):
        defects = Defects(images, 0, PASTE, balance)
        rng = np.random.default_rng(0)
        sources = [defects.draw(images.pixels[0], rng).source for _ in range(400)]
        assert abs(sum(images.labels[s] == 2 for s in sources) - expected) < 35
        assert len(set(sources)) == 15


# in the draw


def test_the_share_of_good_parts_that_get_a_defect() -> None:
    """400 draws at 0.3: a standard deviation of 9."""
    images = _images((0, 100, None), (1, 100, (20, 30, 8, 6)))
    found = _all(images, PASTE.model_copy(update={"copy_paste": 0.3}), 400)
    assert abs(sum(v.source is not None for v in found) - 120) < 30
    for one in found:
        assert (one.labels == (1,)) == (one.source is not None) == bool(one.mask.any())


def test_a_defect_gets_no_second_one_and_none_is_pasted_unasked() -> None:
    images = _images((0, 100, None), (1, 100, (20, 30, 8, 6)))
    assert Variants(images, 0, PASTE).draw(1, 0).source is None
    plain = Variants(images, 0, PASTE.model_copy(update={"copy_paste": 0.0}))
    assert all(plain.draw(0, seed).source is None for seed in range(20))
    assert plain.draw(0, 0, source=1).source is None


def test_a_wanted_defect_is_pasted_for_certain() -> None:
    images = _images((0, 100, None), (1, 100, (20, 30, 8, 6)), (2, 100, (20, 30, 4, 4)))
    variants = Variants(images, 0, PASTE.model_copy(update={"copy_paste": 0.01}))
    assert [variants.draw(0, seed, source=2).labels for seed in range(5)] == [(2,)] * 5


def test_a_grey_set_is_pasted_and_drawn_as_one_of_three_equal_channels() -> None:
    """Of a grey set one channel is worked on; what training sees has three, and is the same."""
    rng = np.random.default_rng(1)
    images = _images((0, 100, None), (1, 100, (20, 30, 8, 6)), (2, 100, (0, 20, 6, 9)))
    images.pixels[:] += rng.integers(0, 90, images.pixels.shape[:3], np.uint8)[..., None]
    grey = replace(images, colour="grey")
    table = PASTE.model_copy(update={"rotate_deg": 20.0, "scale": 0.1, "quarter_turns": True})
    for seed in range(30):
        whole, one = (
            Variants(images, 0, table).draw(0, seed),
            Variants(grey, 0, table).draw(0, seed),
        )
        assert one.image.shape == (SIDE, SIDE, 3) and one.source is not None
        np.testing.assert_array_equal(whole.image, one.image)
        np.testing.assert_array_equal(whole.mask, one.mask)


def test_the_seed_decides_also_between_threads() -> None:
    rng = np.random.default_rng(0)
    images = _images((0, 100, None), (1, 100, (20, 30, 8, 6)), (2, 100, (4, 4, 5, 5)))
    images.pixels[:] = rng.integers(0, 256, images.pixels.shape)
    table = AugmentTable(copy_paste=0.5, noise=0.1, cut_out=0.3, defocus=2, jpeg=50, gamma=0.4)
    serial = [Variants(images, 0, table).draw(k % 3, k) for k in range(60)]
    shared = Variants(images, 0, table)
    with ThreadPoolExecutor(4) as pool:
        threads = list(pool.map(lambda k: shared.draw(k % 3, k), range(60)))
    for one, other in zip(serial, threads, strict=True):
        np.testing.assert_array_equal(one.image, other.image)
        np.testing.assert_array_equal(one.mask, other.mask)
        assert (one.labels, one.source, one.applied) == (other.labels, other.source, other.applied)
    assert {v.labels for v in serial[::3]} == {(0,), (1,), (2,)}
