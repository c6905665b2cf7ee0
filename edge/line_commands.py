"""`qc run` and `qc line`: a line file becomes a line, and a running one is told what to do."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

from edge.codes import read_code
from edge.control import Control, ask
from edge.feed import Feed
from edge.line import Line
from edge.live import LiveServer
from edge.notify import READY, STOPPING, Heartbeat, notify
from edge.predictors.litert import LiteRTPredictor
from edge.region import Region
from edge.window import Window, require_window
from qc import plugins
from qc.bundle import Bundle
from qc.console import Command
from qc.errors import FaultError
from qc.journal import JournalWriter
from qc.linefile import HealthTable, LineFile, SourceTable, read_line
from qc.signature import open_trusted
from qc.types import Inspection

_SIGNALS = (signal.SIGINT, signal.SIGTERM)

_RESTART = (
    "when the line is started again it takes the bundle that its line file names: "
    "write this one there to keep it"
)


def run(running: Command, path: Path, *, show: bool = False) -> None:
    """Run a line file until its sources end or the process is told to stop."""
    report = run_line(running, path, show=show)
    running.result(report)
    dropped = sum(report["dropped"].values())
    running.say(
        f"captured {report['captured']} = OK {report['ok']} + NG {report['ng']} + "
        f"REVIEW {report['review']} + FAULT {report['fault']} + dropped {dropped}"
    )
    if report["p50_ms"] is not None:
        running.say(f"p50 {report['p50_ms']:.2f} ms, p99 {report['p99_ms']:.2f} ms")


def run_line(running: Command, path: Path, *, show: bool = False) -> dict[str, Any]:
    """Run a line file; the account of every frame.

    The first SIGINT or SIGTERM lets the line drain; a second one drops what still waits.

    Args:
        running: says how it goes.
        path: the line file.
        show: open a window with the last part of each source.
    """
    file = read_line(path)
    line_file = {"line_file": path.name, "line_sha256": sha256(path.read_bytes()).hexdigest()}
    if show:
        require_window()
    bundle = open_trusted(file.bundle, file.trusted_keys)
    predictor = LiteRTPredictor(bundle)
    feeds = [_feed(table) for table in file.source]
    sinks = _sinks(file, bundle)  # before the journal: a line that cannot start leaves none
    known = [len(getattr(feed.source, "files", ())) for feed in feeds]
    total = sum(known) if all(known) else None
    done = 0
    heart = Heartbeat()
    with ExitStack() as stack:
        tell = stack.enter_context(running.step("inspect"))
        journal = stack.enter_context(
            JournalWriter(
                file.journal,
                bundle.manifest,
                predictor.runtime,
                keep=file.keep,
                durability=file.durability,
            )
        )

        def count(_: Inspection) -> None:
            nonlocal done
            done += 1

        def tick() -> None:
            heart.beat()
            tell(done, total or done)

        line = Line(
            bundle,
            predictor,
            feeds,
            journal,
            policy=file.queue.policy,
            queue_size=file.queue.size,
            sinks=sinks,
            from_start=[s.id for s in file.sinks if s.begin == "start"],
            actions=file.actions,
            on_inspection=count,
            deadline_ms=file.deadline_ms,
            make_predictor=LiteRTPredictor,
            trusted_keys=file.trusted_keys,
            on_tick=tick,
            line_file=line_file,
        )
        _listen(running, stack, line, file)
        if file.health is not None:
            stack.enter_context(_page(running, line, file.health))
        if show:
            stack.enter_context(Window(line, [feed.name for feed in feeds]))
        stack.enter_context(_stopped_by_signals(line))
        notify(READY)
        started = time.monotonic()
        report = line.run()
        tell(done, total or done)
    for text in report.sink_errors:
        running.say(f"a sink did not get everything (it is all in the journal): {text}")
    return {
        **report.as_json(),
        "seconds": round(time.monotonic() - started, 3),
        "journal": str(file.journal),
        "sink_errors": list(report.sink_errors),
    }


def swap(running: Command, path: Path, bundle: Path) -> None:
    """Have the running line of a line file take over a bundle between two parts."""
    _tell_change(running, ask(read_line(path).journal, "swap", bundle))


def rollback(running: Command, path: Path) -> None:
    """Have the running line of a line file go back to the bundle before the last swap."""
    _tell_change(running, ask(read_line(path).journal, "rollback"))


def status(running: Command, path: Path) -> None:
    """What the running line of a line file says of itself."""
    told = ask(read_line(path).journal, "status")
    running.result(told)
    running.say(
        f"{told['state']}, bundle {told['bundle_id']} on {told['runtime']}; captured "
        f"{told['captured']} = OK {told['ok']} + NG {told['ng']} + REVIEW {told['review']} + FAULT "
        f"{told['fault']} + dropped {sum(told['dropped'].values())} + in flight {told['in_flight']}"
    )
    before = "; the line before did not stop" if told["before"] == "did not stop" else ""
    running.say(f"since {told['started_at']}{before}")
    for kind in ("source", "sink"):
        for one in told[f"{kind}s"]:
            why = f": {one['why']}" if one["why"] else ""
            running.say(f"{kind} {one[f'{kind}_id']} {one['state']}{why}")
    if told["images_why"]:
        running.say(f"pictures are not kept: {told['images_why']}")


def _tell_change(running: Command, told: dict[str, Any]) -> None:
    running.result({**told, "kept_at_restart": False})
    running.say(f"bundle {told['bundle_id']} judges now, in place of {told['before']}")
    running.say(_RESTART)


def _feed(table: SourceTable) -> Feed:
    make = partial(
        plugins.resolve("source", table.kind).Source, **table.arguments, source_id=table.source_id
    )
    trigger = plugins.resolve("trigger", table.trigger.kind)
    return Feed(
        source=make(),
        make=make,
        source_id=table.source_id,
        kind=table.kind,
        trigger=trigger.Trigger(**table.trigger.arguments),
        region=None if table.region is None else Region(table.region),
        read_code=read_code if table.part_id == "code" else None,
    )


def _sinks(file: LineFile, bundle: Bundle) -> dict[str, Any]:
    return {
        table.id: plugins.resolve("sink", table.kind).Sink(**table.arguments, bundle=bundle)
        for table in file.sinks
    }


def _listen(running: Command, stack: ExitStack, line: Line, file: LineFile) -> None:
    """Take requests of `qc line`; a line that cannot goes on and says so."""
    try:
        stack.enter_context(Control(line, file.journal))
    except FaultError as error:
        running.say(f"`qc line` will not reach this line: {error}")


def _page(running: Command, line: Line, health: HealthTable) -> LiveServer:
    page = LiveServer(line, health.host, health.port)
    running.say(f"the page of the line: {page.url}")
    return page


@contextmanager
def _stopped_by_signals(line: Line) -> Iterator[None]:
    told = 0

    def stop(number: int, _: object) -> None:
        nonlocal told
        told += 1
        notify(STOPPING)
        line.stop(signal.Signals(number).name, at_once=told > 1)

    before = {number: signal.signal(number, stop) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
