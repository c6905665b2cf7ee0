"""The sets of the accuracy bench: where each lies, and how it is dealt into TRAIN, VAL and TEST.

magnetic_tile: five folds of whole pieces, or of single images ("random, leaky"). neu_det: six
classes by file name, five folds, pictures of one thing kept together. pneumonia_mnist: the split of
its source. bccd: each box is cut out and is a cell of its class, five folds of whole smears.

neu_det and bccd have no good class. One class stands in for it, which a recipe needs: accuracy and
macro-F1 do not depend on which, and nothing else is reported of them.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass, replace
from pathlib import Path

from qc.imageio import read_image, write_png
from qc.types import Sample
from training.datasets import load_samples
from training.split import apply_split, fold_samples, write_split

SPLITS = Path("data/splits")
FOLDS = 5
LEAKY = "random, leaky"


@dataclass(frozen=True)
class Dealt:
    """A set as `[data]` of a recipe wants it, and one split file a fold."""

    path: Path
    format: str
    good: str
    splits: list[Path]
    options: dict[str, str]
    colour: str = "grey"


def deal(name: str, place: Path, out: Path, leaky: bool) -> Dealt:
    """Make what a set needs under `out`.

    Args:
        name: of the set.
        place: the folder of all sets.
        out: folder for links, crops and splits; what is there is used again.
        leaky: single images are dealt, whatever belongs together.
    """
    out.mkdir(parents=True, exist_ok=True)
    return {
        "magnetic_tile": _tiles,
        "neu_det": _steel,
        "pneumonia_mnist": _chests,
        "bccd": _cells,
    }[name](place / name, out, leaky)


def _tiles(place: Path, out: Path, leaky: bool) -> Dealt:
    _, samples = load_samples(place, "class_folders")
    samples = apply_split(samples, SPLITS / "magnetic_tile.csv")
    if leaky:  # the same images without `groups.csv`, so that nothing keeps a piece together
        bare = out / "without-groups"
        bare.mkdir(exist_ok=True)
        for folder in sorted(p for p in place.iterdir() if p.is_dir()):
            _link(folder, bare / folder.name)
        place, samples = bare, [replace(s, group=s.sample_id) for s in samples]
    return Dealt(place.resolve(), "class_folders", "MT_Free", _folds(samples, out, leaky), {})


def _steel(place: Path, out: Path, leaky: bool) -> Dealt:
    _, samples = load_samples(place, "voc_xml")
    known = {s.image_path.name: s for s in apply_split(samples, SPLITS / "neu_det.csv")}
    folder = out / "steel"
    for name, sample in known.items():
        label = name.rsplit("_", 1)[0]
        (folder / label).mkdir(parents=True, exist_ok=True)
        _link(sample.image_path, folder / label / name)
    _write_groups(folder, {f"{n.rsplit('_', 1)[0]}/{n}": s.group or n for n, s in known.items()})
    _, samples = load_samples(folder, "class_folders")
    splits = _folds(samples, out, leaky)
    return Dealt(folder.resolve(), "class_folders", "crazing", splits, {})


def _chests(place: Path, out: Path, leaky: bool) -> Dealt:
    if leaky:
        raise SystemExit("pneumonia_mnist has the split of its source and no other")
    options = {"classes": "normal,pneumonia"}
    split = (SPLITS / "pneumonia_mnist.csv").resolve()
    return Dealt(place.resolve(), "npz_arrays", "normal", [split], options)


def _cells(place: Path, out: Path, leaky: bool) -> Dealt:
    folder = out / "cells"
    groups: dict[str, str] = {}
    _, samples = load_samples(place, "voc_xml")
    for sample in apply_split(samples, SPLITS / "bccd.csv"):
        image = None
        for number, region in enumerate(sample.regions):
            (x0, x1), (y0, y1) = (
                (round(min(v)), round(max(v))) for v in zip(*region.points, strict=True)
            )
            if x1 - x0 < 2 or y1 - y0 < 2:
                continue
            name = f"{region.label}/{sample.image_path.stem}-{number}.png"
            groups[name] = sample.group or sample.sample_id
            if (folder / name).exists():
                continue
            image = read_image(sample.image_path) if image is None else image
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            write_png(folder / name, image[max(y0, 0) : y1, max(x0, 0) : x1])
    _write_groups(folder, groups)
    _, samples = load_samples(folder, "class_folders")
    splits = _folds(samples, out, leaky)
    return Dealt(folder.resolve(), "class_folders", "RBC", splits, {}, colour="rgb")


def _folds(samples: list[Sample], out: Path, leaky: bool) -> list[Path]:
    if leaky:
        samples = [replace(s, group=s.sample_id) for s in samples]
    files = []
    for number, fold in enumerate(fold_samples(samples, folds=FOLDS, seed=0), 1):
        files.append((out / f"{'leaky' if leaky else 'grouped'}-{number}.csv").resolve())
        write_split(fold, files[-1])
    return files


def _link(target: Path, link: Path) -> None:
    if not link.exists():
        link.symlink_to(target.resolve())


def _write_groups(folder: Path, groups: dict[str, str]) -> None:
    with (folder / "groups.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "group"])
        writer.writerows(sorted(groups.items()))
