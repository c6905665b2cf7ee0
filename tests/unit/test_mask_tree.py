"""Masks in a tree of their own, on pictures of a few pixels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from qc.errors import DataError, QCError
from qc.imageio import write_png
from training.datasets import layouts, load_samples, mask_tree


def _picture(path: Path, value: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_png(path, np.full((4, 4), value, np.uint8))
    return path


@pytest.fixture
def classes(tmp_path: Path) -> Path:
    root = tmp_path / "classes"
    _picture(root / "images/good/a.png")
    _picture(root / "images/hole/a.png").rename(root / "images/hole/a.bmp")
    _picture(root / "images/hole/b.png")
    _picture(root / "masks/hole/a.png", 255)
    _picture(root / "masks/hole/b_mask.png", 255)
    return root


@pytest.fixture
def flat(tmp_path: Path) -> Path:
    root = tmp_path / "flat"
    for name in "abc":
        _picture(root / f"imgs/{name}.png")
    _picture(root / "Masks/a.png", 255)
    _picture(root / "Masks/b.png", 0)
    return root


@pytest.fixture
def beside(tmp_path: Path) -> Path:
    root = tmp_path / "beside"
    for name, value in (("train/1", 255), ("train/2", 0), ("test/1", 0)):
        _picture(root / f"{name}.png")
        _picture(root / f"{name}_GT.png", value)
    return root


def _found(root: Path, **options: str) -> dict[str, tuple[str, str | None]]:
    """Class and mask by sample id."""
    name, samples = load_samples(root, options=options)
    assert name == "mask_tree"
    return {
        s.sample_id: (s.labels[0], s.mask_path and s.mask_path.relative_to(root).as_posix())
        for s in samples
    }


def _refused(root: Path, what: str) -> DataError:
    with pytest.raises(DataError, match=what) as caught:
        load_samples(root, "mask_tree")
    return caught.value


def test_folders_say_the_class(classes: Path) -> None:
    assert _found(classes) == {
        "images/good/a.png": ("good", None),
        "images/hole/a.bmp": ("hole", "masks/hole/a.png"),
        "images/hole/b.png": ("hole", "masks/hole/b_mask.png"),
    }
    assert mask_tree.scan(classes).as_rows() == []


def test_masks_say_the_class_where_no_folder_does(flat: Path) -> None:
    assert _found(flat) == {
        "imgs/a.png": ("defect", "Masks/a.png"),
        "imgs/b.png": ("good", "Masks/b.png"),
        "imgs/c.png": ("good", None),
    }
    assert [c for c, _ in _found(flat, defect="crack", good="ok").values()] == ["crack", "ok", "ok"]


def test_masks_beside_their_images(beside: Path) -> None:
    assert _found(beside) == {
        "test/1.png": ("good", "test/1_GT.png"),
        "train/1.png": ("defect", "train/1_GT.png"),
        "train/2.png": ("good", "train/2_GT.png"),
    }
    assert [s.split for s in load_samples(beside)[1]] == ["test", "train", "train"]
    (beside / "train/2_GT.png").unlink()
    error = _refused(beside, r"image without its mask; expected 2_GT\.png beside it")
    assert error.where == str(beside / "train/2.png")


def test_a_split_above_or_below_the_two_folders_is_kept(classes: Path, tmp_path: Path) -> None:
    above, below = tmp_path / "above", tmp_path / "below"
    for split in ("train", "valid"):
        _picture(above / split / "image" / "a.png")
        _picture(above / split / "mask" / "a.png", 255)
        _picture(below / "image" / split / "hole" / "a.png")
        _picture(below / "mask" / split / "hole" / "a.png", 255)
    for root, label in ((above, "defect"), (below, "hole")):
        name, samples = load_samples(root)
        assert name == "mask_tree"
        assert [(s.split, s.labels) for s in samples] == [("train", (label,)), ("val", (label,))]
        assert all(s.mask_path is not None for s in samples)
    for file in (below / "mask" / "valid").rglob("*.png"):
        file.unlink()
    (below / "mask" / "valid" / "hole").rmdir()
    (below / "mask" / "valid").rmdir()
    assert _refused(below, "no folder of masks").where == str(below / "mask" / "valid")


def test_groups_are_read(flat: Path) -> None:
    rows = "".join(f"imgs/{name}.png,7\n" for name in "abc")
    (flat / "groups.csv").write_text("path,group\n" + rows)
    assert {s.group for s in load_samples(flat)[1]} == {"7"}


def test_a_mask_of_class_numbers_does_not_pass_for_an_empty_one(flat: Path) -> None:
    mask = _picture(flat / "Masks/c.png", 1)
    assert _refused(flat, "neither empty.*found values up to 1").where == str(mask)
    mask.write_bytes(b"")
    assert _refused(flat, "empty").where == str(mask)


def test_files_that_do_not_fit(classes: Path, flat: Path) -> None:
    orphan = _picture(classes / "masks/good/x.png")
    assert _refused(classes, "mask without its image").where == str(orphan)
    orphan.unlink()
    second = _picture(classes / "masks/hole/a_mask.png")
    assert "found a.png, a_mask.png" in str(_refused(classes, "two masks for one image"))
    assert len(mask_tree.scan(classes).errors) == 1
    second.unlink()
    _picture(classes / "images/hole/a.png")
    _refused(classes, r"two images for one mask; found a\.bmp and a\.png")
    (classes / "images/hole/a.png").unlink()
    for name in ("images/x.png", "images/hole/deep/x.png"):
        stray = _picture(classes / name)
        error = _refused(classes, "in a folder that this layout does not read.*/<class>/")
        assert error.where == str(stray)
        stray.unlink()


def test_a_mask_that_is_missing_among_others_is_named(classes: Path) -> None:
    _picture(classes / "images/hole/c.png")
    assert _found(classes)["images/hole/c.png"] == ("hole", None)
    (row,) = mask_tree.scan(classes).as_rows()
    assert row["path"] == "images/hole/c.png"
    assert "no mask, though others of class hole have one" in row["why"]


def test_a_dataset_without_masks_is_refused(flat: Path, tmp_path: Path) -> None:
    for mask in (flat / "Masks").iterdir():
        mask.unlink()
    _refused(flat, "no mask at all; expected masks in .*Masks")
    _refused(tmp_path, "no images with masks in a tree")
    with pytest.raises(DataError, match="does not exist"):
        mask_tree.scan(tmp_path / "gone")


def test_only_one_layout_fits(classes: Path, flat: Path, beside: Path, tmp_path: Path) -> None:
    for root in (classes, flat, beside):
        assert [n for n, layout in layouts().items() if layout.detect(root)] == ["mask_tree"]
    folders = tmp_path / "folders"
    _picture(folders / "good/a.png")
    _picture(folders / "image_lost/a.png")
    assert load_samples(folders)[0] == "class_folders"
    mvtec = tmp_path / "mvtec"
    for name in ("train/good/0.png", "test/hole/0.png", "ground_truth/hole/0_mask.png"):
        _picture(mvtec / name)
    assert load_samples(mvtec)[0] == "mvtec_ad"
    (flat / "data.yaml").write_text("names: [hole]\n")
    assert not mask_tree.detect(flat) and not mask_tree.detect(tmp_path / "gone")


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.binary(max_size=80))
def test_only_our_errors_escape_from_a_damaged_mask(flat: Path, data: bytes) -> None:
    mask = flat / "Masks" / "c.png"
    for content in (data, mask.with_name("a.png").read_bytes()[: len(data)] + data):
        mask.write_bytes(content)
        try:
            load_samples(flat)
        except QCError as error:
            assert str(mask) in str(error)
