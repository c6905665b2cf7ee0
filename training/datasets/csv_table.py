"""Layout CSV: one table that names image files and their labels, beside the images or above them.

The delimiter is found out (tab, `;`, `,`, `|`, blanks) or told. Columns are known by their names,
such as `filename` and `class`, or told: `label=cell_type`; numbers from 1 where there is no header.
An image is looked for in the table's folder or in the option `images`, first at the path in the
table, then below by its name, with or without ending. Nothing outside of the folder is read.

A label is a class; several of them with the option `label_separator`; the columns that hold 1 where
`label` names several; or, with `threshold`, what a number says: `above` from the threshold on, else
`below`. Rows of one image are united where they hold boxes or several labels, and are a conflict
otherwise. Boxes are pixel edges, counted from 0; an image with boxes is decoded to check them.
"""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from qc.errors import DataError, nearest
from qc.imageio import read_image
from qc.types import Region, Sample
from training.datasets import class_folders, coco_json, mvtec_ad, split_folders, voc_xml, yolo_text
from training.datasets._annotated import (
    GOOD,
    Scan,
    checked_region,
    is_image_name,
)
from training.datasets._delimited import (
    HEAD_ROWS,
    SUFFIXES,
    NamedFiles,
    Row,
    check_width,
    find_delimiter,
    is_number,
    number_in,
    read_rows,
    read_text,
    tables_in,
)
from training.datasets._groups import GROUPS_FILE

_WORDS = {"tab": "\t", "\\t": "\t", "blank": " ", "space": " "}
_SPLITS = {"train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val"}
_SPLITS |= {"test": "test", "testing": "test"}
_BOX = ("xmin", "ymin", "xmax", "ymax")
_KNOWN = {  # header names that need no option: small letters, `_` for blanks and dashes
    "image": "image img file filename file_name filepath file_path path image_id imageid image_name"
    " image_path image_file img_name img_path",
    "label": "label labels class classes class_name class_label category cell_type target diagnosis"
    " dx defect_class defect_type",
    "group": "group group_id lot lot_id batch batch_id piece piece_id part_id patient patient_id"
    " subject_id lesion_id",
    "split": "split subset partition",
    "mask": "mask mask_path mask_file mask_name",
    "xmin": "xmin x_min x1 left",
    "ymin": "ymin y_min y1 top",
    "xmax": "xmax x_max x2 right",
    "ymax": "ymax y_max y2 bottom",
}


class Options(BaseModel):
    """What this layout can be told; a column is named, or numbered from 1.

    Args:
        image: column of the file's name; None: known by its header, as the next ones.
        label: column of the class; or several columns of 0 and 1, with commas.
        group, split, mask: the column of it; empty: there is none, whatever the header says.
        xmin, ymin, xmax, ymax: columns of a box, all four or none.
        images: folder of the images, relative to the table's.
        delimiter: one character, or `tab` or `blank`; several blanks count as one.
        header: whether the first row names the columns; found out where not told.
        label_separator: what stands between several labels of one cell.
        threshold: labels are numbers; from this one on the class is `above`, else `below`.
        above, below: classes that the threshold makes; only with it.
    """

    model_config = ConfigDict(extra="forbid", coerce_numbers_to_str=True)

    image: str | None = None
    label: str | None = None
    group: str | None = None
    split: str | None = None
    mask: str | None = None
    xmin: str | None = None
    ymin: str | None = None
    xmax: str | None = None
    ymax: str | None = None
    images: str = "."
    delimiter: str | None = None
    header: bool | None = None
    label_separator: str | None = Field(default=None, min_length=1)
    threshold: float | None = Field(default=None, allow_inf_nan=False)
    above: str = Field(default="defect", min_length=1)
    below: str = Field(default=GOOD, min_length=1)

    @field_validator("label", mode="before")
    @classmethod
    def _with_commas(cls, value: object) -> object:
        return ",".join(map(str, value)) if isinstance(value, list) else value

    @field_validator("delimiter")
    @classmethod
    def _one_character(cls, value: str | None) -> str | None:
        value = _WORDS.get(value, value) if value is not None else None
        if value is not None and (len(value) != 1 or value in '"\r\n'):
            raise ValueError("a delimiter is one character, or tab or blank")
        return value

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if self.threshold is not None and self.label_separator is not None:
            raise ValueError("threshold and label_separator exclude each other")
        if self.threshold is None and {"above", "below"} & self.model_fields_set:
            raise ValueError("above and below need a threshold")
        return self


@dataclass(frozen=True)
class _Mark:
    """What one row says of its image."""

    line: int
    labels: tuple[str, ...]
    corners: tuple[tuple[float, float], ...]
    group: str
    split: str | None
    mask: Path | None


def detect(path: Path) -> bool:
    """Whether `path` is a table, or a folder with one that names images and no other layout.

    `groups.csv` and the split that `qc data split` writes are not such tables.
    """
    if not path.is_dir():
        return path.is_file() and path.suffix.lower() in SUFFIXES
    others = (class_folders, coco_json, mvtec_ad, split_folders, voc_xml, yolo_text)
    try:
        return len(tables_in(path)) == 1 and not any(layout.detect(path) for layout in others)
    except (DataError, OSError):
        return False


def samples(path: Path, options: Options | None = None) -> Iterator[Sample]:
    """One sample an image, in the order of the table.

    Args:
        path: the table, or a folder with exactly one.
        options: its columns, and how to read them.

    Raises:
        DataError: none or several tables, one that is not readable, a column that is missing or
            not told, an image that is not there, a cell that is wrong, rows of one image that
            disagree, or a wrong `groups.csv`.
    """
    yield from scan(path, options).grouped_samples()


def scan(path: Path, options: Options | None = None) -> Scan:
    """The samples, and every row that is wrong.

    Besides what `samples` refuses: boxes without area or outside the image, and equal rows.

    Args:
        path: the table, or a folder with exactly one.
        options: its columns, and how to read them.

    Raises:
        DataError: none or several tables, one that is not readable, or a column that is missing.
    """
    told = options or Options()
    file = _located(path)
    files = NamedFiles(Path(os.path.normpath(file.parent / told.images)))
    if not files.folder.is_dir():
        expected = "a folder, relative to the table's"
        raise DataError("option images", where=file, expected=expected, found=told.images)
    scan = Scan(file.parent)
    text = read_text(file)
    delimiter = told.delimiter or find_delimiter(file, text, but=told.label_separator)
    rows = list(read_rows(file, text, delimiter))
    if not rows:
        raise DataError("table is empty", where=file, expected="a row for each image")
    header = _has_header(rows[0][1], told, files)
    names = rows.pop(0)[1] if header else [str(i) for i, _ in enumerate(rows[0][1], 1)]
    columns = _columns(file, names, rows, header, told, files)
    marks: defaultdict[Path, list[_Mark]] = defaultdict(list)
    for line, cells in rows:
        where = f"{file} line {line}"
        try:
            check_width(cells, names, where)
            row = {key: [(names[i], cells[i]) for i in at] for key, at in columns.items()}
            image = files.one(row["image"][0][1], "image", where)
            mark = _mark(line, row, told, files, where)
            marks[image].append(mark)
        except DataError as error:
            scan.refuse(file.name, error)
    for image, of_image in marks.items():
        root = file.parent if image.is_relative_to(file.parent) else files.folder
        sample_id = image.relative_to(root).as_posix()
        try:
            scan.samples.append(_merged(scan, sample_id, image, of_image, told, file))
        except DataError as error:
            scan.refuse(sample_id, error)
    return scan


def _located(path: Path) -> Path:
    if not path.is_dir():
        if not path.is_file():
            raise DataError("dataset does not exist", where=path)
        return path
    found = tables_in(path)
    if len(found) != 1:
        raise DataError(
            "folder must hold one table that names its images; or name the file itself",
            where=path,
            expected=f"one of *{', *'.join(SUFFIXES)} besides {GROUPS_FILE}",
            found=", ".join(f.name for f in found) or "none",
        )
    return found[0]


def _has_header(first: list[str], told: Options, files: NamedFiles) -> bool:
    """Whether the first row names columns: as told, or it names no image and holds no number."""
    if told.header is not None:
        return told.header
    named = [told.image, told.label, told.group, told.split, told.mask]
    if any(n in first for n in named if n and not n.isdecimal()) or _fitting("image", first):
        return True
    at = int(told.image) if told.image and told.image.isdecimal() else 0
    cells = first[at - 1 : at] if at else first
    if any(is_image_name(Path(cell)) or files.find(cell) for cell in cells):
        return False
    return not any(map(is_number, first))


def _fitting(key: str, names: Sequence[str]) -> list[int]:
    known = _KNOWN[key].split()
    return [i for i, n in enumerate(names) if re.sub(r"[\s-]+", "_", n.lower()) in known]


def _columns(
    file: Path,
    names: list[str],
    rows: list[Row],
    header: bool,
    told: Options,
    files: NamedFiles,
) -> dict[str, list[int]]:
    """The columns of each key, as told or as their names say; those that are not there left out."""
    columns: dict[str, list[int]] = {}
    for key in _KNOWN:
        option = getattr(told, key)
        if option:
            parts = option.split(",") if key == "label" and option not in names else [option]
            columns[key] = [_column(file, key, part.strip(), names) for part in parts]
            continue
        fitting = _fitting(key, names) if header else []
        if not header and key == "image":  # the column in which the first rows name images
            cells = [row for _, row in rows[:HEAD_ROWS] if len(row) == len(names)]
            fitting = [i for i, _ in enumerate(names) if any(files.find(row[i]) for row in cells)]
        elif not header and key == "label" and len(names) == 2:
            fitting = [1 - columns["image"][0]]
        if option is None and len(fitting) == 1:
            columns[key] = fitting
        elif key in ("image", "label") or (option is None and fitting):
            what = "several columns may be" if fitting else "no column is known to be"
            raise DataError(
                f"{what} the {key}: say which with --option {key}={'NAME' if header else 'NUMBER'}",
                where=file,
                found=f"columns {', '.join(names)[:300]}",
            )
    if len(columns["label"]) > 1 and (told.label_separator or told.threshold is not None):
        expected = "one column with threshold or label_separator"
        raise DataError("several label columns", where=file, expected=expected, found=told.label)
    boxes = [key for key in _BOX if key in columns]
    if len(boxes) == 4 or not any(getattr(told, key) for key in _BOX):
        return columns if len(boxes) == 4 else {k: at for k, at in columns.items() if k not in _BOX}
    expected = f"columns for {', '.join(_BOX)}"
    raise DataError("box is not whole", where=file, expected=expected, found=", ".join(boxes))


def _column(file: Path, key: str, name: str, names: list[str]) -> int:
    if names.count(name) == 1:
        return names.index(name)
    if name not in names and name.isdecimal() and 1 <= int(name) <= len(names):
        return int(name) - 1
    near = nearest(name, names)
    hint = f"; did you mean '{near}'?" if near and near != name else ""
    what = "occurs twice" if name in names else f"is not there{hint}"
    found = f"columns {', '.join(names)[:300]}"
    raise DataError(f"column '{name}' of option {key} {what}", where=file, found=found)


def _mark(
    line: int, row: dict[str, list[tuple[str, str]]], told: Options, files: NamedFiles, where: str
) -> _Mark:
    """What a row says; `row` holds names and cells of the columns of each key."""
    cell = {key: cells[0][1] for key, cells in row.items()}
    corners: tuple[tuple[float, float], ...] = ()
    if any(cell.get(side) for side in _BOX):
        left, top, right, bottom = (number_in(cell[side], side, where) for side in _BOX)
        corners = (left, top), (right, bottom)
    may_be_empty = told.label_separator is not None or ("xmin" in cell and not corners)
    labels = _labels(row["label"], told, where)
    if not labels and not may_be_empty:
        raise DataError("row without a label", where=where)
    if cell.get("group") == "":
        raise DataError("row without a group", where=where)
    split = _SPLITS.get(cell.get("split", "").lower())
    if "split" in cell and split is None:
        found = repr(cell["split"][:80])
        raise DataError("unknown split", where=where, expected="train, val or test", found=found)
    mask = files.one(cell["mask"], "mask", where) if cell.get("mask") else None
    return _Mark(line, labels or (GOOD,), corners, cell.get("group", ""), split, mask)


def _labels(cells: list[tuple[str, str]], told: Options, where: str) -> tuple[str, ...]:
    """The classes a row names; none for an empty cell."""
    if len(cells) > 1:
        flags = [(name, number_in(text, f"column {name}", where)) for name, text in cells]
        for name, flag in flags:
            if flag not in (0, 1):
                raise DataError(f"column {name}", where=where, expected="0 or 1", found=flag)
        return tuple(name for name, flag in flags if flag) or (GOOD,)
    text = cells[0][1]
    if told.threshold is not None:
        above = number_in(text, "label", where) >= told.threshold
        return (told.above if above else told.below,)
    parts = text.split(told.label_separator) if told.label_separator else [text]
    return tuple(sorted({part.strip() for part in parts} - {""}))


def _merged(
    scan: Scan, sample_id: str, image: Path, marks: list[_Mark], told: Options, file: Path
) -> Sample:
    """The sample of one image's rows, which must agree."""
    first, boxed = marks[0], [mark for mark in marks if mark.corners]
    where = f"{file} line {first.line}"
    for mark in marks[1:]:
        where = f"{file} lines {first.line} and {mark.line}"
        for key in ("group", "split", "mask"):
            one, other = getattr(first, key), getattr(mark, key)
            if one != other:
                raise DataError(f"two {key}s for one image", where=where, found=f"{one}, {other}")
        if boxed or told.label_separator:
            continue
        if mark.labels != first.labels:
            found = f"{' + '.join(first.labels)}, {' + '.join(mark.labels)}"
            expected = "one class; or --option label_separator=CHARACTER where both hold"
            what = "two labels for one image"
            raise DataError(what, where=where, expected=expected, found=found)
        scan.note(sample_id, DataError("two equal rows for one image", where=where))
    labels = {label for mark in marks for label in mark.labels}
    labels = labels - {GOOD, told.below} or labels
    regions: list[Region] = []
    if boxed:
        height, width = read_image(image).shape[:2]
        for mark in boxed:
            for label in mark.labels:
                region, why = checked_region(label, mark.corners, True, (width, height))
                if region is not None:
                    regions.append(region)
                if why is not None:
                    scan.note(sample_id, DataError(why, where=f"{file} line {mark.line}"))
    return Sample(
        sample_id,
        image,
        tuple(sorted(labels)),
        mask_path=first.mask,
        regions=tuple(regions),
        group=first.group,
        split=first.split,
    )
