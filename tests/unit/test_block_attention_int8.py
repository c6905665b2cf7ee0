"""What int8 leaves of attention: the softmax in parts against the operation, and the options that
the contract sweep, which takes each block's defaults, does not see."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter
from keras import ops

from export.convert import to_int8
from training.blocks.self_attention import SelfAttention
from training.blocks.window_attention import WindowAttention
from training.head import EvidenceHead

pytestmark = pytest.mark.usefixtures("repeatable")


def _pictures(count: int, seed: int) -> np.ndarray:
    coarse = np.random.default_rng(seed).uniform(0, 255, (count, 8, 8, 3))
    return np.asarray(ops.image.resize(coarse, (32, 32)), np.float32).astype(np.uint8)


def _signal_to_noise(block: keras.layers.Layer) -> float:
    """Of the int8 map against the float one, in dB; weights of a spread that training gives, and
    an output projection that makes the attention outweigh the features it is added to."""
    image = keras.Input((32, 32, 3), name="image")
    x = keras.layers.Rescaling(1 / 127.5, offset=-1.0)(image)
    x = keras.layers.Conv2D(16, 3, strides=2, padding="same")(x)
    score, attention = EvidenceHead(2, name="head")(block(x))
    score = keras.layers.Identity(name="score")(score)
    attention = keras.layers.Identity(name="attention")(attention)
    model = keras.Model(image, {"score": score, "attention": attention})
    rng = np.random.default_rng(0)
    for variable in model.weights:
        if "float" in variable.dtype:
            spread = 1 if "/out/" in variable.path else 0.2
            variable.assign(rng.normal(0, spread, variable.shape))
    made = to_int8(model, _pictures(16, seed=1))
    runtime = Interpreter(model_content=made.model, num_threads=1)
    runtime.allocate_tensors()
    outputs = {tuple(t["shape"]): t["index"] for t in runtime.get_output_details()}
    pictures, found = _pictures(4, seed=2), []
    for picture in pictures:
        runtime.set_tensor(runtime.get_input_details()[0]["index"], picture[None])
        runtime.invoke()
        raw = runtime.get_tensor(outputs[made.attention.shape])[0].astype(np.float32)
        found.append((raw - made.attention.zero_point) * made.attention.scale)
    exact = np.asarray(model(pictures.astype(np.float32))["attention"])
    return float(10 * np.log10(exact.var() / np.mean((exact - np.stack(found)) ** 2)))


def _with_the_operation(scores: Any, values: Any) -> Any:
    return ops.matmul(ops.softmax(scores), values)


def test_the_softmax_in_parts_keeps_more_of_attention_than_the_operation(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The operation's step of 1/256 is as great as an even weight over 256 cells: 13 and 28 dB."""
    in_parts = _signal_to_noise(SelfAttention(name="block"))
    monkeypatch.setattr("training.blocks.self_attention.softmax_mix", _with_the_operation)
    operation = _signal_to_noise(SelfAttention(name="block"))
    assert in_parts > operation + 6, f"{in_parts:.1f} dB against {operation:.1f} dB"


@pytest.mark.parametrize(
    "block",
    [
        SelfAttention(relative=True, name="block"),
        WindowAttention(tokens=0, name="block"),
        WindowAttention(window=5, name="block"),
    ],
    ids=["relative", "no tokens", "small windows"],
)
def test_the_other_options_keep_their_signal(block: keras.layers.Layer) -> None:
    found = _signal_to_noise(block)
    # found: 26 to 36; at 20 dB the error is a tenth of the map's spread
    assert found > 20, f"{found:.1f} dB"
