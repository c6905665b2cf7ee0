"""Writers of datasets: each module here with `write(job)` writes the layout of its name.

A writer is found by scanning this package, so a new one is one more file and nothing is registered.
Its name is the name of the layout in `training.datasets` that reads what it writes.
"""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules
from typing import Any, Protocol

from qc.errors import UsageError, nearest
from training.writers._job import Job

__all__ = ["Job", "Writer", "writer", "writers"]


class Writer(Protocol):
    """What a module of this package provides to write a layout."""

    def write(self, job: Job) -> None:
        """Write every sample into the job's folder; what cannot be kept is refused or noted."""
        ...


def writers() -> dict[str, Writer]:
    """Every writer by its name, which is its module's name."""
    found: dict[str, Writer] = {}
    for info in iter_modules(__path__):
        module: Any = import_module(f"{__name__}.{info.name}")
        if hasattr(module, "write"):
            found[info.name] = module
    return found


def writer(name: str) -> Writer:
    """The writer of a format; raises UsageError with the nearest name where there is none."""
    known = writers()
    if name not in known:
        near = nearest(name, known)
        hint = f"; did you mean '{near}'?" if near else ""
        what = f"no such format is written: '{name}'{hint}"
        raise UsageError(what, where="--to", expected=", ".join(sorted(known)))
    return known[name]
