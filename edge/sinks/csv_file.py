"""One CSV row for each inspection, appended and flushed, for a spreadsheet or another program.

Flushed is not on the disk: a power cut can take the last rows of the CSV, never of the journal.
"""

from __future__ import annotations

import csv
from pathlib import Path

from edge.message import Message
from qc.bundle import Bundle
from qc.errors import DataError, FaultError
from qc.tables import Table

COLUMNS = ("time", "part_id", "lot", "verdict", "class", "score", "reason", "inspection_id")


class Options(Table):
    """Keys of this sink in a line file; see `Sink`."""

    path: Path


class Sink:
    """Appends to a CSV file; the header is written where the file is new.

    Args:
        path: the file; its folder is made.
        bundle: whose inspections are written.

    Raises:
        DataError: the file has other columns.
        FaultError: the file cannot be written.
    """

    def __init__(self, path: Path, bundle: Bundle) -> None:
        self.path = Path(path)
        self.bundle = bundle
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            header, whole = _ends(self.path)
            expected = ",".join(COLUMNS)
            if header and header != expected:
                raise DataError(
                    "the CSV has other columns", where=path, expected=expected, found=header
                )
            self._file = self.path.open("a", newline="", encoding="utf-8")
            self._rows = csv.writer(self._file, lineterminator="\n")
            if not whole:
                self._file.write("\n")
            if not header:
                self._rows.writerow(COLUMNS)
        except OSError as error:
            raise FaultError("the CSV cannot be opened", where=path, found=error) from error

    def write(self, message: Message) -> None:
        """Append one row.

        Raises:
            FaultError: the file cannot be written.
        """
        told = message.row
        score = told.defect_score
        row = (
            told.captured_at.isoformat(timespec="milliseconds"),
            told.part_id or "",
            told.lot or "",
            told.verdict.value,
            told.defect_class or "",
            "" if score is None else f"{score:.4f}",
            told.reason,
            told.inspection_id,
        )
        try:
            self._rows.writerow(row)
            self._file.flush()
        except (OSError, ValueError) as error:
            raise FaultError("the CSV cannot be written", where=self.path, found=error) from error

    def close(self) -> None:
        """Close the file.

        Raises:
            FaultError: what was left could not be written.
        """
        try:
            self._file.close()
        except OSError as error:
            raise FaultError("the CSV cannot be closed", where=self.path, found=error) from error


def _ends(path: Path) -> tuple[str, bool]:
    """The first line, and whether the last one is complete; a power cut leaves a torn row."""
    if not path.exists() or path.stat().st_size == 0:
        return "", True
    with path.open("rb") as file:
        header = file.readline().decode("utf-8", "replace").strip()
        file.seek(-1, 2)
        return header, file.read() == b"\n"
