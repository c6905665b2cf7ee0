"""Old pictures are removed: by days and by bytes, a few at a time, in a thread of its own.

The rows stay, and what is removed is journaled first. OK goes first, then REVIEW and FAULT, then
NG, and last what a person has reviewed, whatever its verdict; each from the oldest row on. What a
crash left half written is removed at the start.

Limits: days are counted by the clock of the machine, so one that is set years ahead removes what it
then holds for old. A picture whose row a crash took is evidence without a row, and is left alone.
"""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import takewhile
from pathlib import Path, PurePath
from typing import Any

from qc.errors import QCError
from qc.journal_images import images_folder
from qc.journal_read import Journal
from qc.journal_schema import moment_of
from qc.linefile import KeepTable
from qc.types import utc_now

PERIOD_S = 60.0
BATCH = 100
REMOVED = "pictures removed"
"""Kind of the event; its detail holds the `seqs` of the inspections."""

_OF_VERDICT = (
    "SELECT seq, seq place, captured_at, image_path FROM inspections i "
    "WHERE image_path IS NOT NULL AND verdict = ? AND seq > ?{} ORDER BY seq LIMIT ?"
)
_UNSEEN = " AND NOT EXISTS (SELECT 1 FROM reviews r WHERE r.inspection_id = i.inspection_id)"
_REVIEWED = (
    "SELECT i.seq, r.seq place, i.captured_at, i.image_path FROM reviews r JOIN inspections i "
    "ON i.inspection_id = r.inspection_id WHERE i.image_path IS NOT NULL AND i.verdict <> 'NG' "
    "AND r.seq > ? ORDER BY r.seq LIMIT ?"
)

Remember = Callable[[str, Mapping[str, Any]], threading.Event]


@dataclass(frozen=True, slots=True)
class _Picture:
    seq: int
    place: int
    captured_at: datetime
    file: Path
    n_bytes: int


class Retention:
    """Removes pictures by `[keep]`.

    Args:
        journal: the journal file.
        keep: for how long, and how many bytes.
        remember: journals an event; what it gives back is set when that is on the disk.
    """

    def __init__(self, journal: Path, keep: KeepTable, remember: Remember) -> None:
        self.keep = keep
        self.why = ""
        self._path = journal
        self._remember = remember
        self._days = {
            "ok": keep.ok_days,
            "flagged": keep.flagged_days,
            "ng": keep.ng_days,
            "reviewed": keep.ng_days,
        }
        self._places: dict[str, int] = {}
        self._bytes = 0
        self._counting = threading.Lock()
        self._stopping = False
        self._wake = threading.Event()
        self._token = ""
        self._thread = threading.Thread(target=self._work, name="retention", daemon=True)

    def start(self, token: str) -> None:
        """Begin.

        Args:
            token: in the names of half-written files that are not left over.
        """
        self._token = token
        self._started_ns = time.time_ns()
        self._thread.start()

    def add(self, n_bytes: int) -> None:
        """A picture was written; never waits for what is being removed."""
        with self._counting:
            self._bytes += n_bytes
        if self._too_many() > 0:
            self._wake.set()

    def stop(self) -> None:
        """Ask it to end."""
        self._stopping = True
        self._wake.set()

    def join(self, timeout_s: float) -> None:
        """Wait for its end, at most `timeout_s`."""
        if self._thread.is_alive():
            self._thread.join(timeout_s)

    def _too_many(self) -> int:
        return 0 if self.keep.max_gb is None else self._bytes - int(self.keep.max_gb * 1e9)

    def _work(self) -> None:
        prepared = False
        while not self._stopping:
            try:
                if not prepared:
                    self._scan()
                    self._places = self._places_so_far()
                    prepared = True
                while not self._stopping and self._step():
                    pass
                self._say("")
            except (QCError, OSError, sqlite3.Error, ValueError) as error:
                self._say(error.message if isinstance(error, QCError) else str(error))
            self._wake.wait(PERIOD_S)
            self._wake.clear()

    def _say(self, why: str) -> None:
        before, self.why = self.why, why
        if why and not before and not self._stopping:
            try:
                self._remember("pictures not removed", {"why": why})
            except QCError:
                self._stopping = True  # the journal has failed or is closed

    def _scan(self) -> None:
        """Count what is there, and remove what is half written."""
        for folder in _folders(images_folder(self._path)):
            n_bytes = 0
            for file in folder.iterdir():
                if self._stopping:
                    return
                if file.name.endswith(".tmp") and self._token not in file.name:
                    file.unlink(missing_ok=True)
                elif self.keep.max_gb is not None:  # of what is written since, `add` is told
                    n_bytes += _size(file, before_ns=self._started_ns)
            with self._counting:
                self._bytes += n_bytes

    def _places_so_far(self) -> dict[str, int]:
        """Where each group was before its last removal, which a crash may have cut short."""
        places: dict[str, int] = {}
        query = "SELECT detail FROM events WHERE kind = ? ORDER BY seq DESC LIMIT 1000"
        with Journal(self._path).connection() as connection:
            for (text,) in connection.execute(query, [REMOVED]):
                detail = json.loads(text)
                places.setdefault(detail["group"], detail["after"])
                if len(places) == len(self._days):
                    break
        return places

    def _step(self) -> bool:
        """Remove a few; whether there may be more to remove."""
        for group, days in self._days.items():
            if days is not None:
                old = _before(utc_now() - timedelta(days=days), self._oldest(group))
                if old:
                    self._remove(group, old, f"older than {days:g} days")
                    return True
        excess = self._too_many()
        for group in self._days if excess > 0 else ():
            found = self._oldest(group)
            if found:
                freed = 0
                for n, picture in enumerate(found, start=1):
                    freed += picture.n_bytes
                    if freed >= excess:
                        found = found[:n]
                        break
                self._remove(group, found, f"more than {self.keep.max_gb:g} GB")
                return True
        return False

    def _oldest(self, group: str) -> list[_Picture]:
        place = self._places.get(group, 0)
        verdicts = {"ok": ("OK",), "flagged": ("REVIEW", "FAULT"), "ng": ("NG",)}.get(group, ())
        query = _OF_VERDICT.format("" if group == "ng" else _UNSEEN)
        with Journal(self._path).connection() as connection:
            found = [
                row
                for verdict in verdicts
                for row in connection.execute(query, [verdict, place, BATCH])
            ]
            if not verdicts:
                found = connection.execute(_REVIEWED, [place, BATCH]).fetchall()
        pictures = []
        for row in sorted(found, key=lambda row: row["place"])[:BATCH]:
            is_ours = _is_picture(row["image_path"])
            file = self._path.parent / (row["image_path"] if is_ours else "")
            n_bytes = _size(file) if is_ours else 0
            captured_at = moment_of(row["captured_at"])
            pictures.append(_Picture(row["seq"], row["place"], captured_at, file, n_bytes))
        return pictures

    def _remove(self, group: str, pictures: list[_Picture], why: str) -> None:
        there = {p.seq: p for p in pictures if p.n_bytes}
        n_bytes = sum(p.n_bytes for p in there.values())
        if there:
            detail = {"group": group, "why": why, "seqs": list(there), "bytes": n_bytes}
            written = self._remember(REMOVED, detail | {"after": self._places.get(group, 0)})
            while not written.wait(0.5):
                if self._stopping:
                    return
        for picture in there.values():
            picture.file.unlink(missing_ok=True)
        for folder in {p.file.parent for p in there.values()}:
            _remove_empty(folder)
        self._places[group] = pictures[-1].place
        with self._counting:
            self._bytes -= n_bytes


def removed_pictures(connection: sqlite3.Connection) -> Iterator[int]:
    """The inspections, by `seq`, whose pictures were removed by the rules.

    An event that was changed names none: it is for `qc journal verify` to find.
    """
    for (text,) in connection.execute("SELECT detail FROM events WHERE kind = ?", [REMOVED]):
        try:
            seqs = list(json.loads(text)["seqs"])
        except (ValueError, KeyError, TypeError, RecursionError):
            continue
        yield from (seq for seq in seqs if isinstance(seq, int))


def _before(moment: datetime, pictures: list[_Picture]) -> list[_Picture]:
    return [*takewhile(lambda picture: picture.captured_at < moment, pictures)]


def _folders(root: Path) -> Iterator[Path]:
    if root.is_dir():
        yield from (folder for folder in sorted(root.iterdir()) if folder.is_dir())


def _is_picture(name: object) -> bool:
    """Whether a row names a kept picture: a journal that was changed may name any file."""
    if not isinstance(name, str) or "\0" in name:
        return False
    parts = PurePath(name).parts
    is_in_a_day = len(parts) == 3 and parts[0].endswith("-images") and ".." not in parts
    return is_in_a_day and name.endswith(".png")


def _size(file: Path, *, before_ns: int | None = None) -> int:
    """Bytes of a picture; 0 where it is gone, or was written no earlier than `before_ns`."""
    try:
        found = file.stat()
    except FileNotFoundError:
        return 0
    return found.st_size if before_ns is None or found.st_mtime_ns < before_ns else 0


def _remove_empty(folder: Path) -> None:
    try:
        folder.rmdir()
    except OSError:
        return  # not empty
