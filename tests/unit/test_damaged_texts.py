"""Recipes, line files and annotations of any bytes: a result, or one error that names the file."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import pytest
from damaged import answer, any_bytes, bounded, contents
from hypothesis import example, given
from hypothesis import strategies as st
from odd_images import picture, png_of

from qc.errors import QCError, RecipeError
from qc.linefile import LineFile, read_line
from qc.recipe import Recipe, read_recipe
from qc.tables import MAX_BYTES
from training.datasets import Reading, read_dataset

DATA = Path(__file__).parents[2] / "data"
RECIPES = [file.read_bytes() for file in sorted((DATA / "recipes").glob("*.toml"))]
LINES = [file.read_bytes() for file in sorted((DATA / "lines").glob("*.toml"))]

# what once ended in a traceback, or in no time
DEEP = b"a = " + b"[" * 5000
DEEP_CLOSED = b"a = " + b"[" * 3000 + b"]" * 3000
TABLES = b"a = " + b"{a=" * 3000 + b"1" + b"}" * 3000
DIGITS = b"seed = " + b"9" * 5000
HEX = b"name = 0x" + b"f" * 5000
DOTS = b"a" + b".a" * 100_000 + b" = 1"


@given(any_bytes(*RECIPES))
@example(DEEP)
@example(DEEP_CLOSED)
@example(TABLES)
@example(DIGITS)
@example(HEX)
@example(DOTS)
@bounded(120)
def test_any_bytes_are_a_recipe_or_an_error(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "tiles.toml"
        file.write_bytes(data)
        found = answer(lambda: read_recipe(file), str(file))
        assert isinstance(found, Recipe | RecipeError)
        if isinstance(found, Recipe):
            assert Recipe.model_validate(found.model_dump()) == found and len(found.digest()) == 64
        else:
            assert len(str(found)) < 20_000
        assert contents(Path(folder)) == {"tiles.toml": data}


@given(any_bytes(*LINES))
@example(DEEP)
@example(DIGITS)
@example(HEX)
@bounded(120)
def test_any_bytes_are_a_line_file_or_an_error(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "line.toml"
        file.write_bytes(data)
        found = answer(lambda: read_line(file), str(file))
        assert isinstance(found, LineFile | QCError)
        assert contents(Path(folder)) == {"line.toml": data}


def test_a_file_that_is_too_long_and_one_without_an_end_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "long.toml"
    file.write_bytes(b"#" * MAX_BYTES)
    with pytest.raises(RecipeError, match="'name' is missing"):
        read_recipe(file)
    file.write_bytes(b"#" * (MAX_BYTES + 1))
    with pytest.raises(RecipeError, match=f"too long; expected at most {MAX_BYTES} bytes"):
        read_recipe(file)
    with pytest.raises(RecipeError, match="too long"):
        read_recipe(Path("/dev/zero"))


def test_a_key_may_have_some_parts(tmp_path: Path) -> None:
    file = tmp_path / "deep.toml"
    for parts, says in ((50, "unknown key 'a'"), (51, "more than 50 parts")):
        file.write_text(".".join("a" * parts) + " = 1")
        with pytest.raises(RecipeError, match=says):
            read_recipe(file)


# annotations

PNG = png_of(picture(12, 16), 2)
VOC = b"""<annotation><filename>a.png</filename>
<size><width>16</width><height>12</height></size>
<object><name>hole</name>
<bndbox><xmin>2</xmin><ymin>2</ymin><xmax>7</xmax><ymax>9</ymax></bndbox></object>
</annotation>
"""
COCO = json.dumps(
    {
        "images": [{"id": 1, "file_name": "a.png", "width": 16, "height": 12}],
        "annotations": [
            {"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 1, 5, 5], "iscrowd": 0}
        ],
        "categories": [{"id": 1, "name": "hole"}],
    },
    indent=1,
).encode()
YAML = b"names:\n  0: hole\n  1: scratch\ntrain: images\n"
YOLO = b"0 0.5 0.5 0.2 0.2\n1 0.1 0.1 0.3 0.1 0.2 0.4\n"
CSV = b"filename,label,xmin,ymin,xmax,ymax\na.png,hole,1,1,5,5\nb.png,good,,,,\n"
LAUGHS = b"a: &a [1,1,1,1,1,1,1,1,1]\n" + b"".join(
    b"%c: &%c [%s]\n" % (98 + i, 98 + i, b",".join([b"*%c" % (97 + i)] * 9)) for i in range(9)
)

LAYOUTS: dict[str, tuple[str, dict[str, bytes], list[bytes]]] = {
    "voc_xml": ("a.xml", {"a.png": PNG, "a.xml": VOC}, []),
    "coco_json": ("set.json", {"a.png": PNG, "set.json": COCO}, []),
    "csv_table": ("labels.csv", {"a.png": PNG, "b.png": PNG, "labels.csv": CSV}, []),
    "yolo_text": (
        "labels/a.txt",
        {"images/a.png": PNG, "labels/a.txt": YOLO, "data.yaml": YAML},
        [],
    ),
    "yolo_text names": (
        "data.yaml",
        {"images/a.png": PNG, "labels/a.txt": YOLO, "data.yaml": YAML},
        [
            LAUGHS + b"names: *j\n",
            *(b"names: !!bool q", b"names: !!int ''", b"!!float ''", b"!!timestamp foo"),
        ],
    ),
}
"""By layout: the file that is damaged, a whole dataset, and what once went wrong."""


def _written(folder: str, files: dict[str, bytes]) -> Path:
    root = Path(folder) / "set"
    for name, data in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    return root


def _holds_the_promise(layout: str, data: bytes) -> None:
    """An error of the dataset as a whole names its file; each that is gathered names one too."""
    target, files, _ = LAYOUTS[layout]
    files = files | {target: data}
    with tempfile.TemporaryDirectory() as folder:
        root = _written(folder, files)
        found = answer(lambda: read_dataset(root, layout.split()[0]), str(root))
        assert isinstance(found, Reading | QCError)
        if isinstance(found, Reading):
            assert all(str(root) in row["why"] or row["path"] for row in found.errors)
            assert all(error.message and str(root) in str(error) for error in found.fatal)
            assert all(sample.labels and sample.image_path.is_file() for sample in found.samples)
            again = read_dataset(root, layout.split()[0])
            assert again.samples == found.samples and again.errors == found.errors
        assert contents(root) == files


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_whole_dataset_is_read_without_an_error(layout: str) -> None:
    """A guard of this file: what is damaged below is right before."""
    with tempfile.TemporaryDirectory() as folder:
        found = read_dataset(_written(folder, LAYOUTS[layout][1]), layout.split()[0])
        assert found.samples and not found.errors and "hole" in found.samples[0].labels


@pytest.mark.parametrize("layout", LAYOUTS)
def test_what_once_went_wrong_is_refused_in_words(layout: str) -> None:
    for data in LAYOUTS[layout][2]:
        _holds_the_promise(layout, data)


@given(data=st.data())
@pytest.mark.parametrize("layout", LAYOUTS)
@bounded(80)
def test_any_annotation_is_read_or_refused_by_name(layout: str, data: st.DataObject) -> None:
    target, files, _ = LAYOUTS[layout]
    _holds_the_promise(layout, data.draw(any_bytes(files[target])))
