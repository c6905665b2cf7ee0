"""How long training on magnetic tiles at 224 waits for its pictures: at most 10 % of a step.

    QC_DATA=<folder of the set> python tests/bench/input_path.py

The recipe is trained by `training.fit` itself, without its pretrained weights, which do not change
the time of a step, once with its own augmentation and once with every kind on. Its pictures are
made as in a training of many epochs. The first epoch warms up, the second is measured: `waiting` is
the time in which the training loop asked for the next batch and had to wait, as a share of the
whole epoch's steps. One JSON on stdout, a sentence on stderr; exit 1 above 10 %.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from every_kind import EVERYTHING

from qc.recipe import AugmentTable, read_recipe
from training.backend import wake

RECIPE = Path("data/recipes/magnetic_tile.toml")
SIZE_HW = (224, 224)
LIMIT = 0.10


class _Clock:
    """Splits each step of a model's training into waiting for its batch and computing."""

    def __init__(self, model: Any) -> None:
        self.begun: list[float] = []
        self.waited: list[float] = []
        self.computed: list[float] = []
        make = model.make_train_function

        def make_timed(force: bool = False) -> None:
            fresh = model.train_function is None or force
            make(force)
            if fresh:
                self.step = model.train_function
                model.train_function = self.train

        model.make_train_function = make_timed

    def train(self, iterator: Any) -> Any:
        """One step, as Keras runs it; raises at the end of the epoch as it does."""
        begun = time.perf_counter()
        data = iterator.get_next()
        got = time.perf_counter()
        logs = self.step([data])
        float(logs["loss"])  # it is done when its number is there
        self.begun.append(begun)
        self.waited.append(got - begun)
        self.computed.append(time.perf_counter() - got)
        return logs


def measure(plan: Any, train: Any, val: Any, table: AugmentTable) -> dict[str, float]:
    """Train two epochs and measure the second; then the input path and the step, each alone."""
    import keras

    from training import makers
    from training.fit import fit
    from training.model import build_model
    from training.pipeline import Batches

    makers.WORTH = 0
    recipe = plan.recipe
    keras.utils.set_random_seed(0)
    model = build_model(recipe.model, len(plan.classes))
    clock = _Clock(model)
    plan.path.mkdir(parents=True, exist_ok=True)
    fit(plan, model, train, val, resume=False)
    steps = len(clock.begun) // 2
    ends = clock.begun[steps] + sum(
        np.diff(clock.begun[steps:]), clock.waited[-1] + clock.computed[-1]
    )
    whole = ends - clock.begun[steps]
    map_shape = tuple(model.output["attention"].shape[1:])
    alone = {}
    for processes in (0, max(makers.worthwhile_processes(1, 0), 1)):
        batches = Batches(
            train,
            good=0,
            map_shape=map_shape,
            batch_size=recipe.train.batch_size,
            balance=recipe.train.balance,
            table=table,
            seed=0,
            threads=1,
            processes=processes,
        )
        batches[0]  # whoever makes them has begun
        started = time.perf_counter()
        for i in range(len(batches) - 8, len(batches)):  # the last ones: none is begun beyond
            batch = batches[i]
        alone[bool(processes)] = (time.perf_counter() - started) / 8
        batches.close()
    started = time.perf_counter()
    for _ in range(8):
        float(clock.step([batch])["loss"])
    computing_alone = (time.perf_counter() - started) / 8
    return {
        "steps": steps,
        "waiting": round(sum(clock.waited[steps:]) / whole, 4),
        "step_ms": round(1000 * whole / steps, 1),
        "waiting_ms": round(1000 * float(np.mean(clock.waited[steps:])), 1),
        "longest_wait_ms": round(1000 * max(clock.waited[steps:]), 1),
        "computing_ms": round(1000 * float(np.mean(clock.computed[steps:])), 1),
        "computing_alone_ms": round(1000 * computing_alone, 1),
        "batch_one_thread_ms": round(1000 * alone[False], 1),
        "batch_processes_ms": round(1000 * alone[True], 1),
    }


def main() -> int:
    """Measure both, print them; 1 where training waits too long."""
    data = os.environ.get("QC_DATA")
    if not data:
        print("QC_DATA must name the folder of magnetic_tile", file=sys.stderr)
        return 2
    wake(quiet=True)
    from training.pipeline import load_images
    from training.run import plan_run

    own = read_recipe(RECIPE).train.augment
    found: dict[str, Any] = {"cores": os.cpu_count(), "load_before": round(os.getloadavg()[0], 2)}
    with tempfile.TemporaryDirectory() as runs:
        plan = plan_run(RECIPE, data=Path(data), runs=Path(runs))
        changes = {"size_hw": SIZE_HW, "weights": "none"}
        model = plan.recipe.model.model_copy(update=changes)
        for name, table in (("recipe", own), ("everything", AugmentTable(**EVERYTHING))):
            training = plan.recipe.train.model_copy(update={"epochs": 2, "augment": table})
            recipe = plan.recipe.model_copy(update={"model": model, "train": training})
            case = type(plan)(
                Path(runs) / name,
                recipe,
                plan.data,
                plan.classes,
                plan.samples,
                plan.split_hash,
            )
            if name == "recipe":
                good = recipe.data.good
                train = load_images(case.of_split("train"), case.classes, good, case.preprocess)
                few = [s for s in case.of_split("val") if s.labels[0] == good][:8]
                few += [s for s in case.of_split("val") if s.labels[0] != good][:8]
                val = load_images(few, case.classes, good, case.preprocess)
                found["images"] = len(train)
            found[name] = measure(case, train, val, table)
    found["load_after"] = round(os.getloadavg()[0], 2)
    worst = max(found[name]["waiting"] for name in ("recipe", "everything"))
    print(json.dumps(found, indent=1))
    print(
        f"training waits for data {found['recipe']['waiting']:.1%} of a step with the recipe's "
        f"augmentation, {found['everything']['waiting']:.1%} with every kind on "
        f"(at most {LIMIT:.0%} is allowed)",
        file=sys.stderr,
    )
    return int(worst > LIMIT)


if __name__ == "__main__":
    sys.exit(main())
