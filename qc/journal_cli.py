"""The options of `qc journal`; the work is in `qc.journal_commands`, loaded when it is used."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from qc.console import AsJson, Verbose, command, load

journal_app = typer.Typer(
    help="Verify a journal, look things up in it, take them out of it.", no_args_is_help=True
)

JournalFile = Annotated[Path, typer.Argument(metavar="JOURNAL", help="A journal.")]
Since = Annotated[
    str | None, typer.Option(metavar="TIME", help="Captured then or later; UTC without a zone.")
]
Until = Annotated[str | None, typer.Option(metavar="TIME", help="Captured before then.")]
Lot = Annotated[str | None, typer.Option(help="Of this lot.")]
Part = Annotated[str | None, typer.Option(help="Of this part.")]
Verdicts = Annotated[
    list[str] | None, typer.Option("--verdict", help="OK, NG, REVIEW or FAULT; may be repeated.")
]
OfSource = Annotated[str | None, typer.Option(help="From this source.")]
OfBundle = Annotated[str | None, typer.Option(metavar="ID", help="Judged by this bundle.")]
OfClass = Annotated[str | None, typer.Option("--class", help="With this most likely defect.")]
After = Annotated[
    int | None, typer.Option(metavar="SEQ", help="Journaled after the inspection of this number.")
]


@journal_app.command("verify")
def verify(
    journal: JournalFile,
    images: Annotated[
        bool, typer.Option("--images", help="Compare the kept pictures with their hashes too.")
    ] = False,
    expect: Annotated[
        str | None,
        typer.Option(metavar="HASH", help="A head noted before: it must still be in the chain."),
    ] = None,
    as_json: AsJson = False,
    verbose: Verbose = False,
) -> None:
    """Walk the chain of hashes; exit 1 names what was changed, removed or put out of order."""
    with command(as_json, verbose) as running:
        load("edge", "qc.journal_commands:verify")(running, journal, expect, images=images)


@journal_app.command("query")
def query(
    journal: JournalFile,
    since: Since = None,
    until: Until = None,
    lot: Lot = None,
    part: Part = None,
    verdict: Verdicts = None,
    source: OfSource = None,
    bundle: OfBundle = None,
    defect: OfClass = None,
    after: After = None,
    limit: Annotated[int, typer.Option(min=1, help="How many at most.")] = 100,
    newest: Annotated[bool, typer.Option("--newest", help="The last journaled first.")] = False,
    events: Annotated[
        bool, typer.Option("--events", help="Not inspections: start, stop, swap, a source lost.")
    ] = False,
    as_json: AsJson = False,
    verbose: Verbose = False,
) -> None:
    """List inspections, or events, in the order in which they were journaled."""
    with command(as_json, verbose) as running:
        wanted = load("edge", "qc.journal_commands:filter_of")(
            since, until, lot, part, verdict, source, bundle, defect, after
        )
        what = "events" if events else "query"
        load("edge", f"qc.journal_commands:{what}")(running, journal, wanted, limit, newest=newest)


@journal_app.command("export")
def export(
    journal: JournalFile,
    csv: Annotated[Path | None, typer.Option("--csv", help="File to write.")] = None,
    parquet: Annotated[Path | None, typer.Option("--parquet", help="File to write.")] = None,
    since: Since = None,
    until: Until = None,
    lot: Lot = None,
    part: Part = None,
    verdict: Verdicts = None,
    source: OfSource = None,
    bundle: OfBundle = None,
    defect: OfClass = None,
    after: After = None,
    as_json: AsJson = False,
    verbose: Verbose = False,
) -> None:
    """Write inspections as CSV or Parquet."""
    with command(as_json, verbose) as running:
        wanted = load("edge", "qc.journal_commands:filter_of")(
            since, until, lot, part, verdict, source, bundle, defect, after
        )
        load("edge", "qc.journal_commands:export")(running, journal, wanted, csv, parquet)


@journal_app.command("migrate")
def migrate(journal: JournalFile, as_json: AsJson = False, verbose: Verbose = False) -> None:
    """Bring the journal of an older version to the present schema; a line does so by itself."""
    with command(as_json, verbose) as running:
        load("edge", "qc.journal_commands:migrate")(running, journal)
