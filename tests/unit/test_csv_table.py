"""Tables of images and labels, on tables of a few rows and on the public blood set."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from qc.errors import DataError, QCError, RecipeError
from qc.imageio import write_png
from qc.types import Region
from training.datasets import class_folders, csv_table, load_samples, read_dataset

DATA_ROOT = Path(
    os.environ.get("QC_DATA_ROOT", Path(__file__).parents[2].parent / "shared" / "data")
)
BCCD = DATA_ROOT / "bccd"


def _picture(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_png(path, np.zeros((8, 10), np.uint8))
    return path


def _table(root: Path, text: str | bytes, name: str = "labels.csv") -> Path:
    file = root / name
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return file


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Images a, b and c in a folder of their own."""
    for name in "abc":
        _picture(tmp_path / "images" / f"{name}.png")
    return tmp_path


def _labels(path: Path, **options: object) -> dict[str, str]:
    name, samples = load_samples(path, options=options)
    assert name == "csv_table"
    return {s.sample_id.removeprefix("images/"): "+".join(s.labels) for s in samples}


def _refused(path: Path, what: str, **options: object) -> DataError:
    with pytest.raises(DataError, match=what) as caught:
        load_samples(path, "csv_table", options)
    return caught.value


@pytest.mark.parametrize(
    "text",
    [
        "filename,class\na.png,good\nb.png,hole\n",
        "\ufeffImage ID;Label\r\na;good\r\nb;hole\r\n",
        'path\tcell_type\nimages/a.png\t"good"\n\nimages\\b.png\thole\n',
        "a.png,good\nb.png,hole\n",
        "images/a.png|good\nimages/b.png|hole",
        "  a.png    good  \nb.png \t hole\n",
    ],
)
def test_delimiter_header_and_columns_are_found_out(root: Path, text: str) -> None:
    file = _table(root, text)
    assert _labels(file) == {"a.png": "good", "b.png": "hole"}
    assert _labels(root) == _labels(file)


def test_a_sample_has_its_path_group_split_and_mask(root: Path) -> None:
    _picture(root / "masks" / "b_seg.png")
    rows = "a.png,good,7,Train,\nb.png,hole,8,validation,masks/b_seg.png\n"
    file = _table(root, "file,label,lot,split,mask\n" + rows)
    a, b = load_samples(file)[1]
    assert (a.sample_id, a.image_path) == ("images/a.png", root / "images" / "a.png")
    assert (a.group, a.split, a.mask_path) == ("7", "train", None)
    assert (b.group, b.split, b.mask_path) == ("8", "val", root / "masks" / "b_seg.png")
    plain = load_samples(file, options={"group": "", "split": "", "mask": ""})[1]
    assert [(s.group, s.split, s.mask_path) for s in plain] == [
        ("images/a.png", None, None),
        ("images/b.png", None, None),
    ]


def test_graded_labels_without_header(root: Path) -> None:
    rows = "images/a.png  0.0                  mono\nimages/b.png  0.3333333333333333   mono\n"
    file = _table(root, rows + "images/c.png  1.0                  poly\n")
    told = {"image": "1", "label": "2", "threshold": "0.3333"}
    expected = {"a.png": "good", "b.png": "defect", "c.png": "defect"}
    assert _labels(file, **told) == expected
    assert _labels(root, **told, header="false", delimiter=" ") == expected
    assert _labels(file, **told, delimiter="blank", above="bad", below="ok")["c.png"] == "bad"
    assert _labels(file, label="3", group="3")["c.png"] == "poly"
    _refused(file, "no column is known to be the label: .*label=NUMBER; found columns 1, 2, 3")
    _refused(file, "line 1: label is wrong; expected a number; found 'mono'", **told | {"label": 3})


def test_a_first_image_that_is_missing_is_no_header(root: Path) -> None:
    file = _table(root, "z.png,good\na.png,good\n")
    assert _refused(file, "image is not there").where == f"{file} line 1"
    file = _table(root, "z,0\na,1\nb,1\n")
    assert _refused(file, "image is not there", image=1).where == f"{file} line 1"
    assert _labels(file, header=True, image=1, label=2) == {"a.png": "1", "b.png": "1"}
    assert _labels(_table(root, "which,1\na,1\nb,1\n"), image="which", label="1") == {
        "a.png": "1",
        "b.png": "1",
    }


def test_several_labels(root: Path) -> None:
    file = _table(root, "image,labels\na.png,hole; dent\nb.png,\na.png,dent\nc.png,dent;good\n")
    expected = {"a.png": "dent+hole", "b.png": "good", "c.png": "dent"}
    assert _labels(file, label_separator=";") == expected
    _refused(file, "line 3: row without a label")


@pytest.mark.parametrize("label", ["dent, hole", ["dent", "hole"], "2,4"])
def test_columns_of_zero_and_one(root: Path, label: object) -> None:
    file = _table(root, "image,dent,x,hole\na.png,1,7,1\nb.png,0,7,0\nc.png,0.0,7,1.0\n")
    expected = {"a.png": "dent+hole", "b.png": "good", "c.png": "hole"}
    assert _labels(file, label=label) == expected
    _refused(file, "line 2: column x; expected 0 or 1; found 7", label="dent,x")
    _refused(file, "one column with threshold", label=label, threshold=0.5)


def test_boxes_give_regions_and_labels(root: Path) -> None:
    rows = ["a.png,hole,1,4,2,6", "a.png,dent,0,99,0,8", "b.png,,,,,", "c.png,hole,3,3,1,2"]
    file = _table(root, "filename,class,xmin,xmax,ymin,ymax\n" + "\n".join(rows))
    a, b, c = load_samples(file)[1]
    hole = Region("hole", ((1, 2), (4, 2), (4, 6), (1, 6)), is_box=True)
    dent = Region("dent", ((0, 0), (10, 0), (10, 8), (0, 8)), is_box=True)
    assert (a.labels, a.regions) == (("dent", "hole"), (hole, dent))
    assert (b.labels, b.regions, c.labels, c.regions) == (("good",), (), ("hole",), ())
    outside, thin = csv_table.scan(file).as_rows()
    assert outside["path"] == "images/a.png"
    assert f"{file} line 3: box of 'dent' reaches outside the image of 10 x 8" in outside["why"]
    assert f"{file} line 5: box of 'hole' without area" in thin["why"]
    _refused(file, "box is not whole; .*found xmin, ymin, xmax", xmin="xmin", ymax="")
    _refused(_table(root, "file,class,x1,y1,x2,y2\na.png,hole,1,2,,4\n"), "line 2: xmax is wrong")


@pytest.mark.parametrize(
    ("rows", "what", "where"),
    [
        ("a.png,good,1\nz.png,good,1\n", "image is not there.*found 'z.png'", " line 3"),
        ("a.png,good,1\n../a.png,good,1\n", "image is refused; expected a path inside", " line 3"),
        ("/etc/hosts,good,1\n", "image is refused", " line 2"),
        ("C:\\a.png,good,1\n", "image is refused", " line 2"),
        (",good,1\n", "image is not there; .*found ''", " line 2"),
        ("a.png,,1\n", "row without a label", " line 2"),
        ("a.png,good,\n", "row without a group", " line 2"),
        ("a.png,good\nb.png,good,1\n", "expected 3; found 2", " line 2"),
        ("a.png,good,1\nb.png,good,1,2\n", "expected 3; found 4", " line 3"),
        ('a.png,good,1\n"b.png,good,1\n', "table is not readable", " line 3"),
        ("a.png,good,1\n\na.png,hole,1\n", "two labels.*found good, hole", " lines 2 and 4"),
        ("a.png,good,1\nimages/a.png,good,2\n", "two groups.*found 1, 2", " lines 2 and 3"),
    ],
)
def test_a_wrong_row_is_refused(root: Path, rows: str, what: str, where: str) -> None:
    file = _table(root, "image,label,group\n" + rows)
    assert _refused(file, what).where == f"{file}{where}"


def test_an_audit_goes_on_past_wrong_rows(root: Path) -> None:
    file = _table(root, "image,label\na.png,good\nz.png,good\nb.png,hole\nb.png,hole\n")
    reading = read_dataset(file)
    assert [s.sample_id for s in reading.samples] == ["images/a.png", "images/b.png"]
    missing, equal = reading.errors
    assert missing["path"] == "labels.csv" and len(reading.fatal) == 1
    assert equal["path"] == "images/b.png" and "lines 4 and 5: two equal rows" in equal["why"]


def test_an_unknown_split_is_refused(root: Path) -> None:
    file = _table(root, "image,label,split\na.png,good,train\nb.png,good,7\nc.png,good,\n")
    errors = [row["why"] for row in csv_table.scan(file).as_rows()]
    assert [e.split(": ", 1)[1] for e in errors] == [
        "unknown split; expected train, val or test; found '7'",
        "unknown split; expected train, val or test; found ''",
    ]


@pytest.mark.parametrize(
    ("header", "options", "what"),
    [
        ("part,label", {}, "no column is known to be the image: .*image=NAME; found columns part"),
        ("image,file,label", {}, "several columns may be the image"),
        ("image,label,class", {}, "several columns may be the label"),
        ("image,label,lot,patient", {}, "several columns may be the group"),
        ("image,label", {"label": "lable"}, "'lable' of option label is not there; did you mean"),
        ("image,label", {"label": "3"}, "column '3' of option label is not there"),
        ("image,label,x,x", {"label": "x"}, "column 'x' of option label occurs twice"),
        ("image,label", {"images": "pics"}, "option images; expected a folder.*found pics"),
    ],
)
def test_columns_that_are_not_clear(
    root: Path, header: str, options: dict[str, str], what: str
) -> None:
    row = ",".join("x" for _ in header.split(","))
    _refused(_table(root, f"{header}\n{row}\n"), what, **options)


@pytest.mark.parametrize(
    "options",
    [
        {"column": "a"},
        {"delimiter": "ab"},
        {"threshold": "nan"},
        {"above": "bad"},
        {"threshold": "1", "label_separator": ";"},
    ],
)
def test_an_option_that_is_not_legal(root: Path, options: dict[str, str]) -> None:
    file = _table(root, "image,label\na.png,good\n")
    with pytest.raises(RecipeError, match="options of csv_table"):
        load_samples(file, options=options)


def test_a_table_that_is_not_one(root: Path) -> None:
    assert _refused(_table(root, b"image,label\na.png,\xe9\n"), "UTF-8; found byte 0xe9").where
    _refused(_table(root, ""), "delimiter is not found out; .*found nothing")
    _refused(_table(root, "image\na.png\n"), "delimiter is not found out.*found image")
    _refused(_table(root, "\n", "t.csv"), "table is empty", delimiter=",")
    (root / "t.csv").unlink()
    _table(root, "a.png,good", "labels.csv")
    _table(root, "a.png,good", "more.tsv")
    _refused(root, r"one table that names its images.*found labels\.csv, more\.tsv")


def test_names_that_fit_several_images(root: Path) -> None:
    _picture(root / "more" / "a.png")
    file = _table(root, "image,label\na,good\n")
    _refused(file, r"several images of a name.*found images/a\.png, more/a\.png")
    (sample,) = load_samples(file, options={"images": "more"})[1]
    assert sample.sample_id == "more/a.png"


def test_images_may_lie_beside_the_tables_folder(root: Path) -> None:
    (root / "tables").mkdir()
    file = _table(root / "tables", "image,label\na,good\n")
    (sample,) = load_samples(file, options={"images": "../images"})[1]
    assert (sample.sample_id, sample.image_path) == ("a.png", root / "images" / "a.png")


def test_detection_leaves_other_layouts_alone(root: Path) -> None:
    _table(root, "path,group\nimages/a.png,1\n", "groups.csv")
    _table(root, "sample_id,group,split,reason\nimages/a.png,1,train,x\n", "split.csv")
    _table(root, "path,label\nscan.dcm,ill\n", "scans.csv")
    _table(root, "", "scan.dcm")
    _table(root, "Pictures of a line, as they came.\nlabels: none\n", "README.txt")
    assert not csv_table.detect(root) and not class_folders.detect(root)
    _table(root, "image,label\na,good\n")
    assert csv_table.detect(root) and not csv_table.detect(root / "gone.csv")
    assert not csv_table.detect(root / "images" / "a.png")
    (root / "a.xml").write_text("<annotation></annotation>")
    assert not csv_table.detect(root)
    (root / "a.xml").unlink()
    _picture(root / "hole" / "d.png")
    assert load_samples(root, "csv_table") and not csv_table.detect(root)


ROWS = st.lists(st.sampled_from(["a.png", "b", "1", '"', "", "x y", "..", "\0", "é", "nan"]))


@settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    data=st.one_of(
        st.binary(max_size=60),
        st.tuples(st.sampled_from(",; \t|"), st.lists(ROWS, max_size=4)).map(
            lambda t: "\n".join(t[0].join(row) for row in t[1]).encode()
        ),
    ),
    options=st.sampled_from([{}, {"image": "1", "label": "2"}, {"label": "2", "threshold": "1"}]),
)
def test_only_our_errors_escape(root: Path, data: bytes, options: dict[str, str]) -> None:
    file = _table(root, data)
    csv_table.detect(root)
    try:
        load_samples(file, options=options)
    except QCError as error:
        assert str(file) in str(error)


@pytest.mark.skipif(
    not BCCD.is_dir(), reason="bccd is not there; QC_DATA_ROOT names its parent folder"
)
def test_the_table_of_the_blood_set_is_read_whole() -> None:
    assert not csv_table.detect(BCCD)
    name, samples = load_samples(BCCD / "test.csv")
    assert (name, len(samples)) == ("csv_table", 364)
    boxes = Counter(region.label for s in samples for region in s.regions)
    assert boxes == {"RBC": 4153, "WBC": 372, "Platelets": 361}
    errors = csv_table.scan(BCCD / "test.csv").as_rows()
    assert [row["path"] for row in errors] == [
        "JPEGImages/BloodImage_00338.jpg",
        "JPEGImages/BloodImage_00343.jpg",
    ]
