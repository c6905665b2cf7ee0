"""A table of delimited text: its rows with their line numbers, and the files that it names.

The text is UTF-8 and read whole. A name in a table never leads out of the folder it is looked up
in.
"""

from __future__ import annotations

import csv
import io
import math
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path, PurePosixPath, PureWindowsPath

from qc.errors import DataError
from training.datasets._annotated import MAX_COORDINATE, files_below, is_image_name
from training.datasets._groups import GROUPS_FILE

HEAD_ROWS = 50
"""How many rows are judged where something about a table is found out."""

SUFFIXES = (".csv", ".tsv", ".txt")
"""File name endings (lower case) of tables."""

_HEAD_BYTES = 65536
_MAX_BYTES = 256 * 1024 * 1024
_DELIMITERS = ("\t", ";", ",", "|", " ")

Row = tuple[int, list[str]]
"""Line number and cells."""


def read_text(file: Path, head: bool = False) -> str:
    """The text of a table, or of its first whole lines.

    Raises:
        DataError: not readable, too large, or not UTF-8.
    """
    try:
        size = file.stat().st_size
        if size > _MAX_BYTES:
            expected = f"<= {_MAX_BYTES} bytes"
            raise DataError("table is refused", where=file, expected=expected, found=size)
        with file.open("rb") as stream:
            data = stream.read(_HEAD_BYTES if head else -1)
    except OSError as error:
        raise DataError(f"table cannot be read ({error.strerror})", where=file) from error
    if len(data) < size:
        data = data[: data.rfind(b"\n") + 1]
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"table is not readable text ({error.reason})",
            where=f"{file} line {line}",
            expected="UTF-8",
            found=f"byte {data[error.start]:#04x}",
        ) from error


def check_width(cells: list[str], names: list[str], where: str) -> None:
    """Refuse a row that has not one cell for each column; raises DataError."""
    if len(cells) != len(names):
        what = "row has another number of columns than the first"
        raise DataError(what, where=where, expected=len(names), found=len(cells))


def read_rows(file: Path, text: str, delimiter: str) -> Iterator[Row]:
    """The rows that are not empty; several blanks count as one.

    Raises:
        DataError: a quote that does not end, or a cell that is too long.
    """
    lines: Iterator[str] = iter(io.StringIO(text, newline=""))
    if delimiter == " ":
        lines = (line.replace("\t", " ").strip() for line in lines)
    reader = csv.reader(lines, delimiter=delimiter, skipinitialspace=True, strict=True)
    try:
        for cells in reader:
            if any(cells):
                yield reader.line_num, [cell.strip() for cell in cells]
    except csv.Error as error:
        where = f"{file} line {reader.line_num}"
        raise DataError(f"table is not readable ({error})", where=where) from error


def find_delimiter(file: Path, text: str, but: str | None = None, strict: bool = False) -> str:
    """What splits all of the first rows alike.

    Args:
        file: for errors.
        text: of the table.
        but: what is known to be no delimiter.
        strict: where none does, do not take the only one that splits the first row.

    Raises:
        DataError: none does, or several split the first row and none all of them.
    """
    splitting = []
    for delimiter in _DELIMITERS:
        if delimiter == but:
            continue
        widths: list[int] = []
        try:
            for _, cells in islice(read_rows(file, text, delimiter), HEAD_ROWS):
                widths.append(len(cells))
        except DataError:
            widths.append(0)  # not all alike
        if widths and widths[0] > 1:
            if len(set(widths)) == 1:
                return delimiter
            splitting.append(delimiter)
    if strict or len(splitting) != 1:
        found = (text.splitlines() or ["nothing"])[0][:80]
        expected = "rows of two or more columns; or --option delimiter=CHARACTER"
        raise DataError("delimiter is not found out", where=file, expected=expected, found=found)
    return splitting[0]


@dataclass
class NamedFiles:
    """Finds files by the names in a table.

    Args:
        folder: where they are.
    """

    folder: Path
    _by_name: dict[str, list[Path]] = field(default_factory=dict)

    def find(self, name: str) -> list[Path]:
        """The file at that path, else images below of that name; none for a path that leaves."""
        path = PureWindowsPath(name)
        if not name or "\0" in name or _leaves(path):
            return []
        direct = self.folder / path.as_posix()
        try:
            if direct.is_file():
                return [direct]
        except OSError:
            return []  # too long for a file name
        if not self._by_name:
            self._list()
        key = path.as_posix()
        return self._by_name.get(key) or self._by_name.get(f"{key}.*") or []

    def one(self, name: str, what: str, where: str) -> Path:
        """The one file of that name.

        Raises:
            DataError: none, several, or a path that leaves the folder.
        """
        found = self.find(name)
        if len(found) == 1:
            return found[0]
        shown = repr(name[:80])
        if _leaves(PureWindowsPath(name)):
            expected = "a path inside the folder of the images"
            raise DataError(f"{what} is refused", where=where, expected=expected, found=shown)
        if not found:
            expected = f"a file in {self.folder}"
            raise DataError(f"{what} is not there", where=where, expected=expected, found=shown)
        listed = ", ".join(f.relative_to(self.folder).as_posix() for f in found[:5])
        expected = "one; or their folder with --option images=FOLDER"
        raise DataError(f"several {what}s of a name", where=where, expected=expected, found=listed)

    def _list(self) -> None:
        """Every image by its path and its name, and by both with `.*` for its ending."""
        by_name: defaultdict[str, list[Path]] = defaultdict(list, {"": []})
        for file in filter(is_image_name, files_below(self.folder)):
            path = PurePosixPath(file.relative_to(self.folder).as_posix())
            for key in {str(path), path.name}:
                by_name[key].append(file)
                by_name[key.removesuffix(path.suffix) + ".*"].append(file)
        self._by_name = dict(by_name)


def tables_in(folder: Path) -> list[Path]:
    """The tables directly in a folder whose first rows name an image, sorted.

    `groups.csv` is none of them, nor is a split (columns `sample_id` and `split`).

    Raises:
        DataError: the folder cannot be read.
    """
    try:
        listed = sorted(f for f in folder.iterdir() if f.suffix.lower() in SUFFIXES)
    except OSError as error:
        raise DataError(f"folder cannot be read ({error.strerror})", where=folder) from error
    files, found = NamedFiles(folder), []
    for file in listed:
        if file.name == GROUPS_FILE or file.name.startswith(".") or not file.is_file():
            continue
        try:
            text = read_text(file, head=True)
            delimiter = find_delimiter(file, text, strict=True)
            rows = [cells for _, cells in islice(read_rows(file, text, delimiter), HEAD_ROWS)]
        except DataError:
            continue  # text of another kind
        is_split = bool(rows) and {"sample_id", "split"} <= set(rows[0])
        named = (f for cells in rows for cell in cells for f in files.find(cell))
        if not is_split and any(map(is_image_name, named)):
            found.append(file)
    return found


def is_number(text: str) -> bool:
    """Whether a cell holds a finite number."""
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def number_in(text: str, what: str, where: str) -> float:
    """The number in a cell.

    Raises:
        DataError: none, or one that is too large.
    """
    if not is_number(text) or abs(float(text)) > MAX_COORDINATE:
        raise DataError(f"{what} is wrong", where=where, expected="a number", found=repr(text[:80]))
    return float(text)


def _leaves(path: PureWindowsPath) -> bool:
    """Whether a path is absolute or goes up, with slashes of either kind."""
    return bool(path.drive or path.root) or ".." in path.parts
