"""Layout of a journal: reviewed inspections become samples again, with the decision as the label.

PATH is the journal file. A sample is an inspection whose image was kept and that a person has
reviewed. Of one reviewer the latest decision counts, unless it was taken back: OK gives the class
`good`, NG the class of its defect, or `defect` where none was named, and the mask that was drawn.
Reviewers who disagree leave no sample but an error for the audit; NG without a class agrees with
any NG. The group is the lot, else the part, else the inspection itself. A reviewed part without a
picture is no sample and no error where the line never kept it, or removed it by its rules.

What a line keeps and people review is no fair sample of its parts: most of it was flagged. Such
samples are for training; measure with them and the figures are of the flagged parts alone.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from qc.errors import DataError, FaultError, QCError
from qc.journal_masks import kept_mask
from qc.journal_read import Journal, Row
from qc.journal_retention import removed_pictures
from qc.reviewed import Settled, settled
from qc.types import Review, Sample, Verdict
from training.datasets._annotated import GOOD, Scan

_MAGIC = b"SQLite format 3\0"
_PAGE = 500
_NO_DAMAGE = (  # what the machine refuses, whatever the file holds
    *(sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_CANTOPEN),
    *(sqlite3.SQLITE_PERM, sqlite3.SQLITE_READONLY),
)


class Options(BaseModel):
    """What this layout can be told.

    Args:
        good: class of a part that was found OK.
        defect: class of one found NG where the review names none.
    """

    model_config = ConfigDict(extra="forbid")

    good: str = Field(default=GOOD, min_length=1)
    defect: str = Field(default="defect", min_length=1)


def detect(path: Path) -> bool:
    """Whether `path` is an SQLite file; reading it says whether it is a journal."""
    try:
        if not path.is_file():
            return False
        with path.open("rb") as stream:
            return stream.read(len(_MAGIC)) == _MAGIC
    except OSError:
        return False


def samples(path: Path, options: Options | None = None) -> Iterator[Sample]:
    """The reviewed inspections in the order of the journal; a sample's id is the inspection's.

    Args:
        path: the journal file.
        options: names of the classes.

    Raises:
        DataError: no journal, a damaged one, or a wrong `groups.csv` beside it.
        FaultError: the journal is locked, or may not be opened.
    """
    yield from scan(path, options).grouped_samples()


def scan(path: Path, options: Options | None = None) -> Scan:
    """The samples, and every review that gives none.

    That is: reviewers who disagree, images that are gone though no rule removed them, and a defect
    of the class of good parts. What was not kept is counted.

    Args:
        path: the journal file.
        options: names of the classes.

    Raises:
        DataError, FaultError: as `samples`.
    """
    told = options or Options()
    scan = Scan(path.parent)
    missing: dict[int, tuple[str, DataError]] = {}
    with _reading(path):
        journal = Journal(path)
        for row in _rows(journal):
            if row.image_path is None:
                scan.without_picture += 1
                continue
            _check_texts(row.inspection_id, row.lot, row.part_id, row.image_path)
            reviews, image = journal.reviews(row.inspection_id), journal.image_file(row)
            texts = ((r.reviewer, r.defect_class, r.mask_sha256) for r in reviews)
            _check_texts(*(text for told_texts in texts for text in told_texts))
            try:
                scan.samples.append(_sample(row, reviews, image, told, journal))
            except DataError as error:
                if image is None:
                    missing[row.seq] = (row.inspection_id, error)
                else:
                    scan.note(row.inspection_id, error)
        removed = _removed(journal) if missing else set()
    for seq, (inspection_id, error) in missing.items():
        if seq in removed:
            scan.without_picture += 1
        else:
            scan.note(inspection_id, error)
    return scan


def _removed(journal: Journal) -> set[int]:
    with journal.connection() as connection:
        return set(removed_pictures(connection))


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Make one DataError of whatever a damaged journal raises."""
    try:
        yield
    except DataError:
        raise
    except (QCError, ValueError, TypeError, sqlite3.Error) as error:
        cause = error.__cause__
        code = getattr(cause, "sqlite_errorcode", None)
        if isinstance(error, FaultError) and code is not None and code & 0xFF in _NO_DAMAGE:
            raise
        found = error.message if isinstance(error, QCError) else error
        raise DataError("the journal is damaged", where=path, found=found) from error


def _rows(journal: Journal) -> Iterator[Row]:
    """The reviewed inspections, a page at a time."""
    offset = 0
    while page := journal.rows(reviewed=True, limit=_PAGE, offset=offset, newest_first=False):
        yield from page
        offset += len(page)


def _check_texts(*texts: object) -> None:
    """SQLite keeps bytes in a column of text where it is given them."""
    for text in texts:
        if text is not None and not isinstance(text, str):
            raise TypeError(f"{text!r} is no text")


def _sample(
    row: Row, reviews: list[Review], image: Path | None, told: Options, journal: Journal
) -> Sample:
    """The sample of one inspection; raises DataError where its reviews or its files give none."""
    where = f"{journal.path} inspection {row.inspection_id}"
    decided = settled(reviews, where)
    label = _label(decided, told, where)
    if image is None:
        expected = f"{row.image_path} in the journal's folder"
        raise DataError("the image is gone", where=where, expected=expected)
    mask = None
    if decided is not None and decided.mask_sha256 is not None:
        mask = kept_mask(journal.path, row.inspection_id, decided.mask_sha256)
    group = row.lot or row.part_id or row.inspection_id
    return Sample(row.inspection_id, image, (label,), mask_path=mask, group=group)


def _label(decided: Settled | None, told: Options, where: str) -> str:
    """The class that the latest decisions of all reviewers agree on."""
    if decided is None:
        raise DataError("every review was taken back meanwhile", where=where)
    if decided.decision is Verdict.OK:
        return told.good
    label = decided.defect_class or told.defect
    if label == told.good:
        expected = f"another class than '{told.good}' (option good)"
        raise DataError("NG with the class of good parts", where=where, expected=expected)
    return label
