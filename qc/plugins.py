"""Plugins by file name: `resolve("block", "eca")` is the module `training.blocks.eca`.

There is nothing to register. Names are found by listing the folder, so asking for them imports no
plugin, and `qc` gets no static import of the packages that hold them.
"""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
from types import ModuleType
from typing import Literal

from qc.errors import FaultError, UsageError, nearest

Kind = Literal["block", "backbone", "pooling", "source", "trigger", "sink", "predictor"]

_PACKAGES: dict[Kind, str] = {
    "block": "training.blocks",
    "backbone": "training.backbones",
    "pooling": "training.poolings",
    "source": "edge.sources",
    "trigger": "edge.triggers",
    "sink": "edge.sinks",
    "predictor": "edge.predictors",
}


def names(kind: Kind) -> list[str]:
    """The plugins there are of one kind, sorted; modules that begin with `_` are none."""
    spec = importlib.util.find_spec(_PACKAGES[kind])
    folders = [] if spec is None else list(spec.submodule_search_locations or [])
    return sorted(m.name for m in pkgutil.iter_modules(folders) if not m.name.startswith("_"))


def resolve(kind: Kind, name: str) -> ModuleType:
    """Import one plugin.

    Args:
        kind: block, backbone, pooling, source, trigger, sink or predictor.
        name: its file name without `.py`.

    Raises:
        UsageError: there is none of this name; the nearest legal name is suggested.
        FaultError: it needs a package that is not installed.
    """
    legal = names(kind)
    if name not in legal:
        near = nearest(name, legal)
        raise UsageError(
            f"unknown {kind} '{name}'" + (f", did you mean '{near}'?" if near else ""),
            expected=f"one of {', '.join(legal) or 'none'}",
            found=repr(name),
        )
    module = f"{_PACKAGES[kind]}.{name}"
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise FaultError(
            f"{kind} '{name}' needs a package that is not installed",
            where=module,
            expected=error.name,
            found="nothing",
        ) from error
