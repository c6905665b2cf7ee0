"""How a command ends: one line, one object, its exit code, and a traceback only where asked for."""

from __future__ import annotations

import io
import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest
import typer
from rich.table import Table

from qc import console
from qc.console import Command, command, load, need
from qc.errors import DataError, FaultError, GateError, QCError, UsageError, nearest, printable


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """The libraries of other tests keep their voice."""
    monkeypatch.setattr(console, "_hush", lambda: None)


def _ended(error: BaseException, *, as_json: bool = True, verbose: bool = False) -> int:
    with pytest.raises(typer.Exit) as caught, command(as_json, verbose):
        raise error
    return caught.value.exit_code


@pytest.mark.parametrize(
    ("error", "code", "kind"),
    [
        (UsageError("no", where="a.toml", expected=1, found=2), 2, "usage"),
        (DataError("no", where="a.toml", expected=1, found=2), 2, "data"),
        (GateError("no", where="a.toml", expected=1, found=2), 1, "gate"),
        (FaultError("no", where="a.toml", expected=1, found=2), 3, "fault"),
    ],
)
def test_an_error_is_one_line_one_object_and_its_code(
    error: QCError, code: int, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _ended(error) == code
    said = capsys.readouterr()
    assert said.err == "error a.toml: no; expected 1; found 2\n"
    message = "no; expected 1; found 2"
    told = {"error": {"kind": kind, "message": message, "where": "a.toml"}}
    assert json.loads(said.out) == told


def test_without_json_nothing_is_on_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    assert _ended(UsageError("no"), as_json=False) == 2
    said = capsys.readouterr()
    assert said.out == "" and said.err == "error no\n"


def test_what_nobody_thought_of_is_a_fault_in_words(capsys: pytest.CaptureFixture[str]) -> None:
    assert _ended(ZeroDivisionError("by [red]zero")) == 3
    said = capsys.readouterr()
    assert said.err == "error unexpected ZeroDivisionError: by [red]zero (-v shows where)\n"
    assert json.loads(said.out)["error"]["kind"] == "fault"
    assert _ended(ZeroDivisionError("by zero"), verbose=True) == 3
    said = capsys.readouterr()
    assert "Traceback" in said.err and "test_console.py" in said.err and "-v" not in said.out


def test_a_person_who_stops_it_gets_no_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert _ended(KeyboardInterrupt()) == 130
    said = capsys.readouterr()
    assert said.err == "stopped\n" and said.out == ""


def test_an_exit_of_its_own_is_kept() -> None:
    assert _ended(typer.Exit(7)) == 7


def test_the_object_is_printed_once_and_holds_only_numbers(
    capsys: pytest.CaptureFixture[str],
) -> None:
    running = Command(True, False)
    running.result({"n": 1})
    running.result({"n": 2})
    assert json.loads(capsys.readouterr().out) == {"n": 1}
    with pytest.raises(ValueError, match="JSON"):
        Command(True, False).result({"n": float("nan")})


def test_a_name_cannot_steer_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    Command(False, False).say("a\x1b[31mb\x9bc")
    assert capsys.readouterr().err == "a\\x1b[31mb\\x9bc\n"
    _ended(DataError("no", where="x\x07y"), as_json=False)
    assert "x\\x07y" in capsys.readouterr().err


def test_a_bar_is_drawn_where_stderr_has_no_descriptor(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    with Command(False, False).step("reading") as tell:
        tell(3, 4)
    assert "reading" in stream.getvalue() and "75%" in stream.getvalue()


def test_a_table_that_goes_to_a_file_is_not_cut(capsys: pytest.CaptureFixture[str]) -> None:
    table = Table()
    table.add_column("part", no_wrap=True)
    table.add_row("p" * 150)
    table.add_row("part:smile:")
    Command(False, False).show(table)
    shown = capsys.readouterr().err
    assert "p" * 150 in shown and "part:smile:" in shown


def test_no_command_shows_a_table_past_show() -> None:
    """Printed on stderr as it is, one would be cut to 80 characters where stderr is a file."""
    root = Path(__file__).parents[2]
    files = [f for top in ("qc", "edge", "training", "export") for f in (root / top).rglob("*.py")]
    assert len(files) > 100
    shown = [str(f) for f in files if re.search(r"stderr\.print\((_?table)\b", f.read_text())]
    assert shown == []


def test_a_missing_library_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load("edge", "qc.errors:nearest") is nearest
    monkeypatch.setitem(sys.modules, "no_such_library", None)
    asked: list[Any] = [lambda: load("train", "no_such_library:fit")]
    asked += [lambda: need("train", "json", "no_such_library")]
    asked += [lambda: need("train", "no_other_library")]
    for ask in asked:
        with pytest.raises(UsageError, match=r"needs the 'train' extra: pip install .*\[train\]"):
            ask()
    need("train", "json", "numpy")


def test_no_character_is_lost_on_the_way() -> None:
    assert printable("a\udcffb\ud800c") == "a\\xffb\\ud800c"
    assert nearest("ecaa", ["eca", "cbam"]) == "eca" and nearest("zzz", ["eca"]) is None
