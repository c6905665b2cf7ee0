"""What `to_int8` refuses: graphs that would not run, or not as int8, at the line."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

from export.convert import to_int8
from qc.errors import GateError
from training.head import EvidenceHead

pytestmark = pytest.mark.usefixtures("repeatable")

PICTURES = np.random.default_rng(0).integers(0, 256, (8, 16, 16, 3), np.uint8)


def _model(features: Any, image: Any) -> keras.Model:
    score, attention = EvidenceHead(3, name="head")(features)
    score = keras.layers.Identity(name="score")(score)
    attention = keras.layers.Identity(name="attention")(attention)
    return keras.Model(image, {"score": score, "attention": attention})


def _features(image: Any, bias: float = 0.0) -> Any:
    x = keras.layers.Rescaling(1 / 127.5, offset=-1.0)(image)
    start = keras.initializers.Constant(bias)
    return keras.layers.Conv2D(8, 3, padding="same", activation="relu", bias_initializer=start)(x)


def test_the_borders_are_uint8_and_the_map_is_the_second_output() -> None:
    image = keras.Input((16, 16, 3), name="image")
    made = to_int8(_model(_features(image), image), PICTURES)
    assert made.input.shape == (1, 16, 16, 3) and made.input.scale == 1.0
    assert made.score.shape == (1, 3) and made.attention.shape == (1, 16, 16, 3)
    assert {t.dtype for t in (made.input, made.score, made.attention)} == {"uint8"}
    assert made.model[4:8] == b"TFL3"


def test_every_calibration_image_is_told_of() -> None:
    image = keras.Input((16, 16, 3), name="image")
    told: list[tuple[int, int]] = []
    to_int8(_model(_features(image), image), PICTURES, progress=lambda *a: told.append(a))
    assert told[-1] == (8, 8) and len(told) >= 8


def test_the_operand_of_an_addition_keeps_its_own_range() -> None:
    """The sum is computed in the operand's memory: read afterwards it would be -1 to 2."""
    from ai_edge_litert import schema_py_generated as schema

    image = keras.Input((16, 16, 3), name="image")
    made = to_int8(_model(_features(image), image), PICTURES)
    tensors = schema.ModelT.InitFromPackedBuf(made.model, 0).subgraphs[0].tensors
    scale = {t.name.decode(): t.quantization.scale for t in tensors if t.shape.size == 4}
    # 0 to 255 times 1 / 127.5, then less 1: both are 2 wide
    steps = {name.split("/")[-1]: s for name, s in scale.items() if "/rescaling" in name}
    assert steps == {"mul": pytest.approx([2 / 255]), "add": pytest.approx([2 / 255])}


def test_a_dead_layer_is_refused() -> None:
    """A ReLU that is zero on every image: the runtime may refuse such a graph, or crash."""
    image = keras.Input((16, 16, 3), name="image")
    with pytest.raises(GateError, match="no int8 range"):
        to_int8(_model(_features(image, bias=-100.0), image), PICTURES)


def test_a_float_island_is_refused() -> None:
    """`erf` has no int8 kernel, so the converter would leave it in float between two casts."""
    image = keras.Input((16, 16, 3), name="image")
    with pytest.raises(Exception, match=r"float islands|custom or Flex|cannot be converted"):
        to_int8(_model(keras.ops.erf(_features(image)), image), PICTURES)
