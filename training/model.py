"""From a recipe's `[model]` table to a Keras model with the outputs `score` and `attention`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras

from qc import plugins
from qc.errors import RecipeError
from qc.recipe import ModelTable
from training.head import EvidenceHead
from training.options import check_options, make_layer

_BLOCK_OPTIONS = "model.block_options"


def build_model(table: ModelTable, classes: int, weights: Path | None = None) -> keras.Model:
    """Build the model of a recipe.

    Args:
        table: backbone, block, pooling, input size and stride.
        classes: number of classes K.
        weights: file that holds the weights the table asks for, in place of fetching them.

    Returns:
        A model from images `(B, H, W, 3)`, 0 to 255, to `score` `(B, K)` and `attention`
        `(B, h, w, K)`.

    Raises:
        RecipeError: no such backbone, block, option or weights.
    """
    if weights is not None and table.weights != "none":
        table = table.model_copy(update={"weights": str(weights)})
    backbone = plugins.resolve("backbone", table.backbone)
    inputs = keras.Input((*table.size_hw, 3), name="image", dtype="float32")
    places = _Places(table)
    features, stride = backbone.build(inputs, table, places.attend)
    places.refuse_unknown()
    if stride != table.stride:
        raise RecipeError(
            f"backbone {table.backbone} does not reach this stride",
            where="model.stride",
            expected=stride,
            found=table.stride,
        )
    if table.dropout:
        # in the type of the head: a half-precision one is read back from a file as float32
        dropout = keras.layers.SpatialDropout2D(table.dropout, name="dropout", dtype="float32")
        features = dropout(features)
    activation = "softmax" if table.task == "multiclass" else "sigmoid"
    head = EvidenceHead(classes, _pooling(table), activation, name="head", dtype="float32")
    score, attention_map = head(features)
    # a name of its own for each output, so that the graph's tensors can be told apart
    score = keras.layers.Identity(name="score", dtype="float32")(score)
    attention_map = keras.layers.Identity(name="attention", dtype="float32")(attention_map)
    return keras.Model(inputs, {"score": score, "attention": attention_map}, name="inspector")


def _pooling(table: ModelTable) -> keras.layers.Layer:
    return make_layer(
        plugins.resolve("pooling", table.pooling).Pooling,
        f"pooling {table.pooling}",
        table.pooling_options,
        "model.pooling_options",
        name="pooling",
        dtype="float32",
    )


class _Places:
    """Puts the recipe's block where the recipe wants it."""

    def __init__(self, table: ModelTable) -> None:
        self.table = table
        self.known: list[str] = []
        self.block: Any = None
        if table.block != "none":
            self.block = plugins.resolve("block", table.block).Block
            self.given = (self.block, f"block {table.block}", table.block_options, _BLOCK_OPTIONS)
            check_options(*self.given)

    def attend(self, features: Any, stage: str) -> Any:
        """The features of a stage, through a block where one is wanted there."""
        self.known.append(stage)
        if self.block is None or (self.table.block_at and stage not in self.table.block_at):
            return features
        block = make_layer(*self.given, name=f"{stage}_attention")
        try:
            return block(features)
        except ValueError as error:
            raise RecipeError(
                f"block {self.table.block} does not fit {stage} of this model",
                where="model.block",
                found=str(error).splitlines()[0],
            ) from error

    def refuse_unknown(self) -> None:
        unknown = [stage for stage in self.table.block_at if stage not in self.known]
        if unknown:
            raise RecipeError(
                f"backbone {self.table.backbone} has no such stage",
                where="model.block_at",
                expected=f"some of {', '.join(self.known)}",
                found=", ".join(unknown),
            )
