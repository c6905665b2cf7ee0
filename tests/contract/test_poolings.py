"""The contract of every pooling: one file in training/poolings is enough to be held to it.

The map is exact for the logit: what a pooling gives is worked out again from the map it exports,
in float and from the int8 graph's own outputs; for one class of several, for good or not, and for
several defects at once. Poolings often start as the plain mean (scores of zero), so all weights are
drawn at random first.
"""

from __future__ import annotations

import inspect
import math
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter

from export.convert import to_int8
from qc.plugins import names, resolve
from training.head import EvidenceHead
from training.poolings._pooling import Pooling

POOLINGS = names("pooling")
CLASSES = 3
TASKS = {"multiclass": ("softmax", 3), "binary": ("sigmoid", 2), "multilabel": ("sigmoid", 4)}
"""The head of each task: its activation, and classes with the good one."""

LOGIT_SPREAD = 1.5

EVIDENCE_ITSELF = ("mean", "mean_max", "log_sum_exp")
"""Their map is a convolution; any other is a product of evidence and weights."""

MAP_CORRELATION, WEIGHTED_MAP_CORRELATION = 0.998, 0.98
"""Of the int8 map with the float one, over pictures and cells. The range of a weighted map is that
of the heaviest cell, so light cells have few levels, and weights have steps of 6 %. Measured over
four draws of weights: at least 0.9990, and 0.9886."""

SCORE_OF_MAP = 0.04
"""Worst difference of the int8 score and the one worked out from the int8 map, on pictures that the
ranges were taken from. Between the two lie the pooling, the gain, the offset and the softmax, each
of 256 levels; log-sum-exp adds 1/128 of evidence. Measured with these weights: 0.015; over four
draws: 0.07, as `mean` has small differences in a map of a great range."""

SCORE_OF_SIGMOID_MAP = 0.1
"""The same of a sigmoid head, whose exported map is one step of 256 levels further from what is
pooled, and reaches as far below zero as above. Measured with these weights: 0.072 for good or not
with `mean`, one picture of 24; most 0.005 to 0.025."""

SCORE = 0.07
"""Mean difference of the int8 score and the float one. It is not of the pooling alone: the layers
before it have 256 levels each, and random weights spread more than trained ones. Measured with
these weights: 0.015 to 0.051; over four draws: 0.12."""

SIGMOID_SCORE = 0.15
"""The same of a sigmoid head, which does not take off what all logits are shifted by. Measured
with these weights: 0.012 to 0.104, for good or not with `mean`."""

pytestmark = [pytest.mark.parametrize("name", POOLINGS), pytest.mark.usefixtures("repeatable")]


def _pooling(kind: str, /, **changes: Any) -> Pooling:
    made: Pooling = resolve("pooling", kind).Pooling(**changes)
    return made


def _draw_weights(variables: list[Any], seed: int = 0) -> None:
    """As many as a sum is of, so that it stays near 1; an offset is small, a gain 1."""
    rng = np.random.default_rng(seed)
    for variable in variables:
        spread = 1.4 / math.sqrt(math.prod(variable.shape[:-1])) if variable.shape[1:] else 0.2
        middle = 1.0 if variable.path.endswith("gain") else 0.0
        spread = 0.2 if variable.path.endswith(("gain", "offset")) else spread
        variable.assign(rng.normal(middle, spread, variable.shape))


def _given(*shape: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Features of two signs, and evidence of another draw."""
    rng = np.random.default_rng(seed)
    features = rng.normal(0, 1, shape).astype(np.float32)
    return features, rng.normal(0, 2, (*shape[:-1], CLASSES)).astype(np.float32)


def _drawn(name: str, features: np.ndarray, evidence: np.ndarray) -> Pooling:
    pooling = _pooling(name)
    pooling(features, evidence)
    _draw_weights(pooling.weights)
    return pooling


def _inspector(name: str, task: str = "multiclass") -> keras.Model:
    """The smallest model the converter takes, with a map of 12 x 12 cells."""
    image = keras.Input((96, 96, 3), name="image")
    x = keras.layers.Rescaling(1 / 127.5, offset=-1.0)(image)
    x = keras.layers.Conv2D(16, 3, strides=4, padding="same", activation="relu")(x)
    x = keras.layers.Conv2D(24, 3, strides=2, padding="same")(x)
    activation, classes = TASKS[task]
    score, attention = EvidenceHead(classes, name, activation, name="head")(x)  # type: ignore[arg-type]
    score = keras.layers.Identity(name="score")(score)
    attention = keras.layers.Identity(name="attention")(attention)
    model = keras.Model(image, {"score": score, "attention": attention})
    _draw_weights(model.weights)
    # as training leaves it: logits of a part lie around 0 and apart, with a gain near 1
    head = model.get_layer("head")
    pictures = _pictures(16, seed=10).astype(np.float32)
    for _ in range(2):  # log-sum-exp does not scale with its evidence, so once is not enough
        pooled = _pooled(head, model.predict_on_batch(pictures)["attention"])
        kernel, bias = (np.asarray(w) for w in (head.evidence.kernel, head.evidence.bias))
        head.evidence.kernel.assign(kernel * LOGIT_SPREAD / pooled.std(axis=0))
        head.evidence.bias.assign((bias - pooled.mean(axis=0)) * LOGIT_SPREAD / pooled.std(axis=0))
    return model


def _pooled(head: EvidenceHead, attention: np.ndarray) -> np.ndarray:
    """Of each class that has a map of its own, from the exported map."""
    own = attention if head.activation == "softmax" else attention[..., 1:]
    return np.asarray(head.pooling.of_map(own))


def _score_of(head: EvidenceHead, attention: np.ndarray) -> np.ndarray:
    """The scores that the exported map stands for, by the formula of the head's documentation."""
    logits = _pooled(head, attention) * np.asarray(head.gain) + np.asarray(head.offset)
    if head.activation == "softmax":
        return _softmax(logits)
    defects = 1 / (1 + np.exp(-logits))
    return np.concatenate([1 - defects.max(axis=1, keepdims=True), defects], axis=1)


def _pictures(count: int, seed: int) -> np.ndarray:
    """Soft blobs, and a spot on every other one, so that there is something to attend to."""
    rng = np.random.default_rng(seed)
    soft = keras.ops.image.resize(rng.uniform(0, 255, (count, 6, 6, 3)), (96, 96))
    pictures = np.array(soft, np.float32)
    for picture in pictures[::2]:
        top, left = rng.integers(0, 86, 2)
        picture[top : top + 10, left : left + 10] = (255, 0, 255)
    return pictures.astype(np.uint8)


def _softmax(logits: np.ndarray) -> np.ndarray:
    raised = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return np.asarray(raised / raised.sum(axis=-1, keepdims=True))


@pytest.mark.parametrize("shape", [(2, 4, 6, 8), (1, 12, 12, 24), (1, 1, 1, 4)])
def test_shapes(name: str, shape: tuple[int, ...]) -> None:
    given = _given(*shape)
    pooling = _drawn(name, *given)
    for training in (False, True):
        pooled, attention = (np.asarray(x) for x in pooling(*given, training=training))
        assert pooled.shape == (shape[0], CLASSES)
        assert attention.shape == (*shape[:-1], CLASSES)
        assert np.isfinite(pooled).all() and np.isfinite(attention).all()
    promised = pooling.compute_output_shape((None, *shape[1:]), (None, *shape[1:-1], CLASSES))
    assert promised == ((None, CLASSES), (None, *shape[1:-1], CLASSES))


def test_the_pooled_number_is_a_function_of_the_exported_map(name: str) -> None:
    """Of the map alone: another layer of the same settings, with no weights, works it out."""
    given = _given(3, 6, 8, 16, seed=1)
    pooled, attention = (np.asarray(x) for x in _drawn(name, *given)(*given))
    again = np.asarray(_pooling(name).of_map(attention))
    np.testing.assert_array_equal(again, pooled)


def test_each_class_pools_its_own_map(name: str) -> None:
    given = _given(2, 6, 6, 16, seed=2)
    pooled, attention = (np.asarray(x) for x in _drawn(name, *given)(*given))
    for k in range(CLASSES):
        alone = np.asarray(_pooling(name).of_map(attention[..., k : k + 1]))
        np.testing.assert_allclose(alone, pooled[:, k : k + 1], rtol=1e-5, atol=1e-6)


def test_evidence_that_is_the_same_everywhere_is_pooled_to_itself(name: str) -> None:
    """The scale is that of the evidence, whatever the weights: one gain fits all poolings."""
    features, _ = _given(2, 6, 6, 16, seed=3)
    evidence = np.broadcast_to(np.float32([-2, 0, 3]), (2, 6, 6, CLASSES))
    pooled = np.asarray(_drawn(name, features, evidence)(features, evidence)[0])
    np.testing.assert_allclose(pooled, [[-2, 0, 3]] * 2, rtol=1e-5, atol=1e-5)


def test_more_evidence_in_a_cell_never_lowers_the_logit(name: str) -> None:
    features, evidence = _given(1, 4, 4, 8, seed=4)
    pooling = _drawn(name, features, evidence)
    before = np.asarray(pooling(features, evidence)[0])
    for cell in range(16):
        more = evidence.copy()
        more[0, cell // 4, cell % 4] += 1.0
        assert (np.asarray(pooling(features, more)[0]) >= before - 1e-5).all()


def test_each_picture_alone(name: str) -> None:
    features, evidence = _given(3, 6, 6, 16, seed=5)
    pooling = _drawn(name, features, evidence)
    together = pooling(features, evidence)
    for i in range(3):
        alone = pooling(features[i : i + 1], evidence[i : i + 1])
        for one, all_ in zip(alone, together, strict=True):
            # the sums of a batch may be taken in another order
            np.testing.assert_allclose(one[0], all_[i], rtol=1e-4, atol=1e-5)


def test_every_weight_learns_and_so_does_the_evidence(name: str) -> None:
    features, evidence = _given(2, 6, 6, 16, seed=6)
    pooling, source = _drawn(name, features, evidence), tf.constant(evidence)
    with tf.GradientTape() as tape:
        tape.watch(source)
        value = keras.ops.sum(pooling(features, source, training=True)[0] ** 2)
    variables = pooling.trainable_variables
    slopes = tape.gradient(value, [source, *(v.value for v in variables)])
    for path, slope in zip(["evidence", *(v.path for v in variables)], slopes, strict=True):
        assert slope is not None and np.isfinite(np.asarray(slope)).all() and np.any(slope), path


def test_it_is_registered_and_its_config_is_whole(name: str) -> None:
    kind = resolve("pooling", name).Pooling
    assert keras.saving.get_registered_name(kind) == f"qc>{kind.__name__}"
    config = _pooling(name, name="other").get_config()
    taken = [p.name for p in _arguments(kind)]
    assert set(taken) <= set(config) and config["name"] == "other"


def _arguments(kind: type) -> list[inspect.Parameter]:
    return [
        p
        for p in inspect.signature(kind.__init__).parameters.values()  # type: ignore[misc]
        if isinstance(p.default, int | float) and not isinstance(p.default, bool)
    ]


def test_the_config_goes_round_with_other_values(name: str) -> None:
    for parameter in _arguments(resolve("pooling", name).Pooling):
        value = parameter.default * 2
        pooling = _pooling(name, **{parameter.name: value})
        assert getattr(pooling, parameter.name) == value, "argument = attribute = config key"
        again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(pooling))
        assert type(again) is type(pooling) and again.get_config() == pooling.get_config()
        head = EvidenceHead(2, pooling)
        copy = EvidenceHead.from_config(head.get_config())
        assert getattr(copy.pooling, parameter.name) == value


def test_a_saved_model_gives_the_same_numbers(name: str, tmp_path: Path) -> None:
    model = _inspector(name)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    pictures = _pictures(2, seed=7).astype(np.float32)
    for key, value in model(pictures).items():
        np.testing.assert_array_equal(np.asarray(again(pictures)[key]), np.asarray(value), key)


@pytest.mark.parametrize("task", TASKS)
def test_the_score_is_worked_out_again_from_the_exported_map(name: str, task: str) -> None:
    model = _inspector(name, task)
    head = model.get_layer("head")
    found = {k: np.asarray(v) for k, v in model(_pictures(4, seed=8).astype(np.float32)).items()}
    attention, score = found["attention"], found["score"]
    # the only freedom is the order of a sum: of a softmax, and of one minus a sigmoid
    np.testing.assert_allclose(score, _score_of(head, attention), rtol=1e-5, atol=1e-6)
    if head.activation == "sigmoid":
        np.testing.assert_array_equal(attention[..., 0], -attention[..., 1:].max(axis=-1))
        np.testing.assert_allclose(score[:, 0], 1 - score[:, 1:].max(axis=1), atol=1e-6)


@pytest.mark.parametrize("task", TASKS)
def test_the_int8_graph_follows_the_float_model_and_its_own_map(name: str, task: str) -> None:
    """`to_int8` itself refuses a float island, a custom op and a Flex op."""
    model = _inspector(name, task)
    head = model.get_layer("head")
    pictures = _pictures(24, seed=9)
    made = to_int8(model, pictures)
    runtime = Interpreter(model_content=made.model, num_threads=1)
    runtime.allocate_tensors()
    outputs = {tuple(t["shape"]): t["index"] for t in runtime.get_output_details()}
    scores, maps = [], []
    for picture in pictures:
        runtime.set_tensor(runtime.get_input_details()[0]["index"], picture[None])
        runtime.invoke()
        for spec, kept in ((made.score, scores), (made.attention, maps)):
            raw = runtime.get_tensor(outputs[spec.shape])[0].astype(np.float32)
            kept.append((raw - spec.zero_point) * spec.scale)
    score, attention = np.stack(scores), np.stack(maps)
    exact = {k: np.asarray(v) for k, v in model(pictures.astype(np.float32)).items()}
    for k in range(score.shape[1]):
        found = np.corrcoef(exact["attention"][..., k].ravel(), attention[..., k].ravel())[0, 1]
        least = MAP_CORRELATION if name in EVIDENCE_ITSELF else WEIGHTED_MAP_CORRELATION
        assert found > least, f"class {k}: correlation {found:.4f}"
    bound = SCORE_OF_MAP if head.activation == "softmax" else SCORE_OF_SIGMOID_MAP
    assert np.abs(score - _score_of(head, attention)).max() < bound
    shift = SCORE if head.activation == "softmax" else SIGMOID_SCORE
    assert np.abs(score - exact["score"]).mean() < shift
    assert (made.score.scale, made.score.zero_point) == (1 / 256, 0)
    if head.activation == "sigmoid":  # logits of both are on one scale; 255 and 0 are the ends
        assert np.abs(score[:, 0] - (1 - score[:, 1:].max(axis=1))).max() <= 1 / 256
