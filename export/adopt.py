"""A model made elsewhere becomes a bundle: read, ask, set thresholds, seal, replay.

Neither TensorFlow nor Keras is needed; with pictures and thresholds by hand the `edge` extra is
enough. Of the flatbuffer the metadata alone is written anew: what it said of labels would be wrong
where the bundle's own lie behind it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from export.adopt_answers import Answers, answer, by_hand_of
from export.adopt_golden import check_scores, choose_golden, counts, pictures, run, verdicts
from export.adopt_table import AdoptTable, read_labels
from export.foreign import Foreign, read_foreign, try_model
from export.metadata import with_metadata
from qc import plugins
from qc.bundle import Bundle, Golden, open_bundle, write_bundle
from qc.console import need
from qc.errors import UsageError
from qc.manifest import SEALED_PARTS, Manifest
from qc.preprocess import PreprocessSpec
from qc.recipe import DecisionTable
from qc.replay import Predictor, require_replay
from qc.tables import read_toml

Steps = Callable[[str], AbstractContextManager[Callable[[int, int], None]]]
"""Opens a named progress bar."""


@dataclass(frozen=True)
class _Job:
    """What is known before the model has run."""

    foreign: Foreign
    answers: Answers
    table: AdoptTable
    where: Path
    spec: PreprocessSpec
    facts: dict[str, Any]


def adopt_model(
    model: Path, labels: Path, told: Path | None, out: Path | None, steps: Steps
) -> dict[str, Any]:
    """Make a bundle of a TFLite classifier.

    Args:
        model: the `.tflite` file.
        labels: its classes, one a line.
        told: the TOML that says what the model does not; `export.adopt_table.AdoptTable`.
        out: the bundle; `<model>-bundle.tflite` beside the model where None.
        steps: opens progress bars.

    Returns:
        The keys of `qc adopt --json`.

    Raises:
        BundleError: not a classifier that a bundle can hold.
        DataError: the labels, pictures or dataset are wrong.
        RecipeError: a question is open, or an answer is wrong.
        GateError: nothing can be certified.
        UsageError: the bundle would overwrite the model.
    """
    path = out or model.with_name(f"{model.stem}-bundle.tflite")
    if path.resolve() == model.resolve():
        raise UsageError(
            "the bundle would overwrite the model", where=path, expected="another name"
        )
    foreign = read_foreign(model)
    classes = read_labels(labels, foreign.outputs)
    table = AdoptTable() if told is None else read_toml(told, AdoptTable)
    where = model if told is None else told
    answers = answer(foreign, classes, table, where)
    spec = PreprocessSpec(size_hw=foreign.input.shape[1:3], colour=answers.colour)
    facts = _facts(foreign, answers, table, told, spec)
    job = _Job(foreign, answers, table, where, spec, facts)
    return _seal(job, path, steps)


def _seal(job: _Job, path: Path, steps: Steps) -> dict[str, Any]:
    foreign, answers = job.foreign, job.answers
    try_model(foreign.path, foreign.model)
    draft = _draft(job)
    predictor, other = _predictor(draft), _predictor(draft, delegate=False)
    if job.table.data is None:
        by_hand = by_hand_of(job.table, answers, job.where)
        with steps("read pictures") as tell:
            pixels = pictures(job.table, job.spec, job.where, tell)
        val = None
    else:
        need("train", "sklearn", "scipy")
        from export.adopt_val import read_val

        with steps("read VAL") as tell:
            val = read_val(job.table.data, answers, job.spec, job.where, tell)
        pixels, job.facts["provenance"]["split_hash"] = val.images.pixels, val.split_hash
    with steps("run the model") as tell:
        score = run(predictor, pixels, lambda done, total: tell(done, 2 * total))
        plain = run(other, pixels, lambda done, total: tell(total + done, 2 * total))
    rounding = 0.0 if foreign.score.dtype == "float32" else foreign.score.scale / 2
    check_scores(score, answers, rounding, job.where)
    report: dict[str, Any] = {
        "adopted": True,
        "foreign": {"file": foreign.path.name, "sha256": foreign.sha256, "bytes": foreign.size},
        "defaults": list(answers.defaults),
    }
    if val is None:
        decision = by_hand
    else:
        from export.adopt_val import decide_on, figures

        decision = decide_on(val, score, answers, job.table.decision or DecisionTable(), job.where)
        report["val"] = figures(val, score, decision, answers)
    golden, tolerance = choose_golden(pixels, score, plain, decision, answers, job.where)
    same = zip(verdicts(score, decision, answers), verdicts(plain, decision, answers), strict=True)
    report["kernel_agreement"] = float(np.mean([a is b for a, b in same]))
    facts = job.facts | {"decision": decision.model_dump(), "replay_tolerance": tolerance}
    write_bundle(path, model=_labelled(job), golden=golden, report=report, facts=facts)
    sealed = open_bundle(path)
    require_replay(sealed, _predictor(sealed))  # against what the model gave as it came
    return _said(job, path, sealed, bool((np.ptp(score, axis=0) == 0).all()))


def _labelled(job: _Job) -> bytes:
    """The model with metadata that fits the bundle."""
    foreign, answers = job.foreign, job.answers
    return with_metadata(
        foreign.model,
        name=job.facts["name"],
        description=f"{answers.task} visual inspection, a {foreign.scheme} model made elsewhere, "
        "adopted by attention-qc",
        licence=job.facts["data_licence"],
        image=foreign.input,
        score=foreign.score,
        attention=None,
        classes=len(answers.classes),
        activation=answers.activation,
        input_range=answers.input_range,
    )


def _said(job: _Job, path: Path, sealed: Bundle, constant: bool) -> dict[str, Any]:
    manifest, golden = sealed.manifest, sealed.golden
    return {
        "bundle": str(path),
        "bundle_id": manifest.bundle_id,
        "classes": {c.name: c.severity for c in manifest.classes},
        "task": manifest.task,
        "input": {
            "shape": list(manifest.input.shape),
            "dtype": manifest.input.dtype,
            "range": [list(pair) for pair in manifest.input_range],
        },
        "scores": job.answers.scores,
        "map": None,
        "scheme": manifest.scheme,
        "runtimes": list(manifest.runtimes),
        "thresholds": {
            "ok_below": manifest.decision.ok_below,
            "ng_above": manifest.decision.ng_above,
            "by": "hand" if job.table.data is None else "VAL",
        },
        "golden": {"n": len(golden.verdicts), "verdicts": counts(golden)},
        "same_score_on_every_picture": constant,
        "val": sealed.report.get("val"),
        "unused_outputs": list(job.foreign.unused),
        "defaults": list(job.answers.defaults),
    }


def _facts(
    foreign: Foreign, answers: Answers, table: AdoptTable, told: Path | None, spec: PreprocessSpec
) -> dict[str, Any]:
    """The manifest's fields but thresholds and tolerance."""
    name = re.sub(r"[^a-z0-9_-]+", "-", foreign.path.stem.lower()).strip("-_") or "adopted"
    source = table.images if table.data is None else table.data.path
    return {
        "name": table.name or name,
        "task": answers.task,
        "classes": [{"name": n, "severity": answers.severity[n]} for n in answers.classes],
        "preprocess": spec.model_dump(),
        "scheme": foreign.scheme,
        "runtimes": foreign.runtimes,
        "input": foreign.input.model_dump(),
        "input_range": answers.input_range,
        "score": foreign.score.model_dump(),
        "activation": answers.activation,
        "attention": None,
        "overlay": {"lo": 0.0, "hi": 1.0},
        "target": "cpu",
        "provenance": {
            "recipe_hash": hashlib.sha256(b"" if told is None else told.read_bytes()).hexdigest(),
            "split_hash": "none",
            "calibration_hash": "none",
            "dataset": source or "none",
            "seed": 0,
            "commit": "none",
            "versions": {"ai-edge-litert": version("ai-edge-litert")},
        },
        "data_licence": table.either("data_licence", "licence") or "none stated",
    }


def _draft(job: _Job) -> Bundle:
    """The bundle before it has thresholds, so that the shipped predictor can run its model."""
    zero = dict.fromkeys(job.answers.defects, 0.0)
    manifest = Manifest.model_validate(
        {
            **job.facts,
            "bundle_id": "",
            "decision": {"ok_below": zero, "ng_above": zero, "max_escape": 0, "max_overkill": 0},
            "model_bytes": len(job.foreign.model),
            "sha256": dict.fromkeys(SEALED_PARTS, ""),
        }
    )
    nothing = Golden(np.zeros((0,)), np.zeros((0,)), None, ())
    return Bundle(job.foreign.path, manifest, job.foreign.model, nothing, {})


def _predictor(bundle: Bundle, *, delegate: bool = True) -> Predictor:
    litert = plugins.resolve("predictor", "litert")
    made: Predictor = litert.LiteRTPredictor(bundle, delegate=delegate)
    return made
