"""A compact convolutional transformer: convolutions make the tokens, no class token, from scratch.

Hassani, Walton, Shah, Abuduweili, Li, Shi: "Escaping the Big Data Paradigm with Compact
Transformers", 2021 (arXiv 2104.05704). The tokens are the cells of the map, so the evidence head
works on them as on any features; the paper's SeqPool is `model.pooling = "seq_pool"`. Unlike in the
paper the tokenizer halves the resolution by strided convolutions with batch normalisation, not by
pooling, and the encoder is that of `_encoder`. About 400 thousand parameters at width 1.

Limits: an encoder layer costs 8 C^2 N + 2 C N^2 multiplications for N cells of C channels, and its
scores are 4 N^2 numbers. 192 pixels at stride 16 are 144 cells; at stride 8 they are 576, where
attention costs more than all the rest and an image takes five times as long. The positions are
learnt for one `size_hw`. int8 took 1.7 to 2.6 times as long as float at stride 16 and four times at
stride 8 on x86-64: XNNPACK has no int8 product of two activations, exponential or root. It has to
learn from the images what a convolution knows, that neighbours belong together.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from keras import layers

from qc.errors import RecipeError
from qc.recipe import ModelTable
from training.backbones import _encoder
from training.batch_norm import BatchNormalization

_TOKENIZER = (24, 40, 64)
"""Channels at stride 2, 4 and 8 where the tokens lie deeper."""
_CHANNELS, _DEPTH, _HEADS, _RATIO = 96, 4, 4, 2
_LEAVE_OUT = 0.1
"""Probability that a half of the last encoder layer is left out; it grows from 0 at the first."""


def build(inputs: Any, table: ModelTable, attend: Callable[[Any, str], Any]) -> tuple[Any, int]:
    """Images to features.

    Args:
        inputs: images `(B, H, W, 3)`, 0 to 255.
        table: width and stride; `weights` must be "none" and `pyramid` false.
        attend: takes features and the name of their stage, and gives them back, through an
            attention block where the recipe wants one: after the encoder layers,
            "stage1" to "stage4".

    Returns:
        Features `(B, H/stride, W/stride, C)` and the stride.

    Raises:
        RecipeError: weights or a pyramid were asked for.
    """
    if table.weights != "none":
        raise RecipeError(
            "there are no weights for this backbone",
            where="model.weights",
            expected="'none' with backbone 'compact_transformer'",
            found=repr(table.weights),
        )
    if table.pyramid:
        raise RecipeError(
            "a transformer has one resolution",
            where="model.pyramid",
            expected="false",
            found="true",
        )
    channels = _multiple(_CHANNELS * table.width, 8 * _HEADS)
    steps = min(table.stride, 16).bit_length() - 1
    x = layers.Rescaling(1 / 127.5, offset=-1.0, name="rescale")(inputs)
    for number, wide in enumerate(_TOKENIZER[: steps - 1], start=1):
        x = _halve(x, _multiple(wide * table.width, 8), f"tokenizer{number}")
    x = _halve(x, channels, f"tokenizer{steps}")
    x = _encoder.Position(name="position")(x)
    for number in range(_DEPTH):
        x = _encoder.encode(
            x,
            heads=_HEADS,
            ratio=_RATIO,
            leave_out=_LEAVE_OUT * number / (_DEPTH - 1),
            name=f"stage{number + 1}",
        )
        x = attend(x, f"stage{number + 1}")
    return _encoder.ChannelNorm(name="norm")(x), 2**steps


def _multiple(channels: float, of: int) -> int:
    return max(of, int(channels + of / 2) // of * of)


def _halve(x: Any, channels: int, name: str) -> Any:
    x = layers.Conv2D(channels, 3, 2, padding="same", use_bias=False, name=f"{name}_conv")(x)
    x = BatchNormalization(momentum=0.9, name=f"{name}_bn")(x)
    return layers.ReLU(6.0, name=f"{name}_relu")(x)
