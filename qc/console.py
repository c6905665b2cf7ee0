"""What every command shares: text on stderr, JSON on stdout, exit codes, progress bars."""

from __future__ import annotations

import json
import os
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer
from rich.console import Console
from rich.markup import escape

from qc.errors import FaultError, QCError, UsageError

if TYPE_CHECKING:
    from rich.table import Table

stderr = Console(stderr=True, highlight=False, soft_wrap=True, emoji=False)

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Let the libraries talk.")]

Tell = Callable[[int, int], None]

_WIDE = 200
"""Characters of a line where stderr is no terminal."""

_CONTROLS = {n: f"\\x{n:02x}" for n in (*range(32), *range(127, 160)) if chr(n) not in "\t\n"}
"""Characters that steer a terminal: a file name may hold them."""


class Command:
    """One running command: says things to a person, and at the end one object to a program."""

    def __init__(self, as_json: bool, verbose: bool) -> None:
        self.as_json = as_json
        self.verbose = verbose
        self.printed = False

    def say(self, text: str) -> None:
        """A line for a person."""
        stderr.print(escape(text.translate(_CONTROLS)))

    def show(self, table: Table) -> None:
        """A table for a person; a file has no edge, so nothing is cut off there."""
        wide = Console(stderr=True, highlight=False, emoji=False, width=_WIDE)
        (stderr if stderr.is_terminal else wide).print(table)

    def print(self, text: str) -> None:
        """A text that is the command's product, on stdout."""
        typer.echo(text, nl=False)

    def result(self, value: dict[str, Any]) -> None:
        """The one object of `--json`; nothing where it was not asked for, or was printed before."""
        if self.as_json and not self.printed:
            self.printed = True
            typer.echo(json.dumps(value, indent=1, allow_nan=False, default=str))

    @contextmanager
    def step(self, name: str) -> Iterator[Tell]:
        """A progress bar; yields what is told of steps done and steps in all."""
        with self.bar(name) as tell:
            yield lambda done, total: tell(done, total, "")

    @contextmanager
    def bar(self, name: str) -> Iterator[Callable[[int, int, str], None]]:
        """A progress bar with a line of text beside it."""
        from rich import progress as rich  # 7 ms of each start

        with (
            _own_stream() as stream,
            rich.Progress(
                rich.TextColumn("{task.description:<18}"),
                rich.BarColumn(bar_width=28),
                rich.TextColumn("{task.percentage:>3.0f}%"),
                rich.TimeElapsedColumn(),
                rich.TimeRemainingColumn(),
                rich.TextColumn("{task.fields[line]}"),
                console=Console(file=stream, highlight=False),
            ) as progress,
        ):
            task = progress.add_task(name, total=None, line="")

            def tell(done: int, total: int, line: str) -> None:
                progress.update(task, completed=done, total=total, line=escape(line))

            yield tell


@contextmanager
def _own_stream() -> Iterator[TextIO]:
    """stderr by another descriptor: a bar stays visible while a library's fd 2 is hidden."""
    try:
        number = os.dup(sys.stderr.fileno())
    except (OSError, ValueError, AttributeError):
        yield sys.stderr
        return
    with os.fdopen(number, "w", encoding="utf-8", errors="backslashreplace", buffering=1) as stream:
        yield stream


@contextmanager
def command(as_json: bool, verbose: bool) -> Iterator[Command]:
    """Run a command's body: an error becomes one line and its exit code, never a traceback.

    Args:
        as_json: print the result, or the error, as one JSON object on stdout.
        verbose: let the libraries talk, and show where an unexpected error came from.
    """
    if not verbose:
        _hush()
    running = Command(as_json, verbose)
    try:
        yield running
    except QCError as error:
        _end(running, error)
    except KeyboardInterrupt:
        stderr.print("stopped")
        raise typer.Exit(130) from None
    except (typer.Exit, typer.Abort):
        raise
    except Exception as error:  # noqa: BLE001 - the last net: a user sees no traceback
        if verbose:
            stderr.print(escape(traceback.format_exc()))
        hint = "" if verbose else " (-v shows where)"
        _end(running, FaultError(f"unexpected {type(error).__name__}: {error}{hint}"))


def _end(running: Command, error: QCError) -> None:
    stderr.print(f"[bold red]error[/] {escape(str(error).translate(_CONTROLS))}")
    running.result(dict(error.as_json()))
    raise typer.Exit(error.exit_code) from None


def _hush() -> None:
    """Keep TensorFlow, XNNPACK and their friends from talking to the user."""
    import logging

    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    warnings.filterwarnings("ignore")
    for name in ("tensorflow", "absl", "keras", "h5py"):
        logging.getLogger(name).setLevel(logging.CRITICAL)


def load(extra: str, dotted: str) -> Callable[..., Any]:
    """The function `package.module:function`; a missing library names the extra to install.

    Args:
        extra: the extra that brings what the module imports.
        dotted: loaded by name when it is used, so that `qc` imports none of the other packages.

    Raises:
        UsageError: the extra is not installed.
    """
    if extra == "edge":  # nothing there multiplies matrices, and each thread spins at its start
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    module_name, function_name = dotted.split(":")
    try:
        function: Callable[..., Any] = getattr(import_module(module_name), function_name)
    except ImportError as error:
        raise _missing(extra, error.name or module_name) from error
    return function


def need(extra: str, *modules: str) -> None:
    """Refuse a command before it begins where what it will import later is not installed.

    Raises:
        UsageError: a module is missing; names the extra that brings it.
    """
    for name in modules:
        try:
            found = find_spec(name)
        except ValueError:  # blocked: it stands in sys.modules as None
            found = None
        if found is None:
            raise _missing(extra, name)


def _missing(extra: str, module: str) -> UsageError:
    return UsageError(
        f"this command needs the '{extra}' extra: pip install 'attention-qc[{extra}]'",
        where=module,
        found="not installed",
    )
