"""Wakes TensorFlow up without its talk, and makes its arithmetic repeatable."""

from __future__ import annotations

from qc.quiet import quiet_stderr


def wake(quiet: bool) -> None:
    """Import TensorFlow and Keras; the same seed then gives the same numbers on one machine.

    Args:
        quiet: hide what they print while they look for accelerators.
    """
    with quiet_stderr(quiet):
        import keras  # noqa: F401
        import tensorflow as tf

        tf.config.experimental.enable_op_determinism()
        tf.constant(0.0)
