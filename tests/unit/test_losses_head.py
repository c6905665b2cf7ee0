"""The map's loss and the evidence head, against numpy."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from qc.errors import UsageError
from training.head import EvidenceHead
from training.losses import MapLoss
from training.poolings.log_sum_exp import LogSumExpPooling

pytestmark = pytest.mark.usefixtures("repeatable")

LN2 = float(np.log(2))


def _softplus(x: float) -> float:
    return float(np.log1p(np.exp(x)))


def _map(*cells: float) -> np.ndarray:
    """`(1, 1, n, 1)`."""
    return np.array(cells, np.float32).reshape(1, 1, -1, 1)


def _loss(target: np.ndarray, evidence: np.ndarray) -> float:
    return float(MapLoss()(target, evidence))


# the loss


def test_no_opinion_costs_one_bit_on_each_side() -> None:
    assert _loss(_map(1, 0), _map(0, 0)) == pytest.approx(0.5 * (LN2 + LN2))


def test_the_loss_by_hand_with_an_unknown_cell() -> None:
    """On: 2. Off: -1 and 3. The last cell is unknown, and its 9 costs nothing."""
    expected = 0.5 * (_softplus(-2) + (_softplus(-1) + _softplus(3)) / 2)
    assert _loss(_map(1, 0, 0, -1), _map(2, -1, 3, 9)) == pytest.approx(expected, rel=1e-5)


def test_one_cell_on_weighs_as_much_as_all_cells_off() -> None:
    many = _loss(_map(1, *[0] * 99), _map(-1, *[1] * 99))
    assert many == pytest.approx(_loss(_map(1, 0), _map(-1, 1)), rel=1e-5)


def test_a_good_part_only_pushes_down_and_nothing_known_costs_nothing() -> None:
    assert _loss(_map(0, 0), _map(1, 1)) == pytest.approx(0.5 * _softplus(1), rel=1e-5)
    assert _loss(_map(-1, -1), _map(5, -5)) == 0.0


def test_parts_of_a_batch_weigh_the_same() -> None:
    target = np.concatenate([_map(1, 0, 0), _map(-1, -1, -1)])
    evidence = np.concatenate([_map(1, 2, 3), _map(4, 5, 6)])
    assert _loss(target, evidence) == pytest.approx(_loss(target[:1], evidence[:1]) / 2, rel=1e-5)


def test_slopes_push_on_up_off_down_and_leave_unknown_alone() -> None:
    evidence = tf.constant(_map(0.5, 0.5, 0.5))
    with tf.GradientTape() as tape:
        tape.watch(evidence)
        value = MapLoss()(_map(1, 0, -1), evidence)
    on, off, unknown = np.asarray(tape.gradient(value, evidence)).ravel()
    assert on < 0 < off and unknown == 0


def test_extreme_evidence_stays_finite() -> None:
    assert _loss(_map(1, 0), _map(-1e4, 1e4)) == pytest.approx(1e4, rel=1e-4)


def test_the_loss_goes_round() -> None:
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(MapLoss()))
    assert type(again) is MapLoss
    assert keras.saving.get_registered_name(MapLoss) == "qc>MapLoss"


# the head


def _head(classes: int = 3, channels: int = 5) -> EvidenceHead:
    keras.utils.set_random_seed(1)
    head = EvidenceHead(classes, name="head")
    head.build((None, 4, 6, channels))
    head.evidence.bias.assign(np.linspace(-1, 1, classes))
    head.gain.assign(np.linspace(0.5, 2, classes))
    head.offset.assign(np.linspace(1, -1, classes))
    return head


def _features(channels: int = 5) -> np.ndarray:
    return np.random.default_rng(2).normal(0, 2, (2, 4, 6, channels)).astype(np.float32)


def test_each_logit_is_the_pooling_of_its_own_map() -> None:
    """Gain .5, 1.25, 2 and offset 1, 0, -1 of the three classes."""
    score, attention = (np.asarray(x) for x in _head()(_features()))
    assert score.shape == (2, 3) and attention.shape == (2, 4, 6, 3)
    pooled = 0.5 * (attention.mean(axis=(1, 2)) + attention.max(axis=(1, 2)))
    logits = pooled * [0.5, 1.25, 2] + [1, 0, -1]
    exact = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(score, exact, rtol=1e-5)


def test_the_map_is_one_weighted_sum_of_the_features_in_each_cell() -> None:
    head, features = _head(), _features()
    kernel, bias = (np.asarray(w) for w in (head.evidence.kernel, head.evidence.bias))
    attention = np.asarray(head(features)[1])
    np.testing.assert_allclose(attention, features @ kernel[0, 0] + bias, rtol=1e-4, atol=1e-5)


def test_a_fresh_head_pools_and_nothing_else() -> None:
    head = EvidenceHead(3)
    score, attention = (np.asarray(x) for x in head(_features()))
    logits = 0.5 * (attention.mean(axis=(1, 2)) + attention.max(axis=(1, 2)))
    exact = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(score, exact, rtol=1e-5)


def test_a_defect_of_one_cell_is_not_averaged_away() -> None:
    """One cell of 24 rises by d: the logit rises by d (1 + 1/24) / 2, not by d / 24."""
    head = EvidenceHead(2)
    head.build((None, 4, 6, 1))
    head.evidence.kernel.assign(np.array([[[[0.0, 1.0]]]]))
    features = np.zeros((1, 4, 6, 1), np.float32)
    features[0, 2, 3] = 4.0
    score = np.asarray(head(features)[0])[0]
    assert np.log(score[1] / score[0]) == pytest.approx(4 * (1 + 1 / 24) / 2, rel=1e-4)


def test_the_head_goes_round_alone_and_in_a_file(tmp_path: Path) -> None:
    head = _head(4)
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(head))
    assert type(again) is EvidenceHead and again.get_config() == head.get_config()
    assert again.classes == 4
    assert keras.saving.get_registered_name(EvidenceHead) == "qc>EvidenceHead"
    given = keras.Input((4, 6, 5))
    model = keras.Model(given, head(given))
    model.save(tmp_path / "head.keras")
    loaded = keras.models.load_model(tmp_path / "head.keras")
    for one, other in zip(model(_features()), loaded(_features()), strict=True):
        np.testing.assert_array_equal(np.asarray(one), np.asarray(other))


def test_a_head_written_before_there_was_a_choice_pools_as_it_did() -> None:
    config = {"name": "head", "trainable": True, "dtype": "float32", "classes": 3}
    assert type(EvidenceHead.from_config(config).pooling) is type(_head().pooling)


def test_the_head_keeps_its_pooling_and_the_settings_of_it() -> None:
    head = EvidenceHead(3, LogSumExpPooling(sharpness=7.0))
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(head))
    assert type(again.pooling) is LogSumExpPooling and again.pooling.sharpness == 7.0
    assert type(EvidenceHead(3, "log_sum_exp").pooling) is LogSumExpPooling


def test_an_unknown_pooling_suggests_the_nearest() -> None:
    with pytest.raises(UsageError, match="unknown pooling 'gate', did you mean 'gated'"):
        EvidenceHead(3, "gate")


def test_the_promised_shapes() -> None:
    assert _head().compute_output_shape((None, 4, 6, 5)) == ((None, 3), (None, 4, 6, 3))


@pytest.mark.parametrize("classes", [-1, 0, 1])
def test_one_class_is_nothing_to_tell_apart(classes: int) -> None:
    with pytest.raises(ValueError, match=f"classes must be at least 2, found {classes}"):
        EvidenceHead(classes)
