"""Wakes TensorFlow up without its talk, and makes its arithmetic repeatable."""

from __future__ import annotations

import ctypes
from contextlib import suppress
from functools import cache
from typing import Any

from qc.console import need
from qc.quiet import quiet_stderr

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3
"""Parameters of glibc's `mallopt`."""


def wake(quiet: bool) -> None:
    """Import TensorFlow and Keras; the same seed then gives the same numbers on one machine.

    Args:
        quiet: hide what they print while they look for accelerators.

    Raises:
        UsageError: they are not installed.
    """
    require()
    _keep_memory()
    with quiet_stderr(quiet):
        import keras  # noqa: F401
        import tensorflow as tf

        tf.config.experimental.enable_op_determinism()
        tf.constant(0.0)


def require() -> None:
    """Refuse where TensorFlow or Keras is not installed, without the seconds of importing them.

    Raises:
        UsageError: names the extra that brings them.
    """
    need("train", "tensorflow", "keras", "albumentations")


@cache
def cpu_tensorflow() -> Any:
    """TensorFlow, whose own kernels are asked for where it trains on a CPU; None where another
    backend or a GPU trains, for which nobody measured them."""
    import keras

    if keras.backend.backend() != "tensorflow":
        return None
    import tensorflow as tf

    return None if tf.config.list_physical_devices("GPU") else tf


def _keep_memory() -> None:
    """Let glibc keep freed memory: else every step gives its tensors back to the kernel and faults
    them in again, which is a third of the time of a small model. Elsewhere nothing is changed."""
    with suppress(AttributeError, OSError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_MMAP_THRESHOLD, 1 << 30)
        mallopt(_TRIM_THRESHOLD, (1 << 31) - 1)
        mallopt(_TOP_PAD, 1 << 26)
