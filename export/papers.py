"""The papers of a bundle: what its manifest says beside the model and the thresholds."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import numpy as np

from export.convert import Converted
from qc import plugins
from qc.bundle import Bundle, Golden
from qc.manifest import SEALED_PARTS, Manifest
from qc.replay import Predictor
from training.run import RunPlan, library_versions


def facts_of(plan: RunPlan, converted: Converted, target: str, calibration: str) -> dict[str, Any]:
    """The manifest's fields but decision, overlay range and tolerance.

    Args:
        plan: the run.
        converted: its quantised model.
        target: what it was exported for.
        calibration: hash of the ids of the calibration images.
    """
    recipe = plan.recipe
    return {
        "name": recipe.name,
        "task": recipe.model.task,
        "classes": [{"name": name, "severity": severity_of(plan, name)} for name in plan.classes],
        "preprocess": plan.preprocess.model_dump(),
        "scheme": converted.scheme,
        "runtimes": converted.runtimes,
        "input": converted.input.model_dump(),
        "score": converted.score.model_dump(),
        "attention": converted.attention.model_dump(),
        "target": target,
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


def severity_of(plan: RunPlan, name: str) -> str:
    """Severity of a class: "good", or as the recipe says, "major" where it does not."""
    data = plan.recipe.data
    return "good" if name == data.good else data.severity.get(name, "major")


def draft(path: Path, converted: Converted, facts: dict[str, Any]) -> Bundle:
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


def predictor_of(bundle: Bundle, *, delegate: bool = True) -> Predictor:
    """The very predictor that ships; without the delegate, on the runtime's own kernels."""
    litert = plugins.resolve("predictor", "litert")
    made: Predictor = litert.LiteRTPredictor(bundle, delegate=delegate)
    return made


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
