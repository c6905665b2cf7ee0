"""`qc verify`, `qc show` and the station's occluder: nothing here needs TensorFlow or Keras."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.markup import escape
from rich.table import Table

from edge.occlusion import Occluder
from edge.predictors.litert import LiteRTPredictor
from qc.bundle import Bundle, open_bundle
from qc.card import signer_words, threshold_words
from qc.console import Command
from qc.errors import GateError, UsageError
from qc.replay import replay, require_replay
from qc.signature import open_trusted

_NO_MAP = "no map: this model does not say where it looked; qc inspect --occlusion draws one\n"


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
    running.show(table)
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
