"""Two small datasets, and what a dataset is whatever its layout."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from qc.imageio import read_sample, write_png
from qc.types import Image
from training.datasets import load_samples
from training.regions import mask_of

RECIPE = """
name = "toy"
seed = 1

[data]
path = "parts"
good = "good"

[model]
backbone = "inverted_residual"
size_hw = [32, 32]

[train]
epochs = 1
"""
"""The least that can be trained, on the folder `parts`."""

BOX_PX = 1e-3  # a box goes through fractions of ten places and one division


def pixels(seed: int) -> Image:
    return np.random.default_rng(seed).integers(0, 256, (24, 36, 3), np.uint8)


def picture(path: Path, seed: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_png(path, pixels(seed))
    return path


def draw_mask(path: Path, *spots: tuple[int, int, int, int]) -> Path:
    mask = np.zeros((24, 36), np.uint8)
    for top, left, bottom, right in spots:
        mask[top:bottom, left:right] = 255
    write_png(path, mask)
    return path


def voc_set(root: Path) -> Path:
    """Four images in three groups: two classes, one, a class whose box has no area, and good."""
    things = {
        "a": [("scratch", (2, 3, 10, 12)), ("hole", (1, 1, 36, 24)), ("hole", (20, 5, 25, 9))],
        "b": [("hole", (7, 7, 9, 9))],
        "lot 2/c": [("stain", (4, 4, 4, 9))],
        "lot 2/d": [],
    }
    for seed, (name, boxes) in enumerate(things.items()):
        picture(root / "JPEGImages" / f"{name}.png", seed)
        objects = "".join(
            f"<object><name>{label}</name><bndbox><xmin>{x}</xmin><ymin>{y}</ymin>"
            f"<xmax>{u}</xmax><ymax>{v}</ymax></bndbox></object>"
            for label, (x, y, u, v) in boxes
        )
        file = root / "Annotations" / f"{name}.xml"
        file.parent.mkdir(parents=True, exist_ok=True)
        size = "<size><width>36</width><height>24</height></size>"
        file.write_text(f"<annotation>{size}{objects}</annotation>")
    rows = {"a": "p1", "b": "p1", "lot 2/c": "JPEGImages/lot 2/c.png", "lot 2/d": "p2"}
    lines = [f"JPEGImages/{name}.png,{group}" for name, group in rows.items()]
    (root / "groups.csv").write_text("path,group\n" + "\n".join(lines) + "\n")
    return root


def class_set(root: Path) -> Path:
    """Class folders: masks with a hole, a line and a pixel, one without a mask, and good ones."""
    for seed, name in enumerate(("MT_Free/x", "MT_Free/y", "crack/x", "crack/y", "hole/z")):
        picture(root / f"{name}.png", seed)
    draw_mask(root / "MT_Free" / "y_mask.png")
    draw_mask(root / "crack" / "x_mask.png", (3, 4, 9, 5), (15, 20, 16, 21), (12, 2, 20, 9))
    ring = np.full((24, 36), 255, np.uint8)
    ring[8:12, 8:20] = 0
    write_png(root / "hole" / "z_mask.png", ring)
    return root


@dataclass(frozen=True)
class Seen:
    """What a sample is, whatever its name: the same in every layout that can say it."""

    labels: tuple[str, ...]
    boxes: tuple[tuple[str, tuple[float, ...]], ...]
    polygons: int
    mask: str | None
    group: frozenset[str]


def digest(pixels: np.ndarray) -> str:
    return hashlib.sha256(pixels.tobytes()).hexdigest()


def seen(root: Path, good: str = "good") -> dict[str, Seen]:
    """By the digest of the decoded image; a group is the digests of its images."""
    samples = load_samples(root)[1]
    images = {s.sample_id: read_sample(s) for s in samples}
    digests = {name: digest(image) for name, image in images.items()}
    assert len(set(digests.values())) == len(samples)
    groups: dict[str, set[str]] = {}
    for s in samples:
        groups.setdefault(s.group, set()).add(digests[s.sample_id])
    found = {}
    for s in samples:
        mask = mask_of(s, images[s.sample_id].shape[:2])
        blank = mask is None or not mask.any()
        found[digests[s.sample_id]] = Seen(
            tuple("good" if label == good else label for label in s.labels),
            tuple((r.label, (*r.points[0], *r.points[2])) for r in s.regions if r.is_box),
            sum(not r.is_box for r in s.regions),
            None if blank else digest(np.asarray(mask)),
            frozenset(groups[s.group]),
        )
    return found


def same(left: Mapping[str, Seen], right: Mapping[str, Seen], *, boxes: bool = True) -> None:
    """Images, classes, masks and groups are equal, and boxes to a thousandth of a pixel."""
    assert left.keys() == right.keys()
    for digest, a in left.items():
        b = right[digest]
        assert (a.labels, a.mask, a.group) == (b.labels, b.mask, b.group)
        if boxes:
            assert [label for label, _ in a.boxes] == [label for label, _ in b.boxes]
            assert np.allclose(
                [c for _, c in a.boxes], [c for _, c in b.boxes], rtol=0, atol=BOX_PX
            )
            assert a.polygons == b.polygons


def left(folder: Path) -> set[str]:
    return {p.name for p in folder.iterdir()}
