"""Which layers hurt in int8: what each one alone does to the score, and what it saves."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np

from export.calibrate import representative
from export.mixed import these_alone, weighted
from export.ranges import Ranges, interpreter
from qc.decide import defect_scores
from qc.errors import QCError
from training.pipeline import Progress

_IMAGES = 64
_LEAST = 0.001
"""Share of a graph's multiplications; what does less is not worth a place in int8."""
_ELEMENT = 16
"""Multiplications that it costs to bring a number from float to int8 or back: on an x86 with int8
instructions a layer alone in int8 took 16 to 33 times as long for each as it saved for each
multiplication; where its neighbour is in int8 too, nothing."""
_CERTAIN = 1e-6
"""Scores are taken to be this far from 0 and 1."""


@dataclass(frozen=True)
class Layer:
    """A layer with weights.

    Args:
        name: of its output tensor.
        saved: multiplications in int8, less what it costs to bring its numbers there and back.
        change: root mean square, over the pictures, of what the log-odds of the defect score change
            by when this layer alone is in int8.
    """

    name: str
    saved: int
    change: float


def score_changes(
    float_model: bytes,
    ranges: Ranges,
    pictures: np.ndarray,
    good: int,
    progress: Progress | None = None,
    *,
    quiet: bool = True,
) -> list[Layer]:
    """What each layer alone in int8 does to the score.

    Layers of less than a thousandth of the multiplications are left out, and so is what cannot be
    in int8 by itself.

    Args:
        float_model: a float32 flatbuffer.
        ranges: of its activations.
        pictures: `(N, H, W, 3)` uint8 from TRAIN; the first 64 are looked at.
        good: place of the class that is none.
        progress: told of the layers seen.
        quiet: hide what the quantiser prints.

    Returns:
        The layers, the largest change first.

    Raises:
        FaultError: LiteRT cannot run the float model.
    """
    some = pictures[:_IMAGES]
    exact = _log_odds(float_model, some, good)
    layers = weighted(float_model)
    least = _LEAST * sum(layer.macs for layer in layers)
    worth = [layer for layer in layers if layer.macs >= least]
    found = []
    for number, layer in enumerate(worth, start=1):
        with suppress(QCError):
            rough = these_alone(float_model, ranges, [layer.name], quiet=quiet).model
            change = _log_odds(rough, some, good) - exact
            saved = layer.macs - _ELEMENT * layer.elements
            found.append(Layer(layer.name, saved, float(np.sqrt(np.square(change).mean()))))
        if progress is not None:
            progress(number, len(worth))
    return sorted(found, key=lambda layer: -layer.change)


def least_changing(layers: Sequence[Layer], share: float) -> list[str]:
    """Names of the layers to put in int8 to save this share of what all of them could.

    Those come first that change the score least for what they save: changes of independent layers
    add up as squares do. What saves nothing is never among them.
    """
    saving = [layer for layer in layers if layer.saved > 0]
    total = sum(layer.saved for layer in saving)
    names, done = [], 0
    for layer in sorted(saving, key=lambda layer: layer.change**2 / layer.saved):
        if done >= share * total:
            break
        names.append(layer.name)
        done += layer.saved
    return names


def _log_odds(model: bytes, pictures: np.ndarray, good: int) -> np.ndarray:
    """Log-odds of the defect score of each picture, `(N,)`."""
    made = interpreter(model, fast=True)
    (score,) = (d["index"] for d in made.get_output_details() if len(d["shape"]) == 2)
    scores = []
    for [image] in representative(pictures):
        made.set_tensor(made.get_input_details()[0]["index"], image)
        made.invoke()
        scores.append(made.get_tensor(score)[0])
    odds = np.clip(defect_scores(np.array(scores), good), _CERTAIN, 1 - _CERTAIN)
    return np.log(odds / (1 - odds))
