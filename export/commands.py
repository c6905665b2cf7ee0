"""`qc export`."""

from __future__ import annotations

from pathlib import Path

from qc.console import Command
from qc.errors import GateError
from training.backend import wake
from training.run import open_run


def export(running: Command, run: Path, *, out: Path | None, data: Path | None) -> None:
    """Export a finished run to a bundle."""
    wake(quiet=not running.verbose)
    from export.pack import export_run

    found = export_run(open_run(run, data), out, running.step, quiet=not running.verbose)
    running.result(found)
    row = found["candidates"][0]
    running.say(
        f"int8: {row['bytes'] / 1024:.0f} kB, {row['latency_ms']:.2f} ms; on VAL AUROC "
        f"{row['auroc']:.3f} (float {row['auroc_float']:.3f}), "
        f"verdicts agree on {row['agreement']:.1%} with float, on {row['kernel_agreement']:.1%} "
        "between the runtimes' kernels"
    )
    if found["gate"] != "pass":
        raise GateError(f"int8 fails the gate on VAL: {row['why_not']}", where=run)
    said = found["decision"]
    running.say(f"thresholds: {said['escape']}")
    for kind, counts in said["per_1000"].items():
        judged = ", ".join(f"{n} {verdict}" for verdict, n in counts.items())
        running.say(f"of 1,000 {kind} parts as in VAL: {judged}")
    running.say(f"sealed and verified: {found['bundle']}")
