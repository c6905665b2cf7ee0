"""What a run's history looks like: curves as a PNG, and scalars for TensorBoard."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import keras


def draw_curves(history: Sequence[Mapping[str, float]], path: Path) -> None:
    """Draw the losses and the figures on VAL over the epochs.

    Args:
        history: a row an epoch, as `history.csv` has them.
        path: the PNG.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    epochs = [row["epoch"] for row in history]
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    for key, name in (("loss", "all"), ("score_loss", "class"), ("attention_loss", "map")):
        left.plot(epochs, [row[key] for row in history], marker=".", label=name)
    left.set(xlabel="epoch", ylabel="loss on TRAIN", ylim=(0, None))
    for key, name in (("val_auroc", "AUROC"), ("val_macro_f1", "macro-F1")):
        right.plot(epochs, [row[key] for row in history], marker=".", label=name)
    right.set(xlabel="epoch", ylabel="on VAL", ylim=(0, 1.02))
    for axes in (left, right):
        axes.legend(frameon=False)
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
        axes.xaxis.get_major_locator().set_params(integer=True)
    figure.savefig(path, dpi=120)


def log_scalars(row: Mapping[str, float], folder: Path) -> None:
    """Add an epoch to the event files that TensorBoard reads; only TensorFlow can write them."""
    if keras.backend.backend() != "tensorflow":
        return
    import tensorflow as tf

    writer = tf.summary.create_file_writer(str(folder))
    with writer.as_default(step=int(row["epoch"])):
        for key, value in row.items():
            if key != "epoch":
                tf.summary.scalar(key, value)
    writer.close()
