"""The contract of every attention block: one file in training/blocks is enough to be held to it.

Blocks often start as the identity (a gate of zeros), so all weights are drawn at random first: a
weight that is lost on the way then shows.
"""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter

from export.convert import to_int8
from qc.plugins import names, resolve
from qc.recipe import ModelTable
from training.head import EvidenceHead
from training.model import build_model

BLOCKS = names("block")
CLASSES = 3

pytestmark = [pytest.mark.parametrize("name", BLOCKS), pytest.mark.usefixtures("repeatable")]


def _block(kind: str, /, **changes: Any) -> keras.layers.Layer:
    made: keras.layers.Layer = resolve("block", kind).Block(**changes)
    return made


def _features(*shape: int, seed: int = 0) -> np.ndarray:
    """Features as a ReLU6 leaves them."""
    return np.random.default_rng(seed).uniform(0, 3, shape).astype(np.float32)


def _draw_weights(variables: list[Any], seed: int = 0) -> None:
    rng = np.random.default_rng(seed)
    for variable in variables:
        if "float" in variable.dtype:
            value = rng.normal(0, 0.5, variable.shape)
            variable.assign(np.abs(value) + 0.5 if "variance" in variable.path else value)


def _drawn_block(name: str, shape: tuple[int, ...]) -> keras.layers.Layer:
    block = _block(name)
    block(_features(*shape))
    _draw_weights(block.weights)
    return block


def _inspector(name: str) -> keras.Model:
    """The smallest model the converter takes: image, features, block, head."""
    image = keras.Input((32, 32, 3), name="image")
    x = keras.layers.Rescaling(1 / 127.5, offset=-1.0)(image)
    # no activation: as after a linear bottleneck, features have two signs
    x = keras.layers.Conv2D(16, 3, strides=2, padding="same")(x)
    x = _block(name, name="block")(x)
    score, attention = EvidenceHead(CLASSES, name="head")(x)
    score = keras.layers.Identity(name="score")(score)
    attention = keras.layers.Identity(name="attention")(attention)
    model = keras.Model(image, {"score": score, "attention": attention})
    _draw_weights(model.weights)
    return model


def _pictures(count: int, seed: int) -> np.ndarray:
    """Soft blobs, so that neighbours are alike as in a picture."""
    rng = np.random.default_rng(seed)
    coarse = rng.uniform(0, 255, (count, 8, 8, 3))
    return np.asarray(keras.ops.image.resize(coarse, (32, 32)), np.float32).astype(np.uint8)


def test_it_runs_on_any_backend_of_keras(name: str) -> None:
    source = inspect.getsource(resolve("block", name))
    assert "tensorflow" not in source and "tf." not in source and "Lambda" not in source


@pytest.mark.parametrize("shape", [(2, 4, 6, 8), (1, 12, 12, 24)])
def test_the_shape_is_kept(name: str, shape: tuple[int, ...]) -> None:
    block = _drawn_block(name, shape)
    for training in (False, True):
        out = np.asarray(block(_features(*shape), training=training))
        assert out.shape == shape and out.dtype == np.float32
        assert np.isfinite(out).all()
    assert tuple(block.compute_output_shape((None, *shape[1:]))) == (None, *shape[1:])


def test_it_does_something_and_each_picture_alone(name: str) -> None:
    shape = (3, 6, 6, 16)
    block, given = _drawn_block(name, shape), _features(*shape, seed=1)
    out = np.asarray(block(given))
    assert not np.allclose(out, given, atol=1e-3)
    alone = np.concatenate([np.asarray(block(given[i : i + 1])) for i in range(3)])
    # the sums of a batch may be taken in another order
    np.testing.assert_allclose(out, alone, rtol=1e-4, atol=1e-5)


def test_every_weight_learns(name: str) -> None:
    block = _drawn_block(name, (2, 6, 6, 16))
    assert block.trainable_variables, "a block without weights has nothing to learn"
    with tf.GradientTape() as tape:
        value = keras.ops.sum(block(_features(2, 6, 6, 16, seed=2), training=True) ** 2)
    slopes = tape.gradient(value, [v.value for v in block.trainable_variables])
    # the slope of a table that is looked up comes as slices
    slopes = [s if s is None else tf.convert_to_tensor(s) for s in slopes]
    for variable, slope in zip(block.trainable_variables, slopes, strict=True):
        assert slope is not None, f"{variable.path} has no part in the output"
        assert np.isfinite(np.asarray(slope)).all(), variable.path
        # an offset may have no slope by nature, as before a normalisation; a kernel has one
        assert len(variable.shape) < 2 or np.any(slope), f"{variable.path} changes nothing"


def test_it_is_registered_and_its_config_is_whole(name: str) -> None:
    kind = resolve("block", name).Block
    assert keras.saving.get_registered_name(kind) == f"qc>{kind.__name__}"
    taken = [
        p.name
        for p in inspect.signature(kind.__init__).parameters.values()
        if p.kind is not p.VAR_KEYWORD and p.name != "self"
    ]
    config = _block(name, name="gate").get_config()
    assert set(taken) <= set(config) and config["name"] == "gate"


def _another(value: Any) -> Any:
    """A value that is not the default; sizes keep their parity."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + 2
    return value / 2 if isinstance(value, float) else value


def test_the_config_goes_round_with_other_values(name: str) -> None:
    for parameter in inspect.signature(resolve("block", name).Block.__init__).parameters.values():
        if not isinstance(parameter.default, bool | int | float):
            continue
        value = _another(parameter.default)
        block = _block(name, **{parameter.name: value})
        assert getattr(block, parameter.name) == value, "argument = attribute = config key"
        again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(block))
        assert type(again) is type(block)
        assert again.get_config() == block.get_config()
        assert again.get_config()[parameter.name] == value


def test_a_recipe_can_ask_for_it_at_every_stage(name: str) -> None:
    table = ModelTable(backbone="inverted_residual", block=name, size_hw=(96, 64), stride=8)
    out = build_model(table, CLASSES)(_features(2, 96, 64, 3))
    assert out["score"].shape == (2, CLASSES) and out["attention"].shape == (2, 12, 8, CLASSES)


def test_a_saved_model_gives_the_same_numbers(name: str, tmp_path: Path) -> None:
    model = _inspector(name)
    path = tmp_path / "model.keras"
    model.save(path)
    again = keras.models.load_model(path)
    pictures = _pictures(2, seed=3).astype(np.float32)
    for key, value in model(pictures).items():
        np.testing.assert_array_equal(np.asarray(again(pictures)[key]), np.asarray(value), key)


def test_it_converts_to_int8_that_follows_the_float_model(name: str) -> None:
    """`to_int8` itself refuses a float island, a custom op and a Flex op."""
    model = _inspector(name)
    made = to_int8(model, _pictures(16, seed=4))
    runtime = Interpreter(model_content=made.model, num_threads=1)
    runtime.allocate_tensors()
    outputs = {tuple(t["shape"]): t["index"] for t in runtime.get_output_details()}
    quantised = []
    pictures = _pictures(8, seed=5)
    for picture in pictures:
        runtime.set_tensor(runtime.get_input_details()[0]["index"], picture[None])
        runtime.invoke()
        raw = runtime.get_tensor(outputs[made.attention.shape])[0].astype(np.float32)
        quantised.append((raw - made.attention.zero_point) * made.attention.scale)
    exact = np.asarray(model(pictures.astype(np.float32))["attention"])
    for k in range(CLASSES):
        # 256 levels and random weights, which spread more than trained ones: 0.98, not 1
        found = np.corrcoef(exact[..., k].ravel(), np.stack(quantised)[..., k].ravel())[0, 1]
        assert found > 0.98, f"class {k}: correlation {found:.3f}"
