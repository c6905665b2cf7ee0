"""A bias has room in int8, and takes off what rounding the weights adds."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

from export.biases import with_room, without_shift
from export.convert import saved_model
from export.mixed import these_alone, to_mixed, weighted
from export.ranges import find_ranges, interpreter
from training.head import EvidenceHead

PICTURES = np.random.default_rng(0).integers(0, 256, (8, 16, 16, 3), np.uint8)
BIAS = 2.5


@pytest.fixture(scope="module", params=["conv", "depthwise"])
def exact(request: pytest.FixtureRequest) -> bytes:
    """A float graph whose layer "still" has a channel of weights of 1e-9 and a bias of 2.5."""
    keras.utils.set_random_seed(0)
    image = keras.Input((16, 16, 3))
    before = keras.layers.Conv2D(4, 3, padding="same", activation="relu")(image / 255.0)
    kind: Any = keras.layers.Conv2D if request.param == "conv" else keras.layers.DepthwiseConv2D
    still = kind(*((4, 3) if request.param == "conv" else (3,)), padding="same", name="still")
    score, attention = EvidenceHead(2)(still(before))
    model = keras.Model(image, {"score": score, "attention": attention})
    kernel, bias = still.get_weights()
    channel = np.s_[..., 1] if request.param == "conv" else np.s_[:, :, 1]
    kernel[channel] = 1e-9 * np.sign(kernel[channel])
    bias[1] = BIAS
    still.set_weights([kernel, bias])
    with saved_model(model) as saved:
        return saved.convert("float32").model


def _channel(model: bytes, picture: np.ndarray) -> np.ndarray:
    """What the layer gives in that channel, `(16, 16)`."""
    made = interpreter(model)
    made.set_tensor(made.get_input_details()[0]["index"], picture[None].astype(np.float32))
    made.invoke()
    (detail,) = [
        d
        for d in made.get_tensor_details()
        if "/still" in d["name"] and tuple(d["shape"]) == (1, 16, 16, 4)
    ]
    scale, zero_point = detail["quantization"]
    value = made.get_tensor(detail["index"])[0, ..., 1].astype(np.float32)
    return (value - zero_point) * scale if scale else value


def test_a_bias_that_int8_could_not_hold_is_kept(
    exact: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    ranges = find_ranges(exact, PICTURES)
    assert _channel(exact, PICTURES[0]) == pytest.approx(BIAS, abs=1e-6)
    assert _channel(to_mixed(exact, ranges).model, PICTURES[0]) == pytest.approx(BIAS, abs=0.05)
    monkeypatch.setattr("export.mixed.with_room", lambda model, ranges: model)
    spoilt = _channel(to_mixed(exact, ranges).model, PICTURES[0])
    assert np.abs(spoilt - BIAS).min() > 1, "nothing is shown: the quantiser keeps it by itself"


def test_no_other_channel_is_changed_and_this_one_hardly(exact: bytes) -> None:
    ranges = find_ranges(exact, PICTURES)
    roomy = with_room(exact, ranges)
    assert _channel(roomy, PICTURES[0]) == pytest.approx(BIAS, rel=1e-4)
    again = with_room(roomy, ranges)
    assert again == with_room(again, ranges), "what has room stays as it is"
    before, after = (find_ranges(model, PICTURES) for model in (exact, roomy))
    for name, found in before.items():
        for end in ("min", "max"):
            np.testing.assert_allclose(after[name][end], found[end], rtol=1e-4, atol=1e-4)


@pytest.fixture(scope="module", params=["conv", "depthwise", "dense"])
def uneven(request: pytest.FixtureRequest) -> bytes:
    """A float graph whose layer "still" has a large weight per channel and small ones, all > 0.

    The small ones are under half a step of int8 and become 0, so that every channel gives less.
    """
    keras.utils.set_random_seed(0)
    image = keras.Input((16, 16, 3))
    positive = keras.initializers.RandomUniform(0.01, 0.05)
    lit = keras.layers.Conv2D(32, 3, activation="relu", kernel_initializer=positive)
    before = lit(image / 255.0 + 1.0)
    kinds: dict[str, Any] = {
        "conv": keras.layers.Conv2D(4, 1, name="still"),
        "depthwise": keras.layers.DepthwiseConv2D(3, padding="valid", name="still"),
        "dense": keras.layers.Dense(4, name="still"),
    }
    still = kinds[request.param]
    score, attention = EvidenceHead(2)(still(before))
    model = keras.Model(image, {"score": score, "attention": attention})
    kernel, bias = still.get_weights()
    kernel[...] = 0.0035
    kernel.reshape(-1, kernel.shape[-1] if request.param != "depthwise" else 32)[0] = 1.0
    still.set_weights([kernel, bias + 0.5])
    with saved_model(model) as saved:
        return saved.convert("float32").model


def _means(model: bytes, layer: str) -> np.ndarray:
    """What the channels of a layer give on average."""
    made, values = interpreter(model), []
    (detail,) = [d for d in made.get_tensor_details() if d["name"] == layer]
    scale, zero_point = detail["quantization"]
    for picture in PICTURES:
        made.set_tensor(made.get_input_details()[0]["index"], picture[None].astype(np.float32))
        made.invoke()
        value = made.get_tensor(detail["index"]).astype(np.float32)
        values.append((value - zero_point) * scale if scale else value)
    return np.mean(values, axis=tuple(range(values[0].ndim)))


def test_what_rounding_the_weights_adds_is_taken_off(
    uneven: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    ranges = find_ranges(uneven, PICTURES)
    (name,) = [w.name for w in weighted(uneven) if "/still" in w.name]
    exact = _means(uneven, name)
    kept = _means(these_alone(uneven, ranges, [name]).model, name) - exact
    monkeypatch.setattr("export.mixed.without_shift", lambda model, ranges, left: model)
    shifted = _means(these_alone(uneven, ranges, [name]).model, name) - exact
    assert (shifted < -0.005).all(), "nothing is shown: rounding adds nothing"
    assert np.abs(kept).max() < 0.2 * np.abs(shifted).min()


def test_a_layer_that_stays_in_float_keeps_its_bias(uneven: bytes) -> None:
    ranges = find_ranges(uneven, PICTURES)
    names = [w.name for w in weighted(uneven)]
    assert without_shift(uneven, ranges, names) == without_shift(with_room(uneven, ranges), {})
    (still,) = [n for n in names if "/still" in n]
    others = [n for n in names if n != still]
    changed = without_shift(uneven, ranges, others)
    difference = _means(changed, still) - _means(uneven, still)
    assert (difference > 0.005).all(), "the small weights that are lost are all above 0"


def test_layers_that_share_a_bias_each_get_their_own() -> None:
    """One layer, used twice: the second time its input is another, and so is what rounding adds."""
    keras.utils.set_random_seed(0)
    image = keras.Input((16, 16, 3))
    still = keras.layers.Conv2D(3, 1, name="still", bias_initializer="ones")
    first = still(image / 255.0)
    score, attention = EvidenceHead(2)(still(keras.layers.ReLU()(first + 4.0)))
    still.set_weights([np.full((1, 1, 3, 3), 0.0035) + np.eye(3), np.ones(3)])
    with saved_model(keras.Model(image, {"score": score, "attention": attention})) as saved:
        exact = saved.convert("float32").model
    ranges = find_ranges(exact, PICTURES)
    shared = [w.name for w in weighted(exact) if "/still" in w.name]
    others = [w.name for w in weighted(exact) if w.name not in shared]
    near, far = (
        _means(without_shift(exact, ranges, [*others, other]), name) - _means(exact, name)
        for name, other in (shared, shared[::-1])
    )
    assert (near > 0.001).all() and (far > 5 * near).all()
