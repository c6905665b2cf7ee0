"""What is to run here: a bundle, or a line file with its bundle, sources and sinks.

This loads what is native, so it comes after `packages` has tried that in other processes.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from importlib import import_module
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
        expected="" if outcome.ok else outcome.expected,
        fix="" if outcome.ok else "the runtime of the export, or export with another scheme",
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
    found.add(
        "inspection",
        "wrong" if late else "ok",
        f"p50 {p50_ms:.2f} ms, p99 {p99_ms:.2f} ms for a picture of the model's size, one thread",
        expected=f"at most the deadline of {deadline_ms:g} ms" if late else "",
        fix="a faster machine, a smaller model, or a later deadline" if late else "",
    )


def examine_line(found: Examination, file: LineFile) -> None:
    """Look at what a line file names beside its bundle; nothing is opened that another may hold."""
    status = _running(found, file)
    for source in file.source:
        _source(found, source)
    if file.health is not None:
        _page(found, file.health.host, file.health.port, runs=status)


def _running(found: Examination, file: LineFile) -> bool:
    if not control_file(file.journal).exists():
        return False
    try:
        told = ask(file.journal, "status")
    except QCError:
        return False  # the socket of a line that was killed, or of another user
    found.add("line", "note", f"runs already, {told['state']}, since {told['started_at']}")
    return True


def _source(found: Examination, table: SourceTable) -> None:
    name = f"source {table.source_id}"
    try:
        resolve("source", table.kind).Source(**table.arguments, source_id=table.source_id)
        resolve("trigger", table.trigger.kind).Trigger(**table.trigger.arguments)
    except QCError as error:
        found.add(name, "wrong", str(error), expected="what the line file says")
        return
    device = table.arguments.get("device") if table.kind == "camera" else None
    path = Path(f"/dev/video{device}" if isinstance(device, int) else device or "/")
    if device is not None and not path.exists():
        found.add(name, "wrong", f"{path} is not there", expected="a camera", fix="plug it in")
        return
    found.add(name, "ok", table.kind + (f" {path}" if device is not None else ""))


def _page(found: Examination, host: str, port: int, *, runs: bool) -> None:
    lacking = [
        name for name in ("uvicorn", "starlette", "prometheus_client") if not find_spec(name)
    ]
    if lacking:
        text = f"{', '.join(lacking)} is not installed"
        found.add("page", "wrong", text, expected="the extra live", fix=install("live"))
        return
    import_module("edge.live.app")
    if runs:
        found.add("page", "ok", f"{host}:{port} is the running line's")
        return
    try:
        bound(host, port, "the page of the line").close()
    except QCError as error:
        found.add("page", "wrong", str(error), expected="a free port", fix="another [health] port")
        return
    found.add("page", "ok", f"{host}:{port} is free")
