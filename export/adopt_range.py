"""What the pixel values 0 and 255 mean to a model's input tensor."""

from __future__ import annotations

import numpy as np

from export.adopt_table import Pairs
from qc.manifest import TensorSpec

_LIMITS = {"uint8": (0, 255), "int8": (-128, 127)}
_KNOWN = ((0.0, 1.0), (-1.0, 1.0), (0.0, 255.0), (-128.0, 127.0))
"""What training commonly makes of black and white."""
_LEVELS = 128
"""Fewer stored values than this of 256 pixel values: the range is not that of the tensor."""


def fits(spec: TensorSpec, pairs: Pairs) -> bool:
    """Whether a tensor can tell the pixel values of these ranges apart."""
    if spec.dtype == "float32":
        return True
    return all(len(np.unique(_stored(spec, pair))) >= _LEVELS for pair in pairs)


def plain_range(spec: TensorSpec) -> tuple[float, float] | None:
    """The range under which a uint8 tensor stores the pixel value, an int8 one that less 128.

    None where a range that training commonly takes would not be stored like that, within one level:
    then scale and zero point come from something else.
    """
    if spec.dtype == "float32":
        return None
    low, high = _LIMITS[spec.dtype]
    levels = np.arange(256) + low
    if all(np.abs(_stored(spec, pair) - levels).max() > 1 for pair in _KNOWN):
        return None
    return spec.scale * (low - spec.zero_point), spec.scale * (high - spec.zero_point)


def held(spec: TensorSpec) -> str:
    """The real numbers that a quantised tensor can hold, in words."""
    low, high = (spec.scale * (n - spec.zero_point) for n in _LIMITS[spec.dtype])
    return f"{low:.4g} to {high:.4g}"


def range_words(pairs: Pairs) -> str:
    """`0..1`, or one of these for each channel."""
    return ", ".join(f"{low:.4g}..{high:.4g}" for low, high in pairs)


def _stored(spec: TensorSpec, pair: tuple[float, float]) -> np.ndarray:
    """What the tensor stores for pixel values 0 to 255, `(256,)`."""
    real = pair[0] + np.arange(256) / 255 * (pair[1] - pair[0])
    return np.clip(np.rint(real / spec.scale) + spec.zero_point, *_LIMITS[spec.dtype])
