"""The optimiser of a recipe: AdamW or SGD, warm-up and cosine, slower where weights are pretrained.

Loshchilov and Hutter, "Decoupled weight decay regularization", ICLR 2019, and "SGDR", ICLR 2017;
Howard and Ruder, "Universal language model fine-tuning", ACL 2018, for rates that differ by layer.
Weight decay is not slowed down with the rate.
"""

from __future__ import annotations

import re
from typing import Any

import keras

from qc.recipe import TrainTable

_NEW = re.compile(r"^(neck|pyramid|head|dropout)|_attention(/|$)")
"""Paths of variables that no pretrained file brings, by the names that the backbones give."""


def is_pretrained(path: str) -> bool:
    """Whether a variable of a network that came with weights is one of those, by its path."""
    return _NEW.search(path) is None


class _Slower:
    """Multiplies the learning rate of pretrained variables."""

    def __init__(self, pretrained_rate: float = 1.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.pretrained_rate = pretrained_rate

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        path = getattr(variable, "path", None) or variable.name  # TensorFlow's has no path
        if self.pretrained_rate != 1 and is_pretrained(path):
            learning_rate = learning_rate * self.pretrained_rate
        super().update_step(gradient, variable, learning_rate)  # type: ignore[misc]

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "pretrained_rate": self.pretrained_rate}  # type: ignore[misc]


@keras.saving.register_keras_serializable(package="qc")
class SlowerAdamW(_Slower, keras.optimizers.AdamW):
    """AdamW with a rate of its own for pretrained variables."""


@keras.saving.register_keras_serializable(package="qc")
class SlowerSGD(_Slower, keras.optimizers.SGD):
    """SGD with a rate of its own for pretrained variables."""


def make_optimiser(
    table: TrainTable, epoch_steps: int, pretrained: bool
) -> keras.optimizers.Optimizer:
    """The recipe's optimiser.

    Args:
        table: what the recipe says.
        epoch_steps: steps of an epoch.
        pretrained: the network came with weights.
    """
    steps = table.epochs * epoch_steps
    warmup = min(round(table.warmup_epochs * epoch_steps), steps // 10)
    rate: Any = keras.optimizers.schedules.CosineDecay(
        table.learning_rate / 20 if warmup else table.learning_rate,
        decay_steps=max(steps - warmup, 1),
        alpha=0.02,
        warmup_target=table.learning_rate if warmup else None,
        warmup_steps=warmup,
    )
    given: dict[str, Any] = {
        "learning_rate": rate,
        "weight_decay": table.weight_decay,
        "clipnorm": table.clip_norm or None,
        "pretrained_rate": table.pretrained_rate if pretrained else 1.0,
    }
    if table.optimiser == "sgd":
        return SlowerSGD(momentum=0.9, nesterov=True, **given)
    return SlowerAdamW(**given)
