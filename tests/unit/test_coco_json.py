"""The COCO layout, with run lengths worked out by hand and as the reference library writes them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from qc.errors import DataError
from qc.imageio import write_png
from qc.types import Region
from training.datasets import coco_json, load_samples
from training.regions import mask_of

MASK = np.array(
    [
        [0, 0, 0, 0, 0, 0, 1],
        [0, 1, 1, 0, 0, 0, 0],
        [0, 1, 1, 0, 1, 0, 0],
        [0, 1, 1, 0, 0, 0, 0],
        [0, 0, 0, 0, 0, 1, 0],
    ],
    np.uint8,
)
RUNS = [6, 3, 2, 3, 8, 1, 6, 2, 4]  # down the columns; the run of two goes over to the next
COMPRESSED = "63206NN1N"  # what pycocotools 2.0 makes of MASK


def _picture(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_png(path, np.zeros((5, 7), np.uint8))
    return path


def _mark(image: object, category: object, **more: Any) -> dict[str, Any]:
    return {"image_id": image, "category_id": category, **more}


def _content(*marks: dict[str, Any]) -> dict[str, Any]:
    return {
        "images": [
            {"id": 1, "file_name": "a.png", "width": 7, "height": 5},
            {"id": 2, "file_name": "b.png", "width": 7, "height": 5},
        ],
        "annotations": list(marks),
        "categories": [{"id": 3, "name": "scratch"}, {"id": 5, "name": "hole"}],
    }


def _write(root: Path, content: object) -> Path:
    file = root / "annotations" / "instances.json"
    file.parent.mkdir(exist_ok=True)
    file.write_text(content if isinstance(content, str) else json.dumps(content))
    return file


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two images of 7 x 5 pixels: a with a box and a polygon, b with nothing."""
    for name in "ab":
        _picture(tmp_path / "images" / f"{name}.png")
    polygon = [[1, 1, 3, 1, 3, 4.5]]
    marks = _mark(1, 5, bbox=[1, 2, 3, 2]), _mark(1, 3, segmentation=polygon, bbox=[1, 1, 2, 3.5])
    _write(tmp_path, _content(*marks))
    return tmp_path


def _refused(root: Path, what: str) -> DataError:
    """The one error of reading, which `scan` must list too."""
    with pytest.raises(DataError, match=what) as caught:
        load_samples(root)
    assert str(caught.value) in [row["why"] for row in coco_json.scan(root).as_rows()]
    return caught.value


@pytest.mark.parametrize("inner", ["", "annotations/instances.json"])
def test_boxes_and_polygons_are_read_from_the_folder_and_the_file(root: Path, inner: str) -> None:
    name, (a, b) = load_samples(root / inner)
    assert name == "coco_json"
    assert (a.sample_id, a.labels) == ("images/a.png", ("hole", "scratch"))
    assert a.image_path == root / a.sample_id and a.group == a.sample_id and a.split is None
    assert a.regions == (
        Region("hole", ((1, 2), (4, 2), (4, 4), (1, 4)), is_box=True),
        Region("scratch", ((1, 1), (3, 1), (3, 4.5)), is_box=False),
    )
    assert (b.labels, b.regions) == ((coco_json.GOOD,), ())
    assert coco_json.scan(root / inner).as_rows() == []


@pytest.mark.parametrize("counts", [RUNS, COMPRESSED])
def test_run_lengths_become_polygons_that_give_the_same_mask(
    root: Path, counts: list[int] | str
) -> None:
    assert np.array_equal(coco_json.decode_rle(counts, (5, 7)), MASK)
    _write(root, _content(_mark(1, 3, segmentation={"size": [5, 7], "counts": counts}, iscrowd=1)))
    sample = load_samples(root)[1][0]
    assert not any(region.is_box for region in sample.regions)
    assert np.array_equal(mask_of(sample, (5, 7)), MASK.astype(bool))


def test_long_runs_are_decompressed() -> None:
    mask = np.zeros((100, 300), np.uint8)
    mask[10:90, 20:280] = 1
    text = "jn1`2d0" + "0" * 517 + "Vn1"  # what pycocotools 2.0 makes of it
    assert np.array_equal(coco_json.decode_rle(text, (100, 300)), mask)


@pytest.mark.parametrize(
    ("counts", "what"),
    [
        ([6, 3], "add up to 5 x 7; found 2 runs"),
        ([36, -1], "add up to"),
        ([34.0, 1], "whole numbers"),
        ([True, 34], "whole numbers"),
        ("63206NN1", "add up to"),
        ("6 3", "damaged"),
        ("o" * 13 + "0", "damaged"),
        ("6o", "cut off"),
    ],
)
def test_wrong_run_lengths_are_refused(root: Path, counts: Any, what: str) -> None:
    with pytest.raises(DataError, match=what):
        coco_json.decode_rle(counts, (5, 7))
    file = _write(root, _content(_mark(2, 3, segmentation={"size": [5, 7], "counts": counts})))
    assert _refused(root, what).where == f"{file} annotations[0]"


def test_what_has_no_area_is_named_and_left_out(root: Path) -> None:
    shapes: list[dict[str, Any]] = [
        {"bbox": [1, 1, 0, 3]},
        {"segmentation": [[1, 1, 2, 2, 3, 3]]},
        {"segmentation": {"size": [5, 7], "counts": [35]}},
        {"bbox": [], "segmentation": []},
    ]
    _write(root, _content(*(_mark(2, 3, **shape) for shape in shapes)))
    sample = load_samples(root)[1][1]
    assert (sample.labels, sample.regions) == (("scratch",), ())
    rows = coco_json.scan(root).as_rows()
    assert [row["path"] for row in rows] == ["images/b.png"] * 4
    for row, words in zip(rows, ["box", "polygon", "mask", "neither"], strict=True):
        assert words in row["why"] and "instances.json annotations[" in row["why"]


def test_what_lies_outside_is_named_and_cut(root: Path) -> None:
    shapes: list[dict[str, Any]] = [
        {"bbox": [5, 3, 4, 2.4]},
        {"segmentation": [[-2, 0, 3, 0, 3, 3]]},
        {"bbox": [9, 9, 2, 2]},
        {"bbox": [0, 0, 7.4, 5.4]},
    ]
    _write(root, _content(*(_mark(2, 3, **shape) for shape in shapes)))
    boxes = [region.points for region in load_samples(root)[1][1].regions]
    assert boxes == [
        ((5, 3), (7, 3), (7, 5), (5, 5)),
        ((0, 0), (3, 0), (3, 3)),
        ((0, 0), (7, 0), (7, 5), (0, 5)),
    ]
    whys = [row["why"] for row in coco_json.scan(root).as_rows()]
    assert ["reaches outside" in w for w in whys] == [True, True, False]
    assert "box of 'scratch' lies outside the image of 7 x 5 pixels" in whys[2]


def test_images_that_are_not_listed_are_named(root: Path) -> None:
    _picture(root / "images" / "c.png")
    assert len(load_samples(root)[1]) == 2
    (row,) = coco_json.scan(root).as_rows()
    assert row["path"] == "images/c.png" and "not listed" in row["why"]
    assert coco_json.scan(root / "annotations" / "instances.json").as_rows() == []


def test_groups_are_read(root: Path) -> None:
    (root / "groups.csv").write_text("path,group\nimages/a.png,1\nimages/b.png,1\n")
    assert [s.group for s in load_samples(root)[1]] == ["1", "1"]


@pytest.mark.parametrize(
    ("mark", "what"),
    [
        (_mark(9, 3), r"unknown image_id; expected .*; found 9"),
        (_mark(1, 9), r"unknown category_id; .*found 9"),
        (_mark([1], 3), "unknown image_id"),
        (_mark(1, 3, bbox=[1, 2, 3]), "bbox is not valid; expected x y width height"),
        (_mark(1, 3, bbox=[1, 2, 3, "4"]), "bbox is not valid; expected numbers"),
        (_mark(1, 3, bbox=[1, 2, 3, float("nan")]), "bbox is not valid"),
        (_mark(1, 3, bbox=[1, 2, 3, 10**400]), "bbox is not valid"),
        (_mark(1, 3, segmentation=[[1, 2, 3, 4, 5]]), "3 corners; found 5 numbers"),
        (_mark(1, 3, segmentation=[[1, 2, 3, 4]]), "3 corners; found 4 numbers"),
        (_mark(1, 3, segmentation="x"), "segmentation is not valid"),
        (_mark(1, 3, segmentation={"size": [5, 8], "counts": [40]}), "another size than its image"),
        (_mark(1, 3, segmentation={"size": [5], "counts": [5]}), "mask is not valid"),
        (_mark(1, 3, segmentation={"size": [10**5, 10**5], "counts": []}), "at most 64000000"),
    ],
)
def test_a_wrong_annotation_is_refused(root: Path, mark: dict[str, Any], what: str) -> None:
    file = _write(root, _content(mark))
    assert _refused(root, what).where == f"{file} annotations[0]"


@pytest.mark.parametrize(
    ("key", "entry", "what"),
    [
        ("images", {"id": 7, "file_name": "c.png"}, r"not there once; .*c\.png.*found none"),
        ("images", {"id": 7, "file_name": "../images/a.png"}, "not there once"),
        ("images", {"id": 7, "file_name": "."}, "not there once"),
        ("images", {"id": 1, "file_name": "a.png"}, "listed twice"),
        ("images", {"id": 7}, "expected id and file_name"),
        ("images", None, "expected id and file_name"),
        ("categories", {"id": 3, "name": "stain"}, "an id that occurs once"),
        ("categories", {"id": 7, "name": " "}, "a name"),
    ],
)
def test_a_wrong_entry_is_refused(root: Path, key: str, entry: object, what: str) -> None:
    content = _content()
    content[key].append(entry)
    file = _write(root, content)
    assert _refused(root, what).where == f"{file} {key}[2]"


def test_a_file_name_may_carry_its_folder(root: Path) -> None:
    _picture(root / "more" / "a.png")
    file = root / "annotations" / "instances.json"
    assert "found images/a.png, more/a.png" in str(_refused(root, "not there once"))
    file.write_text(file.read_text().replace("a.png", r".\\more\\a.png"))
    assert load_samples(root)[1][0].sample_id == "more/a.png"


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ('{"images": [], "annotations": [], "categories": [', "not readable JSON"),
        ('{"images": {}, "annotations": [], "categories": []}', "lacks its list 'images'"),
        ('{"images": [], "x": ["annotations", "categories"]}', "lacks its list 'annotations'"),
        ('{"images": "annotations categories', "no dataset format fits"),
    ],
)
def test_a_wrong_file_is_refused(root: Path, text: str, what: str) -> None:
    file = _write(root, text)
    if "no dataset" in what:
        with pytest.raises(DataError, match=what):
            load_samples(root)
    else:
        assert _refused(root, what).where == str(file)


def test_several_files_are_not_chosen_between(root: Path) -> None:
    file = root / "annotations" / "instances.json"
    (root / "annotations" / "more.json").write_text(file.read_text())
    with pytest.raises(DataError, match=r"one COCO file.*instances\.json, annotations/more\.json"):
        load_samples(root)
    assert load_samples(file)[0] == "coco_json"
    with pytest.raises(DataError, match="does not exist"):
        coco_json.scan(root / "gone").as_rows()


def test_other_layouts_are_not_taken_for_it(tmp_path: Path) -> None:
    _picture(tmp_path / "good" / "a.png")
    assert not coco_json.detect(tmp_path)
    (tmp_path / "notes.json").write_text('{"images": 3}')
    assert not coco_json.detect(tmp_path) and not coco_json.detect(tmp_path / "notes.json")
