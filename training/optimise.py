"""The optimiser of a recipe: AdamW or SGD, warm-up and cosine, slower where weights are pretrained.

It also keeps the running average of the weights, in the graph of the step: fetching them to average
them outside took a tenth of a small network's step. A small network has many small variables, so
what is done for each of them counts: gradients are clipped together, and Adam is one kernel of
TensorFlow where it trains on a CPU, not a dozen operations.

Loshchilov and Hutter, "Decoupled weight decay regularization", ICLR 2019, and "SGDR", ICLR 2017;
Howard and Ruder, "Universal language model fine-tuning", ACL 2018, for rates that differ by layer.
The rate does not slow weight decay down.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from qc.recipe import TrainTable
from training.backend import cpu_tensorflow

_NEW = re.compile(r"^(neck|pyramid|head|dropout)|_attention(/|$)")
"""Paths of variables that no pretrained file brings, by the names that the backbones give."""


def is_pretrained(path: str) -> bool:
    """Whether a variable of a network that came with weights is one of those, by its path."""
    return _NEW.search(path) is None


class _Averaging:
    """Clips gradients, slows pretrained variables down, and averages all that learn.

    Args:
        pretrained_rate: multiplier of the learning rate.
        clip_norm: longest gradient of a variable; 0: any.
        average: momentum of the running average; less of it in the first steps, so that the
            average soon forgets where the weights began.
    """

    def __init__(
        self,
        pretrained_rate: float = 1.0,
        clip_norm: float = 0.0,
        average: float = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.pretrained_rate, self.clip_norm, self.average = pretrained_rate, clip_norm, average

    def build(self, variables: list[Any]) -> None:
        super().build(variables)  # type: ignore[misc]
        self.averages = [self._beside(v) for v in variables] if self.average else variables

    def _beside(self, variable: Any) -> Any:
        return self.add_variable_from_reference(variable, "average")  # type: ignore[attr-defined]

    def apply(self, grads: Any, trainable_variables: Any = None) -> None:
        """One step, and the average of what it leads to, within the weights' constraints."""
        if self.clip_norm:
            grads = clipped(grads, self.clip_norm)
        super().apply(grads, trainable_variables)  # type: ignore[misc]
        if not self.average:
            return
        steps = ops.cast(self.iterations, "float32")  # type: ignore[attr-defined]
        momentum = ops.minimum(self.average, (1 + steps) / (10 + steps))
        share = 1 - ops.where(steps > 1, momentum, 0.0)
        for kept, value in zip(self.averages, self._trainable_variables, strict=True):  # type: ignore[attr-defined]
            self.assign_add(kept, ops.cast(share, kept.dtype) * (value - kept))  # type: ignore[attr-defined]

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        path = getattr(variable, "path", None) or variable.name  # TensorFlow's has no path
        if self.pretrained_rate != 1 and is_pretrained(path):
            learning_rate = learning_rate * self.pretrained_rate
        super().update_step(gradient, variable, learning_rate)  # type: ignore[misc]

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),  # type: ignore[misc]
            "pretrained_rate": self.pretrained_rate,
            "clip_norm": self.clip_norm,
            "average": self.average,
        }


def clipped(grads: Sequence[Any], longest: float) -> list[Any]:
    """Gradients of which none is longer, each scaled as a whole.

    What Keras' `clipnorm` gives, which takes ten operations for each of them. A gradient of rows
    that were looked up, such as of a table of places, is summed over its rows first: its length is
    that of the sum.

    Args:
        grads: a gradient for each variable, or None.
        longest: Euclidean norm of a gradient.
    """
    # TensorFlow's of rows is an object of its own, which any reshape sums up
    whole = [None if g is None else ops.reshape(g, g.shape) for g in grads]
    found = [ops.cast(g, "float32") for g in whole if g is not None]
    norms = ops.sqrt(ops.stack([ops.sum(ops.square(g)) for g in found]))
    shares = iter(ops.unstack(longest / ops.maximum(norms, longest), len(found)))
    return [None if g is None else g * ops.cast(next(shares), g.dtype) for g in whole]


class _KernelAdamW(keras.optimizers.AdamW):
    """Keras' AdamW; the step of a variable is one kernel where TensorFlow trains on a CPU."""

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        tf = cpu_tensorflow()
        if tf is None or not isinstance(gradient, tf.Tensor) or variable.dtype != tf.float32:
            super().update_step(gradient, variable, learning_rate)
            return
        index = self._get_variable_index(variable)
        step = tf.cast(self.iterations + 1, tf.float32)
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=self._momentums[index].value.handle,
            v=self._velocities[index].value.handle,
            beta1_power=tf.pow(self.beta_1, step),
            beta2_power=tf.pow(self.beta_2, step),
            lr=learning_rate,
            beta1=self.beta_1,
            beta2=self.beta_2,
            epsilon=self.epsilon,
            grad=gradient,
        )


@keras.saving.register_keras_serializable(package="qc")
class SlowerAdamW(_Averaging, _KernelAdamW):
    """AdamW with a rate of its own for pretrained variables."""


@keras.saving.register_keras_serializable(package="qc")
class SlowerSGD(_Averaging, keras.optimizers.SGD):
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
        "clip_norm": table.clip_norm,
        "pretrained_rate": table.pretrained_rate if pretrained else 1.0,
        "average": table.average,
    }
    if table.optimiser == "sgd":
        return SlowerSGD(momentum=0.9, nesterov=True, **given)
    return SlowerAdamW(**given)


def averages(model: keras.Model) -> list[Any]:
    """The running averages of a model's trainable variables, in their order."""
    optimiser = model.optimizer
    # in half precision Keras wraps the optimiser in one that scales the loss
    found: list[Any] = getattr(optimiser, "inner_optimizer", optimiser).averages
    return found
