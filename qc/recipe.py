"""The recipe: one reproducible experiment as a TOML file.

A key that is not known is an error that names the file, the key and the nearest legal key. A value
is never substituted. Paths of a recipe are relative to the recipe's own folder.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    Field,
    field_validator,
    model_validator,
)

from qc.errors import DataError
from qc.tables import Table, read_toml
from qc.types import Task


class DataTable(Table):
    """`[data]`: which images, and which class is good.

    Args:
        path: the dataset, a folder or file; relative to `--data` or QC_DATA, or to the recipe.
        good: the class of good parts.
        format: the layout; None: it is found out.
        options: what the layout can be told, such as the columns of a table.
        split: CSV of the split, relative to the recipe; None: the split that the dataset's folders
            say, else one by group with `shares`.
        shares: of train, val and test, where `split` is not given.
        colour: "rgb", or "grey": the luma only.
        severity: defect class -> minor, major or critical; major where not named. With
            `model.task = "binary"` the class is the merged one.
        licence: the licence of the images as their source states it.
    """

    path: str
    good: str
    format: str | None = None
    options: dict[str, Any] = Field(default_factory=dict)
    split: str | None = None
    shares: tuple[float, float, float] = (0.6, 0.2, 0.2)
    colour: Literal["rgb", "grey"] = "rgb"
    severity: dict[str, Literal["minor", "major", "critical"]] = Field(default_factory=dict)
    licence: str = "none stated"


class ModelTable(Table):
    """`[model]`: what it is asked, the backbone, its attention block and the input size.

    Args:
        task: "multiclass": a part has one class; "binary": all defects are one class, "defect", or
            by its own name where the set has only one; "multilabel": a part may have several.
        backbone: file name in training/backbones.
        block: file name in training/blocks, or "none".
        block_options: arguments of the block's own, such as ratio or heads; the rest as it says.
        block_at: stages of the backbone that get a block, such as ["stage2", "neck"]; none: all.
        size_hw: height and width of the model input in pixels; multiples of the stride, with
            `pyramid` of twice the stride, and at least 32.
        stride: input pixels for one cell of the map.
        stem_stride: pixels between two cells of the first convolution of `inverted_residual`; 4
            takes a third of the time, for defects that are not as fine as the pixels.
        pyramid: add the backbone's deeper features, at twice the stride, to those at the stride.
        width: multiplier of the number of channels.
        weights: "none", "imagenet", or a `.weights.h5` file; relative to the recipe.
        trainable_from: name of the first backbone layer that learns; None: all learn.
        dropout: share of the features dropped before the head.
        pooling: file name in training/poolings: how a class's map becomes its logit.
        pooling_options: arguments of the pooling's own, such as sharpness.
    """

    task: Task = "multiclass"
    backbone: str
    block: str = "cbam"
    block_options: dict[str, Any] = Field(default_factory=dict)
    block_at: tuple[str, ...] = ()
    size_hw: tuple[int, int]
    stride: Literal[8, 16] = 16
    stem_stride: Literal[2, 4] = 2
    pyramid: bool = False
    width: float = Field(default=1.0, gt=0, le=2)
    weights: str = "none"
    trainable_from: str | None = None
    dropout: float = Field(default=0.1, ge=0, lt=1)
    pooling: str = "mean_max"
    pooling_options: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _fits(self) -> ModelTable:
        if self.block == "none" and self.block_options:
            raise ValueError("block_options are of a block, and block is 'none'")
        if self.stem_stride != 2 and self.backbone != "inverted_residual":
            raise ValueError("stem_stride is of the backbone 'inverted_residual'")
        if any(side < 32 or side % self.stride for side in self.size_hw):
            raise ValueError(f"size_hw must be multiples of stride {self.stride}, at least 32")
        if self.pyramid and any(side % (2 * self.stride) for side in self.size_hw):
            raise ValueError(
                f"size_hw must be multiples of {2 * self.stride}: the pyramid halves the map"
            )
        return self


class AugmentTable(Table):
    """`[train.augment]`: what may happen to a part without changing what it is.

    Each number is the largest change; what happens to a picture is drawn between none and it. 0 or
    false leaves a kind out. Pixels are those of the model's input.

    Args:
        flip_horizontal, flip_vertical: mirror at random.
        quarter_turns: turn by 90, 180 or 270 degrees; only where the model's input is square.
        rotate_deg: rotation, degrees.
        shift: shift, share of the side.
        scale: change of size, share.
        brightness: grey added or taken away, share of the full range.
        contrast: exposure: a factor on the grey, 0.2 draws it between 0.8 and 1.2.
        gamma: bend of the tones, share: 0.5 draws the exponent between 1/1.5 and 1.5.
        uneven_light: one side or a spot lighter, the other end darker, share.
        defocus: radius of the disc that a point becomes, pixels.
        motion_blur: length of the streak that a point becomes, pixels; 0, or at least 3.
        noise: standard deviation of the sensor's noise, share of the full range.
        jpeg: loss of JPEG quality: 40 draws the quality between 60 and 100.
        cut_out: side of a patch that is hidden, share of the side; it never covers a defect.
        copy_paste: probability that a good part is given a defect of another TRAIN part, as its
            mask, not a box, outlines it.
    """

    flip_horizontal: bool = True
    flip_vertical: bool = True
    quarter_turns: bool = False
    rotate_deg: float = Field(default=8.0, ge=0, le=180)
    shift: float = Field(default=0.04, ge=0, le=0.5)
    scale: float = Field(default=0.08, ge=0, le=0.5)
    brightness: float = Field(default=0.15, ge=0, le=1)
    contrast: float = Field(default=0.15, ge=0, le=1)
    gamma: float = Field(default=0.0, ge=0, le=1)
    uneven_light: float = Field(default=0.0, ge=0, le=0.5)
    defocus: int = Field(default=0, ge=0, le=15)
    motion_blur: int = Field(default=0, ge=0, le=31)
    noise: float = Field(default=0.02, ge=0, le=0.5)
    jpeg: int = Field(default=0, ge=0, le=90)
    cut_out: float = Field(default=0.0, ge=0, le=0.5)
    copy_paste: float = Field(default=0.0, ge=0, le=1)

    @field_validator("motion_blur")
    @classmethod
    def _seen(cls, length: int) -> int:
        if 0 < length < 3:
            raise ValueError("nothing is seen below 3; 0 leaves it out")
        return length


class TrainTable(Table):
    """`[train]`: how the model learns.

    Args:
        epochs: passes over as many images as TRAIN holds.
        batch_size: images in one step.
        optimiser: "adamw", or "sgd" with Nesterov momentum 0.9.
        learning_rate: at its highest; it rises over the warm-up and falls as a cosine.
        warmup_epochs: epochs of rising, at most a tenth of all.
        pretrained_rate: share of the learning rate for layers that came with weights.
        weight_decay: of the optimiser, decoupled.
        clip_norm: longest gradient of a variable; 0: any.
        label_smoothing: share of the label spread over the other classes; where each defect has a
            score of its own ("binary", "multilabel") that share of it is one half.
        balance: 0 draws images as they are, 1 draws every class equally often.
        mask_weight: weight of the map's loss against the class loss; 0 ignores masks.
        average: momentum of the running average of the weights, the average is what is kept.
        mixup: alpha of mixup (Zhang et al., ICLR 2018), 0: none; only where `mask_weight` is 0,
            since a mixed part has no mask.
        early_stop_epochs: stop after so many epochs without a better one on VAL; 0: never.
        xla: compile the training step with XLA; None: as Keras decides.
        precision: "float32", "mixed_float16", or "auto": mixed where there is a GPU.
        gpus: "one", or "all" of this host, which share each batch.
        augment: what may happen to a picture; `[train.augment]`.
    """

    epochs: int = Field(ge=1)
    batch_size: int = Field(default=32, ge=2)
    optimiser: Literal["adamw", "sgd"] = "adamw"
    learning_rate: float = Field(default=1e-3, gt=0)
    warmup_epochs: float = Field(default=1.0, ge=0)
    pretrained_rate: float = Field(default=1.0, gt=0, le=1)
    clip_norm: float = Field(default=1.0, ge=0)
    weight_decay: float = Field(default=1e-4, ge=0)
    label_smoothing: float = Field(default=0.1, ge=0, lt=0.5)
    balance: float = Field(default=0.5, ge=0, le=1)
    mask_weight: float = Field(default=0.5, ge=0)
    average: float = Field(default=0.98, ge=0, lt=1)
    mixup: float = Field(default=0.0, ge=0, le=4)
    early_stop_epochs: int = Field(default=0, ge=0)
    xla: bool | None = None
    precision: Literal["auto", "float32", "mixed_float16"] = "auto"
    gpus: Literal["one", "all"] = "one"
    augment: AugmentTable = AugmentTable()

    @model_validator(mode="after")
    def _mixable(self) -> TrainTable:
        if self.mixup and self.mask_weight:
            raise ValueError("mixup needs mask_weight = 0: a mixed part has no mask")
        return self


class ExportTable(Table):
    """`[export]`: how the model is quantised, and the gate it must pass on VAL against float.

    Args:
        scheme: "auto" builds every scheme that the target can run and takes the fastest that passes
            the gate; a named one is built alone: for a line whose CPU is not the one here.
        calibration_images: taken from TRAIN, stratified over classes and groups.
        golden_images: sealed into the bundle with their outputs.
        min_agreement: share of VAL images with the same verdict.
        max_recall_drop: share of the defects that may be flagged no more.
        max_overkill_rise: share of the good parts that may be judged NG on top.
        min_map_correlation: mean correlation of the maps.
        max_auroc_drop: of good against defect.
        qat_epochs: of fine-tuning under simulated quantisation, where `--qat` allows it.
    """

    scheme: Literal["auto", "int8", "mixed", "dynamic", "float16", "float32"] = "auto"
    calibration_images: int = Field(default=200, ge=16)
    golden_images: int = Field(default=24, ge=16)
    min_agreement: float = Field(default=0.99, ge=0, le=1)
    max_recall_drop: float = Field(default=0.01, ge=0, le=1)
    max_overkill_rise: float = Field(default=0.01, ge=0, le=1)
    min_map_correlation: float = Field(default=0.95, ge=-1, le=1)
    max_auroc_drop: float = Field(default=0.01, ge=0)
    qat_epochs: int = Field(default=3, ge=1, le=50)


class CostTable(Table):
    """`[decision.costs]`: what one part costs, in any one currency, so that thresholds cost least.

    Args:
        escape: a bad part judged OK.
        overkill: a good part judged NG.
        review: a part that a person looks at.
        defect_rate: share of bad parts on the line; VAL has more of them than a line has.
    """

    escape: float = Field(ge=0)
    overkill: float = Field(ge=0)
    review: float = Field(ge=0)
    defect_rate: float = Field(gt=0, lt=1)


Rate = Annotated[float, Field(ge=0, lt=1)]


class DecisionTable(Table):
    """`[decision]`: the rates on VAL that the thresholds are set by.

    Args:
        max_escape: share of bad parts that may be judged OK.
        max_overkill: share of good parts that may be judged NG.
        confidence: that `max_escape` holds for other pieces too, by an exact bound over the groups
            of VAL; None: it is met on VAL as a point and nothing is promised.
        severity_escape: severity -> share of the bad parts with a defect of it that may be judged
            OK, such as `{critical = 0.001}`, beside `max_escape` of all.
        costs: where given, the cheapest thresholds that keep within the rates.
        temperature: fit a temperature on VAL, so that scores are probabilities.
    """

    max_escape: Rate = 0.02
    max_overkill: Rate = 0.02
    confidence: float | None = Field(default=None, ge=0.5, lt=1)
    severity_escape: dict[Literal["minor", "major", "critical"], Rate] = Field(default_factory=dict)
    costs: CostTable | None = None
    temperature: bool = True

    @model_validator(mode="after")
    def _boundable(self) -> DecisionTable:
        if self.confidence is not None and 0 in (self.max_escape, *self.severity_escape.values()):
            raise ValueError("no number of parts shows with confidence that max_escape is 0")
        return self


class Recipe(Table):
    """One reproducible experiment.

    Args:
        name: begins the names of run and bundle.
        seed: of the weights, the order of the images, their augmentation and a split by `shares`.
        data, model, train, export, decision: the tables of these names.
    """

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")
    seed: int = Field(default=0, ge=0)
    data: DataTable
    model: ModelTable
    train: TrainTable
    export: ExportTable = ExportTable()
    decision: DecisionTable = DecisionTable()

    @model_validator(mode="after")
    def _turns_fit(self) -> Recipe:
        height, width = self.model.size_hw
        if self.train.augment.quarter_turns and height != width:
            raise ValueError(
                "key 'train.augment.quarter_turns': only a square model.size_hw can be turned by "
                f"90 degrees, found {height} x {width}"
            )
        return self

    def digest(self) -> str:
        """SHA-256 of all values, defaults included."""
        text = json.dumps(self.model_dump(mode="json"), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()


def read_recipe(path: Path) -> Recipe:
    """Read a recipe; raises RecipeError as `read_toml` does."""
    return read_toml(path, Recipe)


def dataset_path(recipe: Recipe, recipe_path: Path, data: Path | None) -> Path:
    """Where the recipe's dataset lies.

    Args:
        recipe: names the dataset in `data.path`.
        recipe_path: its file, which `data.path` is relative to where `data` is None.
        data: what `--data` or QC_DATA gave: the dataset, or the folder that holds it.

    Raises:
        DataError: nothing is there; names every place that was looked at.
    """
    base = recipe_path.parent if data is None else data
    places = [base / recipe.data.path] + ([data] if data is not None else [])
    for place in places:
        if place.exists():
            return place
    raise DataError(
        "the recipe's dataset does not exist; name its folder with --data or QC_DATA",
        where=recipe_path,
        expected=f"data.path = {recipe.data.path!r}",
        found=f"nothing at {' or '.join(str(p) for p in places)}",
    )
