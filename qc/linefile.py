"""The line file: which bundle judges which source, where it is journaled, and who is told.

A line never mentions an epoch and no threshold: those are in the bundle. Paths are relative to the
folder of the line file. What a source, trigger or sink can be told beyond its common keys is the
`Options` table of its own file, so that a new one needs no change here.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from qc.errors import RecipeError, nearest
from qc.plugins import Kind, names, resolve
from qc.tables import Table, read_table, read_toml


class PluginTable(BaseModel):
    """A table that names a plugin; keys that are not common to all are the plugin's own.

    Args:
        kind: file name of the plugin.
        options: the plugin's own keys, checked by its `Options`; set by `read_line`.
    """

    model_config = ConfigDict(extra="allow", frozen=True)

    kind: str
    options: BaseModel = Table()

    @property
    def arguments(self) -> dict[str, Any]:
        """The plugin's own keys as keyword arguments."""
        return {name: getattr(self.options, name) for name in type(self.options).model_fields}


T = TypeVar("T", bound=PluginTable)


class TriggerTable(PluginTable):
    """`[source.trigger]`: which frames of a source show a part; kind: a file in edge/triggers."""


class SourceTable(PluginTable):
    """`[source]`, or `[[source]]` once for each of several: where frames come from.

    Args:
        kind: file name in edge/sources.
        id: the name of this source in the journal; left out: the kind.
        region: corners (x, y) of the polygon that is judged, pixels of the frame; None: all of it.
        trigger: which frames show a part.
        part_id: "source" takes what the source says (a file name, an upload); "code" reads a bar
            code or QR code in the picture.
    """

    id: str = ""
    region: tuple[tuple[float, float], ...] | None = Field(default=None, min_length=3)
    trigger: TriggerTable = TriggerTable(kind="every")
    part_id: Literal["source", "code"] = "source"

    @property
    def source_id(self) -> str:
        """The name of this source in the journal."""
        return self.id or self.kind


class SinkTable(PluginTable):
    """`[[sinks]]`: who is told after an inspection is journaled.

    Args:
        kind: file name in edge/sinks.
        id: the name of this sink, under which its progress is kept; left out: kind and number.
        begin: where a sink begins that is new: "end" with the next inspection, "start" with all
            that the journal holds.
    """

    id: str = ""
    begin: Literal["end", "start"] = "end"


class QueueTable(Table):
    """`[queue]`: what happens when frames come faster than they are judged.

    Args:
        policy: "wait" holds the source back; "latest" drops the oldest frame and journals the drop.
        size: frames that may wait.
    """

    policy: Literal["wait", "latest"] = "wait"
    size: int = Field(default=8, ge=1, le=1024)


Action = Literal["pass", "reject", "hold"]
"""What the machine behind the line is told to do with a part."""


class ActionsTable(Table):
    """`[actions]`: what is told to the sinks for each verdict; OK is always "pass".

    Args:
        ng: for parts that are defective.
        review: for parts that a person must see.
        fault: the fail-safe: for parts without a trustworthy measurement.
    """

    ng: Literal["reject", "hold"] = "reject"
    review: Action = "hold"
    fault: Literal["reject", "hold"] = "hold"


class KeepTable(Table):
    """`[keep]`: which pictures are kept beside the journal, and for how long.

    Args:
        ok_sample: share of the OK parts whose picture is kept too, drawn by chance.
        ok_days: days after which pictures of OK parts are removed; None: never. The rows stay.
        flagged_days: the same for REVIEW and FAULT.
        ng_days: the same for NG.
        max_gb: gigabytes of pictures; beyond it OK goes first, then REVIEW and FAULT, then NG, each
            from the oldest; None: no limit.
        min_free_gb: free gigabytes of the disk under which no picture is kept.
    """

    ok_sample: float = Field(default=0.0, ge=0, le=1)
    ok_days: float | None = Field(default=None, gt=0)
    flagged_days: float | None = Field(default=None, gt=0)
    ng_days: float | None = Field(default=None, gt=0)
    max_gb: float | None = Field(default=None, gt=0)
    min_free_gb: float = Field(default=0.2, ge=0)


class HealthTable(Table):
    """`[health]`: the page with the live view, `/health` and `/metrics`.

    Args:
        host: address to serve on; beyond loopback only on a network you trust.
        port: port to serve on; 0: one that is free.
    """

    host: str = "127.0.0.1"
    port: int = Field(default=8400, ge=0, le=65535)


def _one_or_several(raw: Any) -> Any:
    return (raw,) if isinstance(raw, dict) else raw


class LineFile(Table):
    """One line.

    Args:
        bundle: the sealed `.tflite` file.
        journal: the journal file, made where it is missing.
        durability: what a power cut can take: "full" no row that was told on, "normal" the rows of
            the last moments; a crash of the program takes nothing either way.
        source: `[source]` or `[[source]]`: where frames come from.
        deadline_ms: a verdict later than this after the capture is a FAULT; None: no deadline.
        trusted_keys: files of public keys: the bundle must be signed by one of them; none named:
            it need not be signed.
        queue, sinks, actions, keep: the tables of these names.
        health: the table of this name; None: nothing is served.
    """

    bundle: Path
    journal: Path
    durability: Literal["full", "normal"] = "full"
    source: Annotated[
        tuple[SourceTable, ...], BeforeValidator(_one_or_several), Field(min_length=1)
    ]
    queue: QueueTable = QueueTable()
    sinks: tuple[SinkTable, ...] = ()
    actions: ActionsTable = ActionsTable()
    keep: KeepTable = KeepTable()
    health: HealthTable | None = None
    deadline_ms: float | None = Field(default=None, gt=0)
    trusted_keys: tuple[Path, ...] = ()


def read_line(path: Path) -> LineFile:
    """Read a line file and resolve its paths.

    Raises:
        RecipeError: not readable, not TOML, an unknown key or kind, a value that is not legal, or
            two sources or sinks of one name.
        FaultError: a plugin needs a package that is not installed.
    """
    line = read_toml(path, LineFile)
    folder = path.parent
    sources = []
    for i, source in enumerate(line.source):
        at = "source." if len(line.source) == 1 else f"source.{i}."
        trigger = _with_options(path, "trigger", source.trigger, at + "trigger.")
        sources.append(
            _with_options(path, "source", source.model_copy(update={"trigger": trigger}), at)
        )
    sinks = [
        _with_options(
            path, "sink", s if s.id else s.model_copy(update={"id": f"{s.kind}-{i}"}), f"sinks.{i}."
        )
        for i, s in enumerate(line.sinks)
    ]
    _check_unique(path, "source", [s.source_id for s in sources])
    _check_unique(path, "sink", [s.id for s in sinks])
    return line.model_copy(
        update={
            "bundle": folder / line.bundle,
            "journal": folder / line.journal,
            "source": tuple(sources),
            "sinks": tuple(sinks),
            "trusted_keys": tuple(folder / key for key in line.trusted_keys),
        }
    )


def _with_options(path: Path, kind: Kind, table: T, at: str) -> T:
    """The table with the plugin's own keys checked, and their paths resolved."""
    legal = names(kind)
    if table.kind not in legal:
        near = nearest(table.kind, legal)
        raise RecipeError(
            f"key '{at}kind': unknown {kind} '{table.kind}'"
            + (f", did you mean '{near}'?" if near else ""),
            where=path,
            expected=f"one of {', '.join(legal)}",
            found=repr(table.kind),
        )
    extra = table.model_extra or {}
    options: BaseModel = read_table(extra, resolve(kind, table.kind).Options, path, at)
    values = {name: getattr(options, name) for name in type(options).model_fields}
    paths = {k: path.parent / v for k, v in values.items() if isinstance(v, Path)}
    return table.model_copy(update={"options": options.model_copy(update=paths)})


def _check_unique(path: Path, what: str, found: list[str]) -> None:
    twice = sorted({name for name in found if found.count(name) > 1})
    if twice:
        raise RecipeError(
            f"two {what}s have one name", where=path, expected="an id for each", found=twice[0]
        )
