"""A convolution on blocks of columns computes what Keras' convolution computes."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert import schema_py_generated as schema

from export.convert import saved_model
from qc.recipe import ModelTable
from training.columns import ColumnsConv2D, side_by_side
from training.model import build_model

RNG = np.random.default_rng(0)


def _pair(shape: tuple[int, ...], filters: int, kernel: Any, **given: Any) -> list[Any]:
    """Keras' layer and the one on blocks, with the same weights."""
    pair = [kind(filters, kernel, **given) for kind in (keras.layers.Conv2D, ColumnsConv2D)]
    for layer in pair:
        layer.build(shape)
    pair[1].set_weights([RNG.normal(size=w.shape) for w in pair[0].get_weights()])
    pair[0].set_weights(pair[1].get_weights())
    return pair


def _blocks(shape: tuple[int, ...], layer: Any) -> bool:
    """Whether a layer writes its kernel out for a block."""
    call = tf.function(layer.call).get_concrete_function(tf.TensorSpec(shape, tf.float32))
    return "Einsum" in {op.type for op in call.graph.get_operations()}


@pytest.mark.parametrize(
    ("shape", "filters", "kernel", "strides"),
    [
        ((2, 12, 16, 1), 1, 7, 1),  # the gate of CBAM
        ((1, 5, 28, 1), 1, 7, 1),
        ((1, 9, 14, 1), 1, 3, 1),
        ((2, 12, 16, 3), 16, 3, 2),  # the first convolution of a network
        ((1, 13, 24, 3), 32, 3, 2),  # rows that no stride divides
        ((1, 16, 32, 3), 16, 4, 4),
        ((1, 16, 32, 3), 8, 7, 2),
        ((1, 8, 12, 2), 3, 5, 1),
        ((1, 8, 12, 2), 3, (1, 4), 1),  # an even kernel lies to the right
        ((1, 8, 12, 2), 3, (3, 2), (1, 3)),
    ],
)
def test_values_and_gradients_are_those_of_keras(
    shape: tuple[int, ...], filters: int, kernel: Any, strides: Any
) -> None:
    given = {"strides": strides, "padding": "same", "activation": "tanh"}
    plain, columns = _pair(shape, filters, kernel, **given)
    assert _blocks(shape, columns) and not _blocks(shape, plain)
    x = tf.constant(RNG.normal(size=shape).astype(np.float32))
    found = []
    for layer in (plain, columns):
        with tf.GradientTape() as tape:
            tape.watch(x)
            out = layer(x)
            loss = tf.reduce_sum(out**2)
        found.append([out, *tape.gradient(loss, [x, *(v.value for v in layer.variables)])])
    for theirs, ours in zip(*found, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("shape", "given"),
    [
        ((1, 8, 17, 1), {"padding": "same"}),  # a prime number of columns
        ((1, 8, 16, 1), {"padding": "valid"}),
        ((1, 8, 16, 1), {"padding": "same", "dilation_rate": 2}),
    ],
)
def test_what_does_not_fit_is_left_to_keras(shape: tuple[int, ...], given: dict[str, Any]) -> None:
    plain, columns = _pair(shape, 1, 3, **given)
    assert not _blocks(shape, columns)
    x = RNG.normal(size=shape).astype(np.float32)
    np.testing.assert_allclose(np.asarray(columns(x)), np.asarray(plain(x)), rtol=1e-5)


def _model(backbone: str, **given: Any) -> keras.Model:
    table = {"backbone": backbone, "size_hw": (32, 64), "stride": 8, "width": 0.35, **given}
    model = build_model(ModelTable.model_validate(table), 3)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.set_weights([RNG.uniform(0.5, 1.5, w.shape) for w in layer.get_weights()])
    return model


PICTURES = RNG.integers(0, 256, (8, 32, 64, 3)).astype(np.uint8)
BACKBONES = ("inverted_residual", "compact_transformer", "mobilenet_v2", "mobilenet_v3_small")


@pytest.mark.parametrize("backbone", BACKBONES)
def test_what_is_exported_computes_what_was_trained(backbone: str) -> None:
    model = _model(backbone)
    before = {k: np.asarray(v) for k, v in model(PICTURES.astype(np.float32)).items()}
    weights = model.get_weights()
    again = side_by_side(model)
    first = [layer for layer in again.layers if isinstance(layer, ColumnsConv2D)]
    assert len(first) == 1 and first[0].kernel.shape[2] == 3
    (after,) = {node.operation for node in first[0]._outbound_nodes}
    assert not isinstance(after, keras.layers.BatchNormalization)
    for key, value in again(PICTURES.astype(np.float32)).items():
        np.testing.assert_allclose(np.asarray(value), before[key], rtol=1e-3, atol=1e-3)
    # the run's own model is as it was
    assert not any(isinstance(layer, ColumnsConv2D) for layer in model.layers)
    for kept, value in zip(model.get_weights(), weights, strict=True):
        np.testing.assert_array_equal(kept, value)


@pytest.mark.parametrize("stem_stride", [2, 4])
def test_in_int8_the_first_convolution_is_one_operation_on_blocks(stem_stride: int) -> None:
    """Bias, normalisation and ReLU6 are in it: between them nothing is rounded."""
    with saved_model(_model("inverted_residual", stem_stride=stem_stride)) as saved:
        graphs = {
            columns: schema.ModelT.InitFromPackedBuf(
                saved.convert("int8", PICTURES, columns=columns).model, 0
            ).subgraphs[0]
            for columns in (False, True)
        }
    plain, columns = (
        [[int(n) for n in graph.tensors[o.outputs[0]].shape] for o in graph.operators]
        for graph in (graphs[False], graphs[True])
    )
    side, across = 32 // stem_stride, 64 // stem_stride
    assert [1, side, across, 8] in plain and [1, side, across // 8, 64] not in plain
    place = columns.index([1, side, across // 8, 64])
    # before it columns come together, after it they lie apart again
    given = [1, 32, across // 8, 8 * stem_stride * 3]
    assert columns[place - 1] == given and columns[place + 1] == [1, side, across, 8]
    assert len(columns) == len(plain) + 2


def test_a_patch_of_the_stem_is_four_pixels_wide() -> None:
    model = _model("inverted_residual", stem_stride=4, stride=16)
    stem = model.get_layer("stem_conv")
    assert stem.kernel.shape[:2] == (4, 4) and stem.strides == (4, 4)
    assert model.output["attention"].shape[1:3] == (2, 4)


def test_other_backbones_refuse_a_stem_stride() -> None:
    with pytest.raises(ValueError, match="stem_stride is of the backbone 'inverted_residual'"):
        ModelTable(backbone="mobilenet_v2", size_hw=(32, 32), stem_stride=4)
