"""The environments of the peers' bench: made with venv and pip, kept between runs.

What cannot be installed is said with the last words of pip, and the bench goes on without it; the
next run tries again.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
PINS = Path(__file__).with_name("peers.toml")
_SOURCE = ("pyproject.toml", "README.md", "LICENSE", "qc", "training", "export", "edge")
_WORDS = 300


class MissingError(Exception):
    """Something that the bench wanted is not to be had; the message says why."""


def last_words(text: str) -> str:
    """The end of what a program printed, on one line: its error where it names one.

    Args:
        text: its output, of several lines.
    """
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if "error" in line.lower()]
    said = (errors or lines or ["it said nothing"])[-1]
    if said.endswith(":") and said in lines:  # what is wrong stands below
        said = " ".join([said, *lines[lines.index(said) + 1 :][-2:]])
    return said if len(said) <= _WORDS else f"{said[:_WORDS]}..."


def clean_environment(**more: str) -> dict[str, str]:
    """The variables of a process in another environment: no module path of this one."""
    found = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}
    return found | more


class Environments:
    """Makes each environment when it is first asked for.

    Args:
        home: folder that holds them.
    """

    def __init__(self, home: Path) -> None:
        self.home = home
        self._tables: dict[str, dict[str, Any]] = tomllib.loads(PINS.read_text(encoding="utf-8"))
        self._found: dict[str, Path | MissingError] = {}

    def python(self, name: str) -> Path:
        """The interpreter of an environment.

        Raises:
            MissingError: it cannot be made.
        """
        if name not in self._found:
            try:
                self._found[name] = self._make(name)
            except MissingError as error:
                self._found[name] = error
        found = self._found[name]
        if isinstance(found, MissingError):
            raise found
        return found

    def _make(self, name: str) -> Path:
        table = self._tables[name]
        place, wanted = self.home / name, hashlib.sha256(_text(table).encode()).hexdigest()
        python, mark = place / "bin" / "python", place / "made"
        if not (mark.is_file() and mark.read_text() == wanted):
            print(f"making the environment {name}", file=sys.stderr, flush=True)
            shutil.rmtree(place, ignore_errors=True)
            place.parent.mkdir(parents=True, exist_ok=True)
            _run(name, [sys.executable, "-m", "venv", str(place)])
            pins = place / "pins.txt"
            pins.write_text("\n".join(_pins(table)) + "\n")
            asked = table.get("packages", [])
            if "extra" in table:
                asked = [f"{self._source()}[{table['extra']}]"]
            _pip(name, python, "-c", str(pins), *asked)
            mark.write_text(wanted)
        elif "extra" in table:  # the code may have changed since
            _pip(name, python, "--no-deps", "--force-reinstall", str(self._source()))
        return python

    def _source(self) -> Path:
        """A copy of the project, so that building leaves nothing in it."""
        copy = self.home / "source"
        shutil.rmtree(copy, ignore_errors=True)
        copy.mkdir(parents=True)
        for name in _SOURCE:
            if (ROOT / name).is_dir():
                ignored = shutil.ignore_patterns("__pycache__")
                shutil.copytree(ROOT / name, copy / name, ignore=ignored)
            else:
                shutil.copyfile(ROOT / name, copy / name)
        return copy


def _pins(table: dict[str, Any]) -> list[str]:
    own = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    return list(table.get("pins", own))


def _text(table: dict[str, Any]) -> str:
    return json.dumps([sys.version, table, _pins(table)], sort_keys=True)


def _pip(name: str, python: Path, *arguments: str) -> None:
    _run(name, [str(python), "-m", "pip", "install", "-q", "--no-input", *arguments])


def _run(name: str, command: list[str]) -> None:
    done = subprocess.run(
        command,
        env=clean_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if done.returncode != 0:
        raise MissingError(f"environment {name}: {last_words(done.stdout)}")
