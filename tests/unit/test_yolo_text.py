"""The YOLO layout, on label files of a line or two."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from qc.errors import DataError
from qc.imageio import write_png
from qc.types import Region
from training.datasets import load_samples, yolo_text

pytest.importorskip("yaml", reason="PyYAML is not installed")

NAMES = "names: [scratch, hole]\ntrain: images/train\n"


def _picture(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_png(path, np.zeros((8, 10), np.uint8))
    return path


def _label(path: Path, text: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Images of 10 x 8 pixels: a with a box and a polygon, b with an empty file, c with none."""
    for name in ("train/a", "train/b", "val/c"):
        _picture(tmp_path / "images" / f"{name}.png")
    marks = "1 0.5 0.5 0.2 0.25\n\n0 0.1 0 0.3 0 0.3 0.5\n"
    _label(tmp_path / "labels/train/a.txt", marks)
    _label(tmp_path / "labels/train/b.txt", "\n")
    _label(tmp_path / "labels/classes.txt", "scratch\nhole\n")
    (tmp_path / "data.yaml").write_text(NAMES)
    return tmp_path


def _refused(root: Path, what: str) -> DataError:
    """The one error of reading, which `scan` must list too."""
    with pytest.raises(DataError, match=what) as caught:
        load_samples(root)
    assert str(caught.value) in [row["why"] for row in yolo_text.scan(root).as_rows()]
    return caught.value


@pytest.mark.parametrize("names", [NAMES, "names: {0: scratch, 1: hole}\n"])
def test_boxes_and_polygons_are_read_in_pixels(root: Path, names: str) -> None:
    (root / "data.yaml").write_text(names)
    name, (a, b, c) = load_samples(root)
    assert name == "yolo_text"
    assert (a.sample_id, a.labels) == ("images/train/a.png", ("hole", "scratch"))
    assert a.image_path == root / a.sample_id and a.group == a.sample_id and a.split is None
    box, polygon = a.regions
    assert (box.label, box.is_box, polygon.label, polygon.is_box) == ("hole", True, "scratch", 0)
    assert np.allclose(box.points, [(4, 3), (6, 3), (6, 5), (4, 5)])
    assert np.allclose(polygon.points, [(1, 0), (3, 0), (3, 4)])
    assert [(s.labels, s.regions) for s in (b, c)] == [((yolo_text.GOOD,), ())] * 2
    assert yolo_text.scan(root).as_rows() == []


def test_images_may_lie_in_their_split_s_folder(tmp_path: Path) -> None:
    (tmp_path / "data.yaml").write_text(NAMES)
    _picture(tmp_path / "train" / "images" / "a.png")
    _label(tmp_path / "train" / "labels" / "a.txt", "1 0.5 0.5 0.2 0.25\n")
    name, (sample,) = load_samples(tmp_path)
    assert (name, sample.sample_id, sample.labels) == ("yolo_text", "train/images/a.png", ("hole",))


def test_images_may_lie_flat(tmp_path: Path) -> None:
    (tmp_path / "data.yaml").write_text(NAMES)
    _picture(tmp_path / "images" / "a.png")
    _label(tmp_path / "labels" / "a.txt", "1 0.5 0.5 0.2 0.25\n")
    assert load_samples(tmp_path)[1][0].labels == ("hole",)


def test_class_folders_are_not_taken_for_it(tmp_path: Path) -> None:
    _picture(tmp_path / "good" / "a.png")
    assert load_samples(tmp_path)[0] == "class_folders"
    (tmp_path / "data.yaml").write_text(NAMES)
    assert not yolo_text.detect(tmp_path) and not yolo_text.detect(tmp_path / "data.yaml")


def test_groups_are_read(root: Path) -> None:
    rows = "".join(f"{s.sample_id},1\n" for s in load_samples(root)[1])
    (root / "groups.csv").write_text("path,group\n" + rows)
    assert [s.group for s in load_samples(root)[1]] == ["1", "1", "1"]


def test_what_has_no_area_is_named_and_left_out(root: Path) -> None:
    _label(root / "labels/train/b.txt", "1 0.5 0.5 0 0.2\n0 0.1 0.1 0.2 0.2 0.1 0.1\n")
    sample = load_samples(root)[1][1]
    assert (sample.labels, sample.regions) == (("hole", "scratch"), ())
    rows = yolo_text.scan(root).as_rows()
    assert [row["path"] for row in rows] == ["images/train/b.png"] * 2
    assert "b.txt line 1: box of 'hole' without area" in rows[0]["why"]
    assert "b.txt line 2: polygon of 'scratch' without area" in rows[1]["why"]


def test_what_lies_outside_is_named_and_cut(root: Path) -> None:
    lines = "1 0.9 0.5 0.4 0.5\n1 5 3 2 2\n1 0.5 0.5 1.000001 1.000001\n"
    _label(root / "labels/train/b.txt", lines)
    first, last = load_samples(root)[1][1].regions
    assert np.allclose(first.points, [(7, 2), (10, 2), (10, 6), (7, 6)])
    assert last == Region("hole", ((0, 0), (10, 0), (10, 8), (0, 8)), is_box=True)
    whys = [row["why"] for row in yolo_text.scan(root).as_rows()]
    assert "line 1: box of 'hole' reaches outside the image of 10 x 8 pixels" in whys[0]
    assert "line 2: box of 'hole' lies outside" in whys[1] and len(whys) == 2


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("2 0.5 0.5 0.1 0.1", "unknown class number; expected one of 0, 1; found 2"),
        ("00000000010 0.5 0.5 0.1 0.1", "unknown class number"),
        ("-1 0.5 0.5 0.1 0.1", "unknown class number"),
        ("hole 0.5 0.5 0.1 0.1", "unknown class number; .*found hole"),
        ("1 0.5 0.5 0.1 0,1", "not readable"),
        ("1 0.5 0.5 0.1 nan", "no fraction"),
        ("1", "neither box nor polygon; expected 4 numbers.*; found 0 numbers"),
        ("1 0.5 0.5 0.1 0.1 0.9", "found 5 numbers"),
        ("1 0.1 0.1 0.2 0.2 0.3 0.3 0.4", "found 7 numbers"),
    ],
)
def test_a_wrong_line_is_refused(root: Path, line: str, what: str) -> None:
    file = _label(root / "labels/train/b.txt", f"0 0.5 0.5 0.1 0.1\n{line}\n")
    assert _refused(root, what).where == f"{file} line 2"


def test_label_files_that_are_no_text_and_damaged_images_are_refused(root: Path) -> None:
    file = _label(root / "labels/train/b.txt", b"\xff\xfe")
    assert _refused(root, "cannot be read").where == str(file)
    file.write_text("0 0.5 0.5 0.1 0.1\n")
    (root / "images/train/b.png").write_bytes(b"")
    assert _refused(root, "image file is empty").where == str(root / "images/train/b.png")


def test_label_files_and_images_belong_together_one_to_one(root: Path) -> None:
    orphan = _label(root / "labels/val/z.txt", "0 0.5 0.5 0.1 0.1\n")
    assert _refused(root, "without its image").where == str(orphan)
    orphan.unlink()
    _picture(root / "images/train/a.jpg.png").rename(root / "images/train/a.jpg")
    assert _refused(root, r"found a\.jpg and a\.png").where == str(root / "labels/train/a.txt")


def test_an_image_elsewhere_is_not_passed_over(root: Path) -> None:
    image = _picture(root / "more" / "x" / "z.png")
    assert _refused(root, "does not read; expected images in a folder images").where == str(image)


def test_without_any_label_file_nothing_is_taken_for_good(root: Path) -> None:
    (root / "labels").rename(root / "marks")
    with pytest.raises(DataError, match="no label file; expected") as caught:
        load_samples(root)
    assert caught.value.where == str(root)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("names: [", "not readable YAML"),
        ("names: !!python/object:os.system {}", "not readable YAML"),
        ("\x00", "not readable YAML"),
        ("nc: 2", "no class names; expected names.*; found NoneType"),
        ("names: []", "no class names"),
        ("names: {a: scratch}", "no class names"),
        ("names: [1, 2]", "no class names"),
        ("- names", "no class names"),
    ],
)
def test_wrong_names_are_refused(root: Path, text: str, what: str) -> None:
    (root / "data.yaml").write_text(text)
    with pytest.raises(DataError, match=what) as caught:
        load_samples(root)
    assert caught.value.where == str(root / "data.yaml")


def test_a_missing_names_file_is_refused(root: Path) -> None:
    (root / "data.yaml").unlink()
    with pytest.raises(DataError, match=r"data\.yaml cannot be read"):
        load_samples(root, "yolo_text")


def test_without_the_yaml_reader_only_this_layout_fails(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "yaml", None)
    with pytest.raises(DataError, match="needs PyYAML"):
        load_samples(root)
    _picture(root / "other" / "good" / "a.png")
    assert load_samples(root / "other")[0] == "class_folders"
