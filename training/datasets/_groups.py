"""`groups.csv`: which images of a dataset show the same physical piece, lot or patient."""

from __future__ import annotations

import csv
from pathlib import Path

from qc.errors import DataError

GROUPS_FILE = "groups.csv"


def read_groups(root: Path, sample_ids: list[str]) -> dict[str, str]:
    """Group by sample id from `groups.csv`; empty where there is no such file.

    Args:
        root: the dataset's folder, which paths are relative to.
        sample_ids: of the whole dataset.

    Raises:
        DataError: not readable, a column, a row or an image is missing, or an image is named twice.
    """
    file = root / GROUPS_FILE
    if not file.exists():
        return {}
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
    without_row = [s for s in sample_ids if s not in groups]
    if without_row:
        raise DataError(
            f"{GROUPS_FILE} has no row for {len(without_row)} image(s)",
            where=file,
            found=", ".join(without_row[:5]),
        )
    without_file = sorted(groups.keys() - set(sample_ids))
    if without_file:
        raise DataError(
            f"{GROUPS_FILE} has {len(without_file)} row(s) for a missing file",
            where=file,
            found=", ".join(without_file[:5]),
        )
    return groups
