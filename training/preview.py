"""`qc data preview`: a contact sheet of what augmentation makes of a recipe's TRAIN samples.

Each row begins with a sample as it is; beside it stands what training would see of it. Where the
recipe pastes defects, a row shows one defect and good parts that were given it. Masks are outlined.
Neither TensorFlow nor Keras is needed.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from qc.console import Command
from qc.errors import UsageError
from qc.imageio import write_png
from qc.recipe import AugmentTable, Recipe
from qc.types import Image, Sample
from training.images import Images, load_images
from training.run import RunPlan, plan_run
from training.variants import Variant, Variants

VERSIONS = 5
"""Augmented pictures beside each sample."""

_GOOD_PARTS = 12  # that pasted defects are shown on
_SMALLEST, _LARGEST = 200, 320  # side of a picture on the sheet, pixels
_AROUND = 9  # the outline runs 4 pixels outside the mask, so that a small defect is seen
_GAP, _LINE, _LINES = 8, 17, 4
_PAPER, _INK, _FAINT, _DARK = (30, 32, 36), (240, 242, 244), (176, 182, 190), (0, 0, 0)
_OWN, _PASTED = (0, 230, 255), (255, 90, 255)  # seen on any grey, and on each other's
_FONT = cv2.FONT_HERSHEY_SIMPLEX


@dataclass(frozen=True)
class Cell:
    """One picture of the sheet.

    Args:
        image: `(H, W, 3)` uint8.
        mask: `(H, W)` uint8, or None where it is not known.
        title: the classes.
        words: what was done, or the sample.
        pasted: the defect was pasted.
    """

    image: Image
    mask: np.ndarray | None
    title: str
    words: str
    pasted: bool = False


def preview(
    running: Command, recipe_path: Path, *, data: Path | None, out: Path, images: int, seed: int
) -> None:
    """Write the sheet.

    Args:
        running: the command.
        recipe_path: the recipe.
        data: the dataset, or the folder that holds it.
        out: the PNG.
        images: samples of each class.
        seed: another one shows other samples and other changes.

    Raises:
        UsageError: `out` is no PNG.
        DataError: the dataset is wrong, or defects are to be pasted and none can be.
        FaultError: the sheet cannot be written.
    """
    if out.suffix.lower() != ".png":
        raise UsageError("the contact sheet is a PNG", where=out, expected="a name with .png")
    plan = plan_run(recipe_path, data=data, runs=Path("runs"))
    table = plan.recipe.train.augment
    rng = np.random.default_rng([seed, 0])
    shown = _choose(plan, images, rng)
    with running.step("read") as tell:
        loaded = load_images(
            _wanted(plan, shown, rng), plan.classes, plan.recipe.data.good, plan.preprocess, tell
        )
    rows = list(_rows(plan, loaded, shown, seed))
    write_png(out, draw_sheet(rows, _heading(plan.recipe, seed)))
    cells = [cell for row in rows for cell in row]
    pasted = sum(cell.pasted for cell in cells)
    running.result({"out": str(out), "rows": len(rows), "images": len(cells), "pasted": pasted})
    running.say(
        f"{len(rows)} rows of {len(shown)} classes from TRAIN"
        + (f", {pasted} pictures with a pasted defect" if table.copy_paste else "")
        + f"; look at {out}"
    )


def _choose(plan: RunPlan, images: int, rng: np.random.Generator) -> dict[str, list[Sample]]:
    """A few TRAIN samples of each class, those with a mask first; no class is left out."""
    found: defaultdict[str, list[Sample]] = defaultdict(list)
    for sample in plan.of_split("train"):
        for label in set(sample.labels):
            found[label].append(sample)
    chosen = {}
    for name in plan.classes:
        if name in found:
            mixed = [found[name][i] for i in rng.permutation(len(found[name]))]
            chosen[name] = sorted(mixed, key=lambda s: not _has_region(s))[:images]
    return chosen


def _has_region(sample: Sample) -> bool:
    return sample.mask_path is not None or bool(sample.regions)


def _wanted(
    plan: RunPlan, shown: dict[str, list[Sample]], rng: np.random.Generator
) -> list[Sample]:
    """What is shown, and where defects are pasted all of them and some good parts too."""
    wanted = {s.sample_id: s for samples in shown.values() for s in samples}
    if plan.recipe.train.augment.copy_paste:
        train, good = plan.of_split("train"), plan.recipe.data.good
        parts = [s for s in train if s.labels[0] == good]
        more = [parts[i] for i in rng.permutation(len(parts))[:_GOOD_PARTS]]
        wanted |= {s.sample_id: s for s in more + [s for s in train if s.labels[0] != good]}
    return list(wanted.values())


def _rows(
    plan: RunPlan, images: Images, shown: dict[str, list[Sample]], seed: int
) -> Iterator[list[Cell]]:
    classes, good = plan.classes, plan.classes.index(plan.recipe.data.good)
    variants = Variants(images, good, plan.recipe.train.augment, plan.recipe.train.balance)
    at = {sample.sample_id: i for i, sample in enumerate(images.samples)}
    rng = np.random.default_rng([seed, 1])

    def seeds() -> list[int]:
        return [int(s) for s in rng.integers(0, 2**31, VERSIONS)]

    for name, samples in shown.items():
        for sample in samples:
            index = at[sample.sample_id]
            drawn = [variants.draw(index, s) for s in seeds()]
            yield [_untouched(images, index, classes), *(_cell(v, classes) for v in drawn)]
        if variants.defects is None or name == plan.recipe.data.good:
            continue
        sources = variants.defects.of_class(classes.index(name))
        parts = np.flatnonzero(images.labels == good)
        for source in rng.permutation(sources)[: len(samples)]:
            drawn = [variants.draw(int(rng.choice(parts)), s, source=int(source)) for s in seeds()]
            yield [_untouched(images, int(source), classes), *(_cell(v, classes) for v in drawn)]


def _untouched(images: Images, index: int, classes: Sequence[str]) -> Cell:
    known = images.has_mask[index]
    words = f"as it is{'' if known else ', no mask'} {_tail(images.samples[index].sample_id)}"
    title = _title(images.classes_of(index), classes)
    return Cell(images.pixels[index], images.masks[index] if known else None, title, words)


def _title(labels: Sequence[int], classes: Sequence[str]) -> str:
    return " + ".join(classes[k] for k in labels)


def _cell(variant: Variant, classes: Sequence[str]) -> Cell:
    mask = variant.mask if variant.mask.ndim == 2 else variant.mask.max(axis=2)
    words = ", ".join(variant.applied) or "unchanged"
    title, pasted = _title(variant.labels, classes), variant.source is not None
    return Cell(variant.image, mask if variant.has_mask else None, title, words, pasted)


def _heading(recipe: Recipe, seed: int) -> list[str]:
    table = recipe.train.augment
    names = AugmentTable.model_fields
    on = {name: getattr(table, name) for name in names if getattr(table, name)}
    strengths = [name if value is True else f"{name} {value:g}" for name, value in on.items()]
    return [
        f"{recipe.name}: TRAIN samples as they are (left), and as training sees them; seed {seed}",
        "augment: " + (", ".join(strengths) or "nothing"),
    ]


def draw_sheet(rows: Sequence[Sequence[Cell]], heading: Sequence[str]) -> Image:
    """Draw the rows under a heading.

    Args:
        rows: at least one; all pictures of one size.
        heading: lines of text; long ones are broken.

    Returns:
        RGB `(H, W, 3)` uint8.
    """
    grid = [np.hstack([_framed(cell) for cell in row]) for row in rows]
    width = max(strip.shape[1] for strip in grid)
    lines = [part for line in heading for part in _broken(line, width - 2 * _GAP, 0.5)]
    top = np.full((_LINE * (len(lines) + 1) + 2 * _GAP, width, 3), _PAPER, np.uint8)
    for number, line in enumerate(lines):
        _write(top, line, (_GAP, _GAP + _LINE * number), 0.5, _INK)
    _legend(top, _GAP + _LINE * len(lines))
    sheet = np.full((len(top) + sum(map(len, grid)), width, 3), _PAPER, np.uint8)
    for part, below in zip([top, *grid], np.cumsum([0, len(top), *map(len, grid)]), strict=False):
        sheet[below : below + len(part), : part.shape[1]] = part
    return sheet


def _legend(canvas: Image, top: int) -> None:
    left = _GAP
    for colour, text in ((_OWN, "mask"), (_PASTED, "mask of a pasted defect")):
        cv2.line(canvas, (left, top + 7), (left + 24, top + 7), colour, 2)
        _write(canvas, text, (left + 32, top), 0.5, _FAINT)
        left += 32 + _wide(text, 0.5) + 3 * _GAP


def _framed(cell: Cell) -> Image:
    """The picture with its outline, and the caption below."""
    height, width = cell.image.shape[:2]
    factor = min(max(1.0, _SMALLEST / max(height, width)), _LARGEST / max(height, width))
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    method = cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR
    picture = np.asarray(cv2.resize(cell.image, size, interpolation=method), np.uint8)
    if cell.mask is not None:
        mask = cv2.resize(cell.mask, size, interpolation=cv2.INTER_NEAREST)
        around = cv2.dilate(mask, np.ones((_AROUND, _AROUND), np.uint8))
        outlines, _ = cv2.findContours(around, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(picture, outlines, -1, _DARK, 3)
        cv2.drawContours(picture, outlines, -1, _PASTED if cell.pasted else _OWN, 1)
    wide = max(size[0], _SMALLEST)
    canvas = np.full((size[1] + _LINE * _LINES + 2 * _GAP, wide + _GAP, 3), _PAPER, np.uint8)
    canvas[: size[1], : size[0]] = picture
    top = size[1] + 4
    title = _broken(cell.title, wide, 0.45)[0]
    _write(canvas, title, (2, top), 0.45, _INK)
    if cell.pasted:
        _write(canvas, "copy-paste", (wide - _wide("copy-paste", 0.45), top), 0.45, _PASTED)
    for number, line in enumerate(_broken(cell.words, wide, 0.4)[: _LINES - 1], start=1):
        _write(canvas, line, (2, top + _LINE * number), 0.4, _FAINT)
    return canvas


def _broken(text: str, width: int, size: float) -> list[str]:
    """The text in lines of at most `width` pixels, broken at spaces, or where there is none."""
    lines = [""]
    for word in text.split(" "):
        longer = f"{lines[-1]} {word}".strip()
        if _wide(longer, size) <= width:
            lines[-1] = longer
            continue
        if lines[-1]:
            lines.append("")
        for letter in word:
            if _wide(lines[-1] + letter, size) > width:
                lines.append("")
            lines[-1] += letter
    return lines


def _tail(name: str) -> str:
    """The end of a long name, which tells samples apart, so that it fits into one line."""
    kept = len(name)
    while _wide(name[-kept:], 0.4) > _SMALLEST - _wide("...", 0.4):
        kept -= 1
    return name if kept == len(name) else "..." + name[-kept:]


def _wide(text: str, size: float) -> int:
    return int(cv2.getTextSize(text, _FONT, size, 1)[0][0])


def _write(
    canvas: Image, text: str, at: tuple[int, int], size: float, colour: tuple[int, int, int]
) -> None:
    """Text below and right of a point; the font has ASCII only, other letters are shown as `?`."""
    shown = "".join(c if " " <= c <= "~" else "?" for c in text)
    place = (at[0], at[1] + _LINE - 5)
    cv2.putText(canvas, shown, place, _FONT, size, colour, 1, cv2.LINE_AA)
