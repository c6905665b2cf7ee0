"""Training images a second: `qc train` with its augmentation, and plain `model.fit` on tensors.

    python peers_training.py qc|plain RECIPE RUNS      (one side, until it is ended)

The same model, losses, batch size and images. Plain training has its pictures and targets as float
tensors in memory, Keras' AdamW, no augmentation and no callback; its steps are not held to
repeatable results, as those of `qc train` are. Both sides train on, and only one of them runs at a
time: the other's process is stopped, so it makes no batch ahead. What counts is from the end of one
step to the end of another of the same epoch: judging VAL and saving at its end do not.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import IO, Any

from every_kind import EVERYTHING
from peers_envs import ROOT, MissingError, last_words
from peers_make import MODELS, draw, recipe

from qc.huge_pages import restart_with_huge_pages

BATCH = 32
WARM_STEPS, WARM_S = 4, 240.0
TURN_S = 8.0
STARTS = 3
"""Of both programs: one is some per cent faster than another as long as it runs."""

CASES: tuple[tuple[str, int, str, dict[str, Any]], ...] = (
    ("mobilenet_v2", 224, "every kind", EVERYTHING),
    ("mobilenet_v2", 224, "as usual", {}),
    ("cnn", 128, "every kind", EVERYTHING),
    ("cnn", 128, "as usual", {}),
)

Stamp = tuple[int, float]
"""Number of the epoch, and monotonic seconds at the end of a step."""


def steps_a_second(stamps: Sequence[Stamp], begin: float, end: float) -> float | None:
    """Steps a second of a turn; None where it holds no two steps of one epoch.

    Args:
        stamps: of all steps.
        begin, end: of the turn, monotonic seconds.
    """
    steps, seconds = 0, 0.0
    within = [stamp for stamp in stamps if begin <= stamp[1] <= end]
    for (epoch, before), (other, after) in pairwise(within):
        if epoch == other:
            steps, seconds = steps + 1, seconds + after - before
    return steps / seconds if steps else None


class Trainer:
    """A process that trains and says when a step ends.

    Args:
        side: "qc" or "plain".
        file: the recipe.
        runs: folder for its run.
    """

    def __init__(self, side: str, file: Path, runs: Path) -> None:
        self.stamps: list[Stamp] = []
        self._errors: IO[str] = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed by `close`
        self._process = subprocess.Popen(
            [sys.executable, __file__, side, str(file), str(runs)],
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
        )
        self._come: queue.Queue[Stamp | None] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            epoch, at = json.loads(line)
            self._come.put((epoch, at))
        self._come.put(None)

    def _take(self, patience_s: float) -> None:
        try:
            stamp = self._come.get(timeout=patience_s)
        except queue.Empty:
            raise MissingError(f"no step for {patience_s:g} s") from None
        if stamp is None:
            self._errors.seek(0)
            raise MissingError(last_words(self._errors.read()))
        self.stamps.append(stamp)

    def hold(self) -> None:
        """Stop it where it is."""
        self._process.send_signal(signal.SIGSTOP)

    def warm(self) -> None:
        """Let it train some steps, then hold it."""
        self._process.send_signal(signal.SIGCONT)
        while len(self.stamps) < WARM_STEPS:
            self._take(WARM_S)
        self.hold()

    def turn(self, seconds: float) -> float:
        """Let it train for so long; steps a second.

        Raises:
            MissingError: it has ended.
        """
        begin = time.monotonic()
        self._process.send_signal(signal.SIGCONT)
        rate = None
        while rate is None:  # a step may take longer than the turn
            time.sleep(seconds)
            while not self._come.empty():
                self._take(0)
            rate = steps_a_second(self.stamps, begin, time.monotonic())
            if time.monotonic() - begin > WARM_S:
                raise MissingError(f"no two steps in {WARM_S:g} s")
        self.hold()
        return rate

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._process.wait()
        self._errors.close()


def measure(out: Path, key: dict[str, Any], augment: dict[str, Any], rounds: int) -> dict[str, Any]:
    """Both sides of one case, in turns; the rounds are shared among the starts."""
    parts = draw(out / "training", lots=60, parts_per_lot=40)
    name = f"{key['model']}-{key['augment']}".replace("_", "-").replace(" ", "-")
    file = out / "training" / f"{name}.toml"
    train = {"epochs": 1000, "batch_size": BATCH, "learning_rate": 1e-4, "augment": augment}
    model = MODELS[key["model"]] | {"weights": "none"}  # they change no time
    file.write_text(recipe(name, parts, model, key["size"], train))
    names = {"qc": "qc train", "plain": "plain model.fit on tensors in memory"}
    rates: dict[str, list[float]] = {side: [] for side in names}
    entries: list[dict[str, Any]] = []
    reasons: dict[str, str] = {}
    turns = max(rounds // STARTS, 1)
    for _ in range(STARTS):
        reasons = reasons or take_turns(file, rates, turns)
    for side, title in names.items():
        entry: dict[str, Any] = {"name": title, "group": "ours" if side == "qc" else "plain"}
        if side in reasons or not rates[side]:
            entry["why_not"] = reasons.get(side, "the other side failed before")
        else:
            entry |= {"round_fps": rates[side], "fps": statistics.median(rates[side])}
        entries.append(entry)
    facts = {"rounds": STARTS * turns, "starts": STARTS, "seconds": TURN_S, "batch": BATCH}
    return {**facts, "entries": entries}


def take_turns(file: Path, rates: dict[str, list[float]], turns: int) -> dict[str, str]:
    """Start the sides and let them train in turns; why a side has failed, if one has.

    Args:
        file: the recipe.
        rates: images a second of each side, to which those of its turns are added.
        turns: of each side.
    """
    with tempfile.TemporaryDirectory() as runs:
        trainers = {side: Trainer(side, file, Path(runs) / side) for side in rates}
        try:
            for trainer in trainers.values():
                trainer.hold()
            for side in trainers:
                trainers[side].warm()
            for number in range(turns):
                for side in sorted(trainers, reverse=bool(number % 2)):
                    rates[side].append(round(BATCH * trainers[side].turn(TURN_S), 2))
        except MissingError as error:
            return {side: str(error)}
        finally:
            for trainer in trainers.values():
                trainer.close()
    return {}


def training(
    out: Path, rounds: int
) -> Iterator[tuple[dict[str, Any], Callable[[], dict[str, Any]]]]:
    """The rows of this part: what tells one from the others, and what measures it."""
    for model, size, name, augment in CASES:
        key = {"model": model, "size": size, "augment": name}
        yield key, partial(measure, out, key, augment, rounds)


class Stamps:
    """Takes the place of a command's progress bars: says on stdout when a step has ended."""

    verbose = False

    def __init__(self) -> None:
        self._out = os.fdopen(os.dup(1), "w")
        os.dup2(2, 1)  # what libraries print is no stamp
        self._steps = 0

    def say(self, *text: Any) -> None:
        """Nothing of what a command says."""

    @contextmanager
    def step(self, title: str) -> Iterator[Callable[..., None]]:
        """A step that nobody waits for."""
        yield lambda *done: None

    @contextmanager
    def bar(self, title: str) -> Iterator[Callable[[int, int, str], None]]:
        """The bar of the training."""
        yield lambda done, total, line: self.note((done - 1) * 1000 // total)

    def note(self, epoch: int) -> None:
        """A step has ended."""
        self._out.write(json.dumps([epoch, time.monotonic()]) + "\n")
        self._out.flush()


def train_qc(file: Path, runs: Path) -> None:
    """As `qc train`."""
    from training.backend import wake

    stamps = Stamps()
    wake(quiet=True)
    from training.run import plan_run
    from training.steps import train_plan

    plan = plan_run(file, data=None, runs=runs)
    train_plan(plan, file, None, resume=False, running=stamps)  # type: ignore[arg-type]


def train_plain(file: Path, runs: Path) -> None:
    """As a plain script would."""
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    stamps = Stamps()
    import keras
    import numpy as np
    import tensorflow as tf

    from training.losses import MapLoss, score_loss
    from training.model import build_model
    from training.pipeline import load_images
    from training.rows import map_target
    from training.run import plan_run

    plan = plan_run(file, data=None, runs=runs)
    table, classes = plan.recipe.train, plan.classes
    images = load_images(plan.of_split("train"), classes, plan.recipe.data.good, plan.preprocess)
    model = build_model(plan.recipe.model, len(classes))
    shape = tuple(model.output["attention"].shape[1:])
    maps = [
        map_target(mask, [label], known, 0, shape)
        for mask, label, known in zip(images.masks, images.labels, images.has_mask, strict=True)
    ]
    targets = {
        "score": np.eye(len(classes), dtype=np.float32)[images.labels],
        "attention": np.stack(maps),
    }
    batches = tf.data.Dataset.from_tensor_slices((images.pixels.astype(np.float32), targets))
    batches = batches.cache().shuffle(len(maps)).batch(table.batch_size, drop_remainder=True)
    rate = table.learning_rate  # without qc's warm-up, cosine and running average
    model.compile(
        keras.optimizers.AdamW(rate, table.weight_decay, clipnorm=table.clip_norm),
        loss={"score": score_loss(plan.recipe.model.task, 0.0), "attention": MapLoss()},
        loss_weights={"score": 1.0, "attention": table.mask_weight},
    )

    class Told(keras.callbacks.Callback):  # type: ignore[misc]
        epoch = 0

        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            self.epoch = epoch

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            stamps.note(self.epoch)

    model.fit(batches.prefetch(tf.data.AUTOTUNE), epochs=1000, verbose=0, callbacks=[Told()])


if __name__ == "__main__":
    if sys.argv[1] == "qc":
        restart_with_huge_pages()  # as the command does
    {"qc": train_qc, "plain": train_plain}[sys.argv[1]](Path(sys.argv[2]), Path(sys.argv[3]))
