"""The folder layout and the finding of layouts, on datasets of a few pixels."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from qc.errors import DataError
from qc.imageio import write_png
from training.datasets import class_folders, layouts, load_samples
from training.split import apply_split, crossing_groups

SPLIT_FILE = Path(__file__).parents[2] / "data" / "splits" / "magnetic_tile.csv"
DATA_ROOT = Path(
    os.environ.get("QC_DATA_ROOT", Path(__file__).parents[2].parent / "shared" / "data")
)
TILES = DATA_ROOT / "magnetic_tile"
needs_tiles = pytest.mark.skipif(
    not TILES.is_dir(), reason="magnetic_tile is not there; QC_DATA_ROOT names its parent folder"
)


def _picture(path: Path, value: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_png(path, np.full((4, 4), value, np.uint8))
    return path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two classes; the second has its images in Imgs, one with a mask of each naming."""
    _picture(tmp_path / "good" / "b.png")
    _picture(tmp_path / "good" / "a.bmp.png").rename(tmp_path / "good" / "a.bmp")
    _picture(tmp_path / "hole" / "Imgs" / "x.jpg.png").rename(tmp_path / "hole/Imgs/x.jpg")
    _picture(tmp_path / "hole" / "Imgs" / "x.png")  # mask of x.jpg
    _picture(tmp_path / "hole" / "Imgs" / "y.png")
    _picture(tmp_path / "hole" / "Imgs" / "y_mask.png")  # mask of y.png
    return tmp_path


def _groups(root: Path, text: str) -> None:
    (root / "groups.csv").write_text(text, encoding="utf-8")


ALL_ROWS = "good/a.bmp,1\ngood/b.png,1\nhole/Imgs/x.jpg,1\nhole/Imgs/y.png,2\n"


def test_samples_come_sorted_with_class_mask_and_own_group(root: Path) -> None:
    name, samples = load_samples(root)
    assert name == "class_folders"
    masks = [(s.sample_id, s.labels, s.mask_path and s.mask_path.name) for s in samples]
    assert masks == [
        ("good/a.bmp", ("good",), None),
        ("good/b.png", ("good",), None),
        ("hole/Imgs/x.jpg", ("hole",), "x.png"),
        ("hole/Imgs/y.png", ("hole",), "y_mask.png"),
    ]
    assert all(s.group == s.sample_id and s.split is None for s in samples)
    assert all(s.image_path == root / s.sample_id for s in samples)


def test_groups_are_read_with_a_byte_order_mark_and_other_columns(root: Path) -> None:
    rows = ALL_ROWS.replace("\n", ",whatever\n")
    _groups(root, "\ufeffpath,group,exposure\n" + rows)
    assert [s.group for s in load_samples(root)[1]] == ["1", "1", "1", "2"]


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("path,piece\n" + ALL_ROWS, r"lacks a column; expected path, group; found path, piece"),
        ("", "found nothing"),
        ("path,group\n" + ALL_ROWS.replace("hole/Imgs/y.png,2\n", ""), r"no row for 1.*y\.png"),
        ("path,group\n" + ALL_ROWS + "good/c.png,3\n", r"missing file; found good/c\.png"),
        ("path,group\n" + ALL_ROWS + "good/b.png,3\n", r"twice; found good/b\.png"),
        ("path,group\n" + ALL_ROWS.replace("x.jpg,1", "x.jpg,"), "line 4.*without path or group"),
        ("path,group\n" + ALL_ROWS.replace("x.jpg,1", "x.jpg"), "line 4.*without path or group"),
        ("path,group\n" + ALL_ROWS + ",3\n", "line 6.*without path or group"),
    ],
)
def test_wrong_groups_are_refused(root: Path, text: str, what: str) -> None:
    _groups(root, text)
    with pytest.raises(DataError, match=what) as caught:
        load_samples(root)
    assert str(root / "groups.csv") in caught.value.where


def test_groups_that_are_no_text_are_refused(root: Path) -> None:
    (root / "groups.csv").write_bytes(b"path,group\n\xff\xfe\n")
    with pytest.raises(DataError, match="cannot be read"):
        load_samples(root)


def test_an_empty_class_is_refused_by_name(root: Path) -> None:
    (root / "crack" / "Imgs").mkdir(parents=True)
    (root / "crack" / "notes.txt").touch()
    with pytest.raises(DataError, match="empty class 'crack'"):
        load_samples(root)


def test_a_class_of_masks_only_is_refused(root: Path) -> None:
    _picture(root / "crack" / "z_mask.png")
    with pytest.raises(DataError, match="mask without an image") as caught:
        load_samples(root)
    assert caught.value.where == str(root / "crack" / "z_mask.png")


def test_two_masks_for_one_image_are_refused(root: Path) -> None:
    _picture(root / "hole" / "Imgs" / "x_mask.png")
    with pytest.raises(DataError, match="two masks"):
        load_samples(root)


def test_images_in_another_folder_are_not_passed_over(root: Path) -> None:
    _picture(root / "hole" / "more" / "z.png")
    with pytest.raises(DataError, match="does not read") as caught:
        load_samples(root)
    assert caught.value.where == str(root / "hole" / "more")


def test_hidden_and_underscore_folders_are_no_classes(root: Path) -> None:
    _picture(root / ".cache" / "a.png")
    _picture(root / "_old" / "a.png")
    (root / "good" / ".hidden.png").touch()
    assert {s.labels[0] for s in load_samples(root)[1]} == {"good", "hole"}


def test_a_dataset_of_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no dataset format fits"):
        load_samples(tmp_path)
    with pytest.raises(DataError, match="no class folder"):
        load_samples(tmp_path, "class_folders")
    with pytest.raises(DataError, match="does not exist"):
        load_samples(tmp_path / "gone")
    with pytest.raises(DataError, match="does not exist"):
        list(class_folders.samples(tmp_path / "gone"))


def test_annotation_files_mean_another_layout(root: Path) -> None:
    assert class_folders.detect(root)
    (root / "good" / "b.xml").touch()
    assert not class_folders.detect(root)
    assert not class_folders.detect(root / "good" / "b.png")


def test_an_unknown_format_suggests_the_nearest_and_never_takes_it(root: Path) -> None:
    with pytest.raises(
        DataError, match=r"did you mean 'class_folders'\?.*expected .*class_folders"
    ):
        load_samples(root, "class_folder")
    with pytest.raises(DataError, match=r"format 'zzz';"):
        load_samples(root, "zzz")


def test_every_layout_has_both_functions() -> None:
    assert layouts()["class_folders"] is class_folders
    for layout in layouts().values():
        assert callable(layout.detect) and callable(layout.samples)


@needs_tiles
def test_the_committed_split_fits_the_magnetic_tiles() -> None:
    name, samples = load_samples(TILES)
    samples = apply_split(samples, SPLIT_FILE)
    assert (name, len(samples), len({s.group for s in samples})) == ("class_folders", 1344, 117)
    assert crossing_groups(samples) == []
    classes = {s.labels[0] for s in samples}
    assert len(classes) == 6
    for split, share in (("train", 0.6), ("val", 0.2), ("test", 0.2)):
        inside = [s for s in samples if s.split == split]
        assert {s.labels[0] for s in inside} == classes
        assert abs(len(inside) / len(samples) - share) <= 0.08
    assert all(s.mask_path is not None for s in samples)
