"""Pictures kept beside the journal: which, how they are written, and what if they cannot be.

A picture is whole and under its name before its row is committed, so that no crash of the program
leaves a row without its picture. Its verdict waits for that: so it is written uncompressed, and the
disk is waited for by a thread of its own. Where it cannot be kept (a full disk), the row is written
without it and the journal goes on: a missing picture is a smaller loss than a missing verdict. That
is said once when it begins and once when it ends.
"""

from __future__ import annotations

import os
import queue
import shutil
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC
from hashlib import sha256
from pathlib import Path
from typing import Literal

from qc.errors import QCError
from qc.imageio import one_channel, png_bytes
from qc.linefile import KeepTable
from qc.types import Inspection, Verdict

Durability = Literal["full", "normal"]

RETRY_S = 1.0
"""How long no picture is tried after one could not be written."""

UNSYNCED = 64
"""Pictures that the disk may not have yet when their rows are committed; a power cut takes them."""

RECOVERED = 1.1
"""Times the free space under which no picture is kept, until pictures are kept again."""


@dataclass(frozen=True, slots=True)
class KeptImage:
    """A picture on the disk.

    Args:
        path: relative to the journal's folder, with slashes.
        sha256: of the file, hexadecimal.
    """

    path: str
    sha256: str


def images_folder(journal: Path) -> Path:
    """Where the pictures of a journal are kept: one folder a day inside it."""
    return journal.parent / f"{journal.stem}-images"


def is_sampled(inspection_id: str, share: float) -> bool:
    """Whether chance draws this part; by its id, so that the draw can be repeated and checked.

    Args:
        inspection_id: unique; nothing of the part or its verdict goes into the draw.
        share: of parts that are drawn, 0 to 1.
    """
    number = int.from_bytes(sha256(inspection_id.encode("utf-8", "surrogatepass")).digest()[:8])
    return number < share * 2**64


class ImageKeeper:
    """Keeps pictures by `[keep]`; owned by the thread that writes the journal.

    Args:
        journal: the journal file.
        keep: which pictures.
        durability: "full" sees to it that the disk has a picture soon after its row.
        on_change: told once when pictures are no longer kept, with the reason in words, and once
            when they are again, with "".
        on_kept: told the bytes of each picture that is written.
    """

    def __init__(
        self,
        journal: Path,
        keep: KeepTable,
        durability: Durability,
        on_change: Callable[[str], None],
        on_kept: Callable[[int], None],
    ) -> None:
        self.keep = keep
        self.durability = durability
        self.why = ""
        self.token = uuid.uuid4().hex
        """In the names of files that are half written: others are left over from a crash."""
        self._folder = images_folder(journal)
        self._root = journal.parent
        self._on_change = on_change
        self._on_kept = on_kept
        self._not_before = 0.0
        self._written: list[Path] = []
        self._spare: tuple[int, Path] | None = None
        self._disk = _Disk() if durability == "full" else None

    def sampled(self, inspection: Inspection) -> bool | None:
        """Of an OK part, whether its picture is drawn; None of the others."""
        if inspection.verdict is not Verdict.OK:
            return None
        return is_sampled(inspection.inspection_id, self.keep.ok_sample)

    def store(self, inspection: Inspection) -> KeptImage | None:
        """Keep the picture of an inspection where it can be; None where it is not kept.

        Whether an OK part was drawn says `sampled`, which is asked before.
        """
        if inspection.image is None or self._no_room() or time.monotonic() < self._not_before:
            return None
        day = inspection.captured_at.astimezone(UTC).date().isoformat()
        name = f"{self._folder.name}/{day}/{inspection.inspection_id}.png"
        file = self._root / name
        try:
            pixels = one_channel(inspection.image) if inspection.deep is None else inspection.deep
            pixels = inspection.image if pixels is None else pixels
            data = png_bytes(pixels, where=file, compression=0)
            self._write(file, data)
        except (QCError, OSError) as error:
            self._not_before = time.monotonic() + RETRY_S
            text = error.message if isinstance(error, QCError) else error.strerror or str(error)
            self._change(f"the picture cannot be written: {text}")
            return None
        self._change("")
        self._on_kept(len(data))
        return KeptImage(name, sha256(data).hexdigest())

    def settle(self) -> None:
        """Have the disk take what was kept, without waiting for it; after the rows are committed.

        It waits where `UNSYNCED` pictures wait already. The file of the next picture is opened here
        too, which takes longer than to write it.
        """
        if self._written and self._spare is None:
            partial = self._written[-1].with_name(f".{self.token}.tmp")
            with suppress(OSError):  # the next picture says why
                self._spare = self._new(partial), partial
        if self._disk is not None:
            for file in self._written:
                self._disk.take(file)
        self._written.clear()

    def close(self) -> None:
        """Wait until the disk has all that was kept; closing again changes nothing."""
        self.settle()
        if self._spare is not None:
            os.close(self._spare[0])
            with suppress(OSError):  # the next start removes it
                self._spare[1].unlink()
            self._spare = None
        if self._disk is not None:
            self._disk.close()
            self.look_again()
            self._disk = None

    def look_again(self) -> None:
        """Notice that there is room again, also where no part is flagged meanwhile."""
        if self._disk is not None and (why := self._disk.failed()):
            self._not_before = time.monotonic() + RETRY_S
            self._change(f"the disk does not take the pictures: {why}")
        if self.why:
            self._no_room()

    def _no_room(self) -> bool:
        """Whether the disk has less room than is to be left free."""
        least = self.keep.min_free_gb * 1e9
        if not least:
            return False
        try:
            free = shutil.disk_usage(self._root).free
        except OSError as error:
            self._change(f"the disk cannot be asked for its room: {error.strerror}")
            return True
        short = self.why.startswith(_SHORT)
        if free < least * (RECOVERED if short else 1.0):
            self._change(f"{_SHORT} {self.keep.min_free_gb:g} GB free (min_free_gb)")
            return True
        if short:
            self._change("")
        return False

    def _change(self, why: str) -> None:
        before, self.why = self.why, why
        if bool(before) != bool(why):
            self._on_change(why)

    def _write(self, file: Path, data: bytes) -> None:
        """The whole file or none of it; `settle` sees to it that the disk has it."""
        if self._spare is not None and not self._spare[1].exists():  # somebody removed the folder
            os.close(self._spare[0])
            self._spare = None
        number, partial = self._spare or (-1, file.with_name(f".{self.token}.tmp"))
        self._spare = None
        try:
            if number < 0 or partial.parent != file.parent:
                file.parent.mkdir(parents=True, exist_ok=True)
            if number < 0:
                number = self._new(partial)
            try:
                view = memoryview(data)
                while view:
                    view = view[os.write(number, view) :]
            finally:
                os.close(number)
            partial.replace(file)
        except OSError:
            partial.unlink(missing_ok=True)
            raise
        self._written.append(file)

    def _new(self, partial: Path) -> int:
        return os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)


class _Disk:
    """A thread that waits until the disk has pictures, so that no verdict waits for it."""

    def __init__(self) -> None:
        self._waiting: queue.Queue[Path | None] = queue.Queue(UNSYNCED)
        self._failures: deque[str] = deque(maxlen=1)
        self._thread = threading.Thread(target=self._work, name="pictures", daemon=True)
        self._thread.start()

    def take(self, file: Path) -> None:
        """Sync a file and its folder; waits while `UNSYNCED` others wait."""
        self._waiting.put(file)

    def failed(self) -> str:
        """What went wrong since this was last asked, in words; "" where nothing did."""
        try:
            return self._failures.popleft()
        except IndexError:
            return ""

    def close(self) -> None:
        """Wait until all is done."""
        self._waiting.put(None)
        self._thread.join()

    def _work(self) -> None:
        known: set[Path] = set()
        found: list[Path | None] = []
        while None not in found:
            found = [self._waiting.get()]
            while not self._waiting.empty():
                found.append(self._waiting.get())
            files = [file for file in found if file is not None]
            for file in files:
                self._sync(file)
            for folder in {file.parent for file in files}:
                self._sync(folder)
                if folder not in known:  # a new day: its own name, and that of what holds it
                    self._sync(folder.parent)
                    self._sync(folder.parent.parent)
                    known = {folder}

    def _sync(self, path: Path) -> None:
        try:
            number = os.open(path, os.O_RDONLY)
            try:
                os.fsync(number)
            finally:
                os.close(number)
        except FileNotFoundError:
            return  # it was old or too much, and is removed already
        except OSError as error:
            self._failures.append(error.strerror or str(error))


_SHORT = "the disk has less than"
