"""Layout DICOM with a table: DICOM files anywhere below a folder, told by their mark and not by
their names, and one CSV directly in it whose rows say what they show.

A row finds its pictures by `key`: a column of paths or names of files (the ending may be left out),
or one of SOPInstanceUID, SeriesInstanceUID, StudyInstanceUID, AccessionNumber or PatientID, which
may hold several files of one label. Every picture needs a row and every row a picture. Reports,
plans and the DICOMDIR of a disc are no pictures and are left out.

Nothing of a header but the pixels leaves the file, not in an error either. Two things are the
user's own and appear as they are: the names of files and folders, which are the sample ids, and the
labels. Where a file is called after its patient, rename it first.

Pictures of one patient belong together, so PatientID groups them, as a hash that cannot be told
back: HMAC-SHA256 with a secret salt, 64 bits of it. The salt comes from the file `salt_file` or
from the environment variable QC_SALT, never from the dataset or a recipe, and none is made on the
way: whoever has salt and split can find a known patient in it. Keep it beside the key of the
pseudonyms; another salt gives other names to the groups, and a split that names them will not fit.
Two patients who were given one PatientID are held to be one. The pixels themselves are not looked
at: what is burnt into a picture, as in ultrasound, stays in it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from qc.errors import DataError, nearest
from qc.types import Sample
from training.datasets._annotated import GOOD, Scan, files_below, is_image_name
from training.datasets._delimited import check_width, is_number, read_rows, read_text
from training.datasets._groups import GROUPS_FILE
from training.datasets._pseudonyms import pseudonym, read_salt
from training.dicom import VOI, DicomFrame, Header, is_dicom, need_dicom, read_header
from training.dicom_grey import parse_window

_TABLES, _DICOM_NAMES = (".csv", ".tsv"), (".dcm", ".dicom")
_GROUPED_BY = {"patient": "PatientID", "study": "StudyInstanceUID"}

_Names = Literal[
    "file",
    "SOPInstanceUID",
    "SeriesInstanceUID",
    "StudyInstanceUID",
    "AccessionNumber",
    "PatientID",
]


class Options(BaseModel):
    """What this layout can be told.

    Args:
        labels: the table, relative to the dataset; None: the only one directly in it.
        key: the column that finds the pictures.
        names: what that column holds: "file", or a DICOM keyword; None: the column's own name
            where that is such a keyword, else "file".
        label: the column of the class.
        threshold: labels are numbers; from this one on the class is `above`, else `below`.
        above, below: classes that the threshold makes; only with it.
        window: what becomes black and white: "voi": the file's own window; "full": all that its
            bits can hold; "CENTER,WIDTH": one window for all files.
        frames: "first", "each" (a sample each, `name#1` and on), or the number of one, from 1.
        group: what no split may tear apart: "patient", "study", "file", or a column of the table.
            All but "file" need a salt.
        salt_file: file with the salt, outside of the dataset; None: QC_SALT holds it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, coerce_numbers_to_str=True)

    labels: str | None = None
    key: str = "path"
    names: _Names | None = None
    label: str = "label"
    threshold: float | None = Field(default=None, allow_inf_nan=False)
    above: str = Field(default="defect", min_length=1)
    below: str = Field(default=GOOD, min_length=1)
    window: str = VOI
    frames: str = Field(default="first", pattern=r"^(first|each|[1-9][0-9]{0,5})$")
    group: str = Field(default="patient", min_length=1)
    salt_file: str | None = None

    @field_validator("window")
    @classmethod
    def _known_window(cls, value: str) -> str:
        try:
            parse_window(value)
        except DataError as error:
            raise ValueError(error.message) from error
        return value

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.threshold is None and {"above", "below"} & self.model_fields_set:
            raise ValueError("above and below need a threshold")
        return self

    @property
    def key_holds(self) -> str:
        """What the column `key` holds: "file" or a DICOM keyword."""
        return self.names or (self.key if self.key in get_args(_Names) else "file")


@dataclass(frozen=True)
class _Mark:
    """What one row says."""

    line: int
    key: str
    label: str
    group: str


def detect(path: Path) -> bool:
    """Whether `path` is a folder with a table directly in it and a DICOM file anywhere below."""
    if not path.is_dir() or not _tables(path):
        return False
    return any(is_dicom(file) for file in files_below(path) if not is_image_name(file))


def samples(path: Path, options: Options | None = None) -> Iterator[Sample]:
    """One sample a file, or a frame where `frames` says so, sorted by path.

    Args:
        path: the dataset's folder.
        options: the table's columns, the window, and what groups.

    Raises:
        DataError: no table or several, a column that is missing, a picture without a row or the
            reverse, a row twice, a file that is damaged or without PatientID, or a wrong
            `groups.csv`.
        UsageError: no salt, or pydicom is not installed.
    """
    yield from scan(path, options).grouped_samples()


def scan(path: Path, options: Options | None = None) -> Scan:
    """The samples, and every row and file that is wrong.

    Args:
        path: the dataset's folder.
        options: the table's columns, the window, and what groups.

    Raises:
        DataError: no table or several, a column that is missing, or no DICOM file.
        UsageError: no salt, or pydicom is not installed.
    """
    told = options or Options()
    need_dicom()
    if not path.is_dir():
        raise DataError("dataset folder does not exist", where=path)
    salt = b"" if told.group == "file" else read_salt(path, told.group, told.salt_file)
    scan = Scan(path)
    table, names, rows = _table(path, told)
    marks = _marks(scan, table, names, rows, told)
    headers = _headers(scan, told)
    if not headers and not scan.fatal:
        raise DataError("dataset holds no DICOM file", where=path)
    for file, header, mark in _paired(scan, table, marks, headers, told):
        sample_id = file.relative_to(path).as_posix()
        try:
            group = _group(file, header, mark, told, salt) or sample_id
            scan.samples += _frames(sample_id, file, header.frames, mark.label, group, told)
        except DataError as error:
            scan.refuse(sample_id, error)
    return scan


def _tables(root: Path) -> list[Path]:
    """The tables directly in a folder, sorted."""
    return sorted(
        f
        for f in root.iterdir()
        if f.suffix.lower() in _TABLES
        and f.name != GROUPS_FILE
        and not f.name.startswith(".")
        and f.is_file()
    )


def _table(root: Path, told: Options) -> tuple[Path, list[str], list[tuple[int, list[str]]]]:
    """The table, the names of its columns, and its rows with their lines."""
    if told.labels is not None:
        return _with_columns(root / told.labels, told)
    found = _tables(root)
    if len(found) > 1:  # a split, or measurements: the labels are where the columns are
        fitting = []
        for file in found:
            try:
                fitting.append(_with_columns(file, told))
            except DataError:
                continue
        if len(fitting) == 1:
            return fitting[0]
    if len(found) != 1:
        raise DataError(
            "table of labels is not found: name it with --option labels=FILE",
            where=root,
            expected=f"one CSV with the columns '{told.key}' and '{told.label}'",
            found=", ".join(f.name for f in found) or "none",
        )
    return _with_columns(found[0], told)


def _with_columns(file: Path, told: Options) -> tuple[Path, list[str], list[tuple[int, list[str]]]]:
    """A table read with the delimiter that gives the columns; a cell of it is never quoted."""
    text = read_text(file)
    wanted = [told.key, told.label]
    if told.group not in ("file", *_GROUPED_BY):
        wanted.append(told.group)
    best: list[str] = []
    for delimiter in (",", ";", "\t"):
        line = text.partition("\n")[0] + "\n"
        names = next((cells for _, cells in read_rows(file, line, delimiter)), [])
        if all(names.count(column) == 1 for column in wanted):
            return file, names, list(read_rows(file, text, delimiter))[1:]
        best = max(best, names, key=len)
    wrong = next(column for column in wanted if best.count(column) != 1)
    near = nearest(wrong, best)
    hint = f"; did you mean '{near}'?" if near and near != wrong else ""
    raise DataError(
        f"table has not one column '{wrong}'{hint}",
        where=file,
        expected=f"{', '.join(wanted)}, or other names by --option key=, label= or group=",
        found=f"{len(best)} column(s)",
    )


def _marks(
    scan: Scan, table: Path, names: list[str], rows: Sequence[tuple[int, list[str]]], told: Options
) -> list[_Mark]:
    """What the rows say; those that are wrong or repeat a key are refused by their line."""
    key, label = names.index(told.key), names.index(told.label)
    group = names.index(told.group) if told.group in names else None
    seen: dict[str, int] = {}
    marks = []
    for line, cells in rows:
        where = f"{table} line {line}"
        try:
            check_width(cells, names, where)
            by_group = "" if group is None else cells[group]
            if not cells[key] or not cells[label] or (group is not None and not by_group):
                raise DataError("row without a key, a label or a group", where=where)
            if cells[key] in seen:
                found = f"that of line {seen[cells[key]]}"
                raise DataError("row repeats the key of another", where=where, found=found)
            seen[cells[key]] = line
            marks.append(_Mark(line, cells[key], _class(cells[label], told, where), by_group))
        except DataError as error:
            scan.refuse(table.name, error)
    return marks


def _class(cell: str, told: Options, where: str) -> str:
    if told.threshold is None:
        return cell
    if not is_number(cell):
        raise DataError("label is no number", where=where, expected="one, as there is a threshold")
    return told.above if float(cell) >= told.threshold else told.below


def _headers(scan: Scan, told: Options) -> dict[Path, Header | None]:
    """The header of every picture below the folder, by its file; None where it is refused."""
    wanted = {told.key_holds, _GROUPED_BY.get(told.group, "file")} - {"file"}
    found: dict[Path, Header | None] = {}
    for file in files_below(scan.root):
        name = file.relative_to(scan.root).as_posix()
        try:
            if is_dicom(file):
                header = read_header(file, sorted(wanted))
                if header.kind == "picture":
                    found[file] = header
                elif header.kind == "other":
                    scan.note(name, DataError("DICOM file without a picture", where=file))
            elif file.suffix.lower() in _DICOM_NAMES:
                raise DataError("file is not DICOM", where=file, expected="DICM at byte 128")
        except DataError as error:
            scan.refuse(name, error)
            found[file] = None
    return found


def _paired(
    scan: Scan,
    table: Path,
    marks: list[_Mark],
    headers: dict[Path, Header | None],
    told: Options,
) -> list[tuple[Path, Header, _Mark]]:
    """Pictures and their rows, sorted by path; what has no partner is refused."""
    find = _finder(scan.root, headers, told)
    owner: dict[Path, _Mark] = {}
    for mark in marks:
        files = find(mark.key)
        where = f"{table} line {mark.line}"
        error = None
        if told.key_holds in ("file", "SOPInstanceUID") and len(files) > 1:
            listed = ", ".join(f.relative_to(scan.root).as_posix() for f in files[:5])
            what = "row names several pictures"
            error = DataError(what, where=where, expected="one", found=listed)
        elif not files:
            by = "name" if told.key_holds == "file" else told.key_holds
            expected = f"a DICOM picture of this {by}"
            error = DataError("row without its picture", where=where, expected=expected)
        elif again := [f for f in files if f in owner]:
            found = f"that of line {owner[again[0]].line}"
            error = DataError("row names the picture of another", where=where, found=found)
        if error is not None:
            scan.refuse(table.name, error)
        for file in files:
            owner.setdefault(file, mark)
    for file, header in headers.items():
        if file not in owner and header is not None:
            expected = f"one in {table.name}"
            missing = DataError("picture without a row", where=file, expected=expected)
            scan.refuse(file.relative_to(scan.root).as_posix(), missing)
    return [(f, h, owner[f]) for f, h in headers.items() if h is not None and f in owner]


def _finder(
    root: Path, headers: dict[Path, Header | None], told: Options
) -> Callable[[str], Sequence[Path]]:
    """What finds the pictures of a key: by keyword; or by path, then by name alone."""
    tables: list[defaultdict[str, list[Path]]] = [defaultdict(list), defaultdict(list)]
    for file, header in headers.items():
        if told.key_holds != "file":
            if header is not None:
                tables[0][header.values[told.key_holds]].append(file)
            continue
        path = file.relative_to(root)
        bare = path.with_suffix("") if path.suffix.lower() in _DICOM_NAMES else path
        for by, names in zip(tables, ((path, bare), (path.name, bare.name)), strict=True):
            for name in {str(n).replace("\\", "/") for n in names}:
                by[name].append(file)

    def find(key: str) -> Sequence[Path]:
        if told.key_holds == "file":
            key = key.replace("\\", "/").removeprefix("./")
        return tables[0].get(key) or tables[1].get(key) or ()

    return find


def _group(file: Path, header: Header, mark: _Mark, told: Options, salt: bytes) -> str:
    """The hashed group; empty where each file is one."""
    if told.group == "file":
        return ""
    kind, value = "group", mark.group
    if told.group in _GROUPED_BY:
        kind, value = told.group, header.values[_GROUPED_BY[told.group]]
    if not value:
        raise DataError(
            f"DICOM file has no {_GROUPED_BY[told.group]} to group by",
            where=file,
            expected="one; or another group by --option group=study, file or COLUMN",
        )
    return pseudonym(salt, kind, value)


def _frames(
    sample_id: str, file: Path, count: int, label: str, group: str, told: Options
) -> Iterator[Sample]:
    numbers = range(1, count + 1) if told.frames == "each" else [1]
    if told.frames.isdecimal():
        numbers = [int(told.frames)]
        if numbers[0] > count:
            raise DataError("no such frame", where=file, expected=f"1 to {count}", found=numbers[0])
    for number in numbers:
        name = sample_id if told.frames == "first" else f"{sample_id}#{number}"
        source = DicomFrame(file, number, told.window)
        yield Sample(name, file, (label,), group=group, source=source)
