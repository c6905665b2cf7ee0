"""Drawn parts: believable metal with four kinds of defects and exact masks, for the demo and tests.

A part and its defect come from separate child generators, so a part with and without its defect are
otherwise the same picture and the mask is exactly what the defect changed. Good parts carry print,
bores, a punched ring, an edge and highlights too: no threshold on brightness tells them apart.

These are drawings. A score on them says that the software works, nothing about a real line.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from qc.errors import DataError, FaultError, nearest
from qc.imageio import write_png
from qc.types import Image
from training.datasets._defects import paint
from training.datasets._lot import Floats, Lot, make_lot
from training.datasets._surface import Scene, good_scene, on_sensor, through_lens

__all__ = ["CHANGE", "KINDS", "Lot", "draw_dataset", "draw_part", "make_lot"]

KINDS = ("good", "scratch", "hole", "stain", "crack")
"""Classes that can be drawn; the first has no defect."""

CHANGE = 8 / 255
"""A pixel belongs to the mask where the defect changed a channel by at least this, before noise."""

MIN_SIDE = 48
"""Pixels a drawn picture has at least on each side."""

_MIN_AREA = 0.001
_TRIES = 24


def draw_part(
    rng: np.random.Generator, kind: str, lot: Lot, size_hw: tuple[int, int] = (256, 256)
) -> tuple[Image, NDArray[np.bool_]]:
    """Draw one part.

    Args:
        rng: one number is drawn from it, whatever the kind: the same state gives the same part with
            another defect or none.
        kind: one of `KINDS`.
        lot: the look, from `make_lot`.
        size_hw: height and width in pixels, at least 48.

    Returns:
        The picture `(H, W, 3)` RGB uint8 and the mask `(H, W)` bool: empty for a good part only.

    Raises:
        DataError: an unknown kind or too small a size.
    """
    if kind not in KINDS:
        near = nearest(kind, KINDS)
        hint = f"; did you mean '{near}'?" if near else ""
        raise DataError(f"unknown kind '{kind}'{hint}", expected=", ".join(KINDS))
    _check_size(size_hw)
    part = int(rng.integers(2**62))
    of_surface, of_defect, of_noise = (np.random.default_rng([part, k]) for k in range(3))
    scene = good_scene(of_surface, lot, size_hw)
    sharp = through_lens(scene.image, scene.exposure)
    mask = np.zeros(size_hw, np.bool_)
    if kind != "good":
        sharp, mask = _with_defect(of_defect, kind, scene, sharp)
    return on_sensor(of_noise, sharp, lot.noise), mask


def draw_dataset(
    out: Path,
    *,
    seed: int,
    lots: int = 12,
    parts_per_lot: int = 60,
    defect_share: float = 0.4,
    size_hw: tuple[int, int] = (256, 256),
    first_lot: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Write parts as class folders with masks and `groups.csv`, the lot being the group.

    Args:
        out: a folder that is empty or does not exist yet.
        seed: the same seed gives the same bytes.
        lots: number of lots.
        parts_per_lot: parts in each lot; every class occurs in every lot.
        defect_share: share of parts with a defect, evenly over the four kinds.
        size_hw: height and width in pixels.
        first_lot: number of the first lot; other numbers of the same seed are other lots.
        progress: called with the parts done and the parts in all.

    Returns:
        `out`.

    Raises:
        DataError: numbers that cannot give every class in every lot, or `out` is not empty.
        FaultError: a file cannot be written.
    """
    _check_size(size_hw)
    defects = round(parts_per_lot * defect_share)
    if seed < 0 or first_lot < 0 or lots < 1:
        found = f"seed {seed}, first_lot {first_lot}, lots {lots}"
        raise DataError(
            "cannot draw this dataset", expected="seed, first_lot >= 0 and lots >= 1", found=found
        )
    if defects < len(KINDS) - 1 or defects >= parts_per_lot:
        raise DataError(
            "not every class would occur in every lot",
            expected=f"{len(KINDS) - 1} or more defects and a good part in each lot",
            found=f"{defects} defects in {parts_per_lot} parts",
        )
    parts = [
        (lot, index, number, kind)
        for index, lot in ((k, make_lot(seed, k)) for k in range(first_lot, first_lot + lots))
        for number, kind in enumerate(_kinds(seed, index, parts_per_lot, defects))
    ]
    names = [f"{kind}/{lot.name}_{number:04d}.png" for lot, _, number, kind in parts]
    # the groups come first: a set that was left half written is then refused when it is read
    _write_groups(out, [(name, part[0].name) for name, part in zip(names, parts, strict=True)])
    for done, (name, (lot, index, number, kind)) in enumerate(zip(names, parts, strict=True), 1):
        rng = np.random.default_rng([seed, 3, index, number])
        image, mask = draw_part(rng, kind, lot, size_hw)
        file = out / name
        if kind != "good":
            write_png(file.with_name(f"{file.stem}_mask.png"), mask.astype(np.uint8) * 255)
        write_png(file, image)
        if progress is not None:
            progress(done, len(parts))
    return out


def _check_size(size_hw: tuple[int, int]) -> None:
    if min(size_hw) < MIN_SIDE:
        raise DataError(
            "the part is too small to draw", expected=f">= {MIN_SIDE} pixels a side", found=size_hw
        )


def _kinds(seed: int, index: int, parts: int, defects: int) -> list[str]:
    """The kind of each part of a lot, mixed."""
    rng = np.random.default_rng([seed, 2, index])
    flawed = [KINDS[1 + (k + index) % (len(KINDS) - 1)] for k in range(defects)]
    ordered = flawed + [KINDS[0]] * (parts - defects)
    return [ordered[k] for k in rng.permutation(parts)]


def _write_groups(out: Path, rows: list[tuple[str, str]]) -> None:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows([("path", "group"), *rows])
    try:
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise DataError("the folder for drawn parts is not empty", where=out)
        for kind in KINDS:
            (out / kind).mkdir(parents=True, exist_ok=True)
        (out / "groups.csv").write_bytes(text.getvalue().encode())
    except OSError as error:
        raise FaultError(
            "drawn parts cannot be written", where=out, found=error.strerror
        ) from error


def _with_defect(
    rng: np.random.Generator, kind: str, scene: Scene, good: Floats
) -> tuple[Floats, NDArray[np.bool_]]:
    """The part with a defect that shows, and where it shows; harder contrast until it does."""
    unit = min(good.shape[:2]) / 256
    hard = 0.62 if rng.random() < 0.12 else 1.0
    for attempt in range(_TRIES):
        flawed = paint(rng, kind, scene, unit, hard * (1 + 0.15 * attempt))
        sharp = through_lens(flawed, scene.exposure)
        change = np.abs(sharp - good)
        mask = np.maximum(np.maximum(change[..., 0], change[..., 1]), change[..., 2]) >= CHANGE
        if np.count_nonzero(mask & scene.solid) >= _MIN_AREA * mask.size:
            return np.where(mask[..., None], sharp, good), mask
    raise DataError(f"no visible {kind} could be drawn in {_TRIES} tries", found=good.shape)
