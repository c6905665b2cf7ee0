"""Research mode: pictures of patients, not for diagnostic use.

What could name a patient (part and frame, which often is a file's name) is never shown: the journal
that the station sees has a keyed hash in their place. The same patient has the same hash in one
journal and another in the next; without the key, which stays beside the journal, it cannot be
traced. What stands in the pixels themselves is shown as it is.
"""

from __future__ import annotations

import hmac
import os
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from fastapi.responses import JSONResponse
from numpy.typing import NDArray

from qc.errors import DataError, FaultError
from qc.journal import Journal, Row
from qc.journal_query import Filter
from qc.journal_read import Reviewed
from qc.types import Verdict

NOTICE = "NOT FOR DIAGNOSTIC USE"
"""Drawn into every layer, and the name of a file in every export."""

HEADER = "X-QC-Notice"
"""Header of every answer in research mode; it holds the notice."""

_KEY_BYTES = 32


class NoticedJSON(JSONResponse):
    """JSON of a station for research: every object begins with the notice."""

    def render(self, content: Any) -> bytes:
        """The bytes of the answer."""
        if isinstance(content, dict):
            content = {"notice": NOTICE, **content}
        return super().render(content)


def key_file(journal: Path) -> Path:
    """The key of the hashes of one journal."""
    return journal.with_name(f"{journal.name}.research-key")


def read_key(journal: Path) -> bytes:
    """The key of a journal's hashes, made when it is asked for the first time.

    Raises:
        FaultError: it cannot be made or read.
        DataError: the file holds no key.
    """
    file = key_file(journal)
    try:
        try:
            number = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            pass
        else:
            with os.fdopen(number, "w", encoding="ascii") as stream:
                stream.write(secrets.token_hex(_KEY_BYTES))
        key = bytes.fromhex(file.read_text(encoding="ascii"))
    except OSError as error:
        raise FaultError("no key for research mode", where=file, found=error.strerror) from error
    except ValueError as error:
        raise DataError("this is no key", where=file, expected="hexadecimal") from error
    if len(key) != _KEY_BYTES:
        expected = f"{_KEY_BYTES} bytes; remove the file and every hash becomes another"
        raise DataError("this is no key", where=file, expected=expected, found=len(key))
    return key


class ResearchJournal(Journal):
    """A journal whose part and frame ids are hashed, whoever reads it.

    A search for a part finds it by its hash only; the ids that it was journaled under find nothing.

    Args:
        path: the journal file.

    Raises:
        DataError, FaultError: as `Journal`, or there is no key.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._key = read_key(self.path)

    def rows(
        self,
        *,
        verdicts: Sequence[Verdict] | None = None,
        reviewed: bool | None = None,
        limit: int = 50,
        offset: int = 0,
        newest_first: bool = True,
    ) -> list[Row]:
        """As `Journal.rows`, hashed."""
        found = super().rows(
            verdicts=verdicts,
            reviewed=reviewed,
            limit=limit,
            offset=offset,
            newest_first=newest_first,
        )
        return [self.shown(row) for row in found]

    def get(self, inspection_id: str) -> Row:
        """As `Journal.get`, hashed."""
        return self.shown(super().get(inspection_id))

    @contextmanager
    def stream(
        self,
        wanted: Filter | None = None,
        *,
        limit: int | None = None,
        maps: bool = False,
        newest_first: bool = False,
    ) -> Iterator[Iterator[Row]]:
        """As `Journal.stream`, hashed."""
        asked = wanted.part_id if wanted else None
        if wanted is not None and asked is not None:
            wanted = replace(wanted, part_id=self.part_asked(asked))
        with super().stream(wanted, limit=limit, maps=maps, newest_first=newest_first) as rows:
            yield (self.shown(row) for row in rows)

    def all_reviews(
        self, *, before_seq: int | None = None, limit: int | None = None
    ) -> list[Reviewed]:
        """As `Journal.all_reviews`, hashed."""
        found = super().all_reviews(before_seq=before_seq, limit=limit)
        return [replace(r, part_id=self._hash(r.part_id)) for r in found]

    def reviews_after(self, seq: int) -> list[Reviewed]:
        """As `Journal.reviews_after`, hashed."""
        return [replace(r, part_id=self._hash(r.part_id)) for r in super().reviews_after(seq)]

    def shown(self, row: Row) -> Row:
        """As `Journal.shown`, hashed."""
        return replace(
            row, part_id=self._hash(row.part_id), frame_id=self._hash(row.frame_id) or ""
        )

    def _hash(self, text: str | None) -> str | None:
        if text is None:
            return None
        return hmac.digest(self._key, text.encode("utf-8", "surrogatepass"), "sha256").hex()[:16]

    def part_asked(self, part_id: str) -> str:
        """The part of this hash; no part's where there is none."""
        with self.connection() as connection:
            query = "SELECT DISTINCT part_id FROM inspections WHERE part_id IS NOT NULL"
            for (known,) in connection.execute(query):
                if hmac.compare_digest(self._hash(known) or "", part_id):
                    return str(known)
        return f"no part: {secrets.token_hex(_KEY_BYTES)}"


def noticed(rgba: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A layer with the notice drawn into its lower left corner.

    Args:
        rgba: `(H, W, 4)` uint8.

    Returns:
        A new array of that shape; the text is as wide as a third of it, white with a dark edge.
    """
    drawn = rgba.copy()
    font = cv2.FONT_HERSHEY_SIMPLEX
    scale = max(0.2, drawn.shape[1] / 3 / cv2.getTextSize(NOTICE, font, 1.0, 1)[0][0])
    thickness = max(1, round(scale))
    at = (max(2, drawn.shape[1] // 100), drawn.shape[0] - max(2, drawn.shape[0] // 50))
    for colour, width in (((12, 12, 14, 255), 3 * thickness), ((255, 255, 255, 255), thickness)):
        cv2.putText(drawn, NOTICE, at, font, scale, colour, width, cv2.LINE_AA)
    return drawn
