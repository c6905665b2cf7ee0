"""Where a defect lies: boxes and polygons filled to a mask."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from qc.imageio import write_png
from qc.preprocess import PreprocessSpec
from qc.types import Region, Sample
from training.images import load_images
from training.regions import mask_of


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
