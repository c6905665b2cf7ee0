"""Holds a command of the documents against the real parser, without running it."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import typer

from qc.cli import app

ROOT = Path(__file__).parents[2]

_ENDS = {"|", "||", "&&", ";", "&"}
_REDIRECT = re.compile(r"^\d?(>>?|<)")
_TARGET = re.compile(r"^([a-z][\w-]*):", re.MULTILINE)


def targets() -> set[str]:
    """What the Makefile can make."""
    return set(_TARGET.findall((ROOT / "Makefile").read_text(encoding="utf-8")))


def simple_commands(text: str) -> list[list[str]]:
    """The words of each command of a line; redirections and settings before it are left out."""
    words = shlex.split(text.replace("\\\n", " "), comments=True)
    found: list[list[str]] = [[]]
    skip = False
    for word in words:
        if skip:
            skip = False
        elif word in _ENDS:
            found.append([])
        elif word.endswith(";"):
            found[-1].append(word[:-1])
            found.append([])
        elif _REDIRECT.match(word):
            skip = _REDIRECT.sub("", word) == ""
        elif found[-1] or not re.match(r"^\w+=", word):
            found[-1].append(word)
    return [words for words in found if words]


def problems(text: str, whole: bool = True) -> list[str]:
    """What the parser and the Makefile refuse of a command.

    Args:
        text: as it is typed.
        whole: False: a piece in a sentence, which may leave arguments out or show a placeholder.
    """
    found = []
    for words in simple_commands(text):
        while words and words[0] in ("sudo", "nice", "exec"):
            words = words[1:]
        if not words:
            continue
        name = words[0].rsplit("/", 1)[-1]
        if name == "qc":
            for line in _alternatives(words[1:]):
                why = _refused(line, whole)
                found += [] if why is None else [f"qc {' '.join(line)}: {why}"]
        elif name == "make":
            wanted = [w for w in words[1:] if re.match(r"^[a-z][\w-]*$", w)]
            found += [f"the Makefile has no target {w!r}" for w in wanted if w not in targets()]
    return found


def _alternatives(words: list[str]) -> list[list[str]]:
    """`people list|disable` are two commands."""
    for at, word in enumerate(words):
        if re.match(r"^\w+(\|\w+)+$", word):
            return [[*words[:at], one] for one in word.split("|")]
    return [words]


def _refused(words: list[str], whole: bool) -> str | None:
    command: Any = typer.main.get_command(app)
    if not whole:
        words = [w.strip("[]") for w in words if w not in ("...", "[OPTIONS]")]
    if words in (["--help"], ["--version"]):
        return None
    while hasattr(command, "commands"):
        if not words:
            return None if not whole else "a verb is missing"
        if words[0] not in command.commands:
            return f"there is no command {words[0]!r}"
        command, words = command.commands[words[0]], words[1:]
    if "--help" in words:
        return None
    try:
        command.make_context("qc", list(words))
    except Exception as error:
        if not hasattr(error, "format_message"):
            raise
        kind = type(error).__name__
        if not whole and kind in ("MissingParameter", "BadParameter", "BadOptionUsage"):
            return None
        return str(error.format_message())
    return None
