"""One temperature, fitted on VAL after quantisation: scores that are as often right as they say.

Guo, Pleiss, Sun, Weinberger: "On Calibration of Modern Neural Networks", ICML 2017 (arXiv
1706.04599). VAL has chosen the epoch and the thresholds too; one number is fitted to it.
"""

from __future__ import annotations

import math

import numpy as np
from scipy.optimize import minimize_scalar

from qc.decide import DecisionSpec, calibrated

_RANGE = (0.3, 5.0)
"""Where VAL is told apart without an error, the likelihood would want scores of 0 and 1."""
_TINY = 1e-9


def fit_temperature(score: np.ndarray, truth: np.ndarray, good: int, independent: bool) -> float:
    """The temperature with the least negative log-likelihood.

    Args:
        score: `(N, K)` of the quantised model.
        truth: `(N, K)` bool, which classes a part has.
        good: where the good class stands.
        independent: each defect has a probability of its own.

    Returns:
        Between 0.3 and 5, rounded to three digits; 1 where nothing is gained.
    """

    def loss(temperature: float) -> float:
        return negative_log_likelihood(tempered(score, temperature, good, independent), truth)

    def of_logarithm(power: float) -> float:
        return loss(math.exp(power))

    low, high = (math.log(t) for t in _RANGE)
    found = minimize_scalar(of_logarithm, bounds=(low, high), method="bounded")
    temperature = round(math.exp(float(found.x)), 3)
    return temperature if loss(temperature) < loss(1.0) else 1.0


def tempered(score: np.ndarray, temperature: float, good: int, independent: bool) -> np.ndarray:
    """Scores as `calibrated` gives them at a temperature."""
    nothing = {"ok_below": {"": 0.0}, "ng_above": {"": 0.0}, "max_escape": 0, "max_overkill": 0}
    spec = DecisionSpec(**nothing, temperature=temperature, independent=independent)
    return calibrated(score, spec, good)


def negative_log_likelihood(score: np.ndarray, truth: np.ndarray) -> float:
    """Mean over parts and classes of what a true answer costs, natural logarithm."""
    there = np.clip(np.where(truth, score, 1.0 - score), _TINY, None)
    return float(-np.log(there).mean())
