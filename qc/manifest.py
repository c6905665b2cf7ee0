"""The manifest: what a bundle says of itself, checked field by field."""

from __future__ import annotations

from functools import cached_property
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from qc.decide import DecisionSpec
from qc.preprocess import PreprocessSpec
from qc.types import Task

SCHEMA_VERSION = 1
SCORE_TOLERANCE = 2.5 / 256
"""Two quantisation steps of a uint8 score, with room for rounding in float."""

MAX_TOLERANCE = 0.2
"""What a bundle may allow at most."""

SEALED_PARTS = ("model", "labels.txt", "golden.npz", "report.json")
"""What the manifest holds a checksum of."""

RUNTIMES = ("ai-edge-litert", "tflite-runtime")
"""Distributions that can run a model, the default first."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ClassSpec(_Strict):
    """One class of the model, in output order."""

    name: str
    severity: Literal["good", "minor", "major", "critical"]


class TensorSpec(_Strict):
    """A tensor of the graph: `real = scale * (stored - zero_point)`; in float32 stored is real."""

    name: str
    shape: tuple[int, ...]
    dtype: Literal["uint8", "int8", "float32"]
    scale: float = Field(default=1.0, gt=0)
    zero_point: int = 0


class OverlaySpec(_Strict):
    """Evidence shown as coldest and hottest colour."""

    lo: float
    hi: float

    @model_validator(mode="after")
    def _ordered(self) -> OverlaySpec:
        if not self.lo < self.hi:
            raise ValueError(f"overlay range must have lo < hi, found {self.lo} and {self.hi}")
        return self


class Provenance(_Strict):
    """Where the bundle came from, as hashes and versions."""

    recipe_hash: str
    split_hash: str
    calibration_hash: str
    dataset: str
    seed: int
    commit: str
    versions: dict[str, str]


class Manifest(_Strict):
    """What a bundle says of itself.

    Args:
        schema_version: of this manifest.
        bundle_id: hash of all the rest.
        name: of the recipe.
        task: what the model is asked.
        classes: in the order of the scores.
        preprocess: from a picture to the pixels of the model's input.
        scheme: how the model is quantised.
        runtimes: distributions that may run it; any other is refused before it can be wrong.
        input: the picture's tensor `(1, h, w, 3)`, or `(1, h, w, 1)`: the first channel alone.
        input_range: the real numbers that pixel values 0 and 255 become, for all channels or each.
        score: `(1, K)`; or `(1, K - 1)`, one for each defect, where good is 1 - the greatest.
        activation: what makes probabilities of the score tensor.
        attention: class evidence `(1, h, w, K)`, or None: the model has no map.
        decision: thresholds.
        replay_tolerance: how far a golden score may be off on another runtime's kernels.
        overlay: colour scale of the map.
        target: what it was exported for.
        provenance, data_licence: where it came from.
        model_bytes: length of the flatbuffer.
        sha256: of each part.
    """

    schema_version: Literal[1] = 1
    bundle_id: str
    name: str
    task: Task
    classes: tuple[ClassSpec, ...] = Field(min_length=2)
    preprocess: PreprocessSpec
    scheme: str = "int8"
    runtimes: tuple[str, ...] = Field(default=RUNTIMES, min_length=1)
    input: TensorSpec
    input_range: tuple[tuple[float, float], ...] = ((0.0, 255.0),)
    score: TensorSpec
    activation: Literal["none", "softmax", "sigmoid"] = "none"
    attention: TensorSpec | None
    decision: DecisionSpec
    replay_tolerance: float = Field(default=SCORE_TOLERANCE, ge=SCORE_TOLERANCE, le=MAX_TOLERANCE)
    overlay: OverlaySpec
    target: str
    provenance: Provenance
    data_licence: str
    model_bytes: int
    sha256: dict[str, str]

    @model_validator(mode="after")
    def _consistent(self) -> Manifest:
        goods = [c.name for c in self.classes if c.severity == "good"]
        if len(goods) != 1:
            raise ValueError(f"exactly one class must have severity 'good', found {goods}")
        defects = {c.name for c in self.classes if c.severity != "good"}
        if set(self.decision.ok_below) != defects:
            raise ValueError("the thresholds must name every defect class and no other")
        if self.task == "binary" and len(self.classes) != 2:
            raise ValueError("a binary task has one defect class")
        unknown = [name for name in self.runtimes if name not in RUNTIMES]
        if unknown:
            raise ValueError(f"runtimes are {', '.join(RUNTIMES)}, found {unknown}")
        if len(self.input.shape) != 4 or self.input.shape[3] not in (1, 3):
            raise ValueError(f"the input must be (1, h, w, 1 or 3), found {self.input.shape}")
        if len(self.input_range) not in (1, self.input.shape[3]):
            raise ValueError("input_range must hold one pair, or one for each channel")
        if any(low >= high for low, high in self.input_range):
            raise ValueError(f"input_range must rise, found {self.input_range}")
        if len(self.score.shape) != 2 or self.score.shape[1] not in (
            len(self.classes),
            len(self.classes) - 1,
        ):
            raise ValueError(
                f"the score must be (1, {len(self.classes)}), or without the good class "
                f"(1, {len(self.classes) - 1}), found {self.score.shape}"
            )
        if self.score.shape[1] < len(self.classes) and self.activation == "softmax":
            raise ValueError("a softmax needs a score of the good class too")
        if set(self.sha256) != set(SEALED_PARTS):
            raise ValueError("sha256 must hold the checksum of every part and of no other")
        return self

    @cached_property
    def class_names(self) -> tuple[str, ...]:
        """Class names in the order of the scores."""
        return tuple(c.name for c in self.classes)

    @cached_property
    def good(self) -> str:
        """Name of the class of good parts."""
        return next(c.name for c in self.classes if c.severity == "good")
