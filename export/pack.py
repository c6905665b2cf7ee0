"""A finished run to a certified bundle: calibrate, try every scheme, choose, seal, replay."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from export.calibrate import calibration_hash, choose_stratified
from export.candidates import Candidate, Trial, choose
from export.fit_decision import expected_cost, per_thousand
from export.golden import choose_golden
from export.metadata import with_metadata
from export.papers import facts_of, predictor_of
from export.parity import agreement
from export.targets import compile_for, schemes_for
from qc.bundle import open_bundle, write_bundle
from qc.console import Command
from qc.errors import FaultError
from qc.replay import require_replay
from training.evaluate import Outputs, measure, overlay_range, run_keras, run_predictor, verdicts
from training.pipeline import Images, Progress, load_images
from training.run import RunPlan
from training.steps import load_model

_NOISY = ("latency_ms", "cpu_latency_ms")
"""What no two runs measure alike: the same run gives the same bytes without it."""


def export_run(
    plan: RunPlan,
    out: Path | None,
    running: Command,
    *,
    target: str = "cpu",
    qat: bool = False,
) -> dict[str, Any]:
    """Export a run to a bundle.

    Args:
        plan: a finished run.
        out: the bundle; `<run>/<name>.tflite` where None, with the target's name where it is not
            the CPU.
        running: opens progress bars; hides what the converters print unless it is verbose.
        target: a key of `export.targets.SCHEMES`.
        qat: where int8 fails the gate, fine-tune under simulated quantisation.

    Returns:
        The keys of `qc export --json`; where the gate fails, no bundle is written.

    Raises:
        UsageError: the target is not known, or cannot run the scheme that the recipe wants.
        GateError: VAL cannot carry thresholds or golden inputs.
        FaultError: the run's model cannot be read, or the bundle not written.
    """
    recipe, good = plan.recipe, plan.recipe.data.good
    schemes = schemes_for(target, recipe.export.scheme)
    name = recipe.name if target == "cpu" else f"{recipe.name}-{target}"
    path = out or plan.path / f"{name}.tflite"
    with running.step("load the model") as tell:
        model = load_model(plan)
        tell(1, 1)
    chosen_ids = choose_stratified(
        plan.of_split("train"), recipe.export.calibration_images, recipe.seed
    )
    with running.step("read images") as tell:
        calibration = load_images(chosen_ids, plan.classes, good, plan.preprocess, tell)
    with running.step("read VAL") as tell:
        val = load_images(plan.of_split("val"), plan.classes, good, plan.preprocess, tell)
    with running.step("float on VAL") as tell:
        exact = run_keras(model, val.pixels, tell)
    fine_tune = None
    if qat:
        from export.qat import fine_tuner

        fine_tune = fine_tuner(plan, model, val)
    with running.bar("candidates") as bar:
        trial = Trial(
            plan,
            model,
            exact,
            calibration.pixels,
            calibration_hash(chosen_ids),
            val,
            target,
            bar,
            quiet=not running.verbose,
        )
        tried = trial.run(schemes, fine_tune)
    gate = [c.row["why_not"] for c in tried]
    chosen = choose(tried, target, recipe.export.scheme)
    result = {
        "bundle": None if chosen is None else str(path),
        "target": target,
        "gate": "fail" if chosen is None else "pass",
        "chosen": None if chosen is None else chosen.row["scheme"],
        "candidates": [c.row for c in tried],
        "worst_layers": [
            {"layer": layer.name, "score_change": round(layer.change, 4)} for layer in trial.worst
        ],
        "noise_agreement": trial.noise_agreement,
    }
    if chosen is None:
        return result
    stable = [
        {k: v for k, v in {**c.row, "why_not": why}.items() if k not in _NOISY}
        for c, why in zip(tried, gate, strict=True)
    ]
    with running.step("seal") as tell:
        said = _seal(path, trial, chosen, stable, tell)
        compiled = compile_for(target, open_bundle(path).model)
    if compiled is not None:
        said["compiled"] = str(_write(path.with_name(f"{path.stem}.vela.tflite"), compiled))
    return {**result, **said}


def _seal(
    path: Path,
    trial: Trial,
    chosen: Candidate,
    rows: list[dict[str, Any]],
    tell: Progress,
) -> dict[str, Any]:
    """Write the chosen candidate's bundle, open it again and replay it; what is said of it."""
    plan, val, exact = trial.plan, trial.val, trial.exact
    converted, bundle, outputs, decision = (
        chosen.converted,
        chosen.bundle,
        chosen.outputs,
        chosen.decision,
    )
    assert converted and bundle and outputs and decision  # it has passed the gate
    recipe, classes, good = plan.recipe, plan.classes, plan.recipe.data.good
    plain = run_predictor(predictor_of(bundle, delegate=False), val.pixels, tell)
    golden, tolerance = choose_golden(
        val,
        outputs,
        plain,
        decision,
        classes=classes,
        good=good,
        count=recipe.export.golden_images,
        seed=recipe.seed,
        where=plan.path,
    )
    named: dict[str, Any] = {"classes": classes, "good": good, "task": recipe.model.task}
    report = {
        "val": measure(val, outputs, split="val", decision=decision, **named),
        "val_float": measure(val, exact, split="val", decision=decision, **named),
        "calibration": _calibration(val, outputs, decision.temperature, named),
        "agreement": chosen.row["agreement"],
        "candidates": rows,
    }
    facts = facts_of(plan, converted, trial.target, trial.calibration_hash)
    facts["decision"] = decision.model_dump()
    facts["overlay"] = overlay_range(outputs, val, classes.index(good))
    facts["replay_tolerance"] = tolerance
    labelled = with_metadata(
        converted.model,
        name=recipe.name,
        description=f"attention-qc: {recipe.model.task} visual inspection, {converted.scheme}",
        licence=recipe.data.licence,
        image=converted.input,
        score=converted.score,
        attention=converted.attention,
        classes=len(classes),
    )
    write_bundle(path, model=labelled, golden=golden, report=report, facts=facts)
    sealed = open_bundle(path)
    require_replay(sealed, predictor_of(sealed))
    judged = verdicts(outputs, decision, classes, good)
    others = verdicts(plain, decision, classes, good)
    chosen.row["kernel_agreement"] = agreement(judged, others)
    is_defect = val.labels != classes.index(good)
    said: dict[str, Any] = {
        "escape": decision.escape_words,
        "per_1000": per_thousand(judged, is_defect),
        "temperature": decision.temperature,
        **report["calibration"],
    }
    if recipe.decision.costs is not None:
        said["cost_per_1000"] = expected_cost(judged, is_defect, recipe.decision.costs)
    return {"decision": said}


def _calibration(
    val: Images, outputs: Outputs, temperature: float, named: dict[str, Any]
) -> dict[str, float]:
    """Expected calibration error of the quantised scores, before and after the temperature."""
    from export.temperature import tempered

    good = list(named["classes"]).index(named["good"])
    after = tempered(outputs.score, temperature, good, named["task"] != "multiclass")
    found = {}
    for key, score in (("ece_before", outputs.score), ("ece_after", after)):
        figures = measure(val, Outputs(score, None), split="val", decision=None, **named)
        found[key] = round(float(figures["calibration"]["ece"]), 4)
    return found


def _write(path: Path, data: bytes) -> Path:
    partial = path.with_name(path.name + ".partial")
    try:
        partial.write_bytes(data)
        partial.replace(path)
    except OSError as error:
        raise FaultError("the compiled model cannot be written", where=path, found=error) from error
    return path
