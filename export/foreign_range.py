"""What black and white are to a foreign model's input: by its metadata, or by its tensor's scale.

The metadata is a flatbuffer of its own (`metadata_schema.fbs` of TensorFlow Lite Support) in the
model's buffer `TFLITE_METADATA`. Its package is no longer maintained, and five fields are needed.
"""

from __future__ import annotations

import struct
from typing import Any

import flatbuffers
import numpy as np

from export.metadata import ENTRY
from qc.manifest import TensorSpec

Pairs = tuple[tuple[float, float], ...]
"""What pixel values 0 and 255 become: one pair for all channels, or one for each."""

_LIMITS = {"uint8": (0, 255), "int8": (-128, 127)}
_KNOWN = ((0.0, 1.0), (-1.0, 1.0), (0.0, 255.0), (-128.0, 127.0))
"""What training commonly makes of black and white."""
_LEVELS = 128
"""Fewer stored values than this of 256 pixel values: the range is not that of the tensor."""
_SUBGRAPHS, _INPUTS, _UNITS = 3, 2, 4
"""Places of the vectors in ModelMetadata, SubGraphMetadata and TensorMetadata."""
_KIND, _OPTIONS, _NORMALIZATION = 0, 1, 1
_MEAN, _STD = 0, 1


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


def normalised_range(graph: Any, channels: int) -> Pairs | None:
    """What pixel values 0 and 255 become by the metadata: `(value - mean) / std`.

    Args:
        graph: a `ModelT`.
        channels: of the input.

    Returns:
        One pair, or one for each channel; None where nothing is stated, or nothing usable.
    """
    for entry in graph.metadata or ():
        if entry.name == ENTRY:
            try:
                mean, std = _normalization(bytes(graph.buffers[entry.buffer].data))
            except (struct.error, IndexError, ValueError, TypeError):
                return None  # damaged, or silent on the picture
            return _pairs(mean, std, channels)
    return None


def _pairs(mean: np.ndarray, std: np.ndarray, channels: int) -> Pairs | None:
    fits = len(mean) in (1, channels) and len(std) in (1, channels)
    if not fits or not np.isfinite([*mean, *std]).all() or (std <= 0).any():
        return None
    mean, std = np.broadcast_arrays(mean, std)
    low, high = (0 - mean) / std, (255 - mean) / std
    return tuple((float(a), float(b)) for a, b in zip(low, high, strict=True))


def _normalization(data: bytes) -> tuple[np.ndarray, np.ndarray]:
    root = flatbuffers.encode.Get(flatbuffers.packer.uoffset, data, 0)
    model = flatbuffers.table.Table(data, root)
    image = _first(_first(model, _SUBGRAPHS), _INPUTS)
    for unit in _tables(image, _UNITS):
        kind = unit.Offset(4 + 2 * _KIND)
        number = unit.Get(flatbuffers.number_types.Uint8Flags, kind + unit.Pos) if kind else 0
        options = unit.Offset(4 + 2 * _OPTIONS)
        if number == _NORMALIZATION and options:
            found = flatbuffers.table.Table(data, unit.Indirect(unit.Pos + options))
            return _floats(found, _MEAN), _floats(found, _STD)
    raise ValueError("no normalisation")


def _first(table: Any, place: int) -> Any:
    return _tables(table, place)[0]


def _tables(table: Any, place: int) -> list[Any]:
    offset = table.Offset(4 + 2 * place)
    if not offset:
        return []
    start = table.Vector(offset)
    return [
        flatbuffers.table.Table(table.Bytes, table.Indirect(start + 4 * i))
        for i in range(table.VectorLen(offset))
    ]


def _floats(table: Any, place: int) -> np.ndarray:
    offset = table.Offset(4 + 2 * place)
    if not offset:
        raise ValueError("not stated")
    count = table.VectorLen(offset)
    found = np.frombuffer(table.Bytes, "<f4", count, table.Vector(offset))
    return np.asarray(found, np.float64)
