"""Simulated int8: rounds as int8 does, keeps the weights, and comes back as the plain model."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from settled import settled

from export.convert import to_int8
from export.qat import FakeQuant, RoundedConv2D, RoundedDepthwiseConv2D, simulated

pytestmark = pytest.mark.usefixtures("repeatable")

PICTURES = np.random.default_rng(0).integers(0, 256, (24, 64, 64, 3), np.uint8)


def test_a_kernel_is_rounded_to_127_steps_of_each_channel() -> None:
    kernel = np.zeros((1, 1, 2, 2), np.float32)
    kernel[0, 0] = [[1.0, 10.0], [0.503, -0.04]]
    layer = RoundedConv2D(2, 1, use_bias=False)
    layer.build((None, 4, 4, 2))
    layer.set_weights([kernel])
    found = np.asarray(layer(np.eye(2, dtype=np.float32).reshape(1, 1, 2, 2)))[0, 0]
    # a step is 1 / 127 in the first channel and 10 / 127 in the second
    assert found == pytest.approx(np.array([[1.0, 10.0], [64 / 127, -10 / 127]]), abs=1e-5)


def test_a_depthwise_kernel_too_and_the_gradient_passes() -> None:
    import tensorflow as tf

    layer = RoundedDepthwiseConv2D(1, use_bias=False)
    layer.build((None, 2, 2, 2))
    layer.set_weights([np.array([1.0, 0.503], np.float32).reshape(1, 1, 2, 1)])
    with tf.GradientTape() as tape:
        found = layer(tf.ones((1, 2, 2, 2)))
        loss = tf.reduce_sum(found)
    assert np.asarray(found)[0, 0, 0] == pytest.approx([1.0, 0.503], abs=1e-5)  # its own greatest
    assert np.asarray(tape.gradient(loss, layer.kernel)).ravel() == pytest.approx([4.0, 4.0])


def test_values_are_rounded_to_255_steps_of_the_range() -> None:
    found = np.asarray(FakeQuant(0.0, 2.55)(np.array([[0.0, 0.104, 0.016, 9.0]], np.float32)))
    assert found[0] == pytest.approx([0.0, 0.10, 0.02, 2.55], abs=1e-5)


def test_the_copy_has_the_weights_and_rounds_between_the_layers() -> None:
    model = settled(PICTURES)
    copy = simulated(model, PICTURES)
    for a, b in zip(model.get_weights(), copy.get_weights(), strict=True):
        assert np.array_equal(a, b)
    kinds = [type(layer) for layer in copy.layers]
    assert kinds.count(FakeQuant) > 10
    assert keras.layers.Conv2D not in kinds and keras.layers.DepthwiseConv2D not in kinds
    assert RoundedDepthwiseConv2D in kinds
    exact = np.asarray(model.predict_on_batch(PICTURES.astype(np.float32))["attention"])
    rounded = np.asarray(copy.predict_on_batch(PICTURES.astype(np.float32))["attention"])
    assert 0 < np.abs(exact - rounded).max() < 0.2 * np.abs(exact).max()


def test_it_errs_as_much_as_int8_does() -> None:
    """Not in the same places: a value next to the edge of a step falls to either side of it."""
    from ai_edge_litert.interpreter import Interpreter

    model = settled(PICTURES)
    copy = simulated(model, PICTURES)
    made = Interpreter(model_content=to_int8(model, PICTURES).model)
    made.allocate_tensors()
    (out,) = [d for d in made.get_output_details() if len(d["shape"]) == 4]
    maps = []
    for picture in PICTURES:
        made.set_tensor(made.get_input_details()[0]["index"], picture[None])
        made.invoke()
        scale, zero_point = out["quantization"]
        maps.append((made.get_tensor(out["index"])[0].astype(np.float32) - zero_point) * scale)
    int8 = np.stack(maps)
    exact, rounded = (
        np.asarray(m.predict_on_batch(PICTURES.astype(np.float32))["attention"])
        for m in (model, copy)
    )
    ratio = np.square(rounded - exact).mean() / np.square(int8 - exact).mean()
    assert 0.3 < ratio < 3


def test_it_is_saved_and_read_again(tmp_path: object) -> None:
    copy = simulated(settled(PICTURES), PICTURES)
    file = f"{tmp_path}/copy.keras"
    copy.save(file)
    again = keras.models.load_model(file)
    given = PICTURES[:4].astype(np.float32)
    assert np.allclose(
        copy.predict_on_batch(given)["score"], again.predict_on_batch(given)["score"], atol=1e-6
    )
