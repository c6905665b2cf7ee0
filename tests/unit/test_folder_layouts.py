"""MVTec AD and folders that say the split, on pictures of a few pixels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from toy_sets import RECIPE

from qc.errors import DataError
from qc.imageio import write_png
from training.datasets import load_samples
from training.run import plan_run


def _picture(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_png(path, np.zeros((4, 4), np.uint8))
    return path


@pytest.fixture
def mvtec(tmp_path: Path) -> Path:
    root = tmp_path / "bottle"
    for name in ("train/good/000.png", "test/good/000.png", "test/crack/000.png"):
        _picture(root / name)
    _picture(root / "test/hole/007.jpg")
    _picture(root / "ground_truth/crack/000_mask.png")
    _picture(root / "ground_truth/hole/007.png")
    return root


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    root = tmp_path / "set"
    for split in ("train", "valid", "test"):
        _picture(root / split / "good" / "a.png")
        _picture(root / split / "hole" / "a.png")
    _picture(root / "train" / "hole" / "a_mask.png")
    return root


def test_mvtec_is_found_with_its_masks(mvtec: Path) -> None:
    name, samples = load_samples(mvtec)
    assert name == "mvtec_ad"
    found = {
        s.sample_id: (s.labels[0], s.mask_path and s.mask_path.relative_to(mvtec).as_posix())
        for s in samples
    }
    assert found == {
        "train/good/000.png": ("good", None),
        "test/good/000.png": ("good", None),
        "test/crack/000.png": ("crack", "ground_truth/crack/000_mask.png"),
        "test/hole/007.jpg": ("hole", "ground_truth/hole/007.png"),
    }
    assert {s.split for s in samples} == {None} and len({s.group for s in samples}) == 4


def test_a_defect_without_its_mask(mvtec: Path) -> None:
    (mvtec / "ground_truth/crack/000_mask.png").unlink()
    with pytest.raises(DataError, match=r"000\.png: defect without its mask; expected .*000_mask"):
        load_samples(mvtec)


def test_a_mask_without_its_image(mvtec: Path) -> None:
    (mvtec / "test/crack/000.png").unlink()
    with pytest.raises(DataError, match=r"000_mask\.png: mask without its image"):
        load_samples(mvtec)


def test_an_image_beside_the_class_folders(mvtec: Path) -> None:
    _picture(mvtec / "test" / "stray.png")
    with pytest.raises(DataError, match=r"stray\.png: image outside a class folder"):
        load_samples(mvtec)


def test_groups_are_read(mvtec: Path, folders: Path) -> None:
    for root in (mvtec, folders):
        ids = [s.sample_id for s in load_samples(root)[1]]
        rows = "".join(f"{name},{name.split('/')[0]}\n" for name in ids)
        (root / "groups.csv").write_text("path,group\n" + rows)
        assert {s.group for s in load_samples(root)[1]} == {n.split("/")[0] for n in ids}


def test_folders_say_the_split(folders: Path) -> None:
    name, samples = load_samples(folders)
    assert name == "split_folders"
    assert [(s.sample_id, s.split) for s in samples[:3]] == [
        ("test/good/a.png", "test"),
        ("test/hole/a.png", "test"),
        ("train/good/a.png", "train"),
    ]
    assert samples[3].mask_path == folders / "train" / "hole" / "a_mask.png"
    assert {s.split for s in samples} == {"train", "val", "test"}


def test_two_folders_for_one_split(folders: Path) -> None:
    _picture(folders / "val" / "good" / "b.png")
    with pytest.raises(DataError, match=r"expected train, val and test; found .*val, valid"):
        load_samples(folders, "split_folders")


def test_a_run_keeps_the_split_of_the_folders_and_refuses_a_leak(
    folders: Path, tmp_path: Path
) -> None:
    recipe = tmp_path / "toy.toml"
    recipe.write_text(RECIPE.replace("parts", "set"))
    plan = plan_run(recipe, data=None, runs=tmp_path / "runs")
    assert [s.split for s in plan.samples if s.sample_id.startswith("valid/")] == ["val", "val"]
    rows = [f"{s.sample_id},piece" for s in plan.samples]
    (folders / "groups.csv").write_text("path,group\n" + "\n".join(rows) + "\n")
    with pytest.raises(DataError, match="more than one split"):
        plan_run(recipe, data=None, runs=tmp_path / "runs")
