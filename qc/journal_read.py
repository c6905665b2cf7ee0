"""The read side of the journal, and what a station may add to it: reviews, and its own events.

Every call opens its own short connection, so one `Journal` serves several threads, also while a
line writes.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from qc.errors import DataError, FaultError
from qc.journal_chain import TABLES, Chain
from qc.journal_query import Filter
from qc.journal_reviews import COLUMNS as REVIEW_COLUMNS
from qc.journal_reviews import Reviewed, append_review, review_of, reviews_in_order
from qc.journal_rows import (
    COLUMNS,
    COLUMNS_WITHOUT_MAP,
    Event,
    JournaledBundle,
    Row,
    event_of,
    event_row,
    invalid,
    row_of,
)
from qc.journal_schema import BUSY_S, check_schema, moment_of
from qc.manifest import Manifest
from qc.types import Review, Verdict

__all__ = ["Event", "Filter", "Journal", "JournaledBundle", "Reviewed", "Row"]


class Journal:
    """Reads a journal and adds reviews, and events of the station, to it.

    Args:
        path: the journal file.

    Raises:
        DataError: missing, not a journal, or of another schema.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        if not self.path.is_file():
            found = "a folder" if self.path.is_dir() else "nothing"
            raise DataError("there is no journal", where=path, expected="a file", found=found)
        with self.connection() as connection:
            check_schema(connection, self.path)

    @contextmanager
    def connection(self, mode: str = "ro") -> Iterator[sqlite3.Connection]:
        """A connection of one's own, closed at the end; "ro" reads, "rw" writes too.

        Raises:
            DataError: the journal is damaged.
            FaultError: it cannot be read, or written.
        """
        uri = f"{self.path.absolute().as_uri()}?mode={mode}"
        if mode == "ro" and self._cannot_change():
            uri += "&immutable=1"
        connection = None
        try:
            connection = sqlite3.connect(
                uri, uri=True, timeout=BUSY_S, isolation_level=None, check_same_thread=False
            )
            connection.row_factory = sqlite3.Row
            yield connection
        except sqlite3.DatabaseError as error:
            if mode == "ro" and not isinstance(error, sqlite3.OperationalError):
                raise DataError("the journal is damaged", where=self.path, found=error) from error
            done = "read" if mode == "ro" else "written"
            raise FaultError(
                f"the journal cannot be {done}", where=self.path, found=error
            ) from error
        finally:
            if connection is not None:
                connection.close()

    @contextmanager
    def held_open(self) -> Iterator[None]:
        """Keeps a connection open meanwhile, for who adds reviews often.

        Whoever closes the last connection brings the journal's file up to date and waits for the
        disk again: after each review, that takes longer than the review itself. A journal that
        cannot be written to is not held.
        """
        with ExitStack() as held:
            with suppress(FaultError, sqlite3.Error):
                connection = held.enter_context(self.connection("rw"))
                connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
            yield

    def _cannot_change(self) -> bool:
        """A closed journal on a read-only disk; SQLite could not make its lock files there."""
        folder = self.path.absolute().parent
        return not os.access(folder, os.W_OK) and not Path(f"{self.path}-wal").exists()

    def counts(self) -> dict[str, int]:
        """How many frames were captured, and what became of them.

        Returns:
            captured, ok, ng, review, fault, dropped; captured is the sum of the other five.
        """
        with self.connection() as connection:
            connection.execute("BEGIN")
            verdicts = dict(
                connection.execute("SELECT verdict, count(*) FROM inspections GROUP BY verdict")
            )
            (dropped,) = connection.execute("SELECT count(*) FROM drops").fetchone()
        parts = {v.value.lower(): int(verdicts.get(v.value, 0)) for v in Verdict}
        parts["dropped"] = int(dropped)
        return {"captured": sum(parts.values()), **parts}

    def sizes(self) -> dict[str, int]:
        """How many rows each chained table has."""
        with self.connection() as connection:
            query = "SELECT coalesce(max(seq), 0) FROM "
            return {table: connection.execute(query + table).fetchone()[0] for table in TABLES}

    def drops(self) -> dict[str, int]:
        """How many frames were dropped, by cause."""
        with self.connection() as connection:
            found = connection.execute("SELECT cause, count(*) FROM drops GROUP BY cause")
            return {str(cause): int(n) for cause, n in found}

    def rows(
        self,
        *,
        verdicts: Sequence[Verdict] | None = None,
        reviewed: bool | None = None,
        limit: int = 50,
        offset: int = 0,
        newest_first: bool = True,
    ) -> list[Row]:
        """Inspections in the order of the journal.

        Args:
            verdicts: only these, or None for all.
            reviewed: only those with (True) or without (False) a review, or None for both.
            limit: how many at most.
            offset: how many to pass over.
            newest_first: the last journaled comes first.
        """
        where, values = Filter(verdicts=verdicts, reviewed=reviewed).sql()
        order = "DESC" if newest_first else "ASC"
        query = f"SELECT {COLUMNS} FROM inspections i{where} ORDER BY seq {order} LIMIT ? OFFSET ?"
        with self.connection() as connection:
            found = connection.execute(query, [*values, max(limit, 0), max(offset, 0)]).fetchall()
        return [row_of(row, self.path) for row in found]

    def count(self, verdicts: Sequence[Verdict] | None = None, reviewed: bool | None = None) -> int:
        """How many inspections `rows` would give without a limit."""
        where, values = Filter(verdicts=verdicts, reviewed=reviewed).sql()
        with self.connection() as connection:
            query = f"SELECT count(*) FROM inspections i{where}"
            return int(connection.execute(query, values).fetchone()[0])

    def get(self, inspection_id: str) -> Row:
        """One inspection.

        Raises:
            DataError: the journal has no such inspection.
        """
        with self.connection() as connection:
            query = f"SELECT {COLUMNS} FROM inspections i WHERE inspection_id = ?"
            found = connection.execute(query, [inspection_id]).fetchone()
        if found is None:
            raise self._unknown(inspection_id)
        return row_of(found, self.path)

    def reviews(self, inspection_id: str) -> list[Review]:
        """The reviews of one inspection, the oldest first."""
        with self.connection() as connection:
            query = f"SELECT {REVIEW_COLUMNS} FROM reviews r WHERE inspection_id = ? ORDER BY seq"
            found = connection.execute(query, [inspection_id]).fetchall()
        return [review_of(row, self.path) for row in found]

    def all_reviews(
        self, *, before_seq: int | None = None, limit: int | None = None
    ) -> list[Reviewed]:
        """The reviews of all inspections, the newest first.

        Args:
            before_seq: only those before the review of this number; None: all.
            limit: how many at most; None: all.
        """
        with self.connection() as connection:
            return reviews_in_order(connection, self.path, before_seq=before_seq, limit=limit)

    def reviews_after(self, seq: int) -> list[Reviewed]:
        """The reviews that were added after the one of number `seq`, the oldest first."""
        with self.connection() as connection:
            return reviews_in_order(connection, self.path, after_seq=seq)

    def add_review(self, review: Review, seen: int | None = None) -> None:
        """Append a review; the journal itself says what was decided `before`.

        Args:
            review: what was decided.
            seen: how many reviews of this inspection the person knew of; None: not asked.

        Raises:
            DataError: the journal has no such inspection.
            StaleError: there are more reviews of it than were seen: somebody else was quicker.
            FaultError: it cannot be written.
        """
        with self._appending() as (connection, chain):
            append_review(connection, chain, review, seen, self.path)

    def add_event(self, kind: str, detail: Mapping[str, Any]) -> None:
        """Append what happened at the station, as a line appends what happened to it.

        Args:
            kind: what, in a word or two.
            detail: more of it, as JSON holds it.

        Raises:
            DataError: the detail is nothing that JSON holds.
            FaultError: it cannot be written.
        """
        row = event_row(kind, detail, self.path)
        with self._appending() as (_, chain):
            chain.append("events", row)

    @contextmanager
    def _appending(self) -> Iterator[tuple[sqlite3.Connection, Chain]]:
        """A transaction that appends beside a line, on the disk at its end; nothing on an error."""
        with self.connection("rw") as connection:
            connection.execute("PRAGMA synchronous=FULL")
            chain = Chain(connection)
            chain.begin()
            yield connection, chain
            connection.execute("COMMIT")

    def query(
        self,
        wanted: Filter | None = None,
        *,
        limit: int = 100,
        maps: bool = False,
        newest_first: bool = False,
    ) -> list[Row]:
        """Inspections in the order of the journal.

        A clock that is set back loses none: they are found by the time that they carry, and stand
        in the order in which they were journaled.

        Args:
            wanted: which; None: all.
            limit: how many at most; go on with `after_seq` of the last row.
            maps: read the evidence maps too.
            newest_first: the last journaled comes first.
        """
        with self.stream(wanted, limit=limit, maps=maps, newest_first=newest_first) as rows:
            return list(rows)

    @contextmanager
    def stream(
        self,
        wanted: Filter | None = None,
        *,
        limit: int | None = None,
        maps: bool = False,
        newest_first: bool = False,
    ) -> Iterator[Iterator[Row]]:
        """As `query`, one row after the other from one view of the journal, in constant memory.

        While it is open, what a line writes stays in the write-ahead log; hold it for minutes.
        """
        where, values = (wanted or Filter()).sql()
        order = "DESC" if newest_first else "ASC"
        columns = COLUMNS if maps else COLUMNS_WITHOUT_MAP
        query = f"SELECT {columns} FROM inspections i{where} ORDER BY seq {order} LIMIT ?"
        with self.connection() as connection:
            limited = -1 if limit is None else max(limit, 0)
            found = connection.execute(query, [*values, limited])
            yield (row_of(row, self.path) for row in found)

    def after(
        self, seq: int, limit: int = 1000, verdicts: Collection[Verdict] | None = None
    ) -> list[Row]:
        """The inspections that were journaled after the one of number `seq`, in that order.

        Args:
            seq: of an inspection.
            limit: how many at most.
            verdicts: only these; None: all. The rows are walked, no index leads to a verdict.
        """
        of_these = "" if verdicts is None else f"AND +verdict IN ({_marks(verdicts)}) "
        query = f"SELECT {COLUMNS} FROM inspections i WHERE seq > ? {of_these}ORDER BY seq LIMIT ?"
        values = [seq, *[verdict.value for verdict in verdicts or ()], max(limit, 0)]
        with self.connection() as connection:
            found = connection.execute(query, values).fetchall()
        return [row_of(row, self.path) for row in found]

    def events_before(self, seq: int | None, limit: int) -> list[Event]:
        """What happened before the event of number `seq` (None: all), the newest first."""
        query = "SELECT * FROM events WHERE seq < ? ORDER BY seq DESC LIMIT ?"
        with self.connection() as connection:
            found = connection.execute(query, [2**63 - 1 if seq is None else seq, limit]).fetchall()
        return [event_of(row, self.path) for row in found]

    def events(
        self, kind: str | None = None, *, after_seq: int = 0, limit: int = 100
    ) -> list[Event]:
        """What happened to the line, the oldest first.

        Args:
            kind: only these; None: all.
            after_seq: only those after the event of this number.
            limit: how many at most.
        """
        which = "" if kind is None else " AND kind = ?"
        query = f"SELECT * FROM events WHERE seq > ?{which} ORDER BY seq LIMIT ?"
        values: list[object] = [after_seq, *([] if kind is None else [kind]), max(limit, 0)]
        with self.connection() as connection:
            found = connection.execute(query, values).fetchall()
        return [event_of(row, self.path) for row in found]

    def last_event(self, kinds: Sequence[str]) -> Event | None:
        """The last event of one of these kinds; None where there is none."""
        query = f"SELECT * FROM events WHERE kind IN ({_marks(kinds)}) ORDER BY seq DESC LIMIT 1"
        with self.connection() as connection:
            found = connection.execute(query, [*kinds]).fetchone()
        return None if found is None else event_of(found, self.path)

    def bundle(self, seq: int) -> JournaledBundle:
        """What judged the inspections of this `bundle_seq`: manifest with thresholds, and runtime.

        Raises:
            DataError: the journal has no such row, or it is not valid.
        """
        with self.connection() as connection:
            query = "SELECT * FROM bundles WHERE seq = ?"
            found = connection.execute(query, [seq]).fetchone()
        if found is None:
            raise DataError("the journal knows no such bundle", where=self.path, found=seq)
        manifest = self._manifest(found["bundle_id"], found["manifest"])
        try:
            opened_at = moment_of(found["opened_at"])
        except ValueError as error:
            raise invalid(f"bundle {seq}", self.path, error) from error
        told = found["runtime"], found["ok_sample"]
        return JournaledBundle(seq, found["bundle_id"], manifest, *told, opened_at)

    def manifest(self, bundle_id: str) -> Manifest:
        """What the bundle that judged said of itself.

        Raises:
            DataError: the journal knows no such bundle.
        """
        with self.connection() as connection:
            found = connection.execute(
                "SELECT manifest FROM bundles WHERE bundle_id = ? ORDER BY seq DESC", [bundle_id]
            ).fetchone()
        if found is None:
            raise DataError("the journal knows no such bundle", where=self.path, found=bundle_id)
        return self._manifest(bundle_id, found[0])

    def shown(self, row: Row) -> Row:
        """An inspection as a person may see it: here as it is."""
        return row

    def part_asked(self, part_id: str) -> str:
        """The journaled id of a part that a person asks for: here the same."""
        return part_id

    def image_file(self, row: Row) -> Path | None:
        """The kept image of an inspection, or None where it was not kept or is gone."""
        if row.image_path is None:
            return None
        folder = self.path.absolute().parent
        file = (folder / row.image_path).resolve()
        return file if file.is_relative_to(folder.resolve()) and file.is_file() else None

    def _unknown(self, inspection_id: str) -> DataError:
        return DataError("the journal has no such inspection", where=self.path, found=inspection_id)

    def _manifest(self, bundle_id: str, text: str) -> Manifest:
        try:
            return Manifest.model_validate_json(text)
        except ValidationError as error:
            raise DataError(
                f"the manifest of bundle {bundle_id} is not valid", where=self.path, found=error
            ) from error


def _marks(values: Collection[object]) -> str:
    return ", ".join("?" * len(values))
