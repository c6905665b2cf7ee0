"""The decisions as a data set: a ZIP with a folder for each class, masks, and the lots as groups.

`qc train` takes it unpacked; the labels are those of `qc data convert JOURNAL --format reviewed`,
by the same rule. It is written while it is sent: neither memory nor disk holds it whole.
"""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Iterator
from urllib.parse import quote

from fastapi import APIRouter, Depends
from fastapi.responses import StreamingResponse

from edge.station import views
from edge.station.research import NOTICE
from edge.station.station import Station
from edge.station.users import require
from qc.errors import DataError, QCError
from qc.journal import Filter, Journal, Row
from qc.journal_masks import kept_mask
from qc.reviewed import settled
from qc.types import Verdict

GOOD, DEFECT = "good", "defect"
"""Folders of parts found OK, and of those found NG without a class."""

_DATE = (1980, 1, 1, 0, 0, 0)
"""Of every file, so that the same decisions give the same bytes."""


class _Sent(io.RawIOBase):
    """What the ZIP writer wrote since it was last asked."""

    def __init__(self) -> None:
        self._data = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: object) -> int:
        chunk = bytes(data)  # type: ignore[call-overload]
        self._data += chunk
        return len(chunk)

    def taken(self) -> bytes:
        data, self._data = bytes(self._data), bytearray()
        return data


def archive(journal: Journal, research: bool) -> Iterator[bytes]:
    """The bytes of the ZIP, a part at a time.

    Inside: `<class>/<inspection_id>.png`, its mask `<class>/<inspection_id>_mask.png`,
    `groups.csv`, and `LEFT_OUT.txt` where a decided part could not go in, with the reasons.

    Args:
        journal: whose reviewed parts.
        research: put the notice in.
    """
    sent = _Sent()
    groups = io.StringIO()
    table = csv.writer(groups, lineterminator="\n")
    table.writerow(("path", "group"))
    left_out: list[str] = []
    with zipfile.ZipFile(sent, "w", zipfile.ZIP_STORED) as zipped:
        if research:
            _add(zipped, "NOT_FOR_DIAGNOSTIC_USE.txt", f"{NOTICE}\n".encode())
            yield sent.taken()
        seq = 0
        while rows := journal.query(Filter(reviewed=True, after_seq=seq), limit=200):
            seq = rows[-1].seq
            for row in rows:
                try:
                    files = _files(journal, row)
                except QCError as error:
                    left_out.append(f"{row.inspection_id}: {error}")
                    continue
                for name, data in files:
                    _add(zipped, name, data)
                    yield sent.taken()
                if files:
                    table.writerow((files[0][0], row.lot or row.part_id or row.inspection_id))
        _add(zipped, "groups.csv", groups.getvalue().encode())
        if left_out:
            _add(zipped, "LEFT_OUT.txt", ("\n".join(left_out) + "\n").encode())
    yield sent.taken()


def _files(journal: Journal, row: Row) -> list[tuple[str, bytes]]:
    """Picture and mask of one decided part, by their names in the ZIP."""
    decided = settled(journal.reviews(row.inspection_id), row.inspection_id)
    if decided is None:
        return []
    label = GOOD if decided.decision is Verdict.OK else decided.defect_class or DEFECT
    if decided.decision is Verdict.NG and label == GOOD:
        raise DataError("NG with the class of good parts", where=row.inspection_id)
    file = views.picture_file(journal, row)
    if file is None:
        raise DataError("its picture was not kept or is gone", where=row.inspection_id)
    name = f"{_safe(label)}/{_safe(row.inspection_id)}"
    files = [(f"{name}.png", file.read_bytes())]
    if decided.mask_sha256 is not None:
        mask = kept_mask(journal.path, row.inspection_id, decided.mask_sha256)
        files.append((f"{name}_mask.png", mask.read_bytes()))
    return files


def _safe(text: str) -> str:
    """A name that stays in its folder, whatever it is unpacked on."""
    return quote(text, safe=" +,=@").replace(".", "%2E")


def _add(zipped: zipfile.ZipFile, name: str, data: bytes) -> None:
    entry = zipfile.ZipInfo(name, _DATE)
    entry.external_attr = 0o644 << 16
    zipped.writestr(entry, data)


def router(station: Station) -> APIRouter:
    """The route of the data set."""
    pages = APIRouter(dependencies=[Depends(require("export"))])

    @pages.get("/reviewed.zip")
    def reviewed() -> StreamingResponse:
        name = f"{station.journal.path.stem}-reviewed{'-research' if station.research else ''}.zip"
        told = {"Content-Disposition": f"attachment; filename*=UTF-8''{quote(name)}"}
        return StreamingResponse(
            archive(station.journal, station.research),
            media_type="application/zip",
            headers=told | {"Cache-Control": "no-store"},
        )

    return pages
