"""`qc doctor`: looks at everything; says it as a table, a list of what to do, and one object."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich import box
from rich.markup import escape
from rich.table import Table

from edge.doctor import disk, machine, packages
from edge.doctor.checks import Examination
from qc.console import Command, load
from qc.errors import DataError, GateError, QCError, UsageError, printable

_STYLE = {"ok": "green", "note": "dim", "warning": "yellow", "wrong": "bold red"}
_MIN_FREE_GB = 0.2
"""As `[keep] min_free_gb` where no line file says it."""


def doctor(running: Command, path: Path | None, keys: Sequence[Path], journal: Path | None) -> None:
    """Examine this machine; exit 1 where something is wrong.

    Args:
        running: says what was found.
        path: a bundle, or a line file (.toml); None: only the machine.
        keys: one of them must have signed the bundle.
        journal: that will be written; None: that of the line file, or one in this folder.

    Raises:
        DataError: there is no such file.
        UsageError: an option that the line file answers.
        GateError: something is wrong.
    """
    is_line = path is not None and path.suffix == ".toml"
    for file in (path, *keys):
        if file is not None and not file.is_file():
            raise DataError("there is no such file", where=file, expected="a file")
    if is_line and (keys or journal is not None):
        raise UsageError(
            "a line file names its journal and its keys itself",
            where=path,
            expected="no --journal and no --key",
        )
    if keys and path is None:
        raise UsageError("--key is for a bundle", expected="a bundle before it")
    found = Examination(facts={"file": None if path is None else str(path), "bundle": None})
    loads = packages.examine(found)
    machine.examine(found)
    if path is None or not loads:
        disk.examine(found, journal or Path("journal.db"), _MIN_FREE_GB)
        if path is not None:
            name = "line file" if is_line else "bundle"
            found.add(name, "wrong", "not tried", expected="a runtime and OpenCV that load")
    elif is_line:
        _line(found, path)
    else:
        disk.examine(found, journal or Path("journal.db"), _MIN_FREE_GB)
        load("edge", "edge.doctor.subject:examine_bundle")(found, path, keys)
    _tell(running, found)


def _line(found: Examination, path: Path) -> None:
    try:
        file = load("edge", "qc.linefile:read_line")(path)
    except QCError as error:
        fix = "mend the line file, or install the extra that brings what is missing (see above)"
        found.add("line file", "wrong", str(error), expected="one that `qc run` takes", fix=fix)
        return
    found.add(
        "line file", "ok", f"{path.name}, sources: {len(file.source)}, sinks: {len(file.sinks)}"
    )
    disk.examine(found, file.journal, file.keep.min_free_gb)
    load("edge", "edge.doctor.subject:examine_bundle")(
        found, file.bundle, file.trusted_keys, file.deadline_ms
    )
    load("edge", "edge.doctor.subject:examine_line")(found, file)


def _tell(running: Command, found: Examination) -> None:
    running.result(found.as_json())
    table = Table(box=box.SIMPLE, padding=(0, 1, 0, 0), show_header=False)
    for _ in range(2):
        table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for check in found.checks:
        style = _STYLE[check.state]
        text = escape(printable(check.found))
        table.add_row(f"[{style}]{check.state}[/]", escape(check.check), text)
    running.show(table)
    for check in found.of("warning", "wrong"):
        what = f": expected {check.expected}" if check.expected else ""
        fix = f"\n    {check.fix}" if check.fix else ""
        running.say(printable(f"{check.check}{what}{fix}"))
    wrong, warnings = found.of("wrong"), found.of("warning")
    if wrong:
        raise GateError(
            f"{len(wrong)} of {len(found.checks)} checks are wrong",
            found=", ".join(check.check for check in wrong),
        )
    beside = f", warnings: {len(warnings)}" if warnings else ""
    running.say(f"this machine can run a line: {len(found.checks)} checks{beside}")
