"""Adopting a foreign model in a test's own folder."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from foreign_models import model, photographs

from export.adopt import adopt_model

THREE, TWO = ("good", "scratch", "dent"), ("good", "scratch")
BY_HAND = '\nimages = "photos"\n[thresholds]\nok_below = 0.3\nng_above = 0.7\n'


@contextmanager
def silent(_: str) -> Iterator[Callable[[int, int], None]]:
    """A progress bar that nobody sees."""
    yield lambda done, total: None


def adopt(
    folder: Path,
    kind: str | bytes,
    told: str | None = "",
    labels: tuple[str, ...] | None = None,
    out: Path | None = None,
) -> dict[str, Any]:
    """Adopt a model by a TOML that begins with `good` and ends with thresholds and pictures.

    Args:
        folder: gets the model, its labels, the TOML, the bundle, and 48 pictures in `photos`.
        kind: one of `foreign_models.KINDS`, or a flatbuffer.
        told: of the TOML; whole where it holds `good`; None: there is no TOML.
        labels: two for a model with a sigmoid, and else three, where None.
        out: the bundle.
    """
    data = model(kind) if isinstance(kind, str) else kind
    (folder / "foreign.tflite").write_bytes(data)
    if not (folder / "photos").exists():
        photographs(folder / "photos", 48)
    names = labels or (TWO if "sigmoid" in str(kind) else THREE)
    (folder / "labels.txt").write_text("\n".join(names) + "\n")
    file = None
    if told is not None:
        file = folder / "told.toml"
        file.write_text(told if "good" in told else f'good = "good"\n{told}{BY_HAND}')
    return adopt_model(folder / "foreign.tflite", folder / "labels.txt", file, out, silent)
