"""Find a plugin by its kind and name: the file name is the key, so there is nothing to register."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from pkgutil import iter_modules
from types import ModuleType
from typing import Literal

from qc.errors import UsageError, nearest

Kind = Literal["block", "backbone", "source", "sink", "predictor"]

_PACKAGES: dict[Kind, str] = {
    "block": "training.blocks",
    "backbone": "training.backbones",
    "source": "edge.sources",
    "sink": "edge.sinks",
    "predictor": "edge.predictors",
}


def names(kind: Kind) -> list[str]:
    """Names of the plugins of a kind; none of them is imported."""
    spec = find_spec(_PACKAGES[kind])
    folders = [] if spec is None else list(spec.submodule_search_locations or [])
    return sorted(info.name for info in iter_modules(folders) if not info.name.startswith("_"))


def resolve(kind: Kind, name: str) -> ModuleType:
    """The module of a plugin.

    Raises:
        UsageError: there is none of that name; the nearest is named.
    """
    known = names(kind)
    if name not in known:
        near = nearest(name, known)
        raise UsageError(
            f"unknown {kind} '{name}'" + (f", did you mean '{near}'?" if near else ""),
            where=_PACKAGES[kind],
            expected=", ".join(known),
        )
    return import_module(f"{_PACKAGES[kind]}.{name}")
