"""What is to run here: a bundle, or a line file with its bundle, sources and sinks.

This loads what is native, so it comes after `packages` has tried that in other processes.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from edge.control import ask, control_file
from edge.doctor.checks import Examination
from edge.doctor.packages import install
from edge.inspect import inspect_frame
from edge.listening import bound
from edge.predictors.litert import LiteRTPredictor
from qc.bundle import Bundle, open_bundle
from qc.errors import QCError
from qc.linefile import LineFile, SourceTable
from qc.plugins import resolve
from qc.replay import replay
from qc.signature import require_signature
from qc.types import Frame, utc_now

_SERVING = ("uvicorn", "starlette", "prometheus_client")
"""What the extra live brings."""

INSPECTIONS = 200
"""Inspections that are timed; fewer where they take more than two seconds."""


def examine_bundle(
    found: Examination, path: Path, keys: Sequence[Path], deadline_ms: float | None = None
) -> None:
    """Open a bundle, replay its golden inputs, and time inspections of them.

    Args:
        found: where it is noted.
        path: the bundle.
        keys: where any are named, one of them must have signed it.
        deadline_ms: of the line; None: it has none.
    """
    facts: dict[str, Any] = {"path": str(path)}
    found.facts["bundle"] = facts
    try:
        bundle = open_bundle(path)
        if keys:
            require_signature(bundle, keys)
        signed = (
            "not signed" if bundle.signature is None else f"signed by {bundle.signature.key_id}"
        )
        facts["bundle_id"] = bundle.manifest.bundle_id
        checked = ", which fits" if keys else ""
        found.add("bundle", "ok", f"{path.name} {bundle.manifest.bundle_id}, {signed}{checked}")
    except QCError as error:
        found.add(
            "bundle",
            "wrong",
            str(error),
            expected="a bundle as it was sealed",
            fix="take it from who exported it",
        )
        return
    try:
        predictor = LiteRTPredictor(bundle)
        outcome = replay(bundle, predictor)
    except QCError as error:
        found.add("golden inputs", "wrong", str(error), expected="that they are judged as sealed")
        return
    facts |= {"golden": outcome.n, "verdict_flips": outcome.verdict_flips}
    found.add(
        "golden inputs",
        "ok" if outcome.ok else "wrong",
        f"{outcome.found} on {predictor.runtime}",
        expected=outcome.expected,
        fix="the runtime of the export, or export with another scheme",
    )
    _time(found, bundle, predictor, deadline_ms, facts)


def _time(
    found: Examination,
    bundle: Bundle,
    predictor: LiteRTPredictor,
    deadline_ms: float | None,
    facts: dict[str, Any],
) -> None:
    images = bundle.golden.images
    times: list[float] = []
    until = time.monotonic() + 2
    while len(times) < INSPECTIONS and (len(times) < 3 or time.monotonic() < until):
        image = images[len(times) % len(images)]
        frame = Frame(image, "golden", "doctor", utc_now(), time.monotonic_ns())
        times.append(inspect_frame(frame, bundle, predictor).timings_ms["total"])
    p50_ms, p99_ms = (float(p) for p in np.percentile(times, (50, 99)))
    facts |= {"p50_ms": round(p50_ms, 3), "p99_ms": round(p99_ms, 3)}
    late = deadline_ms is not None and p99_ms > deadline_ms
    all_late = deadline_ms is not None and p50_ms > deadline_ms
    found.add(
        "inspection",
        "wrong" if all_late else "warning" if late else "ok",
        f"p50 {p50_ms:.2f} ms, p99 {p99_ms:.2f} ms for a picture of the model's size, one thread",
        expected=f"at most the deadline of {deadline_ms:g} ms" if late else "",
        fix="a faster machine, a smaller model, or a later deadline",
    )


def examine_line(found: Examination, file: LineFile) -> None:
    """Look at what a line file names beside its bundle; nothing is opened that another may hold."""
    runs = _runs(found, file)
    for source in file.source:
        name = f"source {source.source_id}"
        _source(found, name, source)
        for table in (source, source.trigger):
            if {"host", "port"} <= table.arguments.keys():
                _served(found, f"port of {name}", table.arguments, runs)
    if file.health is not None:
        _served(found, "page", file.health.model_dump(), runs)


def _runs(found: Examination, file: LineFile) -> bool:
    """Whether a line writes this journal already."""
    if not control_file(file.journal).exists():
        return False
    try:
        told = ask(file.journal, "status")
    except QCError:
        return False  # the socket of a line that was killed, or of another user
    found.add("line", "note", f"runs already, {told['state']}, since {told['started_at']}")
    return True


def _source(found: Examination, name: str, table: SourceTable) -> None:
    try:
        resolve("source", table.kind).Source(**table.arguments, source_id=table.source_id)
        resolve("trigger", table.trigger.kind).Trigger(**table.trigger.arguments)
    except QCError as error:
        found.add(name, "wrong", str(error), expected="what the line file says")
        return
    device = table.arguments.get("device") if table.kind == "camera" else None
    path = Path(f"/dev/video{device}" if isinstance(device, int) else device or "/")
    if not path.exists():
        found.add(name, "wrong", f"{path} is not there", expected="a camera", fix="plug it in")
        return
    found.add(name, "ok", table.kind + (f" {path}" if device is not None else ""))


def _served(found: Examination, name: str, told: Mapping[str, Any], runs: bool) -> None:
    """Whether something can be served at host and port."""
    place = f"{told['host']}:{told['port']}"
    lacking = [module for module in _SERVING if find_spec(module) is None]
    if lacking:
        found.add(
            name,
            "wrong",
            f"{place} cannot be served without {', '.join(lacking)}",
            expected="the extra live",
            fix=install("live"),
        )
        return
    if runs:
        found.add(name, "ok", f"{place} is the running line's")
        return
    try:
        bound(told["host"], told["port"], "the line").close()
    except QCError as error:
        fix = "another port in the line file"
        found.add(name, "wrong", str(error), expected="a free port", fix=fix)
        return
    found.add(name, "ok", f"{place} is free")
