"""The label file of a foreign model: its classes, one a line, in the order of the outputs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from qc.errors import DataError, RecipeError, nearest


def read_labels(path: Path, outputs: int) -> tuple[str, ...]:
    """Read a label file.

    Args:
        path: the file.
        outputs: scores that the model gives: as many as labels, or one less: the good class has
            none then.

    Raises:
        DataError: not readable, a label empty or twice, or not as many as fit.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").rstrip().splitlines()
    except OSError as error:
        raise DataError("the labels cannot be read", where=path, found=error.strerror) from error
    except UnicodeDecodeError as error:
        raise DataError("the labels are not text (UTF-8)", where=path, found=error) from error
    labels = [line.strip() for line in lines]
    if not labels:
        raise DataError("the label file is empty", where=path, expected="a class on each line")
    for number, label in enumerate(labels, start=1):
        if not label or label in labels[: number - 1]:
            what = f"label {label!r} stands there twice" if label else "a label is empty"
            raise DataError(what, where=f"{path} line {number}", expected="each class once")
    legal = {outputs: "one for each output", outputs + 1: "where the good class is no output"}
    if len(labels) < 2 or len(labels) not in legal:
        raise DataError(
            "the labels do not fit the model",
            where=path,
            expected=", or ".join(f"{n}, {why}" for n, why in legal.items() if n >= 2),
            found=f"{len(labels)}: {', '.join(labels)[:200]}",
        )
    return tuple(labels)


def require_defects(key: str, given: Iterable[str], defects: Sequence[str], where: Path) -> None:
    """Refuse what a TOML says of a class that is no defect.

    Raises:
        RecipeError: names the nearest defect class.
    """
    for name in given:
        if name not in defects:
            near = nearest(name, defects)
            raise RecipeError(
                f"{key} names a class that is no defect"
                + (f", did you mean {near!r}?" if near else ""),
                where=where,
                expected=", ".join(defects),
                found=repr(name),
            )
