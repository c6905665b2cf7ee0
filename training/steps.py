"""Training and evaluation of a plan: everything here needs TensorFlow."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np

from qc import plugins
from qc.bundle import Bundle
from qc.console import Command
from qc.decide import DecisionSpec
from qc.errors import BundleError, FaultError
from qc.metrics import share_interval
from qc.replay import require_replay
from training import devices, shared
from training.evaluate import Outputs, measure, overlay_range, run_keras, run_predictor
from training.faithfulness import faithfulness
from training.fit import fit
from training.judged import Judged, Run
from training.model import build_model
from training.pipeline import Images, load_images
from training.predictions import write_predictions
from training.randomise import random_flatbuffer, random_model
from training.run import RunPlan, alone, finish_run, start_run


def read_split(
    plan: RunPlan, split: str, running: Command, empty: Callable[..., np.ndarray] = np.empty
) -> Images:
    """Decode one split, with a progress bar; `empty` as for `load_images`."""
    good = plan.recipe.data.good
    with running.step(f"read {split.upper()}") as tell:
        return load_images(
            plan.of_split(split), plan.classes, good, plan.preprocess, tell, empty=empty
        )


def train_plan(
    plan: RunPlan, recipe: Path, weights: Path | None, *, resume: bool, running: Command
) -> None:
    """Start a run, train and finish it.

    The run directory is made once every picture is read and the model stands: where one of them
    is at fault, nothing is left that would ask for `--resume`.

    Raises:
        DataError: a picture or its mask cannot be read, or the weights do not fit.
        UsageError, FaultError: as for `training.run.start_run`.
    """
    train = read_split(plan, "train", running, shared.empty)
    val = read_split(plan, "val", running)
    table = plan.recipe.train
    strategy = devices.replicas(table, min(table.batch_size, len(train)))
    keras.utils.set_random_seed(plan.recipe.seed)
    with devices.scope(strategy), devices.precision(devices.precision_of(table)):
        model = build_model(plan.recipe.model, len(plan.classes), weights)
    start_run(plan, recipe, resume=resume)
    with alone(plan):
        with running.bar("train") as tell:
            result = fit(plan, model, train, val, resume=resume, report=tell, strategy=strategy)
        finish_run(plan, result)


def load_model(plan: RunPlan) -> keras.Model:
    """The float model a run kept.

    Raises:
        FaultError: it cannot be read.
    """
    import training.head  # noqa: F401 - registers the layer
    from qc.plugins import names, resolve

    for kind in ("backbone", "block", "pooling"):
        for name in names(kind):
            resolve(kind, name)
    try:
        return keras.models.load_model(plan.model_file, compile=False)
    except (OSError, ValueError) as error:
        raise FaultError("the run's model cannot be read", where=plan.path, found=error) from error


def judge_run(
    plan: RunPlan, split: str, running: Command, *, decision: DecisionSpec | None = None
) -> Judged:
    """What the float model of a run says of a split.

    Args:
        plan: the run.
        split: name of the split.
        running: shows the progress.
        decision: thresholds of a bundle, or None.
    """
    images = read_split(plan, split, running)
    model = load_model(plan)
    with running.step("float model") as tell:
        outputs = run_keras(model, images.pixels, tell)
    good = plan.recipe.data.good
    heat = overlay_range(outputs, images, plan.classes.index(good))

    def randomise(seed: int) -> Run:
        return partial(run_keras, random_model(model, seed))

    return Judged(
        images,
        outputs,
        split,
        plan.classes,
        good,
        plan.recipe.model.task,
        decision,
        (heat["lo"], heat["hi"]),
        partial(run_keras, model),
        randomise,
    )


def judge_bundle(plan: RunPlan, bundle: Bundle, split: str, running: Command) -> Judged:
    """What a bundle says of a split, through the predictor that ships.

    Args:
        plan: the run it was made from.
        bundle: an opened bundle.
        split: name of the split.
        running: shows the progress.

    Raises:
        BundleError: the bundle was not made from this split.
    """
    manifest = bundle.manifest
    if manifest.provenance.split_hash != plan.split_hash:
        raise BundleError(
            "the bundle was made from another split than this run: its figures would mean nothing",
            where=bundle.path,
            expected=plan.split_hash[:16],
            found=manifest.provenance.split_hash[:16],
        )
    make = plugins.resolve("predictor", "litert").LiteRTPredictor
    predictor = make(bundle)
    require_replay(bundle, predictor)
    images = read_split(plan, split, running)
    with running.step("sealed model") as tell:
        outputs = run_predictor(predictor, images.pixels, tell)

    def exact() -> Outputs:
        model = load_model(plan)
        with running.step("float model") as tell:
            return run_keras(model, images.pixels, tell)

    def randomise(seed: int) -> Run | None:
        model = random_flatbuffer(bundle.model, seed)
        return None if model is None else partial(run_predictor, make(replace(bundle, model=model)))

    return Judged(
        images,
        outputs,
        split,
        tuple(manifest.class_names),
        manifest.good,
        manifest.task,
        manifest.decision,
        (manifest.overlay.lo, manifest.overlay.hi),
        partial(run_predictor, predictor),
        randomise,
        exact if plan.model_file.exists() else None,
    )


def figures_of(
    judged: Judged, running: Command, *, faithful: bool = False, predictions: Path | None = None
) -> dict[str, Any]:
    """The keys of `qc evaluate --json`.

    Args:
        judged: a split as a model judged it.
        running: shows the progress.
        faithful: also check the map, which takes longer; else `faithfulness` is None.
        predictions: a CSV file for what the model said of each part.
    """
    named = {"classes": judged.classes, "good": judged.good, "decision": judged.decision}
    images, outputs = judged.images, judged.outputs
    figures = measure(images, outputs, split=judged.split, task=judged.task, **named)
    if predictions is not None:
        write_predictions(predictions, images, outputs, several=judged.several, **named)
    same = judged.as_float
    figures |= {
        "float_agreement": None if same is None else float(same.mean()),
        "float_agreement_ci": None if same is None else share_interval(same, judged.groups),
    }
    if not faithful:
        return {**figures, "faithfulness": None}
    with running.step("check the map") as tell:
        found = faithfulness(
            images,
            judged.good_index,
            judged.run,
            judged.randomise,
            several=judged.several,
            progress=tell,
        )
    return {**figures, "faithfulness": found}


def evaluate_run(
    plan: RunPlan, split: str, running: Command, *, decision: DecisionSpec | None = None
) -> dict[str, Any]:
    """Figures of the float model; with a bundle's thresholds also escape, overkill and review."""
    return figures_of(judge_run(plan, split, running, decision=decision), running)


def evaluate_bundle(plan: RunPlan, bundle: Bundle, split: str, running: Command) -> dict[str, Any]:
    """Figures of a bundle, through the predictor that ships."""
    return figures_of(judge_bundle(plan, bundle, split, running), running)
