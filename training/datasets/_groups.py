"""`groups.csv`: which images of a dataset show the same physical piece, lot or patient."""

from __future__ import annotations

import csv
from pathlib import Path

from qc.errors import DataError

GROUPS_FILE = "groups.csv"


def read_groups(root: Path, sample_ids: list[str]) -> tuple[dict[str, str], list[DataError]]:
    """Group by sample id from `groups.csv`; empty where there is no such file.

    Args:
        root: the dataset's folder, which paths are relative to.
        sample_ids: of the whole dataset.

    Returns:
        The groups, and what the file lacks or has too many of.

    Raises:
        DataError: not readable, a column or a cell is missing, or an image is named twice.
    """
    file = root / GROUPS_FILE
    if not file.exists():
        return {}, []
    if not file.is_file():
        raise DataError(f"{GROUPS_FILE} is no file", where=file)
    groups: dict[str, str] = {}
    try:
        with file.open(newline="", encoding="utf-8-sig") as text:
            reader = csv.DictReader(text)
            columns = reader.fieldnames or []
            if not {"path", "group"} <= set(columns):
                raise DataError(
                    f"{GROUPS_FILE} lacks a column",
                    where=file,
                    expected="path, group",
                    found=", ".join(columns) or "nothing",
                )
            for row in reader:
                name, group = (row["path"] or "").strip(), (row["group"] or "").strip()
                line = f"{file} line {reader.line_num}"
                if not name or not group:
                    raise DataError(f"{GROUPS_FILE} has a row without path or group", where=line)
                if name in groups:
                    raise DataError(f"{GROUPS_FILE} names an image twice", where=line, found=name)
                groups[name] = group
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{GROUPS_FILE} cannot be read ({error})", where=file) from error
    wrong: list[DataError] = []
    for names, what in (
        ([s for s in sample_ids if s not in groups], "no row for {} image(s)"),
        (sorted(groups.keys() - set(sample_ids)), "{} row(s) for a missing file"),
    ):
        if names:
            what = f"{GROUPS_FILE} has {what.format(len(names))}"
            wrong.append(DataError(what, where=file, found=", ".join(names[:5])))
    return groups, wrong
