"""Sides of a comparison that take turns, each in a process of its own, so noise hits all alike.

A side that cannot be had, fails or does not answer is left out from then on, and its entry says
why; the others go on.
"""

from __future__ import annotations

import json
import queue
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np
from peers_envs import MissingError, clean_environment, last_words

LOAD_S, ANSWER_S = 180.0, 120.0
REST_S = 0.1
"""Seconds before a turn: the threads of the one before have gone to sleep."""


@dataclass(frozen=True)
class Side:
    """What is compared.

    Args:
        name: for a reader.
        group: "ours", "anomalib", "classifier", "same model" or "map".
        prepare: makes what is missing, and gives the command of the side's process.
    """

    name: str
    group: str
    prepare: Callable[[], list[str]]


class Worker:
    """A process that answers a line on stdin with a JSON line.

    Args:
        command: how it is started.
        variables: of its environment, beside the usual ones.

    Raises:
        MissingError: it ended, or did not answer.
    """

    def __init__(self, command: Sequence[str], variables: dict[str, str] | None = None) -> None:
        self._errors: IO[str] = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed by `close`
        self._process = subprocess.Popen(
            list(command),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            env=clean_environment(**(variables or {})),
        )
        self._answers: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()
        try:
            self.facts = self._answer(LOAD_S)
        except MissingError:
            self.close()
            raise

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._answers.put(line)
        self._answers.put("")

    def _answer(self, patience_s: float) -> dict[str, Any]:
        try:
            line = self._answers.get(timeout=patience_s)
        except queue.Empty:
            raise MissingError(f"no answer for {patience_s:g} s") from None
        if not line:
            self._process.wait()
            self._errors.seek(0)
            raise MissingError(last_words(self._errors.read()))
        found: dict[str, Any] = json.loads(line)
        return found

    def turn(self, seconds: float) -> dict[str, Any]:
        """Let it run for so many seconds; what it measured.

        Raises:
            MissingError: it ended, or did not answer.
        """
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(f"{seconds}\n")
            self._process.stdin.flush()
        except OSError:
            return self._answer(0)  # it has ended: its last words are the reason
        return self._answer(ANSWER_S)

    @property
    def rss_mb(self) -> float:
        """Its resident memory now, MB."""
        try:
            text = Path(f"/proc/{self._process.pid}/status").read_text()
        except OSError:
            return 0.0
        (kb,) = (line.split()[1] for line in text.splitlines() if line.startswith("VmRSS:"))
        return int(kb) / 1024

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout, self._errors):
            if stream is not None:
                stream.close()


@dataclass
class Entry:
    """What became of a side."""

    side: Side
    worker: Worker | None = None
    why_not: str | None = None
    turns: list[list[float]] = field(default_factory=list)
    runtime: str | None = None
    rss_mb: float | None = None

    def as_row(self) -> dict[str, Any]:
        """As it stands in a row: milliseconds of a pass, or why there are none."""
        row: dict[str, Any] = {"name": self.side.name, "group": self.side.group}
        if self.why_not is not None:
            return {**row, "why_not": self.why_not}
        passes = np.concatenate([np.array(turn) for turn in self.turns])
        return {
            **row,
            "runtime": self.runtime,
            "passes": len(passes),
            "p50_ms": round(float(np.percentile(passes, 50)), 4),
            "p95_ms": round(float(np.percentile(passes, 95)), 4),
            "fps": round(1000 / float(passes.mean()), 2),
            "round_ms": [round(statistics.median(turn), 4) for turn in self.turns],
            "rss_mb": round(self.rss_mb or 0.0, 1),
        }


def say(text: str) -> None:
    """A line for who waits."""
    print(text, file=sys.stderr, flush=True)


def heat(sides: Sequence[Side], rounds: int, seconds: float) -> list[dict[str, Any]]:
    """Let sides take turns; an entry of each, in their order.

    Args:
        sides: what is compared.
        rounds: turns of each.
        seconds: of a turn.
    """
    entries = [Entry(side) for side in sides]
    try:
        for entry in entries:
            with _reason(entry):
                entry.worker = Worker(entry.side.prepare())
                entry.runtime = entry.worker.facts["runtime"]
        for number in range(rounds):
            # each round begins with another side
            for entry in entries[number % len(entries) :] + entries[: number % len(entries)]:
                if entry.worker is not None and entry.why_not is None:
                    time.sleep(REST_S)
                    with _reason(entry):
                        entry.turns.append(entry.worker.turn(seconds)["ms"])
        for entry in entries:
            if entry.worker is not None:
                entry.rss_mb = entry.worker.rss_mb
    finally:
        for entry in entries:
            if entry.worker is not None:
                entry.worker.close()
    return [entry.as_row() for entry in entries]


@contextmanager
def _reason(entry: Entry) -> Iterator[None]:
    """Whatever a side fails with becomes its reason."""
    try:
        yield
    except MissingError as error:
        entry.why_not = str(error)
    except Exception as error:  # noqa: BLE001 - a peer's failure never stops the bench
        entry.why_not = f"{type(error).__name__}: {error}"
    if entry.why_not is not None:
        say(f"without {entry.side.name}: {entry.why_not}")


def once(target: Path, command: Callable[[Path], list[str]], patience_s: float = 600.0) -> Path:
    """A file that a command makes, unless it is there.

    Args:
        target: the file; the command writes to a neighbour of it with the same ending.
        command: from where to write to the command.
        patience_s: it may take so long.

    Raises:
        MissingError: the command failed or took too long.
    """
    if target.is_file():
        return target
    if target in _FAILED:
        raise MissingError(_FAILED[target])
    try:
        return _make(target, command, patience_s)
    except MissingError as error:
        _FAILED[target] = str(error)
        raise


_FAILED: dict[Path, str] = {}
"""What could not be made, and why: it is not tried again by this process."""


def _make(target: Path, command: Callable[[Path], list[str]], patience_s: float) -> Path:
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f"partial-{target.name}")
    say(f"making {target.name}")
    try:
        done = subprocess.run(
            command(partial),
            env=clean_environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=patience_s,
        )
    except subprocess.TimeoutExpired:
        raise MissingError(f"{target.name} was not made in {patience_s:g} s") from None
    if done.returncode != 0 or not partial.is_file():
        raise MissingError(f"{target.name}: {last_words(done.stdout)}")
    if target.suffix == ".xml":  # its weights lie beside it
        partial.with_suffix(".bin").replace(target.with_suffix(".bin"))
    partial.replace(target)
    return target
