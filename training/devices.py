"""What a training computes on: half precision where there is a GPU, and all GPUs of a host.

Micikevicius et al.: "Mixed Precision Training", ICLR 2018 (arXiv 1710.03740): products in float16,
weights and their updates in float32, and a loss scaled up so that small gradients are not lost.
What is kept of a run is float32 whatever it was trained in.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import keras

from qc.errors import UsageError
from qc.recipe import TrainTable


def gpu_count() -> int:
    """Number of GPUs that the Keras backend can use."""
    try:
        return len(keras.distribution.list_devices("gpu"))
    except RuntimeError:  # JAX, where there are none
        return 0


def precision_of(table: TrainTable) -> str:
    """The Keras dtype policy of a training: what the recipe says, or float16 only on a GPU."""
    if table.precision != "auto":
        return table.precision
    return "mixed_float16" if gpu_count() else "float32"


@contextmanager
def precision(policy: str) -> Iterator[None]:
    """Layers made inside compute as the dtype policy says; outside nothing is changed."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def replicas(table: TrainTable, batch_size: int) -> Any:
    """TensorFlow's MirroredStrategy over all GPUs of this host, or None where one device trains.

    Args:
        table: `gpus` is "one" or "all".
        batch_size: images in one step, shared among the GPUs.

    Raises:
        UsageError: another backend than TensorFlow, fewer than two GPUs, or a batch that cannot be
            shared evenly.
    """
    if table.gpus == "one":
        return None
    if keras.backend.backend() != "tensorflow":
        raise UsageError(
            "several GPUs need the TensorFlow backend",
            where="train.gpus",
            expected="KERAS_BACKEND=tensorflow",
            found=keras.backend.backend(),
        )
    found = gpu_count()
    if found < 2:
        raise UsageError(
            "there are not several GPUs here",
            where="train.gpus",
            expected="'one', or at least two GPUs",
            found=f"'all' and {found}",
        )
    return mirrored([f"GPU:{i}" for i in range(found)], batch_size)


def mirrored(devices: list[str], batch_size: int) -> Any:
    """MirroredStrategy over named devices.

    Raises:
        UsageError: the batch cannot be shared evenly among them.
    """
    if batch_size % len(devices):
        raise UsageError(
            "a batch must be shared evenly among the GPUs",
            where="train.batch_size",
            expected=f"a multiple of {len(devices)}",
            found=batch_size,
        )
    import tensorflow as tf

    return tf.distribute.MirroredStrategy(devices)


def scope(strategy: Any) -> AbstractContextManager[Any]:
    """Where the variables of a training are made."""
    return nullcontext() if strategy is None else strategy.scope()
