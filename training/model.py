"""From a recipe's `[model]` table to a Keras model with the outputs `score` and `attention`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras

from qc import plugins
from qc.errors import RecipeError
from qc.recipe import ModelTable
from training.head import EvidenceHead


def build_model(table: ModelTable, classes: int, weights: Path | None = None) -> keras.Model:
    """Build the model of a recipe.

    Args:
        table: backbone, block, input size and stride.
        classes: number of classes K.
        weights: file that holds the weights the table asks for, in place of fetching them.

    Returns:
        A model from images `(B, H, W, 3)`, 0 to 255, to `score` `(B, K)` and `attention`
        `(B, h, w, K)`.

    Raises:
        RecipeError: no such backbone, block or weights.
    """
    if weights is not None and table.weights != "none":
        table = table.model_copy(update={"weights": str(weights)})
    backbone = plugins.resolve("backbone", table.backbone)
    attention = None
    if table.block != "none":
        block = plugins.resolve("block", table.block).Block

        def attention(name: str) -> Any:
            return block(name=name)

    inputs = keras.Input((*table.size_hw, 3), name="image", dtype="float32")
    features, stride = backbone.build(inputs, table, attention)
    if stride != table.stride:
        raise RecipeError(
            f"backbone {table.backbone} does not reach this stride",
            where="model.stride",
            expected=stride,
            found=table.stride,
        )
    if table.dropout:
        features = keras.layers.SpatialDropout2D(table.dropout, name="dropout")(features)
    score, attention_map = EvidenceHead(classes, name="head")(features)
    # a name of its own for each output, so that the graph's tensors can be told apart
    score = keras.layers.Identity(name="score")(score)
    attention_map = keras.layers.Identity(name="attention")(attention_map)
    return keras.Model(inputs, {"score": score, "attention": attention_map}, name="inspector")
