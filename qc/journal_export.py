"""Inspections of a journal as CSV or Parquet, one after the other in constant memory."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import Any
from uuid import uuid4

from qc.errors import FaultError, UsageError
from qc.journal_rows import Row
from qc.journal_schema import stamp

BATCH = 5000
"""Rows of a row group of Parquet."""

FACTS: dict[str, Callable[[Row], Any]] = {
    "seq": lambda row: row.seq,
    "inspection_id": lambda row: row.inspection_id,
    "captured_at": lambda row: row.captured_at,
    "source_id": lambda row: row.source_id,
    "frame_id": lambda row: row.frame_id,
    "part_id": lambda row: row.part_id,
    "lot": lambda row: row.lot,
    "verdict": lambda row: row.verdict.value,
    "reason": lambda row: row.reason,
    "defect_class": lambda row: row.defect_class,
    "defect_score": lambda row: row.defect_score,
    "scores": lambda row: row.scores,
    "timings_ms": lambda row: row.timings_ms,
    "bundle_id": lambda row: row.bundle_id,
    "bundle_seq": lambda row: row.bundle_seq,
    "runtime": lambda row: row.runtime,
    "sampled": lambda row: row.sampled,
    "image_path": lambda row: row.image_path,
    "image_sha256": lambda row: row.image_sha256,
    "reviews": lambda row: row.n_reviews,
}
"""Column -> its value."""


def facts_of(row: Row) -> dict[str, Any]:
    """A row as JSON values."""
    facts = {name: value(row) for name, value in FACTS.items()}
    return facts | {"captured_at": stamp(row.captured_at)}


def write_csv(rows: Iterable[Row], file: Path) -> int:
    """Write rows as CSV with a header line; nothing there reads as absent, tables are JSON.

    Returns:
        How many rows.

    Raises:
        FaultError: the file cannot be written.
    """
    with _whole(file) as partial, partial.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(FACTS)
        n = 0
        for row in rows:
            writer.writerow(
                json.dumps(value, ensure_ascii=False) if isinstance(value, dict) else value
                for value in facts_of(row).values()
            )
            n += 1
        return n


def write_parquet(rows: Iterator[Row], file: Path) -> int:
    """Write rows as Parquet (zstd), with times in UTC and scores as maps.

    Returns:
        How many rows.

    Raises:
        UsageError: pyarrow is not installed.
        FaultError: the file cannot be written.
    """
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError as error:
        raise UsageError(
            "Parquet needs the 'parquet' extra: pip install 'attention-qc[parquet]'",
            where=error.name,
            found="not installed",
        ) from error
    schema = _schema(pa)
    n = 0
    with _whole(file) as partial, parquet.ParquetWriter(partial, schema, compression="zstd") as out:
        while batch := [*islice(rows, BATCH)]:
            columns = {name: [_arrow(value(row)) for row in batch] for name, value in FACTS.items()}
            out.write_table(pa.Table.from_pydict(columns, schema=schema))
            n += len(batch)
    return n


def _schema(pa: Any) -> Any:
    """The schema of the file; `pa` is pyarrow."""
    numbers = pa.map_(pa.string(), pa.float64())
    special = {
        "seq": pa.int64(),
        "bundle_seq": pa.int64(),
        "reviews": pa.int64(),
        "captured_at": pa.timestamp("us", tz="UTC"),
        "defect_score": pa.float64(),
        "scores": numbers,
        "timings_ms": numbers,
        "sampled": pa.bool_(),
    }
    return pa.schema([(name, special.get(name, pa.string())) for name in FACTS])


def _arrow(value: Any) -> Any:
    return [*value.items()] if isinstance(value, dict) else value


@contextmanager
def _whole(file: Path) -> Iterator[Path]:
    """A file beside it that takes its name when it is whole."""
    partial = file.with_name(f".{uuid4().hex}.tmp")
    try:
        yield partial
        partial.replace(file)
    except OSError as error:
        raise FaultError(
            "the file cannot be written", where=file, found=error.strerror or error
        ) from error
    finally:
        with suppress(OSError):  # nothing of it is there once it is whole
            partial.unlink()
