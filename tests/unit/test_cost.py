"""What a model costs, against numbers worked out by hand."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from export.convert import to_int8
from export.cost import cost
from qc.recipe import ModelTable
from training.head import EvidenceHead
from training.model import build_model

pytestmark = pytest.mark.usefixtures("repeatable")


def test_convolutions_are_counted_as_by_hand() -> None:
    image = keras.Input((32, 32, 3), name="image")
    x = keras.layers.Rescaling(1 / 255)(image)
    x = keras.layers.Conv2D(4, 3, 2, padding="same", activation="relu")(x)  # 16 x 16 x 4
    x = keras.layers.DepthwiseConv2D(3, padding="same", activation="relu")(x)
    score, attention = EvidenceHead(3, "mean", name="head")(x)
    score = keras.layers.Identity(name="score")(score)
    attention = keras.layers.Identity(name="attention")(attention)
    model = keras.Model(image, {"score": score, "attention": attention})
    pixels = np.random.default_rng(0).integers(0, 256, (16, 32, 32, 3), np.uint8)
    found = cost(to_int8(model, pixels).model)
    cells = 16 * 16
    macs = cells * 4 * 27 + cells * 4 * 9 + cells * 3 * 4
    assert found["mmacs"] == pytest.approx(macs / 1e6, abs=6e-4)
    assert found["parameters"] == (4 * 27 + 4) + (4 * 9 + 4) + (3 * 4 + 3)


def test_products_of_two_activations_are_counted() -> None:
    """Self-attention over N cells of C channels: N * N * C for the scores, as much for the sum."""
    table = {"backbone": "inverted_residual", "size_hw": [64, 64], "stride": 16, "dropout": 0}
    pixels = np.random.default_rng(0).integers(0, 256, (16, 64, 64, 3), np.uint8)
    costs = []
    for block in ({"block": "none"}, {"block": "self_attention", "block_at": ["stage3"]}):
        model = build_model(ModelTable.model_validate({**table, **block}), 3)
        for weight in model.weights:  # those of the attention's last layer are zero at the start
            if "_attention/out" in weight.path:
                weight.assign(np.random.default_rng(0).normal(0, 0.1, weight.shape))
        costs.append(cost(to_int8(model, pixels).model)["mmacs"])
    cells, channels = 4 * 4, 64
    linear = 4 * cells * channels * channels  # query, key, value and output
    products = 2 * cells * cells * channels
    assert costs[1] - costs[0] == pytest.approx((linear + products) / 1e6, rel=0.02)
