"""What a target can run, and what a model costs there: measured, or estimated by its own tools.

`cpu` is the LiteRT runtime of this machine. The Ethos-U NPUs are estimated by Arm's compiler
`ethos-u-vela`, a microcontroller by the interpreter of `tflite-micro`; neither is a measurement on
a chip, and both say what does not fit at all.
"""

from __future__ import annotations

import csv
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from qc.bundle import Bundle
from qc.errors import FaultError, GateError, UsageError
from qc.quiet import quiet_stderr
from qc.replay import Predictor

SCHEMES: dict[str, tuple[str, ...]] = {
    "cpu": ("int8", "mixed", "dynamic", "float16", "float32"),
    "ethos-u55-128": ("int8",),
    "ethos-u85-256": ("int8",),
    "mcu": ("int8", "float32"),
}
"""Target -> what it can run, the smallest first; on a tie the earlier one is taken."""

_ROUNDS = 40
_VELA_SECONDS = 300


def schemes_for(target: str, wanted: str) -> tuple[str, ...]:
    """The schemes to build.

    Raises:
        UsageError: no such target, its tool is not installed, or it cannot run the scheme wanted.
    """
    if target not in SCHEMES:
        raise UsageError(
            "no such target", expected=" or ".join(SCHEMES), found=repr(target), where="--target"
        )
    package = {"cpu": "", "mcu": "tflite_micro"}.get(target, "ethosu")
    if package and find_spec(package) is None:
        raise UsageError(
            f"target {target} needs {'tflite-micro' if target == 'mcu' else 'ethos-u-vela'}",
            expected="pip install 'attention-qc[targets]'",
            found=f"no {package}",
            where="--target",
        )
    legal = SCHEMES[target]
    if wanted != "auto" and wanted not in legal:
        raise UsageError(
            f"target {target} cannot run export.scheme = {wanted!r}",
            expected=" or ".join(("auto", *legal)),
            found=wanted,
        )
    return legal if wanted == "auto" else (wanted,)


def latencies(predictors: Sequence[Predictor], image: np.ndarray) -> list[float]:
    """Shortest duration of one pass of each, ms.

    The models take turns, so that what else the machine does meets all of them alike. It can only
    lengthen a pass, and a long one more often than a short one: a median under load would make a
    slow model look slower than it is.
    """
    spent: list[list[float]] = [[] for _ in predictors]
    for _ in range(_ROUNDS):
        for times, predictor in zip(spent, predictors, strict=True):
            times.append(predictor.predict(image).infer_ns / 1e6)
    return [min(times) for times in spent]


def cost_on(target: str, bundle: Bundle) -> dict[str, Any]:
    """What its own tool says of a model on an NPU or a microcontroller; nothing for `cpu`.

    Returns:
        Ethos-U: cycles, latency_ms, sram_kb and npu_share, the share of the operations that the NPU
        runs. mcu: arena_bytes.

    Raises:
        GateError: the target cannot run the model.
    """
    if target == "cpu":
        return {}
    return _micro(bundle.model) if target == "mcu" else _vela(target, bundle.model)[0]


def compile_for(target: str, model: bytes) -> bytes | None:
    """What an Ethos-U runs: the model with its NPU commands; None for other targets."""
    return _vela(target, model)[1] if target.startswith("ethos") else None


def _vela(target: str, model: bytes) -> tuple[dict[str, Any], bytes]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "model.tflite").write_bytes(model)
        command = [sys.executable, "-m", "ethosu.vela", str(folder / "model.tflite")]
        command += ["--accelerator-config", target, "--output-dir", name]
        try:
            ran = subprocess.run(
                command, capture_output=True, text=True, timeout=_VELA_SECONDS, check=False
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise FaultError("ethos-u-vela did not finish", found=error) from error
        tables = list(folder.glob("*_summary_*.csv"))
        compiled = folder / "model_vela.tflite"
        if ran.returncode or not tables or not compiled.exists():
            lines = (ran.stdout + ran.stderr).strip().splitlines() or ["nothing said"]
            raise GateError(f"{target} cannot run the model", found=lines[-1][:200])
        with tables[0].open(newline="") as file:
            row = next(csv.DictReader(file))
        share = re.search(r"NPU operators = \d+ \(([\d.]+)%\)", ran.stdout)
        return {
            "cycles": int(float(row["cycles_total"])),
            "latency_ms": round(1000 * float(row["inference_time"]), 4),
            "sram_kb": float(row["sram_memory_used"]),
            "npu_share": None if share is None else float(share[1]) / 100,
        }, compiled.read_bytes()


def _micro(model: bytes) -> dict[str, Any]:
    from tflite_micro.python.tflite_micro import runtime

    failure = None
    with quiet_stderr() as printed:
        try:
            runtime.Interpreter.from_bytes(model).print_allocations()
        except RuntimeError as error:
            failure = error
    if failure is not None:
        lines = [line for line in printed.text.splitlines() if line.strip()]
        raise GateError("tflite-micro cannot run the model", found=" ".join(lines)[-200:])
    size = re.search(r"Arena allocation total (\d+) bytes", printed.text)
    if size is None:
        raise FaultError("tflite-micro does not say what it needs", found=printed.text[:200])
    return {"arena_bytes": int(size[1])}
