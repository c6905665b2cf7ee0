"""`qc journal`: verify, query, export and migrate a journal; nothing here needs the line."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

from rich import box
from rich.markup import escape
from rich.table import Table

from qc.console import Command
from qc.errors import DataError, GateError, UsageError, nearest, printable
from qc.journal_export import facts_of, write_csv, write_parquet
from qc.journal_open import open_journal
from qc.journal_read import Filter, Journal
from qc.journal_schema import stamp
from qc.journal_verify import verify_journal
from qc.types import Verdict

_SHOWN = 20
_COLUMNS = ("seq", "captured", "source", "part", "lot", "verdict", "defect", "score")

_NOT_OF_EVENTS = {
    "since": "--since",
    "until": "--until",
    "lot": "--lot",
    "part_id": "--part",
    "verdicts": "--verdict",
    "source_id": "--source",
    "bundle_id": "--bundle",
    "defect_class": "--class",
}
"""The conditions of inspections alone, and the options that set them."""


def filter_of(
    since: str | None,
    until: str | None,
    lot: str | None,
    part: str | None,
    verdicts: list[str] | None,
    source: str | None,
    bundle: str | None,
    defect_class: str | None,
    after: int | None,
) -> Filter:
    """The conditions of a command line.

    Raises:
        UsageError: a time or a verdict that is none.
    """
    return Filter(
        since=_moment("--since", since),
        until=_moment("--until", until),
        lot=lot,
        part_id=part,
        source_id=source,
        bundle_id=bundle,
        defect_class=defect_class,
        verdicts=None if not verdicts else [_verdict(text) for text in verdicts],
        after_seq=after,
    )


def verify(running: Command, path: Path, expect: str | None, *, images: bool) -> None:
    """Walk the chain; exit 1 where something does not fit."""
    with running.step("verify") as tell:
        total = sum(Journal(path).sizes().values())
        outcome = verify_journal(
            path, images=images, expect=expect, tell=lambda n: tell(n, max(total, n))
        )
    running.result(
        {
            "journal": str(path),
            "ok": outcome.ok,
            "rows": outcome.rows,
            "images": outcome.images if images else None,
            "head": outcome.head,
            "findings": [
                {"table": f.table, "seq": f.seq, "what": printable(f.what)}
                for f in outcome.findings
            ],
            "n_findings": outcome.n_findings,
        }
    )
    rows = ", ".join(f"{n} {table}" for table, n in outcome.rows.items())
    running.say(rows + (f", {outcome.images} pictures" if images else ""))
    running.say(f"head {outcome.head}")
    for finding in outcome.findings[:_SHOWN]:
        running.say(printable(str(finding)))
    if not outcome.ok:
        raise GateError(
            f"the journal does not verify: {outcome.n_findings} findings",
            where=path,
            found=outcome.findings[0],
        )


def query(running: Command, path: Path, wanted: Filter, limit: int, *, newest: bool) -> None:
    """List inspections."""
    rows = Journal(path).query(wanted, limit=limit, newest_first=newest)
    more = rows[-1].seq if len(rows) == limit and rows and not newest else None
    running.result(
        {"journal": str(path), "rows": [facts_of(row) for row in rows], "next_after": more}
    )
    if running.as_json:
        return
    table = Table(box=box.SIMPLE, padding=(0, 1, 0, 0))
    for column in _COLUMNS:
        table.add_column(column, no_wrap=True, justify="right" if column == "score" else "left")
    for row in rows:
        score = "" if row.defect_score is None else f"{row.defect_score:.3f}"
        moment = f"{row.captured_at:%Y-%m-%d %H:%M:%S}"
        texts = [str(row.seq), moment, row.source_id, row.part_id or "", row.lot or ""]
        texts += [row.verdict.value, row.defect_class or "", score]
        table.add_row(*(escape(printable(text)) for text in texts))
    running.show(table)
    running.say(f"{len(rows)} inspections" + (f"; go on with --after {more}" if more else ""))


def events(running: Command, path: Path, wanted: Filter, limit: int, *, newest: bool) -> None:
    """List what happened to the line and the station: start, stop, swap, a source lost, a login.

    Raises:
        UsageError: a condition that events do not have.
    """
    given = [option for name, option in _NOT_OF_EVENTS.items() if getattr(wanted, name) is not None]
    if newest and wanted.after_seq is not None:
        given += ["--after with --newest"]
    if given:
        raise UsageError(
            "events are not chosen by this",
            expected="--after or --newest alone",
            found=", ".join(given),
        )
    journal = Journal(path)
    if newest:
        found = journal.events_before(None, limit)
    else:
        found = journal.events(after_seq=wanted.after_seq or 0, limit=limit)
    more = found[-1].seq if len(found) == limit and not newest else None
    facts = [{"seq": e.seq, "at": stamp(e.at), "kind": e.kind, "detail": e.detail} for e in found]
    running.result({"journal": str(path), "events": facts, "next_after": more})
    for event in found:
        said = f": {event.detail_text}" if event.detail else ""
        running.say(printable(f"{event.seq} {event.at:%Y-%m-%d %H:%M:%S} {event.kind}{said}"))
    running.say(f"{len(found)} events" + (f"; go on with --after {more}" if more else ""))


def export(
    running: Command, path: Path, wanted: Filter, csv: Path | None, parquet: Path | None
) -> None:
    """Write inspections to a file."""
    out = csv or parquet
    if out is None or (csv and parquet):
        raise UsageError("name one file to write", expected="--csv FILE or --parquet FILE")
    if out.is_dir() or (out.exists() and path.exists() and out.samefile(path)):
        raise UsageError("the file cannot be written over", where=out, expected="another name")
    with Journal(path).stream(wanted) as rows:
        n = write_csv(rows, out) if csv else write_parquet(rows, out)
    running.result({"journal": str(path), "out": str(out), "rows": n})
    running.say(f"{n} inspections in {out}")


def migrate(running: Command, path: Path) -> None:
    """Bring an older journal to the present schema, in place."""
    if not path.is_file():
        raise DataError("there is no journal", where=path, expected="a file")
    connection, lock = open_journal(path, "full")
    connection.close()
    os.close(lock)
    running.result({"journal": str(path), "rows": Journal(path).sizes()})
    running.say(f"{path} is up to date")


def _moment(option: str, text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise UsageError(
            f"{option} is no time",
            expected="such as 2025-03-04 or 2025-03-04T09:30:00+01:00",
            found=text,
        ) from error
    return moment if moment.utcoffset() is not None else moment.replace(tzinfo=UTC)


def _verdict(text: str) -> Verdict:
    try:
        return Verdict(text.upper())
    except ValueError as error:
        near = nearest(text.upper(), list(Verdict))
        raise UsageError(
            f"no verdict '{text}'" + (f", did you mean '{near}'?" if near else ""),
            expected=f"one of {', '.join(Verdict)}",
        ) from error
