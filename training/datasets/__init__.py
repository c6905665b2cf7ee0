"""Dataset layouts: each module here with `detect(path)` and `samples(path)` is one layout.

A layout is found by scanning this package, so a new one is one more file and nothing is registered.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import Protocol

from qc.errors import DataError, nearest
from qc.types import Sample


class Layout(Protocol):
    """What a module of this package provides to be a dataset layout."""

    def detect(self, path: Path) -> bool:
        """Whether the dataset at `path` has this layout; never raises on a readable path."""
        ...

    def samples(self, path: Path) -> Iterator[Sample]:
        """The samples in a fixed order; raises DataError where the dataset is wrong."""
        ...


def layouts() -> dict[str, Layout]:
    """Every layout by its name, which is its module's name."""
    found: dict[str, Layout] = {}
    for info in iter_modules(__path__):
        module = import_module(f"{__name__}.{info.name}")
        if hasattr(module, "detect") and hasattr(module, "samples"):
            found[info.name] = module
    return found


def load_samples(path: Path | str, format: str | None = None) -> tuple[str, list[Sample]]:
    """Read a dataset: the name of its layout, and its samples.

    Args:
        path: the dataset's folder or file.
        format: the layout's name, or None to find it out.

    Raises:
        DataError: nothing there, no layout or several fit, an unknown name, or a wrong dataset.
    """
    root = Path(path)
    if not root.exists():
        raise DataError("dataset does not exist", where=root)
    known = layouts()
    name = _detected(root, known) if format is None else _named(format, known, root)
    samples = list(known[name].samples(root))
    if not samples:
        raise DataError(f"dataset holds no image (read as {name})", where=root)
    twice = [k for k, n in Counter(s.sample_id for s in samples).items() if n > 1]
    if twice:
        raise DataError("sample ids occur twice", where=root, found=", ".join(twice[:5]))
    return name, samples


def annotation_errors(path: Path | str, format: str) -> list[dict[str, str]]:
    """What is wrong with the annotations of a dataset, where its layout can tell.

    Args:
        path: the dataset's folder or file.
        format: the layout's name, as `load_samples` gave it.

    Returns:
        `{"path", "why"}` for each; path is the sample id where the image is known.
    """
    tell = getattr(layouts()[format], "annotation_errors", None)
    return [] if tell is None else list(tell(Path(path)))


def _named(format: str, known: dict[str, Layout], root: Path) -> str:
    if format in known:
        return format
    near = nearest(format, known)
    hint = f"; did you mean '{near}'?" if near else ""
    raise DataError(
        f"unknown dataset format '{format}'{hint}", where=root, expected=", ".join(sorted(known))
    )


def _detected(root: Path, known: dict[str, Layout]) -> str:
    fitting = sorted(name for name, layout in known.items() if layout.detect(root))
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        raise DataError(
            "several dataset formats fit: name one with --format",
            where=root,
            found=", ".join(fitting),
        )
    raise DataError(
        "no dataset format fits this path",
        where=root,
        expected=f"one of {', '.join(sorted(known))}",
    )
