"""Which layers hurt: where the error of int8 arises, layer by layer, against float."""

from __future__ import annotations

from typing import Any

import numpy as np

from export.calibrate import representative
from export.ranges import interpreter

_IMAGES = 16
_CONSTANT = 1e-9
"""Spread of a tensor that is the same everywhere: nothing of it can be lost."""


def layer_errors(
    float_model: bytes, quantised: bytes, calibration: np.ndarray
) -> list[tuple[str, float]]:
    """Layers by the error that they add.

    The error of a layer's output is the root mean square of its difference to float, over that of
    the float values about their mean; what a layer adds is its error less the largest of its
    inputs'.

    Args:
        float_model: a float32 flatbuffer.
        quantised: the same graph in static int8, by `to_mixed`: the tensors keep their names.
        calibration: `(N, H, W, 3)` uint8; the first 16 are looked at.

    Returns:
        Name of the output tensor and added error, the largest first.

    Raises:
        FaultError: LiteRT cannot run one of the two.
    """
    from ai_edge_litert import schema_py_generated as schema

    main = schema.ModelT.InitFromPackedBuf(float_model, 0).subgraphs[0]
    names = [t.name.decode() for t in main.tensors]
    produced = {i for o in main.operators for i in o.outputs}
    exact, rough = _Values(float_model), _Values(quantised)
    known = {i for i in produced if names[i] in exact and names[i] in rough}
    squares = dict.fromkeys(known, 0.0)
    spread = dict.fromkeys(known, 0.0)
    for [image] in representative(calibration[:_IMAGES]):
        exact.run(image)
        rough.run(image)
        for i in known:
            value = exact[names[i]]
            squares[i] += float(np.square(rough[names[i]] - value).mean())
            spread[i] += float(np.square(value - value.mean()).mean())
    error = {i: float(np.sqrt(squares[i] / spread[i])) for i in known if spread[i] > _CONSTANT}
    added = {}
    for operator in main.operators:
        for i in operator.outputs:
            if i in error:
                before = max((error.get(j, 0.0) for j in operator.inputs), default=0.0)
                added[names[i]] = error[i] - before
    return sorted(added.items(), key=lambda row: -row[1])


class _Values:
    """The tensors of a model after a pass, as real numbers."""

    def __init__(self, model: bytes) -> None:
        self.made: Any = interpreter(model)
        self.details = {d["name"]: d for d in self.made.get_tensor_details()}

    def __contains__(self, name: str) -> bool:
        return name in self.details

    def __getitem__(self, name: str) -> np.ndarray:
        detail = self.details[name]
        stored = self.made.get_tensor(detail["index"])
        scale, zero_point = detail["quantization"]
        real = stored.astype(np.float32)
        return (real - zero_point) * scale if scale else real

    def run(self, image: np.ndarray) -> None:
        self.made.set_tensor(self.made.get_input_details()[0]["index"], image)
        self.made.invoke()
