"""Datasets written in other layouts: what comes back, and what is said to be lost."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from toy_sets import class_set, digest, draw_mask, left, picture, pixels, same, seen, voc_set

from qc.imageio import read_image, read_mask
from qc.types import Region, Sample
from training.convert import convert
from training.datasets import load_samples
from training.regions import mask_of
from training.writers import Job, coco_json
from training.writers._marks import Marks, area_of, outlines
from training.writers._names import Names, in_images_folder, parts_of
from training.writers.coco_json import run_lengths

pytest.importorskip("yaml", reason="PyYAML is not installed")

SETS = Path(os.environ.get("QC_DATA_ROOT", Path(__file__).parents[2].parent / "shared" / "data"))
_ABSENT = "is not there; QC_DATA_ROOT names its parent folder"


@pytest.fixture
def voc(tmp_path: Path) -> Path:
    """The set of boxes."""
    return voc_set(tmp_path / "voc")


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    """The set of masks."""
    return class_set(tmp_path / "folders")


def test_boxes_go_from_voc_to_coco_to_yolo_and_to_coco_again(voc: Path, tmp_path: Path) -> None:
    first = seen(voc)
    at = voc
    for number, to in enumerate(("coco_json", "yolo_text", "coco_json", "yolo_text")):
        out = tmp_path / "out" / str(number)
        said = convert(at, to, out)
        assert load_samples(out)[0] == said["format"] == to
        assert (said["images"], said["boxes"], said["polygons"], said["masks"]) == (4, 4, 0, 0)
        assert said["classes"] == {"good": 1, "hole": 2, "scratch": 1, "stain": 1}
        assert said["groups"] == 3
        assert any("without a place" in note for note in said["notes"])
        assert any("1 annotation(s) of the source" in note for note in said["notes"])
        same(first, seen(out))
        at = out
    assert [s.sample_id for s in load_samples(at)[1]] == [
        *("images/a.png", "images/b.png", "images/lot 2/c.png", "images/lot 2/d.png")
    ]
    # a file is copied, not encoded anew
    source = voc / "JPEGImages" / "a.png"
    assert (at / "images" / "a.png").read_bytes() == source.read_bytes()
    assert (at / "labels" / "lot 2" / "d.txt").read_text() == ""
    assert (at / "labels" / "lot 2" / "c.txt").read_text() == "2 0 0 0 0\n"


def test_the_same_dataset_gives_the_same_bytes(voc: Path, tmp_path: Path) -> None:
    for to in ("coco_json", "yolo_text"):
        found = []
        for out in (tmp_path / f"{to}1", tmp_path / f"{to}2"):
            convert(voc, to, out)
            files = sorted(f for f in out.rglob("*") if f.is_file())
            found.append([(f.relative_to(out), f.read_bytes()) for f in files])
        assert found[0] == found[1]


def test_masks_go_from_class_folders_to_coco_and_back(folders: Path, tmp_path: Path) -> None:
    coco, back = tmp_path / "coco", tmp_path / "back"
    said = convert(folders, "coco_json", coco, good="MT_Free")
    assert said["classes"] == {"crack": 2, "good": 2, "hole": 1}
    assert (said["masks"], said["boxes"], said["polygons"], said["groups"]) == (2, 0, 0, 5)
    assert not (coco / "groups.csv").exists()
    assert [note for note in said["notes"] if "without a place" not in note] == [
        "class 'MT_Free' is written as no annotation and read back as 'good'",
        "1 mask(s) have holes: the file keeps them, reading it here fills them",
    ]
    first = {d: s for d, s in seen(folders, "MT_Free").items() if s.labels != ("hole",)}
    same(first, {d: s for d, s in seen(coco).items() if s.labels != ("hole",)}, boxes=False)
    content = json.loads((coco / "annotations" / "instances.json").read_text())
    marks = {m["image_id"]: m for m in content["annotations"]}
    ids = {i["file_name"]: i["id"] for i in content["images"]}
    ring = marks[ids["images/hole/z.png"]]
    assert ring["segmentation"]["counts"][:3] == [0, 24 * 8 + 8, 4]
    assert (ring["area"], ring["bbox"]) == (24 * 36 - 48, [0, 0, 36, 24])
    bare = marks[ids["images/crack/y.png"]]
    assert (bare["bbox"], bare["segmentation"], bare["area"]) == ([], [], 0)
    said = convert(coco, "class_folders", back)
    assert (said["format"], said["masks"]) == ("class_folders", 2)
    assert said["notes"][0] == "4 box(es) or outline(s) became masks"
    same(seen(coco), seen(back), boxes=False)
    assert left(back / "crack") == {"x.png", "x_mask.png", "y.png"}
    assert left(back / "good") == {"MT_Free_x.png", "MT_Free_y.png"}
    mask = read_image(back / "crack" / "x_mask.png")
    assert set(np.unique(mask)) == {0, 255}
    assert np.array_equal(mask, read_image(folders / "crack" / "x_mask.png"))


def test_masks_become_polygons_that_give_the_same_mask(folders: Path, tmp_path: Path) -> None:
    coco, yolo, again = tmp_path / "coco", tmp_path / "yolo", tmp_path / "again"
    convert(folders, "coco_json", coco, good="MT_Free")
    said = convert(folders, "yolo_text", yolo, good="MT_Free")
    assert (said["masks"], said["polygons"]) == (0, 4)
    assert "2 mask(s) became polygons" in said["notes"]
    assert "1 mask(s) have holes: the polygons fill them" in said["notes"]
    same(seen(coco), seen(yolo))
    convert(yolo, "coco_json", again)
    same(seen(yolo), seen(again))


def test_class_folders_stay_class_folders(folders: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()  # an empty folder is taken
    said = convert(folders, "class_folders", out)
    assert (said["classes"]["MT_Free"], said["masks"], said["notes"]) == (2, 3, [])
    same(seen(folders), seen(out))
    assert load_samples(folders)[1][1].mask_path is not None  # blank: known to be empty
    assert not read_mask(out / "MT_Free" / "y_mask.png", (24, 36)).any()


def test_splits_make_folders_and_go_into_data_yaml(tmp_path: Path) -> None:
    source, folders, yolo, coco = (tmp_path / n for n in ("set.npz", "folders", "yolo", "coco"))
    arrays = {}
    for seed, name in enumerate(("train", "val", "test")):
        arrays[f"{name}_images"] = np.stack([pixels(10 * seed), pixels(10 * seed + 1)])
        arrays[f"{name}_labels"] = np.array([[0], [1]])
    np.savez(source, **arrays)
    told = {"classes": "good,hole"}
    said = convert(source, "class_folders", folders, options=told)
    assert said["format"] == "split_folders"
    assert said["notes"][1] == "6 picture(s) that are no image files became PNG files"
    assert left(folders) == {"train", "val", "test"}
    assert left(folders / "val" / "hole") == {"000001.png"}
    assert np.array_equal(read_image(folders / "val" / "hole" / "000001.png"), pixels(11))
    assert seen(folders).keys() == {digest(pixels(10 * a + b)) for a in range(3) for b in (0, 1)}
    said = convert(folders, "yolo_text", yolo)
    names = 'names:\n  0: "hole"\n'
    splits = "train: images/train\nval: images/val\ntest: images/test\n"
    assert (yolo / "data.yaml").read_text() == splits + names
    assert (yolo / "images" / "val" / "hole" / "000001.png").is_file()
    assert "splits are in the paths" in said["notes"][0]
    same(seen(folders), seen(yolo))
    convert(folders, "coco_json", coco)
    same(seen(folders), seen(coco))


def test_a_split_file_sorts_the_images(voc: Path, tmp_path: Path) -> None:
    table = tmp_path / "split.csv"
    rows = [("a", "p1", "train"), ("b", "p1", "train"), ("lot 2/c", "c", "val")]
    rows += [("lot 2/d", "p2", "test")]
    lines = [f"JPEGImages/{name}.png,{group},{split}" for name, group, split in rows]
    table.write_text("sample_id,group,split\n" + "\n".join(lines) + "\n")
    convert(voc, "yolo_text", tmp_path / "out", split=table)
    assert (tmp_path / "out" / "images" / "val" / "lot 2" / "c.png").is_file()
    assert (tmp_path / "out" / "data.yaml").read_text().startswith("train: images/train\nval:")


def test_parts_that_are_all_good_are_written(tmp_path: Path) -> None:
    picture(tmp_path / "set" / "good" / "a.png", 0)
    for to in ("yolo_text", "coco_json"):
        said = convert(tmp_path / "set", to, tmp_path / to)
        assert said["classes"] == {"good": 1}
        same(seen(tmp_path / "set"), seen(tmp_path / to))


def test_no_class_has_to_be_good(folders: Path, tmp_path: Path) -> None:
    convert(folders, "coco_json", tmp_path / "out", good="")
    labels = [s.labels[0] for s in load_samples(tmp_path / "out")[1]]
    assert sorted(labels) == ["MT_Free", "MT_Free", "crack", "crack", "hole"]


def test_names_are_safe_and_never_two_alike() -> None:
    ids = [
        *("JPEGImages/a.jpg", "images/A.png", "a.jpg", "../b:1#2?.png", ".hid/_x/.c.jpg"),
        *("scan.tif#3", "train/000001", "a" * 300 + ".png", "/d.png", "train/a.png"),
    ]
    samples = [Sample(name, Path(name.split("#")[0]), ("good",)) for name in ids]
    paths = [p.as_posix() for p in in_images_folder(samples, False)]
    assert paths[:7] == [
        *("images/a.jpg", "images/A-2.png", "images/a-3.jpg", "images/b_1_2_.png"),
        *("images/hid/x/c.jpg", "images/scan.tif_3.tif", "images/train/000001.png"),
    ]
    assert len(paths[7]) < 180 and paths[7] == in_images_folder(samples[7:8], False)[0].as_posix()
    assert paths[8:] == ["images/d.png", "images/train/a.png"]
    split = Sample("train/x/a.png", Path("a.png"), ("good",), split="train")
    assert parts_of(split) == (["x"], "a", ".png")
    assert [p.as_posix() for p in in_images_folder([split], True)] == ["images/train/x/a.png"]
    names = Names()
    assert names.take(["k"], "x_mask", ".png", avoid="_mask").as_posix() == "k/x_mask-2.png"


def test_images_that_would_be_taken_for_masks_get_another_name(tmp_path: Path) -> None:
    root = tmp_path / "set"
    for seed, name in enumerate(("a.jpg", "a.png", "x_mask.png", "x.png")):
        picture(root / "JPEGImages" / Path(name).stem / f"{seed}{Path(name).suffix}.png", seed)
        (root / "JPEGImages" / Path(name).stem / f"{seed}{Path(name).suffix}.png").rename(
            root / name
        )
    shutil.rmtree(root / "JPEGImages")
    marks = [{"id": i, "file_name": n} for i, n in enumerate(sorted(left(root)))]
    boxes = [{"image_id": i, "category_id": 0, "bbox": [1, 1, 4, 4]} for i in range(4)]
    names = [{"id": 0, "name": "hole"}]
    content = {"images": marks, "annotations": boxes, "categories": names}
    (root / "all.json").write_text(json.dumps(content))
    convert(root, "class_folders", tmp_path / "out")
    same(seen(root), seen(tmp_path / "out"), boxes=False)
    assert left(tmp_path / "out" / "hole") == {
        *("a.jpg", "a_mask.png", "a-2.png", "a-2_mask.png"),
        *("x.png", "x_mask.png", "x_mask-2.png", "x_mask-2_mask.png"),
    }


def test_run_lengths_begin_with_zeros() -> None:
    mask = np.array([[0, 1], [1, 1]], bool)
    assert run_lengths(mask) == [1, 3]
    assert run_lengths(~mask) == [0, 1, 3]
    assert run_lengths(np.zeros((2, 2), bool)) == [4]
    assert run_lengths(np.ones((2, 2), bool)) == [0, 4]


def test_outlines_of_any_mask_have_an_area_and_give_the_mask() -> None:
    draw = np.random.default_rng(3)
    for share in (0.02, 0.2, 0.5, 0.9):
        mask = draw.random((40, 50)) < share
        polygons, has_holes = outlines(mask)
        assert all(area_of(p) > 0 for p in polygons)
        regions = tuple(Region("x", p, is_box=False) for p in polygons)
        filled = mask_of(Sample("s", Path("s"), ("x",), regions=regions), (40, 50))
        assert filled is not None and not (mask & ~filled).any()
        assert has_holes == bool((filled & ~mask).any())


def test_what_cannot_be_kept_is_counted(tmp_path: Path) -> None:
    picture(tmp_path / "a.png", 0)
    mask = draw_mask(tmp_path / "m.png", (2, 2, 5, 5))
    corners = ((-3.0, 2.0), (9.0, 2.0), (9.0, 6.0), (-3.0, 6.0))
    far = tuple((x + 100, y) for x, y in corners)
    boxes = tuple(Region("hole", points, is_box=True) for points in (corners, far))
    image = tmp_path / "a.png"
    samples = [
        Sample("1", image, ("hole",), regions=boxes),
        Sample("2", image, ("hole",), mask_path=mask, regions=boxes),
        Sample("3", image, ("good", "hole"), mask_path=mask),
    ]
    job = Job(samples, tmp_path / "out", "coco_json")
    coco_json.write(job)
    assert list(job.labels.values()) == [("hole",), ("hole",), ("good", "hole")]
    assert (job.boxes, job.masks) == (1, 1)
    said = "\n".join(job.lines())
    for words in (
        "1 box(es) or outline(s) reached outside",
        "1 box(es) or outline(s) lay outside",
        "2 box(es) or outline(s) are left out: the mask",
        "1 mask(s) are left out: their image has several classes",
        "2 annotation(s) say a class without a place",
    ):
        assert words in said
    assert Marks((), (), ()).labels == ("good",)


@pytest.mark.skipif(not (SETS / "neu_det").is_dir(), reason=f"neu_det {_ABSENT}")
def test_steel_keeps_its_boxes_from_voc_to_yolo(tmp_path: Path) -> None:
    source, out = tmp_path / "steel", tmp_path / "yolo"
    for file in sorted((SETS / "neu_det" / "ANNOTATIONS").glob("*.xml"))[::15]:
        for kind, name in (("ANNOTATIONS", file.name), ("IMAGES", f"{file.stem}.jpg")):
            (source / kind).mkdir(parents=True, exist_ok=True)
            shutil.copy(SETS / "neu_det" / kind / name, source / kind)
    said = convert(source, "yolo_text", out)
    assert said["images"] > 50 and said["boxes"] > 100 and len(said["classes"]) == 6
    same(seen(source), seen(out))


@pytest.mark.skipif(not (SETS / "bccd").is_dir(), reason=f"bccd {_ABSENT}")
def test_blood_keeps_its_boxes_from_voc_to_coco(tmp_path: Path) -> None:
    source, out = tmp_path / "blood", tmp_path / "coco"
    for file in sorted((SETS / "bccd" / "Annotations").glob("*.xml"))[330:345]:
        for kind, name in (("Annotations", file.name), ("JPEGImages", f"{file.stem}.jpg")):
            (source / kind).mkdir(parents=True, exist_ok=True)
            shutil.copy(SETS / "bccd" / kind / name, source / kind)
    said = convert(source, "coco_json", out)
    assert said["images"] == 15 and set(said["classes"]) == {"Platelets", "RBC", "WBC"}
    same(seen(source), seen(out))
