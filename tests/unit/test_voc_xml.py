"""The VOC layout, on annotations of a few lines and on the public sets where they are there."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from qc.errors import DataError
from qc.imageio import write_png
from qc.types import Region
from training.datasets import load_samples, voc_xml

DATA_ROOT = Path(
    os.environ.get("QC_DATA_ROOT", Path(__file__).parents[2].parent / "shared" / "data")
)
NEU, BCCD = DATA_ROOT / "neu_det", DATA_ROOT / "bccd"
_ABSENT = "is not there; QC_DATA_ROOT names its parent folder"

SCRATCH = ("scratch", 1, 2, 4, 6)
HOLE = ("hole", 7, 7, 8, 8)


def _picture(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_png(path, np.zeros((8, 10), np.uint8))
    return path


def _box(name: str, *corners: object) -> str:
    sides = zip(("xmin", "ymin", "xmax", "ymax"), corners, strict=True)
    inner = "".join(f"<{side}>{value}</{side}>" for side, value in sides)
    return f"<object><name>{name}</name><bndbox>{inner}</bndbox></object>"


def _xml(*objects: str, name: str = "", size: tuple[int, int] | None = (10, 8)) -> str:
    shape = "" if size is None else f"<width>{size[0]}</width><height>{size[1]}</height>"
    inner = f"<filename>{name}</filename><size>{shape}</size>{''.join(objects)}"
    return f"<annotation>{inner}</annotation>"


def _write(path: Path, text: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Image a with two classes, b with nothing on it; annotations in a folder of their own."""
    for name in "ab":
        _picture(tmp_path / "JPEGImages" / f"{name}.png")
    _write(tmp_path / "Annotations/a.xml", _xml(_box(*SCRATCH), _box(*HOLE), _box(*SCRATCH)))
    _write(tmp_path / "Annotations/b.xml", _xml())
    _write(tmp_path / "ImageSets/Main/train.txt", "a\n")
    return tmp_path


def _refused(root: Path, what: str) -> DataError:
    """The one error of reading, which `scan` must list too."""
    with pytest.raises(DataError, match=what) as caught:
        load_samples(root)
    assert str(caught.value) in [row["why"] for row in voc_xml.scan(root).as_rows()]
    return caught.value


def test_boxes_count_from_one_and_hold_both_corners(root: Path) -> None:
    name, (a, b) = load_samples(root)
    assert name == "voc_xml"
    assert (a.sample_id, a.labels) == ("JPEGImages/a.png", ("hole", "scratch"))
    assert a.image_path == root / a.sample_id and a.group == a.sample_id and a.split is None
    scratch = Region("scratch", ((0, 1), (4, 1), (4, 6), (0, 6)), is_box=True)
    assert a.regions == (scratch, Region("hole", ((6, 6), (8, 6), (8, 8), (6, 8)), True), scratch)
    assert (b.labels, b.regions) == ((voc_xml.GOOD,), ())
    assert voc_xml.scan(root).as_rows() == []


def test_annotations_may_lie_beside_their_images_and_names_repeat_across_folders(
    tmp_path: Path,
) -> None:
    for part, label in (("train", "hole"), ("val", "scratch")):
        _picture(tmp_path / part / "1.png")
        _write(tmp_path / part / "1.xml", _xml(_box(label, 1, 1, 3, 3)))
        _picture(tmp_path / "SegmentationClass" / "1.png")
    name, samples = load_samples(tmp_path)
    assert name == "voc_xml"
    expected = [("train/1.png", ("hole",)), ("val/1.png", ("scratch",))]
    assert [(s.sample_id, s.labels) for s in samples] == expected


def test_class_folders_are_still_found_as_such(tmp_path: Path) -> None:
    _picture(tmp_path / "good" / "a.png")
    _write(tmp_path / "good" / "notes.txt", "<annotation>")
    assert load_samples(tmp_path)[0] == "class_folders"
    assert not voc_xml.detect(tmp_path) and not voc_xml.detect(tmp_path / "good" / "a.png")


def test_groups_are_read(root: Path) -> None:
    _write(root / "groups.csv", "path,group\nJPEGImages/a.png,1\nJPEGImages/b.png,1\n")
    assert [s.group for s in load_samples(root)[1]] == ["1", "1"]


@pytest.mark.parametrize("corners", [(3, 3, 3, 6), (3, 3, 6, 3), (3, 3, 3, 3), (6, 3, 3, 6)])
def test_a_box_without_area_is_named_and_left_out(root: Path, corners: tuple[int, ...]) -> None:
    _write(root / "Annotations/b.xml", _xml(_box("hole", *corners)))
    sample = load_samples(root)[1][1]
    assert (sample.labels, sample.regions) == (("hole",), ())
    (row,) = voc_xml.scan(root).as_rows()
    assert row["path"] == "JPEGImages/b.png"
    assert "b.xml: object 1: box of 'hole' without area; corners (3, 3)" in row["why"] or (
        corners == (6, 3, 3, 6) and "without area; corners (5, 2) (3, 6)" in row["why"]
    )


def test_a_box_outside_the_image_is_named_and_cut(root: Path) -> None:
    boxes = _box("hole", 0, 2, 12, 8), _box("hole", 20, 2, 30, 8)
    _write(root / "Annotations/b.xml", _xml(*boxes))
    sample = load_samples(root)[1][1]
    assert sample.regions == (Region("hole", ((0, 1), (10, 1), (10, 8), (0, 8)), True),)
    first, second = (row["why"] for row in voc_xml.scan(root).as_rows())
    assert "object 1: box of 'hole' reaches outside the image of 10 x 8 pixels" in first
    assert "object 2: box of 'hole' lies outside" in second


def test_a_doubtful_size_or_file_name_is_named(root: Path) -> None:
    _write(root / "Annotations/a.xml", _xml(_box(*SCRATCH), name="c.jpg", size=None))
    _write(root / "Annotations/b.xml", _xml(name="b", size=(0, 0)))
    assert len(load_samples(root)[1]) == 2
    whys = [row["why"] for row in voc_xml.scan(root).as_rows()]
    assert [why.split(": ")[1].split(";")[0] for why in whys] == [
        "filename names another image",
        "size of the image is missing or not positive",
        "size of the image is missing or not positive",
    ]


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("<annotation>", "not readable XML"),
        (b"<annotation>\xff</annotation>", "not readable XML"),
        ('<?xml version="1.0" encoding="none"?><annotation/>', "not readable XML"),
        ("<annotations/>", "expected <annotation>; found <annotations>"),
        ('<!DOCTYPE a [<!ENTITY x "y">]><annotation>&x;</annotation>', "expected no DOCTYPE"),
        ("<!DOCTYPE a><annotation/>".encode("utf-16"), "expected no DOCTYPE"),
        (_xml(_box("hole", 1, 1, "x", 4)), "object 1: box without xmax.*number; found 'x'"),
        (_xml(_box("hole", 1, "nan", 4, 4)), "box without ymin.*found 'nan'"),
        (_xml(_box("hole", 1, 1, 4, "1e400")), "box without ymax"),
        (_xml("<object><name>hole</name></object>"), "box without xmin.*found None"),
        (_xml(_box(*HOLE), _box(" ", 1, 1, 4, 4)), "object 2: object without a class"),
    ],
)
def test_a_wrong_annotation_is_refused(root: Path, text: str | bytes, what: str) -> None:
    file = _write(root / "Annotations/b.xml", text)
    assert _refused(root, what).where.startswith(str(file))
    assert [r["path"] for r in voc_xml.scan(root).as_rows()] == ["JPEGImages/b.png"]


def test_an_annotation_without_its_image_is_refused(root: Path) -> None:
    file = _write(root / "Annotations/c.xml", _xml())
    assert _refused(root, r"without its image; expected c\.jpg").where == str(file)


def test_an_image_without_annotation_is_not_taken_for_good(root: Path) -> None:
    image = _picture(root / "JPEGImages" / "c.png")
    assert _refused(root, r"image without annotation.*c\.xml").where == str(image)


def test_one_image_has_one_annotation(root: Path) -> None:
    _write(root / "More/a.xml", _xml())
    assert _refused(root, "two annotations").where == str(root / "More/a.xml")
    (root / "More/a.xml").unlink()
    _picture(root / "JPEGImages" / "a.jpg.png").rename(root / "JPEGImages" / "a.jpg")
    assert _refused(root, "several images").where == str(root / "Annotations/a.xml")


def test_a_dataset_of_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no annotation; expected XML"):
        load_samples(tmp_path, "voc_xml")
    with pytest.raises(DataError, match="does not exist"):
        voc_xml.scan(tmp_path / "gone").as_rows()


@pytest.mark.skipif(not NEU.is_dir(), reason=f"neu_det {_ABSENT}")
def test_the_steel_set_is_read_whole() -> None:
    name, samples = load_samples(NEU)
    assert (name, len(samples)) == ("voc_xml", 1800)
    assert len({label for s in samples for label in s.labels}) == 6
    assert sum(len(s.labels) > 1 for s in samples) == 123
    assert voc_xml.scan(NEU).as_rows() == []


@pytest.mark.skipif(not BCCD.is_dir(), reason=f"bccd {_ABSENT}")
def test_the_blood_set_has_two_boxes_without_area() -> None:
    name, samples = load_samples(BCCD)
    assert (name, len(samples)) == ("voc_xml", 364)
    boxes = Counter(region.label for s in samples for region in s.regions)
    assert boxes == {"RBC": 4153, "WBC": 372, "Platelets": 361}
    errors = voc_xml.scan(BCCD).as_rows()
    assert [row["path"] for row in errors] == [
        "JPEGImages/BloodImage_00338.jpg",
        "JPEGImages/BloodImage_00343.jpg",
    ]
    assert all("'RBC' without area" in row["why"] for row in errors)
