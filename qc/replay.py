"""The proof that what was tested is what runs: golden inputs, replayed on the runtime here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from qc.bundle import Bundle
from qc.decide import decide
from qc.errors import BundleError
from qc.types import Image, Prediction


class Predictor(Protocol):
    """What can run a bundle's model."""

    runtime: str

    def predict(self, image: Image) -> Prediction:
        """Run the model on one preprocessed `(h, w, 3)` uint8 image."""
        ...


@dataclass(frozen=True, slots=True)
class Replay:
    """Outcome of running the golden inputs."""

    n: int
    verdict_flips: int
    max_score_error: float
    max_map_error: float
    missing_maps: int
    tolerance: float

    @property
    def ok(self) -> bool:
        """Something ran, no verdict changed, no map is missing, and no score moved by more than the
        bundle allows."""
        same = self.verdict_flips == 0 and self.missing_maps == 0
        return self.n > 0 and same and self.max_score_error <= self.tolerance

    @property
    def expected(self) -> str:
        """What was expected, in words."""
        return f"no verdict flip and scores within {self.tolerance:.4f}"

    @property
    def found(self) -> str:
        """What was found, in words."""
        missing = f", {self.missing_maps} maps missing" if self.missing_maps else ""
        return (
            f"{self.verdict_flips} flips of {self.n}, "
            f"score error {self.max_score_error:.4f}{missing}"
        )


def replay(bundle: Bundle, predictor: Predictor) -> Replay:
    """Run the golden inputs on the runtime that is here and compare with the certified outputs."""
    golden, manifest = bundle.golden, bundle.manifest
    flips, missing, score_error, map_error = 0, 0, 0.0, 0.0
    for i, image in enumerate(golden.images):
        prediction = predictor.predict(image)
        decision = decide(prediction, manifest.decision, manifest.class_names, manifest.good)
        flips += decision.verdict != golden.verdicts[i]
        score_error = max(score_error, float(np.abs(prediction.score - golden.score[i]).max()))
        if golden.attention is None:
            continue
        if prediction.attention is None:
            missing += 1
        else:
            difference = np.abs(prediction.attention - golden.attention[i])
            map_error = max(map_error, float(difference.max()))
    tolerance = manifest.replay_tolerance
    return Replay(len(golden.images), flips, score_error, map_error, missing, tolerance)


def require_replay(bundle: Bundle, predictor: Predictor) -> Replay:
    """Replay, and refuse a bundle that does not give what it was certified with.

    Raises:
        BundleError: a verdict flipped or a score moved, naming the runtime.
    """
    outcome = replay(bundle, predictor)
    if not outcome.ok:
        raise BundleError(
            f"the bundle does not replay on {predictor.runtime}",
            where=bundle.path,
            expected=outcome.expected,
            found=outcome.found,
        )
    return outcome
