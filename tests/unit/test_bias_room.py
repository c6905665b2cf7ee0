"""A channel whose weights are next to nothing keeps its bias in int8."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

from export.bias_room import with_room
from export.convert import saved_model
from export.mixed import to_mixed
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
