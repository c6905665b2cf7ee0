"""What a person says of a model made elsewhere: its label file, and the TOML of `--manifest`.

Of the TOML everything may be left out that the model's own file answers; what neither answers is
asked for. Paths are relative to the TOML's own folder.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from export.foreign_range import Pairs
from qc.errors import DataError, RecipeError, nearest
from qc.recipe import DataTable, DecisionTable
from qc.types import Task

Scores = Literal["softmax", "logits", "sigmoid", "sigmoid_logits"]

EVERY = ""
"""The key of a threshold that was given for all classes at once."""


def _pairs(value: Any) -> Any:
    """`[0, 1]` is one pair for all channels."""
    if isinstance(value, list) and not any(isinstance(item, list) for item in value):
        return [value]
    return value


def _by_class(value: Any) -> Any:
    """A number is for every class."""
    return value if isinstance(value, dict) else {EVERY: value}


PerClass = Annotated[dict[str, float], BeforeValidator(_by_class)]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class NormaliseTable(_Table):
    """`normalise`: the mean and deviation that the model's training took off its pictures.

    Args:
        pixels: the range of the pixel values that `mean` and `std` are of.
        mean, std: one number for all channels, or one for each; `(pixel - mean) / std`.
    """

    pixels: Literal["0..1", "0..255"]
    mean: tuple[float, ...] = Field(min_length=1, max_length=3)
    std: tuple[Annotated[float, Field(gt=0)], ...] = Field(min_length=1, max_length=3)

    @model_validator(mode="after")
    def _same_length(self) -> NormaliseTable:
        if len(self.mean) != len(self.std):
            raise ValueError("mean and std must have one number each, or one for each channel")
        return self

    @property
    def pairs(self) -> Pairs:
        """What pixel values 0 and 255 become."""
        white = 1.0 if self.pixels == "0..1" else 255.0
        both = zip(self.mean, self.std, strict=True)
        return tuple(((0.0 - m) / s, (white - m) / s) for m, s in both)


class ThresholdTable(_Table):
    """`[thresholds]`: set by hand, where there is no dataset to fit them on.

    Args:
        ok_below: the part is OK while its defect score is below this: one number for all defect
            classes, or a table of class and number.
        ng_above: the part is NG from this defect score on, told as `ok_below`; between the two a
            person decides.
    """

    ok_below: PerClass
    ng_above: PerClass


class AdoptTable(_Table):
    """What the model's file does not say.

    Args:
        name: of the bundle; the model's file name where not given.
        good: the class of good parts, as in the label file.
        task: as in a recipe; found from the scores where not given.
        colour: "rgb", or "grey": the luma.
        input_range: what the model expects for black and for white, `[0, 1]` or `[-1, 1]`; or such
            a pair for each channel.
        normalise: the same by mean and deviation.
        scores: "softmax" or "sigmoid": the outputs are probabilities already; "logits" or
            "sigmoid_logits": a softmax or a sigmoid makes them so.
        severity: defect class -> minor, major or critical; major where not named.
        data_licence: of the images that the model was trained on.
        thresholds: set by hand; with `images`.
        images: a folder of at least 16 pictures that become golden inputs.
        data: a labelled dataset, on whose VAL the thresholds are fitted and the model is measured,
            in place of `thresholds` and `images`.
        decision: the rates that thresholds are fitted to; with `data`.
    """

    name: str | None = Field(default=None, pattern=r"^[a-z0-9][a-z0-9_-]*$")
    good: str | None = None
    task: Task | None = None
    colour: Literal["rgb", "grey"] | None = None
    input_range: Annotated[Pairs, BeforeValidator(_pairs)] | None = None
    normalise: NormaliseTable | None = None
    scores: Scores | None = None
    severity: dict[str, Literal["minor", "major", "critical"]] = {}
    data_licence: str | None = None
    thresholds: ThresholdTable | None = None
    images: str | None = None
    data: DataTable | None = None
    decision: DecisionTable | None = None

    @model_validator(mode="after")
    def _one_way(self) -> AdoptTable:
        if self.input_range is not None and self.normalise is not None:
            raise ValueError("input_range and normalise answer the same question: keep one")
        if self.data is None and self.decision is not None:
            raise ValueError("[decision] fits thresholds on a dataset: it needs [data]")
        if self.data is None:
            return self
        for key in ("thresholds", "images"):
            if getattr(self, key) is not None:
                raise ValueError(f"{key} and [data] answer the same question: keep one")
        for key, inner in (
            ("good", "good"),
            ("colour", "colour"),
            ("severity", "severity"),
            ("data_licence", "licence"),
        ):
            if key in self.model_fields_set and inner in self.data.model_fields_set:
                here, there = getattr(self, key), getattr(self.data, inner)
                if here != there:
                    raise ValueError(f"{key} is {here!r}, and data.{inner} {there!r}: say it once")
        return self

    def either(self, key: str, inner: str) -> Any:
        """A value that may stand at the top or in `[data]`; None where in neither."""
        if key in self.model_fields_set:
            return getattr(self, key)
        if self.data is not None and inner in self.data.model_fields_set:
            return getattr(self.data, inner)
        return None


def read_labels(path: Path, outputs: int) -> tuple[str, ...]:
    """The classes of a label file, one a line, in the order of the outputs.

    Args:
        path: the file.
        outputs: scores that the model gives: as many as labels, or one less: the good class has
            none then.

    Raises:
        DataError: not readable, a label empty or twice, or not as many as fit.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").rstrip().splitlines()
    except OSError as error:
        raise DataError("the labels cannot be read", where=path, found=error.strerror) from error
    except UnicodeDecodeError as error:
        raise DataError("the labels are not text (UTF-8)", where=path, found=error) from error
    labels = [line.strip() for line in lines]
    if not labels:
        raise DataError("the label file is empty", where=path, expected="a class on each line")
    for number, label in enumerate(labels, start=1):
        if not label or label in labels[: number - 1]:
            what = f"label {label!r} stands there twice" if label else "a label is empty"
            raise DataError(what, where=f"{path} line {number}", expected="each class once")
    legal = {outputs: "one for each output", outputs + 1: "where the good class is no output"}
    if len(labels) < 2 or len(labels) not in legal:
        raise DataError(
            "the labels do not fit the model",
            where=path,
            expected=", or ".join(f"{n}, {why}" for n, why in legal.items() if n >= 2),
            found=f"{len(labels)}: {', '.join(labels)[:200]}",
        )
    return tuple(labels)


def require_defects(key: str, given: Iterable[str], defects: Sequence[str], where: Path) -> None:
    """Refuse what a TOML says of a class that is no defect.

    Raises:
        RecipeError: names the nearest defect class.
    """
    for name in given:
        if name not in defects:
            near = nearest(name, defects)
            raise RecipeError(
                f"{key} names a class that is no defect"
                + (f", did you mean {near!r}?" if near else ""),
                where=where,
                expected=", ".join(defects),
                found=repr(name),
            )
