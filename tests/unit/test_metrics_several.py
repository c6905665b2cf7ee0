"""Figures of a model where a part may have several defects: worked out by hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from qc.types import Sample
from training.commands import evaluation_lines
from training.evaluate import Outputs, measure, quick_figures
from training.faithfulness import faithfulness
from training.images import Images

CLASSES = ("good", "hole", "stain")
TRUTH = np.array([[1, 0, 0], [0, 1, 0], [0, 1, 1], [0, 0, 1]], bool)
SCORE = np.array([[0.7, 0.3, 0.2], [0.2, 0.8, 0.6], [0.1, 0.9, 0.7], [0.6, 0.4, 0.1]], np.float32)
"""Good: right. Hole: a stain too many. Both: right. Stain: missed, called good."""


def _images(layers: bool = True) -> Images:
    """Four parts of 4 x 4: the third has a hole at the left and a stain at the right."""
    masks = np.zeros((4, 4, 4), np.uint8)
    masks[1:3, :, 0] = 255
    masks[2:4, :, 3] = 255
    own = np.zeros((4, 4, 3), np.uint8)
    own[:, 0, 1] = own[:, 3, 2] = 255
    names = [tuple(c for c, k in zip(CLASSES, row, strict=True) if k) for row in TRUTH]
    samples = tuple(Sample(str(i), Path(f"{i}.png"), n) for i, n in enumerate(names))
    labels, known = np.array([0, 1, 1, 2]), np.ones(4, bool)
    pixels = np.zeros((4, 4, 4, 3), np.uint8)
    return Images(
        samples,
        pixels,
        labels,
        masks,
        known,
        known,
        several={2: (1, 2)},
        layers={2: own} if layers else {},
    )


def _measured(images: Images, maps: np.ndarray | None = None, task: str = "multilabel") -> dict:  # type: ignore[type-arg]
    outputs = Outputs(SCORE, maps)
    return measure(
        images,
        outputs,
        split="test",
        classes=CLASSES,
        good="good",
        decision=None,
        task=task,  # type: ignore[arg-type]
    )


def test_the_keys_of_evaluate() -> None:
    found = _measured(_images())
    assert found["classes"] == {"good": 1, "hole": 2, "stain": 2} and found["n"] == 4
    assert found["accuracy"] == 0.5 and found["confusion"] is None
    assert found["map"] == pytest.approx(0.875)
    assert list(found["per_class"]) == list(CLASSES)
    assert found["auroc"] == 1.0, "good against defect, by one minus the good score"
    assert 0 <= found["calibration"]["ece"] <= 1


def test_one_class_of_several_has_its_classes_too() -> None:
    images = _images()
    one = Images(
        images.samples, images.pixels, images.labels, images.masks, images.has_mask, images.outlined
    )
    found = _measured(one, task="multiclass")
    assert found["confusion"]["stain"]["good"] == 1
    f1 = [row["f1"] for row in found["per_class"].values()]
    assert found["macro_f1"] == pytest.approx(np.mean(f1)), "the same F1 for each class"


def test_watching_gives_what_evaluating_gives() -> None:
    images = _images()
    found = _measured(images)
    quick = quick_figures(images, SCORE, 0, "multilabel")
    assert quick == {"auroc": found["auroc"], "macro_f1": found["macro_f1"]}


def test_the_map_of_the_likeliest_defect_is_held_to_the_mask_of_that_defect() -> None:
    """The map of the hole points to the stain's side: wrong, though a defect is there."""
    maps = np.zeros((4, 4, 4, 3), np.float32)
    maps[1, 0, 0, 1] = maps[2, 0, 3, 1] = 1  # likeliest: hole, hole
    maps[3, 0, 3, 1] = 1  # a stain that was called a hole: the mask is that of any defect
    assert _measured(_images(), maps)["localisation"]["pointing"] == pytest.approx(2 / 3)
    without = _measured(_images(layers=False), maps)["localisation"]["pointing"]
    assert without == 1.0


def test_a_person_reads_what_accuracy_means() -> None:
    found = _measured(_images()) | {"faithfulness": None, "float_agreement": None}
    text = "\n".join(evaluation_lines(found))
    assert "exactly the right defects" in text
    assert "mean AP    0.875 over the defects; lowest stain 0.750" in text


# the map and the score it is held to


def _two_spots(score_of: Callable[[np.ndarray], np.ndarray]) -> Callable[[np.ndarray], Outputs]:
    """A hole where the first pixel is white, a stain where the last one is; maps that say so."""

    def run(pixels: np.ndarray) -> Outputs:
        there = np.stack([pixels[:, 0, 0, 0], pixels[:, -1, -1, 0]], axis=1) / np.float32(255)
        defects = score_of(there)
        maps = np.zeros((len(pixels), 4, 4, 3), np.float32)
        maps[:, 0, 0, 1] = maps[:, -1, -1, 2] = 1
        return Outputs(np.concatenate([1 - defects.max(1, keepdims=True), defects], axis=1), maps)

    return run


def test_a_second_defect_does_not_hide_that_the_map_is_right() -> None:
    """Without the hole the stain still makes the part a defect, but the hole's score is gone."""
    pixels = np.zeros((6, 4, 4, 3), np.uint8)
    pixels[1:, 0, 0] = pixels[1:, -1, -1] = 255
    names = [("good",)] + [("hole", "stain")] * 5
    samples = tuple(Sample(str(i), Path(f"{i}.png"), n) for i, n in enumerate(names))
    masks, known = np.zeros((6, 4, 4), np.uint8), np.zeros(6, bool)
    labels, several = np.array([0] + [1] * 5), dict.fromkeys(range(1, 6), (1, 2))
    images = Images(samples, pixels, labels, masks, known, known, several=several)
    run = _two_spots(lambda there: there * np.float32([0.99, 0.98]))
    one = faithfulness(images, 0, run, lambda seed: None, several=True)
    assert one["deletion"] == pytest.approx(0.99 / 32)  # as one spot of 16 cells alone
    either = faithfulness(images, 0, run, lambda seed: None)
    assert either["deletion"] > 0.4
