"""`qc inspect`: verdicts, and overlays of the flagged parts, for files and folders.

What stands between its start and its first verdict is waited for each time: what a start does not
need is imported where it is used. Nothing here needs TensorFlow or Keras.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.markup import escape

from edge.inspect import inspect_frame, overlay_of
from edge.picture_files import files, read_frame
from edge.predictors.litert import LiteRTPredictor
from qc.bundle import Bundle
from qc.console import Command, stderr
from qc.errors import FaultError, UsageError, printable
from qc.imageio import write_png
from qc.replay import Predictor, require_replay
from qc.signature import open_trusted
from qc.types import FloatArray, Inspection, Verdict

_MAX_NAME = 50
"""Characters of a part's name in a file name: a file name has 255 bytes, a character up to four."""

_STYLE = {
    Verdict.OK: "green",
    Verdict.NG: "red",
    Verdict.REVIEW: "yellow",
    Verdict.FAULT: "magenta",
}


def inspect(
    running: Command,
    path: Path,
    paths: list[Path],
    out: Path | None,
    keys: Sequence[Path] = (),
    *,
    occlusion: bool = False,
) -> None:
    """Judge files and folders; overlays of the flagged parts go to `out`.

    With `occlusion` a model without a map is asked again with places hidden, and that is drawn.
    """
    if occlusion and out is None:
        raise UsageError("--occlusion draws overlays", expected="--out with a folder for them")
    bundle = open_trusted(path, keys)
    predictor = LiteRTPredictor(bundle)
    require_replay(bundle, predictor)
    found: list[dict[str, Any]] = []
    counts: Counter[str] = Counter({str(v): 0 for v in Verdict})
    if occlusion and bundle.manifest.attention is not None:
        running.say("this model has a map of its own: that is drawn, not an occlusion map")
        occlusion = False
    for number, file in enumerate(files(paths), start=1):
        name = printable(file.as_posix())
        frame = read_frame(file, frame_id=name, source_id="inspect")
        inspection = inspect_frame(frame, bundle, predictor)
        hidden = _hidden(inspection, bundle, predictor) if occlusion else None
        overlay = None if out is None else _write_overlay(inspection, bundle, out, number, hidden)
        row = _row(file, inspection, bundle, overlay)
        if overlay is not None:
            own = inspection.prediction is not None and bundle.manifest.attention is not None
            row["map"] = "model" if own else None if hidden is None else "occlusion"
        found.append(row)
        counts[row["verdict"]] += 1
        style = _STYLE[inspection.verdict]
        stderr.print(f"[{style}]{row['verdict']:<6}[/] {escape(name)}: {escape(row['reason'])}")
    running.result({"bundle": str(path), "images": found, "counts": dict(counts)})
    running.say("  ".join(f"{name} {n}" for name, n in counts.items()))


def _hidden(inspection: Inspection, bundle: Bundle, predictor: Predictor) -> FloatArray | None:
    """The occlusion map of a flagged part; None of one that is OK or was not measured."""
    image, name = inspection.image, inspection.defect_class
    if inspection.verdict is Verdict.OK or image is None or name is None:
        return None
    from edge.occlusion import occlusion_map

    return occlusion_map(predictor, bundle.manifest, image, name)


def _write_overlay(
    inspection: Inspection,
    bundle: Bundle,
    out: Path,
    number: int,
    hidden: FloatArray | None = None,
) -> Path | None:
    if inspection.verdict is Verdict.OK:
        return None
    overlay = overlay_of(inspection, bundle.manifest, hidden)
    if overlay is None:
        return None
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FaultError("the folder cannot be made", where=out, found=error.strerror) from error
    part = re.sub(r"[\x00-\x1f/\\]+", "-", inspection.part_id or "part")[:_MAX_NAME]
    file = out / f"{number:04d}_{part}_{inspection.verdict}.png"
    write_png(file, overlay)
    return file


def _row(
    file: Path, inspection: Inspection, bundle: Bundle, overlay: Path | None
) -> dict[str, Any]:
    prediction = inspection.prediction
    names = bundle.manifest.class_names
    return {
        "path": printable(str(file)),
        "verdict": str(inspection.verdict),
        "reason": inspection.reason,
        "class": inspection.defect_class,
        "score": None
        if prediction is None
        else {n: round(float(p), 4) for n, p in zip(names, prediction.score, strict=True)},
        "infer_ms": inspection.timings_ms.get("infer"),
        "overlay": None if overlay is None else str(overlay),
    }
