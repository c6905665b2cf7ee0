"""Properties that tell a class without looking at the part."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from qc.types import Sample
from training.shortcuts import properties, shortcuts

SMALL = {"size": "64 x 48 pixels", "file type": ".png", "colour mode": "grey"}
LARGE = SMALL | {"size": "99 x 99 pixels"}


def _samples(*labels: str) -> list[Sample]:
    return [Sample(f"{i}.png", Path(f"{i}.png"), (label,)) for i, label in enumerate(labels)]


def test_size_type_and_colour_of_a_picture() -> None:
    grey = np.full((48, 64, 3), 7, np.uint8)
    assert properties(_samples("a")[0], grey) == SMALL
    colour = grey.copy()
    colour[5, 5, 2] = 8
    sample = Sample("b.JPG", Path("b.JPG"), ("a",))
    assert properties(sample, colour) == SMALL | {"file type": ".jpg", "colour mode": "colour"}


def test_a_size_that_only_one_class_has() -> None:
    samples = _samples("good", "good", "good", "hole", "hole", "hole")
    told = shortcuts(samples, [SMALL] * 3 + [LARGE, LARGE, SMALL])
    assert told == ["67 % of class hole are 99 x 99 pixels, no image of another class is (size)"]


def test_what_two_classes_have_or_few_images_have_is_none() -> None:
    samples = _samples("good", "good", "good", "good", "hole", "hole", "hole", "hole")
    assert shortcuts(samples, [SMALL] * 3 + [LARGE] * 4 + [SMALL]) == []
    assert shortcuts(samples, [SMALL] * 7 + [LARGE]) == []
    assert shortcuts(_samples("good", "good"), [LARGE, LARGE]) == []
