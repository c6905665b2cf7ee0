"""Every command of `qc` with its help, arguments and options, from what the parser is made of."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import typer
from typer.models import ArgumentInfo, OptionInfo

from qc.reference_keys import prose, range_words, toml, type_words

INTRO = """\
# Command line

`qc` is one program. Text for people goes to stderr. Exit codes: 0 ok, 1 a quality gate failed,
2 usage or bad input, 3 a fault of the machine. With `--json` an error is
`{"error": {"kind", "message", "where"}}`.
"""


@dataclass(frozen=True, slots=True)
class Parameter:
    """An argument or option of a command.

    Args:
        names: as they are typed; of an argument its metavar.
        takes: what a value is, or "" for a flag.
        default: or "required".
        meaning: its help, with range and environment variable.
        is_option: whether it is an option.
    """

    names: tuple[str, ...]
    takes: str
    default: str
    meaning: str
    is_option: bool


def commands(app: typer.Typer, before: str = "qc") -> Iterator[tuple[str, str, Any]]:
    """Full name, help and function of every command, in the order of `--help`."""
    for info in app.registered_commands:
        assert info.callback is not None  # typer makes none without
        name = info.name or info.callback.__name__.replace("_", "-")
        yield f"{before} {name}", info.help or prose(info.callback.__doc__), info.callback
    for group in app.registered_groups:
        assert group.typer_instance is not None
        yield from commands(group.typer_instance, f"{before} {group.name}")


def parameters(function: Any) -> list[Parameter]:
    """What a command takes, arguments first."""
    hints = get_type_hints(function, include_extras=True)
    found = []
    for name, given in inspect.signature(function).parameters.items():
        assert get_origin(hints[name]) is Annotated, f"{function.__name__}: {name} has no help"
        kind, told = get_args(hints[name])[:2]
        found.append(_parameter(name, kind, told, given.default))
    return sorted(found, key=lambda p: p.is_option)


def _parameter(name: str, kind: Any, told: Any, default: Any) -> Parameter:
    is_option = isinstance(told, OptionInfo)
    assert is_option or isinstance(told, ArgumentInfo), name
    dashed = "--" + name.replace("_", "-")
    typed = [d for d in (told.default, *(told.param_decls or ())) if isinstance(d, str)]
    if not is_option:
        names: tuple[str, ...] = (told.metavar or name.upper(),)
    elif typed:
        names = tuple(typed)
    else:
        names = (dashed, f"--no-{dashed[2:]}") if kind is bool else (dashed,)
    takes = "" if kind is bool else type_words(kind)
    more = [w for w in [range_words([_Bounds(told.min, told.max)])] if w]
    if told.envvar:
        more.append(f"or by {told.envvar}")
    meaning = (told.help or "").rstrip() + (f" ({'; '.join(more)})" if more else "")
    shown = "required" if default is inspect.Parameter.empty else toml(default)
    if is_option and told.metavar:
        takes = told.metavar
    return Parameter(names, takes, shown, meaning, is_option)


class _Bounds:
    """The bounds of an option, as `range_words` reads them; an option without has no attribute."""

    def __init__(self, least: float | None, most: float | None) -> None:
        if least is not None:
            self.ge = least
        if most is not None:
            self.le = most


def usage(name: str, function: Any) -> str:
    """The line that shows how the command is typed."""
    words = [name]
    for p in parameters(function):
        if not p.is_option:
            word = p.names[0] + ("..." if p.takes.startswith("list") else "")
            words.append(word if p.default == "required" else f"[{word}]")
        elif p.default == "required":
            words.append(f"{p.names[0]} {p.takes.upper() if ' ' not in p.takes else 'VALUE'}")
    return " ".join(words) + " [OPTIONS]"
