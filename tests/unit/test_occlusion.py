"""The occlusion map: by hand where the score is known, and never taken for the model's own."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import pytest
from seen_square import CELL, Seen, manifest, part
from toy_line import FirstPixel, facts, inspection, unsealed

from edge.inspect import overlay_of
from edge.occlusion import CELLS, PATCHES, occlusion_map
from qc.errors import FaultError, QCError


def test_a_defect_of_two_cells_by_hand() -> None:
    """Four patches cover a cell of the square: they hide 1/4, 1/2, 1/2 and all of it."""
    image = part(3, 7, 2)
    before = image.copy()
    predictor = Seen((2 * CELL) ** 2)
    found = occlusion_map(predictor, manifest(), image, "scratch")
    assert found.shape == (CELLS, CELLS) and found.dtype == np.float32
    expected = np.zeros((CELLS, CELLS))
    expected[2:6, 6:10] = np.outer([1, 3, 3, 1], [1, 3, 3, 1]) / 16
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert predictor.passes == 1 + 13 * 13  # the smallest patch told enough
    np.testing.assert_array_equal(image, before)


def test_the_corner_of_the_picture_is_covered_like_the_middle() -> None:
    found = occlusion_map(Seen((2 * CELL) ** 2), manifest(), part(0, 0, 2), "scratch")
    assert found[0, 0] == pytest.approx(9 / 16) and found[2:, 2:].max() < 0.07
    found = occlusion_map(Seen((2 * CELL) ** 2), manifest(), part(10, 10, 2), "scratch")
    assert found[11, 11] == pytest.approx(9 / 16)


def test_the_patch_grows_where_a_small_one_shows_nothing() -> None:
    """Half of the defect is enough for the model.

    Two cells hide a quarter at most. Of the 16 patches of four cells over a cell, one hides it all
    and the next ones less: a drop of 3.5 / 16. Of the nine of six cells, four hide it all.
    """
    predictor = Seen((4 * CELL) ** 2, lambda share: min(1.0, 2 * share))
    found = occlusion_map(predictor, manifest(), part(4, 4, 4), "scratch")
    assert predictor.passes == 1 + 13 * 13 + 15 * 15 + 8 * 8
    np.testing.assert_allclose(found[4:8, 4:8], 4 / 9, atol=1e-6)
    assert found[0, 0] == found[11, 11] == 0 and found.max() == found[4, 4]


def test_a_model_that_no_patch_changes_has_a_flat_map() -> None:
    predictor = Seen(1.0, lambda share: 0.9)
    found = occlusion_map(predictor, manifest(), part(4, 4, 4), "scratch")
    assert predictor.passes == 1 + sum(len(range(b - a, CELLS, b)) ** 2 for a, b in PATCHES) == 459
    np.testing.assert_allclose(found, 0, atol=1e-6)


def test_hiding_what_speaks_for_a_good_part_is_negative() -> None:
    predictor = Seen((2 * CELL) ** 2, lambda share: 1 - share)
    assert occlusion_map(predictor, manifest(), part(3, 7, 2), "scratch").min() == pytest.approx(
        -9 / 16
    )


def test_the_drop_is_of_the_calibrated_score() -> None:
    """At temperature 2 of two classes, scores go as square roots: 0.81 against 0.19."""
    decision = facts()["decision"] | {"temperature": 2.0}
    predictor = Seen((2 * CELL) ** 2, lambda share: 0.19 + 0.62 * share)
    hot = occlusion_map(predictor, manifest(decision=decision), part(0, 0, 2), "scratch")
    high, low = np.sqrt(0.81), np.sqrt(0.19)
    least = np.sqrt(1e-6)  # of the class that scores nothing: calibration has a floor
    full = (high - low) / (high + low + least)
    cold = occlusion_map(predictor, manifest(), part(0, 0, 2), "scratch")
    assert 0.5 < full / 0.62 < hot.max() / cold.max() < 1


def test_a_large_picture_is_brought_to_the_model_first() -> None:
    large = np.repeat(np.repeat(part(3, 7, 2), 10, axis=0), 10, axis=1)
    found = occlusion_map(Seen((2 * CELL) ** 2), manifest(), large, "scratch")
    assert found[3, 7] == pytest.approx(9 / 16)


@pytest.mark.parametrize("name", ["good", "hole"])
def test_no_class_but_a_defect_has_a_map(name: str) -> None:
    with pytest.raises(QCError, match=rf"no defect class.*scratch, dent; found '{name}'"):
        occlusion_map(Seen(1.0), manifest(), part(0, 0, 2), name)


def test_a_score_that_is_no_number_is_a_fault() -> None:
    predictor = Seen((2 * CELL) ** 2, lambda share: share if share == 1 else float("nan"))
    with pytest.raises(FaultError, match="not finite; found toy"):
        occlusion_map(predictor, manifest(), part(3, 7, 2), "scratch")


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The texts that are drawn."""
    texts: list[str] = []
    put = cv2.putText

    def record(pixels: Any, text: str, *rest: Any) -> Any:
        texts.append(text)
        return put(pixels, text, *rest)

    monkeypatch.setattr(cv2, "putText", record)
    return texts


def test_the_overlay_says_whose_map_it_is(written: list[str]) -> None:
    own = inspection("p")
    assert own.prediction is not None
    bare = replace(own, prediction=replace(own.prediction, attention=None))
    hidden = np.zeros((CELLS, CELLS), np.float32)
    hidden[2, 2] = 0.4
    drawn = overlay_of(bare, unsealed(), hidden)
    assert "occlusion map: score lost where hidden" in written and "occlusion map" in written
    assert "where the model looked" not in written
    written.clear()
    plain = overlay_of(bare, unsealed())
    assert "no map: this model does not show where it looked" in written
    assert not [text for text in written if "occlusion" in text]
    assert drawn is not None and plain is not None and drawn.shape[0] > plain.shape[0]
    assert (drawn[:360] != plain[:360]).any()
    written.clear()
    overlay_of(bare, unsealed(), np.full((CELLS, CELLS), 0.05, np.float32))
    assert "occlusion map: hiding a place changes little" in written


def test_the_models_own_map_is_never_replaced(written: list[str]) -> None:
    own = inspection("p", prediction=FirstPixel().predict(np.full((4, 4, 3), 224, np.uint8)))
    with_hidden = overlay_of(own, unsealed(), np.ones((CELLS, CELLS), np.float32))
    assert "where the model looked" in written
    assert not [text for text in written if "occlusion" in text]
    np.testing.assert_array_equal(with_hidden, overlay_of(own, unsealed()))
