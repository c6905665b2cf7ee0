"""MobileNetV2 of keras.applications, cut at stride 16 or 8.

Sandler et al., "MobileNetV2", CVPR 2018 (arXiv 1801.04381). Weights come from ImageNet, from a
local file, or from nowhere. Blocks may stand at stage1 (stride 4), stage2 (8), stage3 (16) and at
the neck; weights, freezing and pyramid are those of `_pretrained`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras

from qc.recipe import ModelTable
from training.backbones import _pretrained

_NETWORK = _pretrained.Network(
    title="MobileNetV2",
    make=keras.applications.MobileNetV2,
    stages=("block_2_add", "block_5_add", "block_12_add", "block_16_project_BN"),
    cuts={16: "block_13_pad", 8: "block_6_pad"},
)


def build(inputs: Any, table: ModelTable, attend: Callable[[Any, str], Any]) -> tuple[Any, int]:
    """Images to features; see `_pretrained.build`."""
    return _pretrained.build(_NETWORK, inputs, table, attend)
