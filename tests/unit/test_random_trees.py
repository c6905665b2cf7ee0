"""A dataset of random bytes under random names: an answer in words, never a traceback.

Set `QC_RANDOM_TREES` to a number of examples for a longer search.
"""

from __future__ import annotations

import io
import json
import os
import re
import tempfile
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from odd_images import ARITHMETIC_JPEG, animated_png, bmp_file, bmp_rows, picture, png_of, tiff_of
from typer.testing import CliRunner

from qc.cli import app
from qc.errors import QCError
from training.audit import audit
from training.datasets import load_samples, read_dataset

EXAMPLES = int(os.environ.get("QC_RANDOM_TREES", "60"))

RGB = picture(12, 16)


def _arrays() -> bytes:
    stream = io.BytesIO()
    images = np.zeros((4, 6, 6), np.uint8)
    np.savez(stream, train_images=images, train_labels=np.arange(4)[:, None])
    return stream.getvalue()


COCO = {
    "images": [{"id": 1, "file_name": "a.png", "width": 16, "height": 12}],
    "annotations": [
        {"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 1, 5, 5], "iscrowd": 0},
        {
            "id": 2,
            "image_id": 1,
            "category_id": 1,
            "segmentation": {"size": [12, 16], "counts": [5, 7, 180]},
        },
    ],
    "categories": [{"id": 1, "name": "hole"}],
}

VOC = b"""<annotation><filename>a.png</filename><size><width>16</width><height>12</height></size>
<object><name>hole</name><bndbox><xmin>2</xmin><ymin>2</ymin><xmax>7</xmax><ymax>9</ymax></bndbox>
</object></annotation>"""

WHOLE = [
    png_of(RGB, 2),
    png_of(RGB[::-1], 2),
    png_of(RGB[..., 0], 0),
    animated_png(RGB, RGB),
    ARITHMETIC_JPEG,
    bmp_file((16, 12), 24, bmp_rows(RGB, 24)),
    tiff_of(RGB, 2),
    tiff_of(RGB, 2, deflate=True, tile_hw=(16, 16)),
    json.dumps(COCO).encode(),
    VOC,
    b"names: [hole, scratch]\ntrain: images\n",
    b"0 0.5 0.5 0.2 0.2\n1 0.1 0.1 0.3 0.1 0.2 0.4\n",
    b"path,group\ngood/a.png,one\nhole/b.png,two\n",
    b"filename,label,xmin,ymin,xmax,ymax\na.png,hole,1,1,5,5\nb.png,good,,,,\n",
    b"image;class\na;0\nb;1\n",
    _arrays(),
    bytes(128) + b"DICM" + b"\2\0\0\0UL\4\0\x10\0\0\0\2\0\x10\0UI\x14\x001.2.840.10008.1.2.1\0",
    b"SQLite format 3\0" + bytes(84),
    b"PK\3\4" + bytes(26),
    b'{"images": ' + b"[" * 5000,
    b'{"images": [{"file_name": "\\ud800.png", "id": 1e400}], "annotations": 1, "categories": {}}',
    b"names: &a [*a, *a]\n",
    b"<?xml version='1.0'?><!DOCTYPE a [<!ENTITY b 'c'>]><annotation>&b;</annotation>",
    b"\xff\xfe" + "filename,label\na.png,hole\n".encode("utf-16-le"),
]

PNG, OTHER, GREY = WHOLE[:3]
SETS: list[dict[str, bytes | None]] = [
    {"good/a.png": PNG, "good/b.png": OTHER, "hole/a.jpg": ARITHMETIC_JPEG, "hole/a.png": GREY},
    {"train/good/a.png": PNG, "train/hole/b.png": OTHER, "test/good/a.png": GREY},
    {"a.png": PNG, "b.png": OTHER, "instances.json": WHOLE[8]},
    {"images/a.png": PNG, "Annotations/a.xml": VOC},
    {"images/a.png": PNG, "labels/a.txt": WHOLE[11], "data.yaml": WHOLE[10]},
    {"a.png": PNG, "b.png": OTHER, "labels.csv": WHOLE[13]},
    {"a.png": PNG, "b.png": OTHER, "labels.csv": WHOLE[14]},
    {"set.npz": WHOLE[15]},
    {"a.dcm": WHOLE[16], "labels.csv": b"filename,label\na.dcm,hole\n"},
    {"images/a.png": PNG, "images/b.png": OTHER, "masks/a.png": GREY, "masks/b.png": GREY},
    {
        "train/good/a.png": PNG,
        "test/good/b.png": OTHER,
        "test/hole/a.png": PNG,
        "ground_truth/hole/a_mask.png": GREY,
    },
]
"""One small dataset of each layout."""

FOLDERS = ["good", "hole", "images", "labels", "annotations", "train", "val", "test", "Imgs"]
FOLDERS += ["ground_truth", "masks", "_hidden", "JPEGImages", "Annotations", "a\nb", "ü"]
NAMES = ["a.png", "b.png", "a_mask.png", "a.jpg", "b.JPG", "c.tif", "d.bmp", "data.yaml", "a.xml"]
NAMES += ["groups.csv", "labels.csv", "instances.json", "a.json", "a.txt", "b.txt", "classes.txt"]
NAMES += [
    "set.npz",
    "a.npy",
    "a.dcm",
    "journal.sqlite",
    "Thumbs.db",
    "._a.png",
    "noending",
    "A.PNG",
]
NAMES += ["a\nb.png", "[red].png", "x" * 200 + ".png", "ä.png", "a.png.png", " .png", "-.png"]


WORD = re.compile(rb"[^\s,;:<>\"{}\[\]=]+|\[[^\[\]]*\]")
NASTY = ["nan", "inf", "-1", "0", "1.5", "1e308", "-1e999", "9" * 22, "null", "true", "[]", "{}"]
NASTY += ["[[]]", "[1]", '{"a":1}', '"x"', "\\u0000", "\\ud800", "\\\\", "&amp;", "&#0;", "*a"]
NASTY += ["..", "../../x.png", "/dev/zero", "/", "C:\\a.png", "a.png", "b.png", "a" * 300]
NASTY += ["", " ", "\0", "\u0663", "\uff11", "\u00b2", "\ufeff"]
"""In place of a word: numbers that are none, digits of other scripts, paths that lead out."""


@st.composite
def contents(draw: st.DrawFn) -> bytes:
    """Nothing, noise, a whole file of some kind, or one that was cut, altered or added to."""
    if draw(st.integers(0, 4)) == 0:
        return draw(st.binary(max_size=300))
    data = bytearray(draw(st.sampled_from(WHOLE)))
    way = draw(st.integers(0, 8))
    if way == 1:
        del data[draw(st.integers(0, len(data))) :]
    if way == 2:
        for at in draw(st.lists(st.integers(0, len(data) - 1), min_size=1, max_size=4)):
            data[at] = draw(st.integers(0, 255))
    if way == 3:
        data += draw(st.binary(max_size=40))
    if way == 4:
        at = draw(st.integers(0, len(data)))
        data[at:at] = draw(
            st.sampled_from([b"nan", b"-1", b"1e999", b"null", b'"', b"\0", b"]", b"<"])
        )
    words = list(WORD.finditer(bytes(data))) if way > 5 else []
    if words:
        word = words[draw(st.integers(0, len(words) - 1))]
        data[word.start() : word.end()] = draw(st.sampled_from(NASTY)).encode()
    return bytes(data)


@st.composite
def trees(draw: st.DrawFn) -> dict[str, bytes | None]:
    """Files by their paths; None is an empty folder. Often a dataset with something wrong in it."""
    tree: dict[str, bytes | None] = {}
    if draw(st.integers(0, 3)):
        tree |= draw(st.sampled_from(SETS))
        for path in draw(st.lists(st.sampled_from(sorted(tree)), max_size=2)):
            tree[path] = draw(contents())
    folder = st.lists(st.sampled_from(FOLDERS), max_size=3).map("/".join)
    for _ in range(draw(st.integers(0, 4))):
        path = "/".join(filter(None, [draw(folder), draw(st.sampled_from(NAMES))]))
        tree[path] = draw(contents()) if draw(st.integers(0, 9)) else None
    return tree


def write(root: Path, tree: dict[str, bytes | None]) -> None:
    """Put a tree on disk; what is both a file and a folder stays what it was first."""
    for path, data in tree.items():
        target = root / path
        try:
            (target if data is None else target.parent).mkdir(parents=True, exist_ok=True)
            if data is not None:
                target.write_bytes(data)
        except (FileExistsError, NotADirectoryError, IsADirectoryError):
            continue


def answer(root: Path, *arguments: str) -> None:
    """Run a command in this process, and see that it says in words what it found."""
    ran = CliRunner(env={"QC_SALT": "0" * 64}).invoke(app, ["data", *arguments, "--json"])
    assert ran.exit_code in (0, 1, 2), (arguments, ran.exit_code, ran.output)
    assert "Traceback" not in ran.output and "-v shows" not in ran.output, ran.output
    found = json.loads(ran.stdout)
    if ran.exit_code == 2:
        assert found["error"]["message"] and found["error"]["kind"] != "fault"


@given(trees())
@settings(
    max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), database=None
)
def test_a_random_tree_never_gives_a_traceback(tree: dict[str, bytes | None]) -> None:
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        root = Path(folder) / "set"
        root.mkdir()
        write(root, tree)
        try:
            reading = read_dataset(root)
            if reading.samples:
                json.dumps(audit(reading.samples, reading.format), allow_nan=False)
            load_samples(root)
        except QCError as error:
            assert error.message
        answer(root, "audit", str(root), "--html", f"{folder}/page.html")
        answer(root, "split", str(root), "--out", f"{folder}/split.csv")


@given(st.sampled_from([name for name in NAMES if "." in name]), contents())
@settings(
    max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), database=None
)
def test_a_random_file_as_the_dataset_never_gives_a_traceback(name: str, data: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        (Path(folder) / name).write_bytes(data)
        (Path(folder) / "a.png").write_bytes(WHOLE[0])
        answer(Path(folder), "audit", f"{folder}/{name}")


@pytest.mark.parametrize("seed", range(4))
def test_the_search_finds_datasets_that_are_read(seed: int, tmp_path: Path) -> None:
    """A guard of this file: its whole files do make datasets."""
    kinds = ["good/a.png", "good/b.png", "hole/a.png", "hole/c.tif"]
    for path, data in zip(kinds, (WHOLE[seed % 4], WHOLE[1], WHOLE[2], WHOLE[6]), strict=True):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_bytes(data)
    assert len(load_samples(tmp_path)[1]) == 4
