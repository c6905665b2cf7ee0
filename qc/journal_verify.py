"""Walks the chain of a journal, and says which row does not fit.

Found is: a changed row, a removed row, a row out of order, damage of the file itself, and, with the
head of the chain as it was noted elsewhere, rows cut off the end. Not found is a whole chain
written anew by who owns the file, where no head was noted.
"""

from __future__ import annotations

import heapq
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from hashlib import file_digest
from pathlib import Path
from typing import Any

from qc.journal_chain import START, TABLES, row_hash
from qc.journal_read import Journal
from qc.journal_retention import removed_pictures

MOST = 1000
"""Findings that are kept in words; further ones are counted."""

_MOST_ROWS = 1 << 28
"""Removed pictures are known by their rows up to this one: a byte each, if the row is there."""

_EVERY = 1000
_Row = tuple[int, str, dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that does not fit.

    Args:
        table: where; "file" where it is the file as a whole.
        seq: of the row; None where it is no single row.
        what: in words.
    """

    table: str
    seq: int | None
    what: str

    def __str__(self) -> str:
        return f"{self.table} {'' if self.seq is None else f'row {self.seq}'}: {self.what}"


@dataclass(slots=True)
class Verified:
    """What a walk along the chain found.

    Args:
        rows: rows of each table.
        images: pictures whose hash was compared.
        head: the last hash, hexadecimal: it stands for all rows.
        findings: what does not fit, at most `MOST`; `n_findings` counts all.
    """

    rows: dict[str, int] = field(default_factory=lambda: dict.fromkeys(TABLES, 0))
    images: int = 0
    head: str = START.hex()
    findings: list[Finding] = field(default_factory=list)
    n_findings: int = 0

    @property
    def ok(self) -> bool:
        """Whether everything fits."""
        return not self.n_findings

    def note(self, table: str, seq: int | None, what: str) -> None:
        """Add a finding."""
        self.n_findings += 1
        if len(self.findings) < MOST:
            self.findings.append(Finding(table, seq, what))


def verify_journal(
    path: Path,
    *,
    images: bool = False,
    expect: str | None = None,
    tell: Callable[[int], None] | None = None,
) -> Verified:
    """Walk the chain; a line may write meanwhile, what it adds is not looked at.

    Args:
        path: the journal file.
        images: compare the kept pictures with the hashes in their rows too.
        expect: a head that was noted before: it must still be a hash of the chain.
        tell: told of rows done from time to time.

    Raises:
        DataError: no journal, of another schema, or too damaged to be opened.
        FaultError: it cannot be read.
    """
    journal = Journal(path)
    outcome = Verified()
    with journal.connection() as connection:
        connection.row_factory = None
        connection.text_factory = lambda b: b.decode("utf-8", "surrogateescape")
        connection.execute("BEGIN")  # one view of all tables
        for text in _integrity(connection):
            outcome.note("file", None, text)
        walk = _Walk(outcome, None if expect is None else expect.strip().lower())
        pictures = _Pictures(outcome, path.absolute().parent, connection) if images else None
        tables = [_rows(connection, table, outcome) for table in TABLES]
        for n, (_, table, row) in enumerate(heapq.merge(*tables, key=lambda found: found[0])):
            walk.take(table, row)
            if pictures is not None and table == "inspections":
                pictures.take(row)
            if tell is not None and n % _EVERY == 0:
                tell(n)
    walk.end()
    return outcome


def lost_pictures(journal: Journal, among: int) -> list[str]:
    """Inspections whose kept picture is gone or empty, as after a power cut; not by the rules.

    Args:
        journal: that no line writes.
        among: only the last so many inspections are looked at.

    Returns:
        Their ids, in the order of the journal.

    Raises:
        QCError: the journal cannot be read.
    """
    query = (
        "SELECT seq, inspection_id, image_path FROM inspections WHERE image_path IS NOT NULL "
        "AND seq > (SELECT max(seq) FROM inspections) - ? ORDER BY seq"
    )
    root = journal.path.absolute().parent
    with journal.connection() as connection:
        found = [
            (seq, name)
            for seq, name, path in connection.execute(query, [among])
            if not (root / path).is_file() or not (root / path).stat().st_size
        ]
        removed = set(removed_pictures(connection)) if found else set()
    return [name for seq, name in found if seq not in removed]


def _integrity(connection: sqlite3.Connection) -> list[str]:
    """What SQLite itself finds wrong with the file: pages, indexes, constraints."""
    try:
        found = connection.execute("PRAGMA integrity_check(20)").fetchall()
    except sqlite3.DatabaseError as error:
        return [f"SQLite cannot check it: {error}"]
    return [str(text) for (text,) in found if text != "ok"]


def _rows(connection: sqlite3.Connection, table: str, outcome: Verified) -> Iterator[_Row]:
    """Link, table and columns of each row, in the order of its table."""
    seq = link = 0
    try:
        found = connection.execute(f"SELECT * FROM {table} ORDER BY seq")
        names = [column[0] for column in found.description]
        for values in found:
            row = dict(zip(names, values, strict=True))
            seq = row["seq"]
            if not isinstance(row["link"], int):
                outcome.note(table, seq, "has no place in the chain: it was changed")
                continue
            if row["link"] <= link:
                outcome.note(table, seq, f"is out of order: link {row['link']} after {link}")
            link = row["link"]
            yield link, table, row
    except sqlite3.DatabaseError as error:
        outcome.note(table, seq + 1, f"cannot be read, nor what follows: {error}")


class _Walk:
    """Compares each row with the one before it in the chain."""

    def __init__(self, outcome: Verified, expect: str | None) -> None:
        self._outcome = outcome
        self._expect = expect
        self._expected = expect is None or expect == START.hex()
        self._link = 0
        self._heads = {START}
        self._head = START
        self._seqs = dict.fromkeys(TABLES, 0)

    def take(self, table: str, row: dict[str, Any]) -> None:
        """The next row of the chain."""
        seq, link, stored = row["seq"], row["link"], row["hash"]
        last = self._seqs[table]
        matches = {before: row_hash(before, table, row) for before in self._heads}
        if seq > last + 1:
            many = f"to {seq - 1} are" if seq > last + 2 else "is"
            self._outcome.note(table, last + 1, f"{many} missing: removed")
        elif link > self._link + 1:
            what = f"the row before it in the chain (link {self._link + 1}) is missing"
            self._outcome.note(table, seq, f"{what}: removed, of this table or another")
        elif link == self._link + 1 and stored not in matches.values():
            self._outcome.note(table, seq, "does not fit its hash: it was changed")
        # Where the row was changed, its stored hash leads on; where its hash was, the true one does
        self._heads = {h for h in (stored, *matches.values()) if isinstance(h, bytes)}
        if stored in matches.values():
            self._heads = {stored}
        self._head = stored if isinstance(stored, bytes) else START
        if self._expect is not None and self._head.hex() == self._expect:
            self._expected = True
        self._seqs[table], self._link = seq, link
        self._outcome.rows[table] += 1

    def end(self) -> None:
        """Judge the end of the chain."""
        self._outcome.head = self._head.hex()
        if not self._expected:
            what = f"no row has the expected head {self._expect}: rows were cut off the end, or all"
            self._outcome.note("file", None, f"{what} were written anew")


class _Pictures:
    """Compares kept pictures with their rows; one that was removed by the rules may be missing."""

    def __init__(self, outcome: Verified, root: Path, connection: sqlite3.Connection) -> None:
        self._outcome = outcome
        self._root = root
        (last,) = connection.execute("SELECT coalesce(max(seq), 0) FROM inspections").fetchone()
        self._removed = bytearray(max(0, min(last, _MOST_ROWS)) + 1)
        for seq in removed_pictures(connection):
            if 0 <= seq < len(self._removed):
                self._removed[seq] = 1

    def take(self, row: dict[str, Any]) -> None:
        """The picture of one inspection."""
        if row["image_path"] is None:
            return
        if not isinstance(row["image_path"], str):
            self._outcome.note("inspections", row["seq"], "its picture's name is no text")
            return
        file = self._root / row["image_path"]
        if not file.is_file() and file.exists():  # a device has no end, a pipe is waited for
            self._outcome.note("inspections", row["seq"], f"its picture is no file: {file.name}")
            return
        try:
            with file.open("rb") as stream:
                found = file_digest(stream, "sha256").hexdigest()
        except FileNotFoundError:
            seq = row["seq"]
            if not 0 <= seq < len(self._removed) or not self._removed[seq]:
                self._outcome.note("inspections", seq, f"its picture is gone: {file.name}")
            return
        except (OSError, ValueError) as error:
            what = f"its picture cannot be read: {file.name}: {error}"
            self._outcome.note("inspections", row["seq"], what)
            return
        if row["image_sha256"] is None:
            return  # from before version 2: no hash was kept
        self._outcome.images += 1
        if found != row["image_sha256"]:
            self._outcome.note("inspections", row["seq"], f"its picture was changed: {file.name}")
