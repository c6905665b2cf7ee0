"""The normalisation that TFLite metadata states, read field by field.

The metadata is a flatbuffer of its own (`metadata_schema.fbs` of TensorFlow Lite Support) in the
model's buffer `TFLITE_METADATA`. Its package is no longer maintained, and five fields are needed.
"""

from __future__ import annotations

import struct
from typing import Any

import flatbuffers
import numpy as np

_NAME = b"TFLITE_METADATA"
_SUBGRAPHS, _INPUTS, _UNITS = 3, 2, 4
"""Places of the vectors in ModelMetadata, SubGraphMetadata and TensorMetadata."""
_KIND, _OPTIONS, _NORMALIZATION = 0, 1, 1
_MEAN, _STD = 0, 1


def normalised_range(graph: Any, channels: int) -> tuple[tuple[float, float], ...] | None:
    """What pixel values 0 and 255 become by the metadata: `(value - mean) / std`.

    Args:
        graph: a `ModelT`.
        channels: of the input.

    Returns:
        One pair, or one for each channel; None where nothing is stated, or nothing usable.
    """
    for entry in graph.metadata or ():
        if entry.name == _NAME:
            try:
                mean, std = _normalization(bytes(graph.buffers[entry.buffer].data))
            except (struct.error, IndexError, ValueError, TypeError):
                return None  # damaged, or silent on the picture
            return _pairs(mean, std, channels)
    return None


def _pairs(
    mean: np.ndarray, std: np.ndarray, channels: int
) -> tuple[tuple[float, float], ...] | None:
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
