"""Real images, where the folder of public sets is: the tile recipe, and the line's decoder."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from program import Made, done, qc

from qc.bundle import open_bundle
from training.pipeline import load_images
from training.run import plan_run
from training.split import crossing_groups, group_of

ROOT = Path(__file__).parents[2]
SETS = Path(os.environ.get("QC_DATA_ROOT", ROOT.parent / "shared" / "data"))
TILES = SETS / "magnetic_tile"
RECIPE = ROOT / "data" / "recipes" / "magnetic_tile.toml"

pytestmark = pytest.mark.skipif(
    not TILES.is_dir(), reason=f"the public images are not here: {TILES} (QC_DATA_ROOT names them)"
)


@pytest.mark.parametrize("data", [TILES, SETS])
def test_the_tile_recipe_resolves_to_a_split_without_leaks(tmp_path: Path, data: Path) -> None:
    plan = plan_run(RECIPE, data=data, runs=tmp_path)
    assert plan.classes[0] == "MT_Free" and len(plan.classes) == 6
    assert Counter(s.split for s in plan.samples) == {"train": 767, "val": 270, "test": 307}
    assert crossing_groups(plan.samples) == []
    groups = {s: {group_of(x) for x in plan.of_split(s)} for s in ("train", "val", "test")}
    assert not groups["train"] & groups["test"] and not groups["train"] & groups["val"]
    for split in groups:
        assert {x.labels[0] for x in plan.of_split(split)} == set(plan.classes)


def test_tiles_are_decoded_with_their_masks(tmp_path: Path) -> None:
    plan = plan_run(RECIPE, data=TILES, runs=tmp_path)
    chosen = [s for s in plan.of_split("val") if s.labels[0] in ("MT_Free", "MT_Blowhole")][::12]
    images = load_images(chosen, plan.classes, plan.recipe.data.good, plan.preprocess)
    assert images.pixels.shape[1:] == (192, 192, 3)
    assert (images.pixels.std(axis=(1, 2, 3)) > 2).all(), "a picture is flat"
    # grey: the three channels are the luma
    assert np.array_equal(images.pixels[..., 0], images.pixels[..., 2])
    holes = images.labels == plan.classes.index("MT_Blowhole")
    share = (images.masks > 127).mean(axis=(1, 2))
    assert holes.any() and not holes.all()
    assert (share[holes] > 0).all() and (share[holes] < 0.2).all() and not share[~holes].any()


def test_a_bundle_judges_tiles_of_every_size(made: Made, tmp_path: Path) -> None:
    """The verdicts mean nothing, since the model never saw a tile; that there is one does."""
    folders = [sorted((TILES / kind / "Imgs").glob("*.jpg"))[:2] for kind in ("MT_Free", "MT_Fray")]
    files = [file for found in folders for file in found]
    ran = qc("inspect", made.bundle, *files, "--out", tmp_path / "out", "--json")
    found = done(ran)
    assert len(found["images"]) == 4 and found["counts"]["FAULT"] == 0
    names = set(open_bundle(made.bundle).manifest.class_names)
    for row in found["images"]:
        assert set(row["score"]) == names
        assert sum(row["score"].values()) == pytest.approx(1.0, abs=0.03)
        assert row["overlay"] is None or Path(row["overlay"]).is_file()
