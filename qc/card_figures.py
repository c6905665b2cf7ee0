"""Figures of a split on a model card: of `qc evaluate --json`, or of a bundle's report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field

from qc.markdown import cell, grid

Interval = tuple[float, float]

UNKNOWN = "unknown"


class _Read(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class Localisation(_Read):
    """How the map finds the defects; see `qc.metrics.localisation`."""

    pointing: float | None = None
    pointing_chance: float | None = None
    aupro: float | None = None


class Calibration(_Read):
    """Expected calibration error."""

    ece: float | None = None


class OfClass(_Read):
    """One class against all others."""

    n: int
    auroc: float | None = None
    average_precision: float | None = None
    f1: float | None = None


class Figures(_Read):
    """Figures of a split; what is None was not measured.

    Args:
        n, groups: parts, and groups of them.
        classes: parts of each class.
        auroc, auroc_ci, average_precision: good against defect, with the 95 % interval.
        accuracy, macro_f1: of the classes.
        escape, escape_ci, overkill, overkill_ci, review: of the thresholds.
        localisation, calibration, per_class: as their classes say.
    """

    n: int = Field(ge=0)
    groups: int = Field(ge=0)
    classes: dict[str, int] = {}
    auroc: float | None = None
    auroc_ci: Interval | None = None
    average_precision: float | None = None
    accuracy: float | None = None
    macro_f1: float | None = None
    escape: float | None = None
    escape_ci: Interval | None = None
    overkill: float | None = None
    overkill_ci: Interval | None = None
    review: float | None = None
    localisation: Localisation = Localisation()
    calibration: Calibration = Calibration()
    per_class: dict[str, OfClass] = {}

    @property
    def ece(self) -> float | None:
        """Expected calibration error."""
        return self.calibration.ece

    @property
    def pointing(self) -> float | None:
        """Share of the defects at which the map points."""
        return self.localisation.pointing

    @property
    def pointing_chance(self) -> float | None:
        """Share of them that a random cell would touch."""
        return self.localisation.pointing_chance

    @property
    def aupro(self) -> float | None:
        """Per-region overlap of the map."""
        return self.localisation.aupro

    def in_order(self, names: Sequence[str]) -> Self:
        """The same with the classes in the order of `names`, and those that are not among them."""
        ordered = [*names, *(n for n in self.classes if n not in names)]
        classes = {n: self.classes[n] for n in ordered if n in self.classes}
        each = {n: self.per_class[n] for n in ordered if n in self.per_class}
        return self.model_copy(update={"classes": classes, "per_class": each})

    @property
    def parts(self) -> str:
        """How many parts there are, in words."""
        each = ", ".join(f"{name} {n}" for name, n in self.classes.items())
        return f"{self.n} parts in {self.groups} groups" + (f": {each}" if each else "")


def percent(value: float) -> str:
    """A share, to a tenth of a percent."""
    return f"{value:.1%}"


def figure_parts(found: Figures, exact: Figures | None = None) -> list[str]:
    """Tables of a split.

    Args:
        found: of the bundle.
        exact: the same parts by the float model, or None.
    """
    lines = [
        (name, _with(found, key, form), "" if exact is None else _with(exact, key, form))
        for name, key, form in (
            ("escape", "escape", ".1%"),
            ("overkill", "overkill", ".1%"),
            ("left to a person", "review", ".1%"),
            ("AUROC, good against defect", "auroc", ".3f"),
            ("average precision", "average_precision", ".3f"),
            ("accuracy", "accuracy", ".3f"),
            ("macro-F1", "macro_f1", ".3f"),
        )
    ]
    lines += [
        (
            name,
            _number(getattr(found, key), form),
            "" if exact is None else _number(getattr(exact, key), form),
        )
        for name, key, form in (
            ("calibration error (ECE)", "ece", ".3f"),
            ("the map points at the defect", "pointing", ".1%"),
            ("a random cell would", "pointing_chance", ".1%"),
            ("AUPRO of the map", "aupro", ".3f"),
        )
    ]
    said = f"{found.parts}. 95 % intervals in brackets; the AUROC's is over groups."
    parts = [cell(said), grid(("figure", "sealed model", "float model"), lines)]
    if found.per_class:
        head = ("class", "parts", "AUROC", "average precision", "F1")
        parts.append(grid(head, [_class_line(n, row) for n, row in found.per_class.items()]))
    return parts


def _class_line(name: str, row: OfClass) -> tuple[str, ...]:
    values = (row.auroc, row.average_precision, row.f1)
    return (cell(name), str(row.n), *(_number(value, ".3f") for value in values))


def _with(found: Figures, key: str, form: str) -> str:
    """A figure with its interval, where it has one."""
    value, interval = getattr(found, key), getattr(found, f"{key}_ci", None)
    text = _number(value, form)
    if value is None or interval is None:
        return text
    return f"{text} [{interval[0]:{form}}, {interval[1]:{form}}]"


def _number(value: float | None, form: str) -> str:
    return UNKNOWN if value is None else format(value, form)


def scheme_name(row: Mapping[str, Any]) -> str:
    """A candidate's scheme, with how much of it a mixed one leaves in float."""
    scheme = str(row.get("scheme", "unknown"))
    left = len(row.get("left_float") or ())
    return f"{scheme} ({left} float)" if left else scheme
