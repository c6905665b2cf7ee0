"""The run: one recipe, one split, one seed, and the directory that holds what came of them.

`recipe.toml` as given, `plan.json` with every resolved fact, `split.csv`, `history.csv`,
`model.keras`, and `result.json`, which is written last: a run without it is not finished.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from qc.errors import DataError, FaultError, UsageError, nearest
from qc.folders import lying
from qc.lock import take_lock
from qc.preprocess import PreprocessSpec
from qc.recipe import Recipe, dataset_path, read_recipe
from qc.types import Sample
from training.datasets import load_samples
from training.split import apply_split, refuse_leaks, split_hash, split_samples, write_split
from training.task import fit_labels

_VERSIONS = (
    "attention-qc",
    "tensorflow",
    "keras",
    "numpy",
    "opencv-python-headless",
    "albumentations",
)


@dataclass(frozen=True)
class RunPlan:
    """Everything that decides what a run becomes.

    Args:
        path: the run directory.
        recipe: with its seed.
        data: the dataset, resolved.
        classes: class names in the order of the scores, the good one first.
        samples: all samples with their splits, labelled as the recipe's task wants.
        split_hash, weights_hash: identities; the latter empty without pretrained weights from a
        file.
    """

    path: Path
    recipe: Recipe
    data: Path
    classes: tuple[str, ...]
    samples: tuple[Sample, ...]
    split_hash: str
    weights_hash: str = ""

    @property
    def preprocess(self) -> PreprocessSpec:
        """The geometry of the model's input."""
        return PreprocessSpec(size_hw=self.recipe.model.size_hw, colour=self.recipe.data.colour)

    @property
    def model_file(self) -> Path:
        """Where the best epoch's model lies."""
        return self.path / "model.keras"

    def of_split(self, split: str) -> list[Sample]:
        """The samples of one split."""
        return [s for s in self.samples if s.split == split]

    def facts(self) -> dict[str, Any]:
        """`plan.json`, as the run began."""
        found: dict[str, Any] = json.loads((self.path / "plan.json").read_text())
        return found

    def result(self) -> dict[str, Any]:
        """What the finished run reached."""
        found: dict[str, Any] = json.loads((self.path / "result.json").read_text())
        return found


def plan_run(
    recipe_path: Path,
    *,
    data: Path | None,
    runs: Path,
    seed: int | None = None,
    weights: Path | None = None,
) -> RunPlan:
    """Resolve a recipe against its dataset and split; nothing is written yet.

    Raises:
        RecipeError, DataError: the recipe, dataset or split is wrong.
    """
    recipe = read_recipe(recipe_path)
    if seed is not None:
        recipe = recipe.model_copy(update={"seed": seed})
    place, samples = _dataset(recipe, recipe_path, data)
    if recipe.data.split is None and all(s.split is not None for s in samples):
        refuse_leaks(samples, place)
    elif recipe.data.split is None:
        samples = split_samples(samples, seed=recipe.seed, shares=recipe.data.shares)
    else:
        samples = apply_split(samples, recipe_path.parent / recipe.data.split)
    # after the split, which deals out every class that the dataset knows
    samples = fit_labels(samples, recipe.model.task, recipe.data.good)
    classes = _classes(samples, recipe.data.good, place)
    unknown = sorted(set(recipe.data.severity) - set(classes[1:]))
    if unknown:
        raise DataError(
            "data.severity names classes the dataset lacks",
            where=recipe_path,
            expected=", ".join(classes[1:]),
            found=", ".join(unknown),
        )
    return _plan(runs, recipe, place, classes, samples, weights)


def _dataset(recipe: Recipe, recipe_path: Path, data: Path | None) -> tuple[Path, list[Sample]]:
    """Where the recipe's dataset lies, and what is in it.

    A folder given as the one that holds the dataset, which does not, is the dataset itself only
    where it can be read as that, or goes by its name.
    """
    place = dataset_path(recipe, recipe_path, data)

    def read() -> list[Sample]:
        _, samples = load_samples(place, recipe.data.format, recipe.data.options)
        _classes(samples, recipe.data.good, place)
        return samples

    if data is None or place != data or data.resolve().name == Path(recipe.data.path).name:
        return place, read()
    try:
        return place, read()
    except DataError as error:
        there, hint = _lying(data, recipe.data.path)
        raise DataError(
            f"the recipe's dataset '{recipe.data.path}' is not in what --data or QC_DATA names"
            f"{hint}",
            where=recipe_path,
            expected=f"{data / recipe.data.path}, or {data} as the dataset itself",
            found=f"{there}, which is not the dataset itself: {error}",
        ) from error


def _lying(data: Path, wanted: str) -> tuple[str, str]:
    """What lies in a folder, in words, and a hint at the name that is nearest to the one wanted."""
    there, names = lying(data)
    near = nearest(wanted, names)
    hint = f"; did you mean '{near}'?" if near else ""
    return (f"{there} in {data}" if data.is_dir() else f"the file {data}"), hint


def _plan(
    runs: Path,
    recipe: Recipe,
    place: Path,
    classes: tuple[str, ...],
    samples: list[Sample],
    weights: Path | None,
) -> RunPlan:
    for split in ("train", "val", "test"):
        here = {label for s in samples if s.split == split for label in s.labels}
        if recipe.data.good not in here or len(here) < 2:
            raise DataError(
                f"split '{split}' needs good parts and defects",
                where=place,
                expected=f"{recipe.data.good} and at least one other class",
                found=", ".join(sorted(here)) or "no image",
            )
        missing = [name for name in classes if name not in here]
        if missing and split != "test":
            raise DataError(
                f"split '{split}' lacks a class: it can be neither learnt nor judged",
                where=place,
                expected=f"each of {', '.join(classes)}; split again, or leave the class out",
                found=f"no {', no '.join(missing)}",
            )
    identity = split_hash(samples)
    weights_hash = ""
    if weights is not None and recipe.model.weights != "none":
        if not weights.is_file():
            raise DataError("the weights do not exist", where=weights, expected="a file")
        weights_hash = hashlib.sha256(weights.read_bytes()).hexdigest()
    name = hashlib.sha256(f"{recipe.digest()}{identity}{weights_hash}".encode()).hexdigest()[:8]
    path = runs / f"{recipe.name}-{name}"
    return RunPlan(path, recipe, place, classes, tuple(samples), identity, weights_hash)


def _classes(samples: list[Sample], good: str, place: Path) -> tuple[str, ...]:
    names = sorted({label for s in samples for label in s.labels})
    if good not in names:
        raise DataError(
            "the good class is not in the dataset",
            where=place,
            expected=f"data.good is one of {', '.join(names)}",
            found=repr(good),
        )
    return (good, *[n for n in names if n != good])


def is_to_train(plan: RunPlan, *, resume: bool) -> bool:
    """Whether there is anything left to do; only the folder of the runs is made.

    Raises:
        UsageError: the run exists and `resume` was not said.
        FaultError: no run can be written there.
    """
    if (plan.path / "result.json").is_file() and resume:
        return False
    if plan.path.exists() and not resume:
        state = "is finished" if (plan.path / "result.json").is_file() else "was begun"
        raise UsageError(
            f"this run {state}: go on with --resume, or remove it to train again", where=plan.path
        )
    runs = plan.path.parent
    with _writing(plan):
        if not runs.exists():
            runs.mkdir(parents=True)
        TemporaryDirectory(dir=runs).cleanup()  # what cannot be written is told before the work
    return True


@contextmanager
def _writing(plan: RunPlan) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        found = error.strerror or error
        raise FaultError("the run cannot be written", where=plan.path, found=found) from error


def start_run(plan: RunPlan, recipe_path: Path, *, resume: bool) -> bool:
    """Make the run directory; whether there is anything left to do.

    Raises:
        UsageError: as for `is_to_train`.
        FaultError: the directory cannot be written.
    """
    if not is_to_train(plan, resume=resume):
        return False
    with _writing(plan):
        try:
            plan.path.mkdir(exist_ok=resume)
        except FileExistsError as error:
            if resume:  # what lies there is no folder
                raise
            raise UsageError(
                "another qc train has just begun this run: let it end", where=plan.path
            ) from error
        shutil.copyfile(recipe_path, plan.path / "recipe.toml")
    write_split(plan.samples, plan.path / "split.csv")
    facts = {
        "recipe": plan.recipe.model_dump(mode="json"),
        "data": str(plan.data.resolve()),
        "classes": list(plan.classes),
        "recipe_hash": plan.recipe.digest(),
        "split_hash": plan.split_hash,
        "weights_hash": plan.weights_hash,
        "versions": library_versions(),
    }
    (plan.path / "plan.json").write_text(json.dumps(facts, indent=1) + "\n")
    return True


@contextmanager
def alone(plan: RunPlan) -> Iterator[None]:
    """As long as this is open, no other process trains the run; where system and disk have locks.

    Raises:
        FaultError: another one does.
    """
    if find_spec("fcntl") is None:
        yield
        return
    file = plan.path / "run.lock"
    with ExitStack() as ends:
        with suppress(OSError):  # a disk that knows no locks; one that is full is told later
            held = take_lock(
                plan.path,
                file=file,
                taken="another qc train goes on with this run",
                expected="one at a time",
            )
            ends.callback(os.close, held)
            ends.callback(file.unlink, missing_ok=True)
        yield


def finish_run(plan: RunPlan, result: Any) -> None:
    """Write the result, which makes the run finished."""
    (plan.path / "result.json").write_text(json.dumps(asdict(result), indent=1) + "\n")


def open_run(path: Path, data: Path | None = None) -> RunPlan:
    """Read a finished run back.

    Args:
        path: the run directory.
        data: the dataset, where it is no longer where the run found it.

    Raises:
        UsageError: not a run, or not finished.
        DataError: the dataset is not there, or no longer fits the run's split.
    """
    try:
        facts = json.loads((path / "plan.json").read_text())
        recipe = Recipe.model_validate(facts["recipe"])
        place, classes = Path(facts["data"]), tuple(facts["classes"])
        hashes = (facts["split_hash"], facts["weights_hash"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(
            "this is not a run", where=path, expected="a directory written by `qc train`"
        ) from error
    if not (path / "result.json").is_file():
        raise UsageError("this run is not finished: go on with `qc train --resume`", where=path)
    if data is not None:
        place, samples = _dataset(recipe, path / "recipe.toml", data)
    else:
        _, samples = load_samples(place, recipe.data.format, recipe.data.options)
    samples = apply_split(samples, path / "split.csv")
    samples = fit_labels(samples, recipe.model.task, recipe.data.good)
    return RunPlan(path, recipe, place, classes, tuple(samples), *hashes)


def library_versions() -> dict[str, str]:
    """Versions of what decides the result."""
    found = {}
    for name in _VERSIONS:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
