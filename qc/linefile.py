"""The line file: which bundle judges which source, where it is journaled, and who is told.

A line never mentions an epoch and no threshold: those are in the bundle. Paths are relative to the
folder of the line file.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from qc.errors import RecipeError, nearest
from qc.plugins import Kind, names
from qc.recipe import read_toml


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class SourceTable(_Table):
    """`[source]`: where frames come from.

    Args:
        kind: file name in edge/sources.
        path: what the source reads.
        pattern: which file names, with `*` and `?`.
    """

    kind: str
    path: Path
    pattern: str = "*"


class QueueTable(_Table):
    """`[queue]`: what happens when frames come faster than they are judged.

    Args:
        policy: "wait" holds the source back; "latest" drops the oldest frame and journals the drop.
        size: frames that may wait.
    """

    policy: Literal["wait", "latest"] = "wait"
    size: int = Field(default=8, ge=1, le=1024)


class SinkTable(_Table):
    """`[[sinks]]`: who is told after an inspection is journaled.

    Args:
        kind: file name in edge/sinks.
        path: what the sink writes.
    """

    kind: str
    path: Path


class LineFile(_Table):
    """One line.

    Args:
        bundle: the sealed `.tflite` file.
        journal: the journal file, made where it is missing.
        deadline_ms: a verdict later than this after the capture is a FAULT; None: no deadline.
        trusted_keys: files of public keys: the bundle must be signed by one of them; none named:
            it need not be signed.
    """

    bundle: Path
    journal: Path
    source: SourceTable
    queue: QueueTable = QueueTable()
    sinks: tuple[SinkTable, ...] = ()
    deadline_ms: float | None = Field(default=None, gt=0)
    trusted_keys: tuple[Path, ...] = ()


def read_line(path: Path) -> LineFile:
    """Read a line file and resolve its paths.

    Raises:
        RecipeError: not readable, not TOML, an unknown key or kind, or a value that is not legal.
    """
    line = read_toml(path, LineFile)
    _check_kind(path, "source", "source.kind", line.source.kind)
    for i, sink in enumerate(line.sinks):
        _check_kind(path, "sink", f"sinks.{i}.kind", sink.kind)
    folder = path.parent
    return line.model_copy(
        update={
            "bundle": folder / line.bundle,
            "journal": folder / line.journal,
            "source": line.source.model_copy(update={"path": folder / line.source.path}),
            "sinks": tuple(s.model_copy(update={"path": folder / s.path}) for s in line.sinks),
            "trusted_keys": tuple(folder / key for key in line.trusted_keys),
        }
    )


def _check_kind(path: Path, kind: Kind, key: str, name: str) -> None:
    legal = names(kind)
    if name not in legal:
        near = nearest(name, legal)
        raise RecipeError(
            f"key '{key}': unknown {kind} '{name}'" + (f", did you mean '{near}'?" if near else ""),
            where=path,
            expected=f"one of {', '.join(legal)}",
            found=repr(name),
        )
