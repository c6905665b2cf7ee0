"""Train a recipe: compile, fit, resume, and leave a run directory.

The run keeps the running average of the weights with the best mean of AUROC and macro-F1 on VAL. A
run that was cut off goes on from its last whole epoch with `--resume`, weights, optimiser, average
and draw as they were.
"""

from __future__ import annotations

import csv
import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from qc.errors import FaultError
from training import devices
from training.curves import draw_curves, log_scalars
from training.evaluate import quick_figures, run_keras
from training.losses import MapLoss, score_loss
from training.makers import worthwhile_processes
from training.optimise import averages, make_optimiser
from training.pipeline import Batches, Images
from training.run import RunPlan

Report = Callable[[int, int, str], None]
"""Called with steps done, steps in all, and a line on the last epoch."""

_COLUMNS = ("epoch", "loss", "score_loss", "attention_loss", "val_auroc", "val_macro_f1", "seconds")


@dataclass(frozen=True)
class FitResult:
    """What training reached: the keys of `qc train --json` without the run's path."""

    epochs: int
    best_epoch: int
    val: dict[str, float]
    seconds: float
    precision: str = "float32"
    devices: int = 1


def fit(
    plan: RunPlan,
    model: keras.Model,
    train: Images,
    val: Images,
    *,
    resume: bool,
    report: Report | None = None,
    strategy: Any = None,
) -> FitResult:
    """Fit a model into the run directory of a plan.

    Args:
        plan: the recipe, classes and directory.
        model: fresh, with its pretrained weights where it has some.
        train, val: decoded splits.
        resume: go on from the last whole epoch, where there is one.
        report: told of every step.
        strategy: what the model was made under, where several GPUs train.

    Raises:
        FaultError: the loss is not finite, the directory cannot be written, or its checkpoint is
            not of this model.
    """
    table = plan.recipe.train
    good = plan.classes.index(plan.recipe.data.good)
    map_shape = tuple(model.output["attention"].shape[1:])
    keeper = _Keeper(plan, val, good, report)
    first = keeper.restore() if resume else 0
    batches = Batches(
        train,
        good=good,
        map_shape=map_shape,
        batch_size=min(table.batch_size, len(train)),
        balance=table.balance,
        table=table.augment,
        seed=plan.recipe.seed,
        epoch=first,
        mixup=table.mixup,
        processes=worthwhile_processes((table.epochs - first) * len(train), devices.gpu_count()),
    )
    keeper.steps = len(batches)
    with devices.scope(strategy):
        model.compile(
            make_optimiser(table, len(batches), plan.recipe.model.weights != "none"),
            loss={
                "score": score_loss(plan.recipe.model.task, table.label_smoothing),
                "attention": MapLoss(),
            },
            loss_weights={"score": 1.0, "attention": table.mask_weight},
            jit_compile="auto" if table.xla is None else table.xla,
        )
        if first:
            keeper.put_back(model)
    if first < table.epochs and not keeper.exhausted:
        try:
            model.fit(
                batches,
                epochs=table.epochs,
                initial_epoch=first,
                shuffle=False,  # the batches are drawn already; Keras would draw from the process
                verbose=0,
                callbacks=[keeper],
            )
        except Exception:
            if batches.failed is None:
                raise
            raise batches.failed from batches.failed.__cause__
        finally:
            batches.close()
    for file in plan.path.glob("*checkpoint*"):
        file.unlink()
    best = keeper.history[keeper.best]
    draw_curves(keeper.history, plan.path / "curves.png")
    return FitResult(
        epochs=len(keeper.history),
        best_epoch=keeper.best + 1,
        val={"auroc": best["val_auroc"], "macro_f1": best["val_macro_f1"]},
        seconds=round(sum(row["seconds"] for row in keeper.history), 1),
        precision=model.dtype_policy.name,
        devices=1 if strategy is None else strategy.num_replicas_in_sync,
    )


class _Keeper(keras.callbacks.Callback):
    """Judges the average of the weights on VAL, keeps the best, and saves each epoch."""

    def __init__(self, plan: RunPlan, val: Images, good: int, report: Report | None) -> None:
        super().__init__()
        self.plan, self.val, self.good, self.report = plan, val, good, report
        self.steps = 0
        self.saved: dict[str, np.ndarray] = {}
        self.history: list[dict[str, float]] = []
        self.line = ""
        self.started = time.monotonic()

    @property
    def best(self) -> int:
        """Index of the epoch with the best mean of AUROC and macro-F1 on VAL."""
        rows = self.history
        return max(
            range(len(rows)),
            key=lambda i: (_finite(rows[i]["val_auroc"]) + rows[i]["val_macro_f1"], -i),
        )

    @property
    def exhausted(self) -> bool:
        """Whether the last epochs brought nothing better, for as many as the recipe waits."""
        wait = self.plan.recipe.train.early_stop_epochs
        return bool(wait and self.history and len(self.history) - 1 - self.best >= wait)

    def restore(self) -> int:
        """Read the state of the last whole epoch; the number of epochs done."""
        state = self.plan.path / "checkpoint.json"
        if not state.is_file():
            return 0
        saved = json.loads(state.read_text())
        self.history = saved["history"]
        with np.load(self.plan.path / f"checkpoint-{len(self.history)}.npz") as arrays:
            self.saved = dict(arrays)
        return len(self.history)

    def put_back(self, model: keras.Model) -> None:
        """Give a model that was just compiled the state that was read.

        Raises:
            FaultError: it is not that of this model, as another version wrote it.
        """
        model.optimizer.build(model.trainable_variables)
        try:
            for name, variable in _state(model).items():
                variable.assign(self.saved[name])
        except (KeyError, ValueError) as error:
            raise FaultError(
                "the run cannot go on from its checkpoint",
                where=self.plan.path / f"checkpoint-{len(self.history)}.npz",
                expected="one that this version wrote; else begin anew in another folder",
                found=error,
            ) from error
        self.saved = {}

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self.started = time.monotonic()

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        loss = (logs or {}).get("loss", 0.0)
        if not math.isfinite(loss):
            raise FaultError(
                "training diverged: the loss is not finite",
                where=self.plan.path,
                expected="a smaller learning_rate",
                found=f"epoch {len(self.history) + 1}, step {batch + 1}",
            )
        if self.report is not None:
            done = len(self.history) * self.steps + batch + 1
            self.report(done, self.plan.recipe.train.epochs * self.steps, self.line)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        found = logs or {}
        raw = [w.numpy() for w in self.model.trainable_variables]
        self._assign([np.asarray(kept) for kept in averages(self.model)])
        score = run_keras(self.model, self.val.pixels).score
        figures = quick_figures(self.val, score, self.good, self.plan.recipe.model.task)
        self.history.append(
            {
                "epoch": epoch + 1,
                "loss": float(found["loss"]),
                "score_loss": float(found["score_loss"]),
                "attention_loss": float(found["attention_loss"]),
                "val_auroc": figures["auroc"],
                "val_macro_f1": figures["macro_f1"],
                "seconds": time.monotonic() - self.started,
            }
        )
        self.line = f"loss {found['loss']:.3f}  val AUROC {figures['auroc']:.3f}"
        self.model.stop_training = self.exhausted
        try:
            if self.best == len(self.history) - 1:
                _replace(self.plan.model_file, self._save_model)
            self._assign(raw)
            self._save_state()
        except OSError as error:
            raise FaultError(
                "the run cannot be written", where=self.plan.path, found=error.strerror or error
            ) from error

    def _assign(self, values: list[np.ndarray]) -> None:
        for variable, value in zip(self.model.trainable_variables, values, strict=True):
            variable.assign(value)

    def _save_model(self, path: Path) -> None:
        kept = float_copy(self.model)
        # the same layers, never compiled: of a compiled model Keras keeps the optimiser too, which
        # is three quarters of the file
        keras.Model(kept.input, kept.output, name=kept.name).save(path)

    def _save_state(self) -> None:
        path = self.plan.path
        epochs = len(self.history)
        arrays = {name: np.asarray(v) for name, v in _state(self.model).items()}
        _replace(path / f"checkpoint-{epochs}.npz", lambda p: np.savez(p, **arrays))  # type: ignore[arg-type]
        with (path / "history.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, _COLUMNS)
            writer.writeheader()
            writer.writerows(self.history)
        # after the others, which carry its epoch in their names: it says that they are whole
        state = json.dumps({"history": self.history})
        _replace(path / "checkpoint.json", lambda p: p.write_text(state))
        for old in path.glob(f"checkpoint-{epochs - 1}.*"):
            old.unlink()
        log_scalars(self.history[-1], path / "tensorboard")


def float_copy(model: keras.Model) -> keras.Model:
    """The same model with the same weights in float32; itself where it is one."""
    if model.dtype_policy.name == "float32":
        return model
    with devices.precision("float32"):
        copy = keras.models.clone_model(model, clone_function=_in_float)
    copy.set_weights(model.get_weights())
    return copy


def _in_float(layer: Any) -> Any:
    if not isinstance(layer, keras.Layer):  # an operation, which has no type of its own
        return layer
    config = layer.get_config()
    config["dtype"] = "float32"
    return type(layer).from_config(config)


def _state(model: keras.Model) -> dict[str, Any]:
    """All variables that training goes on from: weights, optimiser, and what dropout draws from."""
    draws = [v for v in model.variables if v.path.endswith("seed_generator_state")]
    kinds = {"weight": model.weights, "optimiser": model.optimizer.variables, "draw": draws}
    return {f"{kind} {i}": v for kind, found in kinds.items() for i, v in enumerate(found)}


def _finite(value: float) -> float:
    return value if math.isfinite(value) else -1.0


def _replace(path: Path, write: Callable[[Path], Any]) -> None:
    partial = path.with_name(f"partial-{path.name}")
    write(partial)
    partial.replace(path)
