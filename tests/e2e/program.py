"""Runs the command line as a user does: another process that shares nothing with the test.

What `conftest.py` sets to keep TensorFlow quiet is taken away again: the commands must be quiet by
themselves.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CHATTER = (
    "TensorFlow",
    "tensorflow",
    "TfLite",
    "XNNPACK",
    "oneDNN",
    "cuda",
    "CUDA",
    "absl",
    "WARNING",
    "Warning",
    "INFO",
    "I0000",
    "W0000",
    "E0000",
)
"""Words of native libraries and Python warnings; none of them is a word of this program."""

PATIENCE_S = 1800.0
"""After so many seconds a command is held to hang. A training of about a minute took more than five
with coverage and beside other work."""

_NOT_HANDED_ON = ("QC_", "TF_", "NO_ALBUMENTATIONS")


@dataclass(frozen=True)
class Ran:
    """What a command left: its exit code and what it printed."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The whole of stdout as JSON; anything beside it fails."""
        return json.loads(self.out)


@dataclass(frozen=True)
class Made:
    """What the commands made, and what they said; not to be written to.

    Args:
        home: the folder that holds everything and that they ran in.
        parts: the dataset, 320 parts of 10 lots.
        recipe, run, bundle: of the model.
        split, train, export: as the three commands left them.
    """

    home: Path
    parts: Path
    recipe: Path
    run: Path
    bundle: Path
    split: Ran
    train: Ran
    export: Ran


def python(*arguments: object, cwd: Path | None = None, timeout_s: float = PATIENCE_S) -> Ran:
    """Run the interpreter of the tests."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(_NOT_HANDED_ON)}
    # a bundle names the commit it was made by: one made while the tests run is not their matter
    environment["GIT_DIR"] = os.devnull
    done = subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=cwd,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )
    return Ran(done.returncode, done.stdout, done.stderr)


def qc(*arguments: object, cwd: Path | None = None) -> Ran:
    """Run `qc`."""
    return python("-m", "qc.cli", *arguments, cwd=cwd)


def done(ran: Ran) -> Any:
    """The object a command printed that did what it was asked, and talked of nothing else."""
    assert ran.code == 0, ran.err
    quiet(ran)
    return ran.json


def quiet(ran: Ran) -> None:
    """Fail where a library was heard."""
    heard = [word for word in CHATTER if word in ran.err]
    assert not heard, f"{heard} in:\n{ran.err}"


def refused(
    ran: Ran, *, kind: str, where: object, says: tuple[str, ...] = (), code: int = 2
) -> str:
    """The message of a command that was run with `--json` and refused, as a user must see it.

    Args:
        ran: what it left.
        kind: of the error.
        where: the file that must be named.
        says: what the message must hold.
        code: the exit code.
    """
    assert ran.code == code, f"exit {ran.code}\n{ran.err}{ran.out}"
    quiet(ran)
    assert "Traceback" not in ran.err + ran.out
    assert list(ran.json) == ["error"]
    error = ran.json["error"]
    assert set(error) == {"kind", "message", "where"}
    assert (error["kind"], error["where"]) == (kind, str(where))
    errors = [line for line in ran.err.splitlines() if line.startswith("error ")]
    assert errors == [f"error {where}: {error['message']}"]
    message: str = error["message"]
    missing = [words for words in says if words not in message]
    assert not missing, f"{missing} not in: {message}"
    assert "unexpected" not in message
    return message


def write_line(
    file: Path, bundle: Path, images: Path, *, sinks: bool = True, **values: str
) -> Path:
    """Write a line file over a folder, with a journal and both sinks beside it.

    Args:
        file: the line file.
        bundle: judges.
        images: the folder of the source.
        sinks: whether there are any.
        values: in place of `journal`, `policy`, `size`, `folder` (of the folder sink) or `kind`
            (of that sink).
    """
    given = {
        "journal": "journal.sqlite",
        "policy": "wait",
        "size": "8",
        "kind": "folder",
        "folder": "flagged",
        **values,
    }
    text = f"""
bundle = "{bundle}"
journal = "{given["journal"]}"

[source]
kind = "folder"
path = "{images}"

[queue]
policy = "{given["policy"]}"
size = {given["size"]}
"""
    if sinks:
        text += f"""
[[sinks]]
kind = "{given["kind"]}"
path = "{given["folder"]}"

[[sinks]]
kind = "csv_file"
path = "rows.csv"
"""
    file.write_text(text)
    return file


def recipe_with(made: Made, folder: Path, old: str, new: str) -> Path:
    """The recipe of `made` in another folder, with one text in place of another."""
    file = folder / "recipe.toml"
    text = made.recipe.read_text()
    assert old in text
    file.write_text(text.replace(old, new))
    return file
