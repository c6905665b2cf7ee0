"""Figures of scores and labels where a part may have several defects: worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from qc import metrics

CLASSES = ("good", "hole", "stain")
TRUTH = np.array([[1, 0, 0], [0, 1, 0], [0, 1, 1], [0, 0, 1]], bool)
SCORE = np.array([[0.7, 0.3, 0.2], [0.2, 0.8, 0.6], [0.1, 0.9, 0.7], [0.6, 0.4, 0.1]], np.float32)
"""Good: right. Hole: a stain too many. Both: right. Stain: missed, called good."""


def test_what_is_said_of_each_part() -> None:
    said = metrics.labels_said(SCORE, 0, several=True)
    np.testing.assert_array_equal(said, [[1, 0, 0], [0, 1, 1], [0, 1, 1], [1, 0, 0]])
    one = metrics.labels_said(SCORE, 0, several=False)
    np.testing.assert_array_equal(one.argmax(axis=1), [0, 1, 1, 0])
    assert (one.sum(axis=1) == 1).all()


def test_a_score_of_one_half_is_said_and_the_good_score_itself_is_not_asked() -> None:
    said = metrics.labels_said(np.array([[0.5, 0.5, 0.1], [0.4, 0.49, 0.1]]), 0, several=True)
    np.testing.assert_array_equal(said, [[0, 1, 0], [1, 0, 0]])


def test_accuracy_is_of_whole_sets_and_macro_f1_of_classes() -> None:
    """Right: 2 of 4. F1: good 2 / (1 + 2), hole 4 / (2 + 2), stain 2 / (2 + 2)."""
    found = metrics.several_labels(TRUTH, metrics.labels_said(SCORE, 0, several=True))
    assert found["accuracy"] == 0.5 and found["confusion"] is None
    assert found["macro_f1"] == pytest.approx((2 / 3 + 1 + 1 / 2) / 3)


def test_each_class_against_all_others() -> None:
    """Stain at 0.7 and 0.1 among 0.2, 0.6: pairs won 2 of 4; precision 1 at 1/2, 2/4 at 1."""
    said = metrics.labels_said(SCORE, 0, several=True)
    found = metrics.of_each_class(TRUTH, said, SCORE, CLASSES)
    assert found["hole"] == {"auroc": 1.0, "average_precision": 1.0, "f1": 1.0, "n": 2}
    assert found["stain"]["auroc"] == 0.5 and found["stain"]["n"] == 2
    assert found["stain"]["average_precision"] == pytest.approx(0.5 * 1 + 0.5 * 0.5)
    assert found["good"]["f1"] == pytest.approx(2 / 3)
    assert metrics.mean_average_precision(found, "good") == pytest.approx((1 + 0.75) / 2)


def test_a_class_that_does_not_occur_has_no_figure() -> None:
    truth = TRUTH[:2]
    found = metrics.of_each_class(truth, truth, SCORE[:2], CLASSES)
    assert found["stain"] == {"auroc": None, "average_precision": None, "f1": None, "n": 0}
    assert metrics.mean_average_precision(found, "good") == 1.0
    assert metrics.mean_average_precision({"good": found["good"]}, "good") is None


def test_calibration_asks_of_each_defect_whether_it_is_there() -> None:
    """Four questions at 0.8 sure, three right: a gap of 0.05."""
    score = np.array([[0, 0.8, 0.2], [0, 0.8, 0.2]])
    truth = np.array([[0, 1, 0], [0, 0, 0]], bool)
    assert metrics.calibration_of_several(truth, score, 0) == pytest.approx(0.05)
