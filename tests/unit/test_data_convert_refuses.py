"""What cannot be converted: one error that names it, and nothing is left on disk."""

from __future__ import annotations

import errno
import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from toy_sets import class_set, left, picture, same, seen, voc_set
from typer.testing import CliRunner

from qc.cli import app
from qc.errors import DataError, FaultError, QCError, UsageError
from qc.imageio import write_png
from training import convert as module
from training.convert import convert

pytest.importorskip("yaml", reason="PyYAML is not installed")


@pytest.fixture
def voc(tmp_path: Path) -> Path:
    """The set of boxes."""
    return voc_set(tmp_path / "voc")


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    """The set of masks."""
    return class_set(tmp_path / "folders")


def _refused(source: Path, to: str, what: str, kind: type[QCError] = DataError, **more: Any) -> str:
    """The error's place; nothing is left beside the source."""
    before = left(source.parent)
    with pytest.raises(kind, match=what) as caught:
        convert(source, to, source.parent / "new" / "out", **more)
    assert left(source.parent) == before
    return caught.value.where


def test_formats_and_good_classes_are_checked(folders: Path, voc: Path) -> None:
    said = r"'coco'; did you mean 'coco_json'\?; expected class_folders, coco_json, yolo_text"
    assert _refused(folders, "coco", said, UsageError) == "--to"
    _refused(folders, "voc_xml", "no such format is written", UsageError)
    said = "expected --good CLASS, .*found no place in any image of: MT_Free$"
    assert _refused(folders, "coco_json", said, UsageError) == "--good"
    said = "no class 'MT_Fee'; did you mean 'MT_Free'"
    _refused(folders, "yolo_text", said, UsageError, good="MT_Fee")
    _refused(voc, "yolo_text", "'hole' and 'good' would become one", UsageError, good="hole")
    _refused(folders, "class_folders", "keep every class", UsageError, good="MT_Free")


def test_several_classes_are_no_folder(voc: Path) -> None:
    said = "1 image.s. have several classes; .*found hole, scratch"
    assert _refused(voc, "class_folders", said) == "JPEGImages/a.png"


@pytest.mark.parametrize("name", ["a/b", "a\\b", "_x", ".x", "a:b", "x.", "..", "x" * 201, "a\tb"])
def test_a_class_that_is_no_folder_s_name_is_refused(voc: Path, name: str) -> None:
    (voc / "Annotations" / "a.xml").unlink()
    (voc / "JPEGImages" / "a.png").unlink()
    (voc / "groups.csv").unlink()
    file = voc / "Annotations" / "b.xml"
    text = file.read_text()
    file.write_text(text.replace("hole", name))
    assert _refused(voc, "class_folders", "cannot be a folder's name") == repr(name)
    if name == "a\tb":
        assert _refused(voc, "coco_json", "class name cannot be written") == repr(name)
    file.write_text(text.replace("hole", "Stain"))
    assert _refused(voc, "class_folders", "by the case of their letters") == str(voc)


def test_a_class_that_makes_another_layout_is_refused(folders: Path) -> None:
    for name in ("crack", "hole"):
        (folders / name).rename(folders / {"crack": "images", "hole": "extra"}[name])
    convert(folders, "class_folders", folders.parent / "fine")
    coco = folders.parent / "coco"
    convert(folders, "coco_json", coco, good="MT_Free")
    file = coco / "annotations" / "instances.json"
    file.write_text(file.read_text().replace('"extra"', '"ground_truth"'))
    _refused(coco, "class_folders", "would not be read as class_folders")


def test_a_damaged_image_is_named_and_nothing_left(voc: Path, folders: Path) -> None:
    image = voc / "JPEGImages" / "b.png"
    image.write_bytes(image.read_bytes()[:40])
    for to in ("coco_json", "yolo_text"):
        assert _refused(voc, to, "truncated") == str(image)
    mask = folders / "hole" / "z_mask.png"
    write_png(mask, np.zeros((5, 5), np.uint8))
    for to, good in (("class_folders", None), ("yolo_text", "MT_Free")):
        assert _refused(folders, to, "another size than its image", good=good) == str(mask)
    (voc / "Annotations" / "b.xml").write_text("<annotation>")
    _refused(voc, "coco_json", "not readable XML")


def test_places_that_cannot_be_used_are_refused(voc: Path, tmp_path: Path) -> None:
    full = tmp_path / "full"
    picture(full / "mine.png", 0)
    for out, what, kind in (
        (full, "there already; .*found a folder with something in it", UsageError),
        (full / "mine.png", "there already; .*found a file", UsageError),
        (voc / "out", "inside the dataset", UsageError),
        (voc, "there already", UsageError),
        (full / "mine.png" / "out", "Not a directory|File exists", FaultError),
        (tmp_path / ("x" * 300), "File name too long", FaultError),
    ):
        with pytest.raises(kind, match=what):
            convert(voc, "coco_json", out)
    (tmp_path / "out.partial").mkdir()
    with pytest.raises(UsageError, match="was cut off") as caught:
        convert(voc, "coco_json", tmp_path / "out")
    assert caught.value.where == str(tmp_path / "out.partial")
    assert left(tmp_path) == {"voc", "full", "out.partial"} and left(full) == {"mine.png"}
    with pytest.raises(DataError, match="does not exist"):
        convert(tmp_path / "gone", "coco_json", tmp_path / "out2")


@pytest.mark.parametrize("at", ["copyfile", "groups", "rename"])
def test_a_full_disk_leaves_nothing(voc: Path, monkeypatch: pytest.MonkeyPatch, at: str) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(voc / "a.png"))

    if at == "copyfile":
        monkeypatch.setattr(shutil, "copyfile", fail)
    elif at == "groups":
        monkeypatch.setattr(module, "_write_groups", fail)
    else:
        monkeypatch.setattr(Path, "rename", fail)
    where = _refused(voc, "coco_json", "No space left", FaultError)
    assert where == str(voc.parent / "new" / "out")


def test_a_stopped_conversion_leaves_nothing(voc: Path, tmp_path: Path) -> None:
    def stop(done: int, total: int) -> None:
        assert (done, total) == (1, 4)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        convert(voc, "yolo_text", tmp_path / "deep" / "out", tell=stop)
    assert left(tmp_path) == {"voc"}


def test_groups_that_cannot_be_written_or_read_are_refused(voc: Path, tmp_path: Path) -> None:
    # a group named as an image of another group will be: both stay apart
    rows = [f"JPEGImages/{n}.png,{g}" for n, g in (("a", "images/b.png"), ("lot 2/c", "2"))]
    rows += ["JPEGImages/b.png,JPEGImages/b.png", "JPEGImages/lot 2/d.png,images/b.png"]
    (voc / "groups.csv").write_text("path,group\n" + "\n".join(rows) + "\n")
    convert(voc, "coco_json", tmp_path / "out")
    same(seen(voc), seen(tmp_path / "out"))
    text = (tmp_path / "out" / "groups.csv").read_text()
    assert "images/b.png,images/b.png'\n" in text


def test_the_command_prints_one_object_and_lines(voc: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    call = ["data", "convert", str(voc), "--to", "coco_json", "--out", str(out)]
    ran = CliRunner().invoke(app, [*call, "--json"])
    assert ran.exit_code == 0, ran.output
    found = json.loads(ran.stdout)
    assert list(found) == [
        *("format", "out", "images", "classes", "boxes", "polygons", "masks", "groups"),
        *("without_picture", "notes"),
    ]
    assert (found["out"], found["images"], found["boxes"]) == (str(out), 4, 4)
    assert "4 images as coco_json: good 1, hole 2" in ran.stderr
    assert "note: 1 annotation(s) say a class without a place" in ran.stderr
    ran = CliRunner().invoke(app, [*call, "--json"])
    assert (ran.exit_code, json.loads(ran.stdout)["error"]["kind"]) == (2, "usage")
