"""What a recipe's `[train]` can ask for besides the default: rates, optimisers, mixup, stopping."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from qc.errors import RecipeError
from qc.imageio import read_image
from qc.recipe import ModelTable, TrainTable
from qc.tables import read_toml
from training.curves import draw_curves, log_scalars
from training.model import build_model
from training.optimise import SlowerAdamW, SlowerSGD, averages, is_pretrained, make_optimiser
from training.pipeline import mixed


def _table(**changes: object) -> TrainTable:
    return TrainTable.model_validate({"epochs": 10, **changes})


def _rates(table: TrainTable, steps: int) -> list[float]:
    rate = make_optimiser(table, steps, pretrained=False)._learning_rate
    return [float(rate(step)) for step in range(table.epochs * steps + 1)]


def test_the_rate_rises_and_falls() -> None:
    rates = _rates(_table(learning_rate=0.1), 10)
    assert rates[0] == pytest.approx(0.005) and rates[10] == pytest.approx(0.1)
    assert all(a < b for a, b in pairwise(rates[:11]))
    assert all(a > b for a, b in pairwise(rates[10:]))
    assert rates[55] == pytest.approx(0.1 * (0.98 * 0.5 + 0.02))  # the middle of the cosine
    assert rates[-1] == pytest.approx(0.002)


def test_without_warm_up_it_only_falls() -> None:
    rates = _rates(_table(learning_rate=0.1, warmup_epochs=0), 10)
    assert rates[0] == pytest.approx(0.1) and max(rates) == rates[0]


def test_what_is_pretrained_is_told_by_its_path() -> None:
    assert is_pretrained("block_6_expand/kernel") and is_pretrained("Conv1/kernel")
    for path in ("neck_conv/kernel", "head/evidence/kernel", "stage2_attention/squeeze/kernel"):
        assert not is_pretrained(path)


@pytest.mark.parametrize(("name", "kind"), [("adamw", SlowerAdamW), ("sgd", SlowerSGD)])
def test_pretrained_weights_move_by_their_share(name: str, kind: type) -> None:
    """One step from equal weights with equal gradients: the pretrained one goes a tenth as far."""
    table = _table(optimiser=name, pretrained_rate=0.1, weight_decay=0, warmup_epochs=0)
    optimiser = make_optimiser(table, 10, pretrained=True)
    assert isinstance(optimiser, kind)
    names = ("block_1_conv", "head")
    layers = [keras.layers.Dense(1, use_bias=False, name=n) for n in names]
    for layer in layers:
        layer.build((None, 2))
        layer.kernel.assign([[1.0], [1.0]])
    optimiser.build([layer.kernel for layer in layers])
    gradient = tf.constant([[0.3], [-0.2]])
    optimiser.apply_gradients([(gradient, layer.kernel) for layer in layers])
    slow, fast = (np.asarray(layer.kernel) - 1 for layer in layers)
    np.testing.assert_allclose(slow, 0.1 * fast, rtol=1e-3)
    assert np.all(fast * np.asarray(gradient) < 0)
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(optimiser))
    assert again.get_config()["pretrained_rate"] == pytest.approx(0.1)


def test_a_networks_own_layers_are_told_from_new_ones() -> None:
    """The names that keras.applications gives, and those that the model adds."""
    table = ModelTable.model_validate(
        {"backbone": "mobilenet_v2", "size_hw": (64, 64), "width": 0.35, "block": "cbam"}
    )
    model = build_model(table, 3)
    found = {is_pretrained(v.path): v.path for v in model.trainable_variables}
    new = {v.path.split("/")[0] for v in model.variables if not is_pretrained(v.path)}
    assert set(found) == {True, False}
    assert {"neck_conv", "neck_bn", "neck_attention", "head"} <= new
    assert all(n.startswith(("neck", "head")) or n.endswith("_attention") for n in new)


def test_without_pretrained_weights_every_rate_is_whole() -> None:
    optimiser = make_optimiser(_table(pretrained_rate=0.1), 10, pretrained=False)
    assert optimiser.pretrained_rate == 1.0


@pytest.mark.parametrize("average", [0.0, 0.3])
def test_the_running_average_by_hand(average: float) -> None:
    """From the first step's weights on; of the weights as their constraint leaves them."""
    image = keras.Input((2,))
    start = keras.initializers.Constant(0.1)
    given = {"kernel_initializer": start, "kernel_constraint": "non_neg", "use_bias": False}
    layer = keras.layers.Dense(1, **given)
    model = keras.Model(image, layer(image))
    model.compile(make_optimiser(_table(average=average, learning_rate=0.05), 10, False), "mse")
    wanted: list[np.ndarray] = []
    for step in range(1, 8):
        model.train_on_batch(np.array([[1.0, -1.0]]), np.array([[2.0]]))
        (now,) = model.get_weights()
        momentum = min(average, (1 + step) / (10 + step)) if wanted else 0.0
        wanted.append(momentum * wanted[-1] + (1 - momentum) * now if wanted else now)
        (found,) = averages(model)
        np.testing.assert_allclose(np.asarray(found), wanted[-1], rtol=1e-5)
    assert now[1] == 0 and bool(np.allclose(now, found)) == (average == 0)


def test_mixup_by_hand() -> None:
    """Picture and label of a pair are mixed by the same share, and nothing else changes."""
    images = np.stack([np.full((2, 2, 3), v, np.uint8) for v in (0, 100, 200)])
    scores = np.eye(3, dtype=np.float32)
    found, labels = mixed(images, scores, 0.4, np.random.default_rng(1))
    assert found.dtype == np.uint8 and found.shape == images.shape
    np.testing.assert_allclose(labels.sum(axis=1), 1, rtol=1e-6)
    expected = labels @ np.array([0, 100, 200])
    np.testing.assert_allclose(found[:, 0, 0, 0], expected, atol=0.51)
    same, _ = mixed(images, scores, 0.4, np.random.default_rng(1))
    np.testing.assert_array_equal(found, same)
    assert not np.array_equal(found, images)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("mixup = 0.2", "mixup needs mask_weight = 0"),
        ("mixup = -1.0\nmask_weight = 0.0", "key 'mixup'"),
        ('optimiser = "adam"', "key 'optimiser'.*adamw.*sgd"),
        ("pretrained_rate = 0.0", "key 'pretrained_rate'"),
        ("warm_up_epochs = 1", "unknown key 'warm_up_epochs', did you mean 'warmup_epochs'"),
    ],
)
def test_what_cannot_be_asked_for(tmp_path: Path, line: str, says: str) -> None:
    path = tmp_path / "train.toml"
    path.write_text(f"epochs = 3\n{line}\n")
    with pytest.raises(RecipeError, match=says):
        read_toml(path, TrainTable)


def test_curves_and_scalars_are_written(tmp_path: Path) -> None:
    rows = [
        {
            "epoch": epoch,
            "loss": 1 / epoch,
            "score_loss": 0.8 / epoch,
            "attention_loss": 0.2,
            "val_auroc": float("nan") if epoch == 1 else 0.9,
            "val_macro_f1": 0.5,
        }
        for epoch in (1, 2, 3)
    ]
    draw_curves(rows, tmp_path / "curves.png")
    picture = read_image(tmp_path / "curves.png")
    assert picture.shape == (432, 1080, 3) and picture.std() > 5
    for row in rows:
        log_scalars(row, tmp_path / "events")
    found = {}
    for file in sorted((tmp_path / "events").iterdir()):
        for event in tf.compat.v1.train.summary_iterator(str(file)):
            for value in event.summary.value:
                found[value.tag, event.step] = float(tf.make_ndarray(value.tensor))
    assert found["loss", 3] == pytest.approx(1 / 3) and found["val_auroc", 2] == pytest.approx(0.9)
