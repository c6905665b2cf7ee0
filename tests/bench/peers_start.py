"""From the start of a program to its first verdict, and the memory it took: edge and TensorFlow.

Each start is a process of its own, in an environment of its own, and the sides take turns. Files
lie in the page cache: one start of each side is not counted.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from peers_envs import Environments, MissingError, clean_environment, last_words
from peers_turns import say


@dataclass
class Program:
    """What is started, and what it took.

    Args:
        name: for a reader.
        group: "ours" or "tensorflow".
        command: makes its environment and gives its command.
    """

    name: str
    group: str
    command: Callable[[], list[str]]
    start_s: list[float] = field(default_factory=list)
    rss_mb: list[float] = field(default_factory=list)
    verdict: str | None = None
    why_not: str | None = None

    def as_row(self) -> dict[str, Any]:
        """As it stands in a row."""
        row: dict[str, Any] = {"name": self.name, "group": self.group}
        if self.why_not is not None:
            return {**row, "why_not": self.why_not}
        return {**row, "start_s": self.start_s, "rss_mb": self.rss_mb, "verdict": self.verdict}


def started(command: list[str]) -> tuple[float, float, str]:
    """Start a program; seconds to its first verdict, MB at most, and the verdict.

    Raises:
        MissingError: it gave none.
    """
    starter = str(Path(__file__).with_name("peers_started.py"))
    done = subprocess.run(
        [sys.executable, "-I", "-S", starter, *command],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        env=clean_environment(),
    )
    found = json.loads(done.stdout)
    if found["exit"] != 0 or found["verdict"] is None:
        raise MissingError(last_words(found["said"]))
    return found["seconds"], found["mb"], found["verdict"]


def start(
    environments: Environments, bundle: Path, picture: Path, repetitions: int
) -> dict[str, Any]:
    """Measure all programs on one picture.

    Args:
        environments: where they are installed.
        bundle: the model, with a SavedModel of it beside.
        picture: what is judged.
        repetitions: starts of each.
    """
    script = str(Path(__file__).with_name("peers_tensorflow.py"))
    files = [str(bundle), str(picture)]

    def tensorflow(*way: str) -> list[str]:
        return [str(environments.python("tensorflow")), "-P", script, *files, *way]

    def edge() -> list[str]:
        return [str(environments.python("edge")), "-P", "-m", "qc.cli", "inspect", *files]

    saved = str(bundle.with_name("saved_model"))
    programs = [
        Program("qc inspect, edge extra", "ours", edge),
        Program("TensorFlow, tf.lite.Interpreter", "tensorflow", lambda: tensorflow("interpreter")),
        Program("TensorFlow, Keras model", "tensorflow", lambda: tensorflow("keras", saved)),
    ]
    for number in range(repetitions + 1):
        for program in programs:
            if program.why_not is not None:
                continue
            try:
                seconds, mb, program.verdict = started(program.command())
            except MissingError as error:
                program.why_not = str(error)
                say(f"without {program.name}: {error}")
                continue
            if number:
                program.start_s.append(round(seconds, 3))
                program.rss_mb.append(round(mb, 1))
    return {"picture": picture.name, "entries": [program.as_row() for program in programs]}
