"""`qc verify`, `qc show` and `qc inspect`: nothing here needs TensorFlow or Keras."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.markup import escape
from rich.table import Table

from edge.inspect import inspect_frame, overlay_of
from edge.occlusion import Occluder, occlusion_map
from edge.predictors.litert import LiteRTPredictor
from edge.sources.folder import files, read_frame
from qc.bundle import Bundle, open_bundle
from qc.card import signer_words, threshold_words
from qc.console import Command, stderr
from qc.errors import FaultError, GateError, UsageError, printable
from qc.imageio import write_png
from qc.replay import Predictor, replay, require_replay
from qc.signature import require_signature
from qc.types import FloatArray, Inspection, Verdict

_MAX_NAME = 50
"""Characters of a part's name in a file name: a file name has 255 bytes, a character up to four."""

_STYLE = {
    Verdict.OK: "green",
    Verdict.NG: "red",
    Verdict.REVIEW: "yellow",
    Verdict.FAULT: "magenta",
}


_NO_MAP = "no map: this model does not say where it looked; qc inspect --occlusion draws one\n"


def open_trusted(path: Path, keys: Sequence[Path]) -> Bundle:
    """Open a bundle; where keys are named, one of them must have signed it."""
    bundle = open_bundle(path)
    if keys:
        require_signature(bundle, keys)
    return bundle


def _signed_by(bundle: Bundle) -> str | None:
    return None if bundle.signature is None else bundle.signature.key_id


def verify(running: Command, path: Path, keys: Sequence[Path] = ()) -> None:
    """Open a bundle, which checks its bytes, and replay its golden inputs."""
    bundle = open_trusted(path, keys)
    predictor = LiteRTPredictor(bundle)
    outcome = replay(bundle, predictor)
    running.result(
        {
            "bundle": str(path),
            "ok": outcome.ok,
            "runtime": predictor.runtime,
            "golden": {
                "n": outcome.n,
                "verdict_flips": outcome.verdict_flips,
                "max_score_error": outcome.max_score_error,
                "max_map_error": outcome.max_map_error,
                "score_tolerance": outcome.tolerance,
            },
            "signed_by": _signed_by(bundle),
            "signature_checked": bool(keys),
        }
    )
    running.say(
        f"{path.name} {bundle.manifest.bundle_id}: every byte as sealed; on {predictor.runtime} "
        f"{outcome.verdict_flips} of {outcome.n} golden verdicts differ, "
        f"largest score error {outcome.max_score_error:.4f} of {outcome.tolerance:.4f} allowed"
    )
    running.say(
        f"signed by key {_signed_by(bundle)}: the signature fits" if keys else signer_words(bundle)
    )
    if not outcome.ok:
        raise GateError(
            f"the bundle does not replay on {predictor.runtime}",
            where=path,
            expected=outcome.expected,
            found=outcome.found,
        )


def show(running: Command, path: Path) -> None:
    """Print the manifest of a bundle."""
    bundle = open_bundle(path)
    manifest = bundle.manifest
    running.result(manifest.model_dump(mode="json") | {"signed_by": _signed_by(bundle)})
    table = Table(title=f"{manifest.name} {manifest.bundle_id}", title_justify="left")
    for column in ("class", "severity", "OK below", "NG from"):
        table.add_column(column)
    for spec in manifest.classes:
        low = manifest.decision.ok_below.get(spec.name)
        high = manifest.decision.ng_above.get(spec.name)
        table.add_row(
            escape(spec.name),
            spec.severity,
            "" if low is None else f"{low:.3f}",
            "" if high is None else f"{high:.3f}",
        )
    stderr.print(table)
    made, height, width = manifest.provenance, *manifest.preprocess.size_hw
    running.say(
        f"{manifest.task}, input {height} x {width} {manifest.preprocess.colour}, "
        f"model {manifest.model_bytes} bytes, target {manifest.target}\n"
        f"{'' if manifest.attention else _NO_MAP}"
        f"thresholds: {threshold_words(bundle)}\n"
        f"recipe {made.recipe_hash[:12]}, split {made.split_hash[:12]}, calibration "
        f"{made.calibration_hash[:12]}, dataset {made.dataset}, seed {made.seed}, "
        f"commit {made.commit[:12]}\n"
        f"data licence: {manifest.data_licence}\n{signer_words(bundle)}"
    )


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


def occluder(path: Path, keys: Sequence[Path] = ()) -> Occluder:
    """What draws occlusion maps for the station, where a bundle has no map of its own.

    Raises:
        BundleError: not a whole bundle, or one that does not replay here.
        UsageError: the bundle has a map.
    """
    bundle = open_trusted(path, keys)
    if bundle.manifest.attention is not None:
        raise UsageError(
            "this bundle has a map of its own, which the journal holds",
            where=path,
            expected="--bundle for one without a map",
        )
    require_replay(bundle, LiteRTPredictor(bundle))
    return Occluder(bundle.manifest, lambda: LiteRTPredictor(bundle))


def _hidden(inspection: Inspection, bundle: Bundle, predictor: Predictor) -> FloatArray | None:
    """The occlusion map of a flagged part; None of one that is OK or was not measured."""
    image, name = inspection.image, inspection.defect_class
    if inspection.verdict is Verdict.OK or image is None or name is None:
        return None
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
