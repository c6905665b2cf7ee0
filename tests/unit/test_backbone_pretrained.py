"""The networks of keras.applications: cut, blocks inside, pyramid, weights and freezing."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

from export.convert import to_int8
from qc.errors import RecipeError
from qc.plugins import resolve
from qc.recipe import ModelTable
from qc.tables import read_table, read_toml
from training.model import build_model

SIZE_HW = (64, 96)
WEIGHTS = Path(
    os.environ.get("QC_WEIGHTS_ROOT", Path(__file__).parents[2].parent / "shared" / "weights")
)
MADE = {
    "mobilenet_v2": keras.applications.MobileNetV2,
    "mobilenet_v3_small": keras.applications.MobileNetV3Small,
}
CUT = {
    ("mobilenet_v2", 16): "block_13_expand_relu",
    ("mobilenet_v2", 8): "block_6_expand_relu",
    ("mobilenet_v3_small", 16): "expanded_conv_8_expand_bn",
    ("mobilenet_v3_small", 8): "expanded_conv_3_expand_bn",
}
"""The layer that the cut follows; in MobileNetV3 its activation, which has no name of its own."""

pytestmark = pytest.mark.usefixtures("repeatable")

each = pytest.mark.parametrize("name", sorted(MADE))


def _table(name: str, **changes: Any) -> ModelTable:
    values = {"backbone": name, "size_hw": SIZE_HW, "width": 0.35, "dropout": 0.0, "block": "none"}
    return ModelTable.model_validate(values | changes)


def _published(name: str, width: float = 0.35) -> keras.Model:
    """The network as a user gets it from keras.applications."""
    given: dict[str, Any] = {"include_preprocessing": False} if "v3" in name else {}
    return MADE[name](
        input_shape=(*SIZE_HW, 3), alpha=width, weights=None, include_top=False, **given
    )


def _pictures(count: int = 2, seed: int = 0) -> np.ndarray:
    """Soft blobs, so that neighbours are alike as in a picture."""
    coarse = np.random.default_rng(seed).uniform(0, 255, (count, 8, 12, 3))
    return np.asarray(keras.ops.image.resize(coarse, SIZE_HW), np.float32).round()


def _settle(model: keras.Model, pictures: np.ndarray) -> None:
    """Statistics of these pictures: fresh ones let the signal fade from layer to layer."""
    norms = [x for x in model.layers if isinstance(x, keras.layers.BatchNormalization)]
    for norm in norms:
        norm.momentum, norm.trainable = 0.0, True
    model(pictures, training=True)


def _named(model: keras.Model) -> dict[str, np.ndarray]:
    return {w.path: np.asarray(w) for w in model.weights}


@each
@pytest.mark.parametrize("stride", [8, 16])
def test_without_a_block_it_is_the_published_network(
    name: str, stride: int, tmp_path: Path
) -> None:
    published = _published(name)
    rng = np.random.default_rng(1)
    published.set_weights([rng.uniform(0.2, 1.0, w.shape) for w in published.get_weights()])
    published.save_weights(tmp_path / "w.weights.h5")
    ours = build_model(_table(name, stride=stride, weights=str(tmp_path / "w.weights.h5")), 3)
    cut = published.get_layer(CUT[name, stride])
    pictures = _pictures()
    given = np.asarray(keras.Model(published.input, cut.output)(pictures / 127.5 - 1))
    if "v3" in name:
        given = np.asarray(keras.activations.hard_silu(given))
    found = np.asarray(keras.Model(ours.input, ours.get_layer("neck_conv").input)(pictures))
    if "v3" in name:  # hard swish is put another way, so the last bit may differ
        np.testing.assert_allclose(found, given, rtol=1e-4)
    else:
        np.testing.assert_array_equal(found, given)


@each
def test_local_weights_go_round(name: str, tmp_path: Path) -> None:
    keras.utils.set_random_seed(7)
    published = _published(name)
    published.save_weights(tmp_path / "mine.weights.h5")
    table = _table(name, weights=str(tmp_path / "mine.weights.h5"), block="cbam")
    found, kept = _named(build_model(table, 3)), _named(published)
    common = set(found) & set(kept)
    assert len(common) > 80
    for path in common:
        np.testing.assert_array_equal(found[path], kept[path], path)
    # what the cut leaves is what is loaded: only the neck, the blocks and the head are new
    assert all("neck" in p or "head" in p or "_attention/" in p for p in set(found) - common)


@each
@pytest.mark.parametrize("wrong", ["other", "wider", "noise", "named"])
def test_a_file_that_does_not_fit_is_a_recipe_error(name: str, wrong: str, tmp_path: Path) -> None:
    path = tmp_path / ("notes.txt" if wrong == "named" else "wrong.weights.h5")
    if wrong == "other":
        _published(next(n for n in MADE if n != name)).save_weights(path)
    elif wrong == "wider":
        _published(name, 1.0).save_weights(path)
    else:
        path.write_bytes(b"these are no weights")
    with pytest.raises(RecipeError, match="the weights do not fit MobileNetV"):
        build_model(_table(name, weights=str(path)), 3)


@each
def test_an_unknown_layer_to_learn_from_is_named(name: str) -> None:
    first = "block_6_expand" if name == "mobilenet_v2" else "expanded_conv_3_expand"
    with pytest.raises(RecipeError, match=f"no such layer.*'{first}'"):
        build_model(_table(name, trainable_from=first[:-1]), 3)


@each
def test_what_lies_before_the_first_learning_layer_is_frozen(name: str) -> None:
    first = "block_6_expand" if name == "mobilenet_v2" else "expanded_conv_3_expand"
    table = _table(name, trainable_from=first, block="cbam", pyramid=True, stride=8)
    model = build_model(table, 3)
    names = [layer.name for layer in model.layers]
    learning = {w.path.split("/")[0] for w in model.trainable_weights}
    assert first in learning and "pyramid_deep_conv" in learning
    assert {"stage1_attention", "stage2_attention", "stage3_attention"} <= learning
    before = set(names[: names.index(first)])
    assert all("attention" in n for n in learning & before)
    assert not any(n.lower().endswith("_bn") for n in learning if "pyramid" not in n)


@each
def test_stages_end_where_the_resolution_does(name: str) -> None:
    shapes: dict[str, tuple[int, ...]] = {}

    def attend(features: Any, stage: str) -> Any:
        shapes[stage] = tuple(features.shape[1:3])
        return features

    def build(**changes: Any) -> dict[str, tuple[int, ...]]:
        shapes.clear()
        image = keras.Input((*SIZE_HW, 3))
        resolve("backbone", name).build(image, _table(name, **changes), attend)
        return dict(shapes)

    inner = {"stage1": (16, 24), "stage2": (8, 12)}
    assert build(stride=8) == {**inner, "neck": (8, 12)}
    assert build(stride=16) == {**inner, "stage3": (4, 6), "neck": (4, 6)}
    assert build(stride=8, pyramid=True) == {**inner, "stage3": (4, 6), "neck": (8, 12)}
    deep = {"stage3": (4, 6), "stage4": (2, 3), "neck": (4, 6)}
    assert build(stride=16, pyramid=True) == {**inner, **deep}


@pytest.mark.parametrize("name", [*sorted(MADE), "inverted_residual"])
def test_both_levels_of_the_pyramid_reach_the_map(name: str) -> None:
    model = build_model(_table(name, stride=8, pyramid=True), 3)
    pictures = _pictures()
    _settle(model, pictures)
    before = np.asarray(model(pictures)["attention"])
    assert before.shape == (2, 8, 12, 3)
    for level in ("fine", "deep"):
        layer = model.get_layer(f"pyramid_{level}_bn")
        kept = layer.get_weights()
        layer.set_weights([np.zeros_like(kept[0]), kept[1], *kept[2:]])
        without = np.asarray(model(pictures)["attention"])
        assert np.abs(without - before).max() > 0.01 * np.abs(before).max(), level
        layer.set_weights(kept)


def test_the_deep_level_lies_where_it_belongs() -> None:
    """A cell of the deep level lands on the four fine cells that it covers."""
    from training.backbones import _pyramid

    fine, deep = keras.Input((4, 6, 1)), keras.Input((2, 3, 1))
    model = keras.Model([fine, deep], _pyramid.merge(fine, deep, 1))
    for layer in model.layers:
        if layer.name.endswith("_conv"):
            layer.set_weights([np.ones((1, 1, 1, 1))])
    model.get_layer("pyramid_smooth").set_weights([np.eye(9)[4].reshape(3, 3, 1, 1)])
    given = np.arange(6, dtype=np.float32).reshape(1, 2, 3, 1)
    found = np.asarray(model([np.full((1, 4, 6, 1), 10.0), given]))[0, ..., 0]
    wanted = 10 + np.kron(given[0, ..., 0], np.ones((2, 2)))
    # three batch normalisations at their start divide by sqrt(1 + 0.001), twice on the way
    np.testing.assert_allclose(found, wanted / 1.001, rtol=1e-5)


def test_a_pyramid_needs_a_size_it_can_halve() -> None:
    raw = {"backbone": "mobilenet_v2", "size_hw": [72, 80], "stride": 8}
    assert not read_table(raw, ModelTable, "r").pyramid
    with pytest.raises(RecipeError, match="multiples of 16: the pyramid"):
        read_table(raw | {"pyramid": True}, ModelTable, "r")


def test_a_pyramid_without_a_deeper_level_is_refused() -> None:
    with pytest.raises(RecipeError, match=r"model\.pyramid.*stride = 8"):
        build_model(_table("inverted_residual", pyramid=True, stride=16), 3)


@each
def test_a_model_with_blocks_inside_is_saved_and_read(name: str, tmp_path: Path) -> None:
    model = build_model(_table(name, stride=8, pyramid=True, block="cbam"), 3)
    model.save(tmp_path / "m.keras")
    again = keras.models.load_model(tmp_path / "m.keras")
    for key, value in model(_pictures()).items():
        np.testing.assert_array_equal(np.asarray(again(_pictures())[key]), np.asarray(value), key)


def test_hard_swish_is_the_one_of_the_paper() -> None:
    from training.backbones.mobilenet_v3_small import HardSwish

    x = np.array([-4.0, -3.0, -1.5, 0.0, 1.0, 3.0, 5.0], np.float32)
    wanted = [0.0, 0.0, -1.5 * 1.5 / 6, 0.0, 4 / 6, 3.0, 5.0]
    np.testing.assert_allclose(np.asarray(HardSwish()(x)), wanted, atol=1e-6)


@pytest.mark.skipif(
    not any(WEIGHTS.glob("mobilenet_v2*.h5")),
    reason=f"no ImageNet weights here: {WEIGHTS} (QC_WEIGHTS_ROOT names their folder)",
)
def test_real_weights_load_with_blocks_and_pyramid() -> None:
    file = next(WEIGHTS.glob("mobilenet_v2*.h5"))
    table = _table(
        "mobilenet_v2", width=1.0, weights=str(file), stride=8, pyramid=True, block="cbam"
    )
    found, fresh = build_model(table, 3), _published("mobilenet_v2", 1.0)
    fresh.load_weights(file)
    kept = _named(fresh)
    for path, value in _named(found).items():
        if path in kept:
            np.testing.assert_array_equal(value, kept[path], path)


@pytest.mark.parametrize("name", [*sorted(MADE), "inverted_residual"])
def test_it_converts_with_blocks_and_pyramid(name: str) -> None:
    """`to_int8` refuses a float island, a custom op and a second subgraph; the slow op is looked
    for here."""
    model = build_model(_table(name, stride=8, pyramid=True, block="cbam"), 3)
    pictures = _pictures(16)
    _settle(model, pictures)
    made = to_int8(model, pictures.astype(np.uint8))
    runtime = Interpreter(model_content=made.model, num_threads=1)
    runtime.allocate_tensors()
    kinds = {op["op_name"] for op in runtime._get_ops_details()}
    assert "RESIZE_NEAREST_NEIGHBOR" in kinds and "HARD_SWISH" not in kinds


def test_the_tile_recipe_has_its_block_at_the_neck() -> None:
    from qc.recipe import Recipe

    recipe = read_toml(Path(__file__).parents[2] / "data/recipes/magnetic_tile.toml", Recipe)
    model = build_model(recipe.model.model_copy(update={"weights": "none"}), 6)
    blocks = [layer.name for layer in model.layers if layer.name.endswith("_attention")]
    assert blocks == ["neck_attention"]
