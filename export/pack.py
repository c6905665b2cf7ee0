"""A finished run to a certified bundle: calibrate, convert, set thresholds, compare, seal."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np

from export.calibrate import calibration_hash, choose_stratified
from export.convert import Converted, to_int8
from export.cost import cost
from export.fit_decision import fit_decision, per_thousand
from export.parity import candidate, compare, why_not
from qc import plugins
from qc.bundle import Bundle, Golden, open_bundle, write_bundle
from qc.decide import DecisionSpec, defect_scores
from qc.errors import GateError
from qc.manifest import SCORE_TOLERANCE, SEALED_PARTS, Manifest
from qc.replay import Predictor, require_replay
from training.evaluate import Outputs, measure, run_keras, run_predictor, verdicts
from training.pipeline import Images, Progress, load_images
from training.run import RunPlan, library_versions
from training.split import group_of
from training.steps import load_model

Steps = Callable[[str], AbstractContextManager[Progress]]
"""Opens a named progress bar."""

_SPREAD = 8 / 256
"""Golden inputs are images on which two kernels of int8 differ by no more than this."""


def export_run(
    plan: RunPlan, out: Path | None, steps: Steps, *, quiet: bool = True
) -> dict[str, Any]:
    """Export a run to a bundle.

    Args:
        plan: a finished run.
        out: the bundle; `<run>/<name>.tflite` where None.
        steps: opens progress bars.
        quiet: hide what the converter prints.

    Returns:
        The keys of `qc export --json`; where the gate fails, no bundle is written.

    Raises:
        GateError: the graph is not all int8, or VAL cannot carry thresholds or golden inputs.
        FaultError: the run's model cannot be read, or the conversion failed.
    """
    recipe, classes = plan.recipe, plan.classes
    good = recipe.data.good
    path = out or plan.path / f"{recipe.name}.tflite"
    model = load_model(plan)
    chosen = choose_stratified(
        plan.of_split("train"), recipe.export.calibration_images, recipe.seed
    )
    with steps("read images") as tell:
        calibration = load_images(chosen, classes, good, plan.preprocess, tell)
    with steps("read VAL") as tell:
        val = load_images(plan.of_split("val"), classes, good, plan.preprocess, tell)
    with steps("quantise") as tell:
        converted = to_int8(model, calibration.pixels, progress=tell, quiet=quiet)
    facts = _facts(plan, converted, calibration_hash(chosen))
    draft = _draft(path, converted, facts)
    with steps("float on VAL") as tell:
        exact = run_keras(model, val.pixels, tell)
    with steps("int8 on VAL") as tell:
        outputs = run_predictor(_predictor(draft), val.pixels, tell)
    with steps("int8, own kernels") as tell:
        plain = run_predictor(_predictor(draft, delegate=False), val.pixels, tell)
    is_defect = val.labels != classes.index(good)
    decision = fit_decision(
        defect_scores(outputs.score, classes.index(good)),
        is_defect,
        defects=classes[1:],
        max_escape=recipe.decision.max_escape,
        max_overkill=recipe.decision.max_overkill,
        groups=[group_of(s) for s in val.samples],
        confidence=recipe.decision.confidence,
    )
    judged = verdicts(outputs, decision, classes, good)
    said = {"escape": decision.escape_words, "per_1000": per_thousand(judged, is_defect)}
    facts["decision"] = decision.model_dump()
    facts["overlay"] = _overlay_range(outputs, val, classes.index(good))
    parity = compare(val.labels, exact, outputs, decision=decision, classes=classes, good=good)
    reason = why_not(parity, recipe.export)
    row = candidate(
        "int8",
        len(converted.model),
        float(np.median(outputs.infer_ms)),
        **parity,
        kernel_agreement=_same_verdicts(outputs, plain, decision, plan),
        **cost(converted.model),
        why_not=reason,
    )
    if reason is not None:
        return {**_result(None, row), "decision": said}
    named = {"split": "val", "classes": classes, "good": good, "decision": decision}
    report = {
        "val_int8": measure(val, outputs, **named, task=recipe.model.task),
        "val_float": measure(val, exact, **named, task=recipe.model.task),
        "candidates": [_stable(row)],
    }
    golden, tolerance = _golden(val, outputs, plain, decision, plan)
    facts["replay_tolerance"] = tolerance
    write_bundle(path, model=converted.model, golden=golden, report=report, facts=facts)
    sealed = open_bundle(path)
    require_replay(sealed, _predictor(sealed))
    return {**_result(path, row), "decision": said}


def _same_verdicts(first: Outputs, second: Outputs, decision: DecisionSpec, plan: RunPlan) -> float:
    """Share of equal verdicts."""
    judged = [verdicts(o, decision, plan.classes, plan.recipe.data.good) for o in (first, second)]
    return float(np.mean([a is b for a, b in zip(*judged, strict=True)]))


def _result(path: Path | None, row: dict[str, Any]) -> dict[str, Any]:
    passed = path is not None
    return {
        "bundle": str(path) if passed else None,
        "target": "cpu",
        "gate": "pass" if passed else "fail",
        "chosen": row["scheme"] if passed else None,
        "candidates": [row],
    }


def _stable(row: dict[str, Any]) -> dict[str, Any]:
    """A candidate without its latency: the same run gives the same bytes."""
    return {key: value for key, value in row.items() if key != "latency_ms"}


def _predictor(bundle: Bundle, *, delegate: bool = True) -> Predictor:
    """The very predictor that ships; without the delegate, on the runtime's own kernels."""
    litert = plugins.resolve("predictor", "litert")
    made: Predictor = litert.LiteRTPredictor(bundle, delegate=delegate)
    return made


def _facts(plan: RunPlan, converted: Converted, calibration: str) -> dict[str, Any]:
    recipe = plan.recipe
    severity = {name: recipe.data.severity.get(name, "major") for name in plan.classes}
    severity[recipe.data.good] = "good"  # type: ignore[assignment]
    return {
        "name": recipe.name,
        "task": recipe.model.task,
        "classes": [{"name": name, "severity": severity[name]} for name in plan.classes],
        "preprocess": plan.preprocess.model_dump(),
        "input": converted.input.model_dump(),
        "score": converted.score.model_dump(),
        "attention": converted.attention.model_dump(),
        "target": "cpu",
        "provenance": {
            "recipe_hash": recipe.digest(),
            "split_hash": plan.split_hash,
            "calibration_hash": calibration,
            "dataset": recipe.data.path,
            "seed": recipe.seed,
            "commit": _commit(),
            "versions": library_versions(),
        },
        "data_licence": recipe.data.licence,
    }


def _commit() -> str:
    """Commit of the checkout this code runs from, or "none" where it was installed without one."""
    try:
        found = subprocess.run(
            ["git", "rev-parse", "HEAD"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            check=False,
            timeout=10,
        )
    except (OSError, subprocess.TimeoutExpired):
        return "none"
    return found.stdout.strip() if found.returncode == 0 else "none"


def _draft(path: Path, converted: Converted, facts: dict[str, Any]) -> Bundle:
    """The bundle before it has thresholds, so that the shipped predictor can run its model."""
    defects = [c["name"] for c in facts["classes"] if c["severity"] != "good"]
    zero = dict.fromkeys(defects, 0.0)
    manifest = Manifest.model_validate(
        {
            **facts,
            "bundle_id": "",
            "decision": {"ok_below": zero, "ng_above": zero, "max_escape": 0, "max_overkill": 0},
            "overlay": {"lo": 0.0, "hi": 1.0},
            "model_bytes": len(converted.model),
            "sha256": dict.fromkeys(SEALED_PARTS, ""),
        }
    )
    nothing = Golden(np.zeros((0,)), np.zeros((0,)), None, ())
    return Bundle(path, manifest, converted.model, nothing, {})


def _overlay_range(outputs: Outputs, val: Images, good: int) -> dict[str, float]:
    """Coldest colour: what good parts' cells hardly exceed. Hottest: the peak of a usual defect."""
    if outputs.attention is None:
        return {"lo": 0.0, "hi": 1.0}
    defects = np.delete(outputs.attention, good, axis=3).max(axis=3)
    is_defect = val.labels != good
    low = float(np.quantile(defects[~is_defect], 0.95))
    high = float(np.quantile(defects[is_defect].max(axis=(1, 2)), 0.75))
    return {"lo": round(low, 4), "hi": round(max(high, low + 1.0), 4)}


def _golden(
    val: Images, outputs: Outputs, plain: Outputs, decision: DecisionSpec, plan: RunPlan
) -> tuple[Golden, float]:
    """VAL images of every class with what int8 made of them, and the tolerance of their replay.

    They are images on which XNNPACK and the runtime's own kernels, `plain`, nearly agree, further
    away from the thresholds than that: a flip is a changed model, on either. How often the verdicts
    of the two differ on the whole of VAL stands in the report.
    """
    spread = np.abs(plain.score - outputs.score).max(axis=1)
    value = defect_scores(outputs.score, plan.classes.index(plan.recipe.data.good))
    borders = np.array([*decision.ok_below.values(), *decision.ng_above.values()])
    distance = np.abs(value[:, None] - borders).min(axis=1)
    clear = (spread <= _SPREAD) & (distance > _SPREAD + SCORE_TOLERANCE)
    rows = {s.sample_id: i for i, s in enumerate(val.samples)}
    candidates = [s for s in val.samples if clear[rows[s.sample_id]]]
    if len(candidates) < 16:
        raise GateError(
            "too few VAL images can certify the bundle",
            where=plan.path,
            expected="at least 16 clear of the thresholds, on which int8 kernels agree",
            found=len(candidates),
        )
    count, seed = plan.recipe.export.golden_images, plan.recipe.seed
    chosen = [rows[s.sample_id] for s in choose_stratified(candidates, count, seed)]
    judged = verdicts(outputs, decision, plan.classes, plan.recipe.data.good)
    golden = Golden(
        images=val.pixels[chosen],
        score=outputs.score[chosen],
        attention=None if outputs.attention is None else outputs.attention[chosen],
        verdicts=tuple(str(judged[i]) for i in chosen),
    )
    return golden, round(SCORE_TOLERANCE + float(spread[chosen].max()), 6)
