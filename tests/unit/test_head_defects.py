"""A head with a sigmoid for each defect, and its loss: numbers worked out by hand."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from qc.recipe import ModelTable
from training.head import EvidenceHead
from training.losses import DefectLoss, score_loss
from training.model import build_model

pytestmark = pytest.mark.usefixtures("repeatable")

LN2, LN3 = float(np.log(2)), float(np.log(3))


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return np.asarray(1 / (1 + np.exp(-x)))


def _head(classes: int, *kernel: float) -> EvidenceHead:
    """Mean and maximum of one feature; each defect's evidence is its multiple of the feature."""
    head = EvidenceHead(classes, activation="sigmoid", name="head")
    head.build((None, 1, 2, 1))
    head.evidence.kernel.assign(np.array(kernel, np.float32).reshape(1, 1, 1, -1))
    return head


def _outputs(head: EvidenceHead, *cells: float) -> tuple[np.ndarray, np.ndarray]:
    score, attention = head(np.array(cells, np.float32).reshape(1, 1, -1, 1))
    return np.asarray(score)[0], np.asarray(attention)[0, 0]


def test_two_defects_by_hand() -> None:
    """Feature 1 and 3, times 1 and -2: maps (1, 3) and (-2, -6).

    Pooled (2 + 3) / 2 = 2.5 and (-4 + -2) / 2 = -3; gain 2 and 1, offset -5 + ln 3 and 3: logits
    ln 3 and 0, scores 3/4 and 1/2, and good is 1 - 3/4.
    """
    head = _head(3, 1, -2)
    head.gain.assign([2, 1])
    head.offset.assign([-5 + LN3, 3])
    score, attention = _outputs(head, 1, 3)
    np.testing.assert_allclose(score, [0.25, 0.75, 0.5], rtol=1e-5)
    np.testing.assert_allclose(attention, [[-1, 1, -2], [-3, 3, -6]], rtol=1e-6)


def test_both_defects_may_be_sure_at_once() -> None:
    score, _ = _outputs(_head(3, 4, 5), 2, 2)
    np.testing.assert_allclose(score[1:], _sigmoid(np.array([8.0, 10.0])), rtol=1e-5)
    assert score[1:].min() > 0.999 and score[0] < 1e-4


def test_one_defect_by_hand() -> None:
    """Maps 1 and 3, pooled 2.5: good and defect are two sides of one sigmoid."""
    score, attention = _outputs(_head(2, 1), 1, 3)
    np.testing.assert_allclose(score, [1 - _sigmoid(np.array(2.5)), _sigmoid(np.array(2.5))])
    np.testing.assert_array_equal(attention, [[-1, 1], [-3, 3]])


def test_an_untrained_head_says_nothing() -> None:
    score, _ = _outputs(_head(4, 0, 0, 0), 1, 3)
    np.testing.assert_array_equal(score, [0.5] * 4)


def test_it_has_one_map_gain_and_offset_for_each_defect() -> None:
    head = _head(4, 1, 1, 1)
    assert head.evidence.kernel.shape == (1, 1, 1, 3)
    assert head.gain.shape == head.offset.shape == (3,)
    assert head.compute_output_shape((None, 4, 6, 5)) == ((None, 4), (None, 4, 6, 4))


def test_it_goes_round_in_a_file(tmp_path: Path) -> None:
    given = keras.Input((1, 2, 1))
    model = keras.Model(given, _head(3, 1, -2)(given))
    model.save(tmp_path / "head.keras")
    loaded = keras.models.load_model(tmp_path / "head.keras")
    assert loaded.get_layer("head").activation == "sigmoid"
    features = np.array([1, 3], np.float32).reshape(1, 1, 2, 1)
    for one, other in zip(model(features), loaded(features), strict=True):
        np.testing.assert_array_equal(np.asarray(one), np.asarray(other))


def test_a_head_written_before_there_were_tasks_is_a_softmax() -> None:
    config = EvidenceHead(3, name="head").get_config()
    del config["activation"]
    assert EvidenceHead.from_config(config).activation == "softmax"


def test_another_activation_is_refused() -> None:
    with pytest.raises(ValueError, match="must be softmax or sigmoid, found 'relu'"):
        EvidenceHead(3, activation="relu")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("task", "activation"),
    [("multiclass", "softmax"), ("binary", "sigmoid"), ("multilabel", "sigmoid")],
)
def test_the_recipe_decides(task: str, activation: str) -> None:
    values = {"backbone": "inverted_residual", "size_hw": (32, 32), "width": 0.35, "task": task}
    model = build_model(ModelTable.model_validate(values), 3)
    assert model.get_layer("head").activation == activation
    shapes = {name: tuple(tensor.shape) for name, tensor in model.output.items()}
    assert shapes == {"score": (None, 3), "attention": (None, 2, 2, 3)}


# the loss


def _loss(truth: list[float], score: list[float], label_smoothing: float = 0.0) -> float:
    given = (np.array([x], np.float32) for x in (truth, score))
    return float(DefectLoss(label_smoothing)(*given))


def test_the_loss_by_hand() -> None:
    """One defect there at 1/4, one not there at 1/3: 2 ln 2 + ln 3 - ln 2."""
    assert _loss([0, 1, 0], [0.75, 0.25, 1 / 3]) == pytest.approx(LN2 + LN3, rel=1e-5)


def test_the_good_class_does_not_count() -> None:
    assert _loss([1, 0], [0.1, 0.5]) == _loss([0, 0], [0.9, 0.5]) == pytest.approx(LN2)


def test_smoothing_goes_towards_one_half() -> None:
    """Smoothing 0.2 makes 1 to 0.9: -0.9 ln 3/4 - 0.1 ln 1/4."""
    expected = -0.9 * np.log(0.75) - 0.1 * np.log(0.25)
    assert _loss([0, 1], [0.25, 0.75], 0.2) == pytest.approx(expected, rel=1e-5)


def test_a_share_of_a_label_is_a_share_of_the_loss() -> None:
    """As mixup makes them."""
    assert _loss([0, 0.3], [0.75, 0.25]) == pytest.approx(-0.3 * np.log(0.25) - 0.7 * np.log(0.75))


def test_a_sure_mistake_is_finite() -> None:
    assert np.isfinite(_loss([0, 1, 0], [0.0, 0.0, 1.0]))


def test_each_defect_is_pushed_to_its_own_label_and_the_good_score_is_free() -> None:
    score = tf.constant([[0.5, 0.5, 0.5]])
    with tf.GradientTape() as tape:
        tape.watch(score)
        value = DefectLoss()(np.float32([[0, 1, 0]]), score)
    np.testing.assert_allclose(np.asarray(tape.gradient(value, score)), [[0, -2, 2]])


def test_the_loss_goes_round_and_follows_the_task() -> None:
    for task in ("binary", "multilabel"):
        loss = score_loss(task, 0.2)
        again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(loss))
        assert type(again) is DefectLoss and again.label_smoothing == 0.2
    assert isinstance(score_loss("multiclass", 0.1), keras.losses.CategoricalCrossentropy)
