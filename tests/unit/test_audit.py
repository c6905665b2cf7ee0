"""The audit finds what was put wrong on purpose, and nothing in a dataset that is right."""

from __future__ import annotations

import csv
import os
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from qc.errors import DataError
from qc.imageio import write_png
from qc.types import Sample
from training.audit import audit, cautions
from training.datasets import load_samples

DATA_ROOT = Path(
    os.environ.get("QC_DATA_ROOT", Path(__file__).parents[2].parent / "shared" / "data")
)
TILES = DATA_ROOT / "magnetic_tile"

KEYS = {
    *("format", "images", "classes", "unreadable", "exact_duplicates", "near_duplicates"),
    *("cross_split", "label_conflicts", "annotation_errors", "groups", "leakage", "blocking"),
    *("shortcuts", "cautions"),
}


def _texture(seed: int, size: int = 64) -> np.ndarray:
    """Soft blobs that differ with the seed: pictures without anything in common."""
    noise = np.random.default_rng(seed).normal(0, 1, (size, size, 3))
    soft = cv2.GaussianBlur(noise, (0, 0), size / 16)
    return np.clip(128 + 40 * soft / soft.std(), 0, 255).astype(np.uint8)


class _Set:
    """A dataset under construction."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.samples: list[Sample] = []

    def add(self, name: str, image: np.ndarray, label: str = "good", group: str = "") -> Sample:
        write_png(self.root / name, image)
        self.samples.append(Sample(name, self.root / name, (label,), group=group))
        return self.samples[-1]

    def mask(self, index: int, mask: np.ndarray) -> None:
        path = self.root / f"mask{index}.png"
        write_png(path, mask)
        self.samples[index] = replace(self.samples[index], mask_path=path)

    def split(self, *splits: str) -> None:
        self.samples = [
            replace(s, split=split) for s, split in zip(self.samples, splits, strict=True)
        ]

    def audit(self) -> dict[str, object]:
        return audit(self.samples, "toy")


@pytest.fixture
def made(tmp_path: Path) -> _Set:
    return _Set(tmp_path)


def test_a_dataset_that_is_right_has_nothing(made: _Set) -> None:
    for i in range(6):
        made.add(f"{i}.png", _texture(i), "good" if i < 4 else "hole")
    made.split("train", "val", "test", "train", "val", "test")
    report = made.audit()
    assert set(report) == KEYS
    assert (report["format"], report["images"], report["groups"]) == ("toy", 6, 6)
    assert report["classes"] == {"good": 4, "hole": 2}
    for key in KEYS - {"format", "images", "classes", "groups", "leakage", "cautions"}:
        assert report[key] == [], key


def test_progress_counts_every_image(made: _Set) -> None:
    made.add("a.png", _texture(0))
    made.add("b.png", _texture(1))
    (made.root / "b.png").write_bytes(b"")
    seen: list[tuple[int, int]] = []
    audit(made.samples, "toy", progress=lambda done, total: seen.append((done, total)))
    assert seen == [(1, 2), (2, 2)]


def test_no_samples_is_an_error() -> None:
    with pytest.raises(DataError, match="nothing to audit"):
        audit([], "toy")


def test_unreadable_images_are_listed_with_their_reason_and_block(made: _Set) -> None:
    for name in ("a", "b", "c", "d"):
        made.add(f"{name}.png", _texture(ord(name)))
    (made.root / "b.png").write_bytes((made.root / "b.png").read_bytes()[:-30])
    (made.root / "c.png").write_text("no picture")
    (made.root / "d.png").unlink()
    report = made.audit()
    assert [u["path"] for u in report["unreadable"]] == ["b.png", "c.png", "d.png"]  # type: ignore[attr-defined]
    whys = " | ".join(u["why"] for u in report["unreadable"])  # type: ignore[attr-defined]
    assert "truncated" in whys and "not an image" in whys and "No such file" in whys
    assert report["images"] == 4 and report["blocking"] == ["3 image(s) cannot be read"]


def test_nothing_readable_is_reported_and_not_a_crash(made: _Set) -> None:
    made.add("a.png", _texture(0))
    (made.root / "a.png").write_bytes(b"")
    report = made.audit()
    assert report["leakage"] == {"random": None, "grouped": None}
    assert report["blocking"] == ["1 image(s) cannot be read"]


def test_the_same_pixels_in_other_formats_are_exact_duplicates(made: _Set) -> None:
    made.add("a.png", _texture(1))
    made.add("b.png", _texture(2))
    ok, data = cv2.imencode(".bmp", _texture(1)[..., ::-1])
    assert ok
    (made.root / "c.bmp").write_bytes(data.tobytes())
    made.samples.append(Sample("c.bmp", made.root / "c.bmp", ("good",)))
    report = made.audit()
    assert report["exact_duplicates"] == [["a.png", "c.bmp"]]
    assert report["near_duplicates"] == [] and report["label_conflicts"] == []
    assert report["blocking"] == []  # without splits nothing leaks yet


def test_the_same_bytes_in_another_shape_are_no_duplicates(made: _Set) -> None:
    image = _texture(1)
    made.add("a.png", image)
    made.add("b.png", image.reshape(32, 128, 3))
    assert made.audit()["exact_duplicates"] == []


def test_the_same_pixels_with_two_labels_block(made: _Set) -> None:
    made.add("a.png", _texture(1), "good")
    made.add("b.png", _texture(1), "hole")
    made.add("c.png", _texture(2), "good")
    report = made.audit()
    assert report["label_conflicts"] == report["exact_duplicates"] == [["a.png", "b.png"]]
    assert report["blocking"] == ["1 picture(s) have two different labels"]


def test_saved_again_halved_and_lit_otherwise_are_near_duplicates(made: _Set) -> None:
    image = _texture(7, 128)
    made.add("a.png", image)
    made.add("b.png", _texture(8, 128))
    ok, data = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 50])
    assert ok
    (made.root / "c.jpg").write_bytes(data.tobytes())
    made.samples.append(Sample("c.jpg", made.root / "c.jpg", ("good",)))
    made.add("d.png", image[::2, ::2])
    made.add("e.png", (image * 0.7 + 20).astype(np.uint8))
    made.add("f.png", _texture(9, 128))
    report = made.audit()
    assert report["near_duplicates"] == [["a.png", "c.jpg", "d.png", "e.png"]]
    assert report["exact_duplicates"] == []


def test_alike_inside_one_group_is_what_groups_are_for(made: _Set) -> None:
    image = _texture(7)
    made.add("a.png", image, group="1")
    made.add("b.png", image // 2 + 60, group="1")
    made.add("c.png", _texture(8), group="2")
    assert made.audit()["near_duplicates"] == []
    made.samples[1] = replace(made.samples[1], group="3")
    assert made.audit()["near_duplicates"] == [["a.png", "b.png"]]


def _disc(seed: int, shift: float) -> np.ndarray:
    """A part in a fixture: always the same ring, a little noise of its own."""
    rng = np.random.default_rng(seed)
    grey = np.full((128, 128), 60, np.float32)
    centre = tuple(int((64 + d) * 16) for d in rng.normal(0, shift, 2))
    cv2.circle(grey, centre, 45 * 16, 170, -1, cv2.LINE_AA, 4)
    cv2.circle(grey, centre, 15 * 16, 50, -1, cv2.LINE_AA, 4)
    grey += rng.normal(0, 5, grey.shape)
    return np.repeat(np.clip(grey, 0, 255).astype(np.uint8)[..., None], 3, axis=2)


def test_a_mirrored_and_a_turned_copy_are_found(made: _Set) -> None:
    for seed in range(8):
        made.add(f"{seed}.png", _texture(seed))
    made.add("mirrored.png", np.ascontiguousarray(_texture(2)[:, ::-1]))
    made.add("turned.png", np.rot90(_texture(5), 3).copy())
    made.add("both.png", np.rot90(_texture(6)[::-1]).copy())
    assert made.audit()["near_duplicates"] == [
        ["2.png", "mirrored.png"],
        ["5.png", "turned.png"],
        ["6.png", "both.png"],
    ]


@pytest.mark.parametrize("shift", [0.0, 1.5])
def test_parts_in_a_fixture_are_alike_and_yet_no_copies(made: _Set, shift: float) -> None:
    for seed in range(60):
        made.add(f"{seed:02}.png", _disc(seed, shift))
    assert made.audit()["near_duplicates"] == []
    ok, data = cv2.imencode(".jpg", _disc(5, shift), [cv2.IMWRITE_JPEG_QUALITY, 95])
    assert ok
    (made.root / "copy.jpg").write_bytes(data.tobytes())
    made.samples.append(Sample("copy.jpg", made.root / "copy.jpg", ("good",)))
    assert made.audit()["near_duplicates"] == [["05.png", "copy.jpg"]]


def test_flat_images_resemble_nothing(made: _Set) -> None:
    for value in (10, 20, 30):
        made.add(f"{value}.png", np.full((32, 32, 3), value, np.uint8))
    report = made.audit()
    assert report["near_duplicates"] == [] == report["exact_duplicates"]
    assert report["leakage"] == {"random": None, "grouped": None}


def test_each_way_to_stand_in_two_splits_is_found_and_blocks(made: _Set) -> None:
    made.add("exact1.png", _texture(1))
    made.add("exact2.png", _texture(1))
    made.add("near1.png", _texture(2))
    made.add("near2.png", _texture(2) // 2 + 60)
    made.add("group1.png", _texture(3), group="g")
    made.add("group2.png", _texture(4), group="g")
    made.add("same1.png", _texture(5))
    made.add("same2.png", _texture(5))
    made.split("train", "val", "train", "test", "val", "test", "train", "train")
    report = made.audit()
    assert report["cross_split"] == [
        [{"path": "group1.png", "split": "val"}, {"path": "group2.png", "split": "test"}],
        [{"path": "exact1.png", "split": "train"}, {"path": "exact2.png", "split": "val"}],
        [{"path": "near1.png", "split": "train"}, {"path": "near2.png", "split": "test"}],
    ]
    assert report["blocking"] == [
        "3 set(s) of images of one piece or alike stand in two splits",
    ]
    made.split(*["train"] * 8)
    assert made.audit()["cross_split"] == []


def test_one_leak_found_in_two_ways_is_told_once(made: _Set) -> None:
    made.add("a.png", _texture(1), group="g")
    made.add("b.png", _texture(1), group="g")
    made.split("train", "test")
    assert len(made.audit()["cross_split"]) == 1  # type: ignore[arg-type]


def test_an_unreadable_member_of_a_torn_group_is_still_a_leak(made: _Set) -> None:
    made.add("a.png", _texture(1), group="g")
    made.add("b.png", _texture(2), group="g")
    made.split("train", "test")
    (made.root / "b.png").write_bytes(b"")
    assert len(made.audit()["blocking"]) == 2  # type: ignore[arg-type]


def test_wrong_masks_are_listed_and_those_that_cannot_be_used_block(made: _Set) -> None:
    for i, label in enumerate(["good", "hole", "hole", "hole", "hole", "hole"]):
        made.add(f"{i}.png", _texture(i), label)
    drawn = np.zeros((64, 64), np.uint8)
    drawn[3, 4] = 255
    made.mask(0, np.zeros((64, 64), np.uint8))  # a good part: its empty mask is right
    made.mask(1, drawn)
    made.mask(2, np.zeros((64, 64), np.uint8))
    made.mask(3, drawn[:, :60])
    made.mask(4, drawn)
    made.mask(5, drawn // 255)  # drawn with 1 in place of 255
    (made.root / "mask4.png").write_bytes(b"")
    report = made.audit()
    errors = {e["path"]: e["why"] for e in report["annotation_errors"]}  # type: ignore[attr-defined]
    assert list(errors) == ["2.png", "3.png", "4.png", "5.png"]
    assert "mask2.png: mask is empty, though the class is hole" in errors["2.png"]
    assert "no mask pixel is above 127" in errors["5.png"] and "found 0 to 1" in errors["5.png"]
    assert "expected 64 x 64" in errors["3.png"] and "mask3.png" in errors["3.png"]
    assert "image file is empty" in errors["4.png"] and "mask4.png" in errors["4.png"]
    what = "2 mask(s) cannot be read, or are of another size than their image"
    assert report["blocking"] == [what] and report["unreadable"] == []
    assert not any("binary" in caution for caution in report["cautions"])  # type: ignore[attr-defined]


def test_masks_that_are_not_binary_are_a_caution(made: _Set) -> None:
    for i in range(3):
        made.add(f"{i}.png", _texture(i), "hole")
        soft = np.full((64, 64), 255 if i == 1 else 128, np.uint8)
        soft[:8] = 0
        soft[8:20] = 0 if i == 1 else 90
        made.mask(i, soft)
    assert made.audit()["cautions"][-1] == (  # type: ignore[index]
        "2 of 3 masks are not binary, such as that of 0.png: a pixel counts as defect above 127"
    )


def test_leakage_by_hand(made: _Set) -> None:
    """Two near pictures in each group: with them the label is known, without them it is not.

    Groups 1 and 3 show nearly one picture (good, hole), groups 2 and 4 another (hole, good). Inside
    its group an image finds its label; outside, its nearest has the wrong one. So 1.0 and 0.0.
    """
    first, second = _texture(1), _texture(2)
    mix = [(1, first, "good"), (2, second, "hole"), (3, first, "hole"), (4, second, "good")]
    for group, image, label in mix:
        weight = 0.8 if group > 2 else 1.0  # the later groups: 20 % of another picture
        own = (weight * image + (1 - weight) * _texture(group + 10)).astype(np.uint8)
        made.add(f"{group}a.png", own, label, str(group))
        made.add(f"{group}b.png", own // 2 + 50, label, str(group))
    assert made.audit()["leakage"] == {"random": 1.0, "grouped": 0.0}


def test_leakage_of_one_group_has_nothing_to_compare_with(made: _Set) -> None:
    made.add("a.png", _texture(1), "good", "1")
    made.add("b.png", _texture(2), "hole", "1")
    assert made.audit()["leakage"] == {"random": 0.0, "grouped": None}


def test_bursts_without_groups_are_all_found(made: _Set) -> None:
    """Every image has its copies: the common distance is tiny, and yet nothing is passed over."""
    for i in range(12):
        made.add(f"{i:02}.png", _texture(i // 2) // (2 + i % 2) + 20)
    assert made.audit()["near_duplicates"] == [
        [f"{i:02}.png", f"{i + 1:02}.png"] for i in range(0, 12, 2)
    ]


def test_blocks_give_what_one_matrix_gives(made: _Set, monkeypatch: pytest.MonkeyPatch) -> None:
    for i in range(14):
        image = _texture(i % 5) // (1 + i // 5) + 10 * (i // 5)
        made.add(f"{i:02}.png", image, f"class{i % 3}", str(i // 2))
    whole = made.audit()
    assert whole["near_duplicates"] == [
        [f"{i:02}.png" for i in range(first, 14, 5)] for first in range(5)
    ]
    monkeypatch.setattr("training.audit._BLOCK", 3)
    assert made.audit() == whole


def test_classes_of_few_groups_are_cautions_and_do_not_block(made: _Set) -> None:
    made.add("a.png", _texture(1), "good", "1")
    made.add("b.png", _texture(2), "good", "2")
    made.add("c.png", _texture(3), "good", "3")
    made.add("d.png", _texture(4), "hole", "1")
    made.add("e.png", _texture(5), "hole", "1")
    assert cautions(made.samples) == [
        "class good has 3 images of 3 group(s): expect wide intervals",
        "class hole has 2 images of 1 group(s): it cannot stand in train, val and test at once",
    ]
    assert made.audit()["blocking"] == []


@pytest.mark.skipif(
    not TILES.is_dir(), reason="magnetic_tile is not there; QC_DATA_ROOT names its parent folder"
)
def test_the_magnetic_tiles_hold_pieces_under_two_groups() -> None:
    """Looked at: both groups of each pair show the same scratches, stains and grain."""
    _, samples = load_samples(TILES)
    report = audit(samples, "class_folders")
    group = {s.sample_id: s.group for s in samples}
    pieces = {frozenset(group[name] for name in chain) for chain in report["near_duplicates"]}
    pairs = [("6", "9"), ("24", "31"), ("38", "39"), ("105", "109"), ("118", "120")]
    assert pieces == {frozenset(pair) for pair in pairs}
    assert len(report["annotation_errors"]) == 4  # the four empty masks of MT_Uneven
    assert report["unreadable"] == [] == report["exact_duplicates"]
    assert report["leakage"]["random"] > 0.98 and report["leakage"]["grouped"] < 0.65


def test_the_committed_split_keeps_those_pieces_together() -> None:
    path = Path(__file__).parents[2] / "data" / "splits" / "magnetic_tile.csv"
    with path.open(newline="", encoding="utf-8") as text:
        rows = list(csv.DictReader(text))
    found = {row["sample_id"]: (row["group"], row["split"]) for row in rows}
    assert found["MT_Free/Imgs/exp5_num_5874.jpg"] == found["MT_Free/Imgs/exp1_num_13526.jpg"]
    assert found["MT_Free/Imgs/exp1_num_53011.jpg"] == found["MT_Free/Imgs/exp1_num_65001.jpg"]
    assert found["MT_Free/Imgs/exp1_num_337646.jpg"] == found["MT_Free/Imgs/exp3_num_349856.jpg"]
    assert found["MT_Free/Imgs/exp1_num_306425.jpg"] == found["MT_Free/Imgs/exp3_num_309681.jpg"]
