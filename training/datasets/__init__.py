"""Dataset layouts: each module here with `detect(path)` and `samples(path)` is one layout.

A layout is found by scanning this package, so a new one is one more file and nothing is registered.
It may have more: `scan(path)` gives the samples together with everything wrong in them, so that an
audit goes on past a bad file; and `Options`, a pydantic model of what the layout can be told, such
as the columns of a table, which `samples` and `scan` then take as their second argument.
"""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import Any, Protocol

from qc.errors import DataError, UsageError, nearest, printable
from qc.folders import lying, walk
from qc.tables import read_table
from qc.types import Sample
from training.datasets._annotated import HIDDEN


class Layout(Protocol):
    """What a module of this package provides to be a dataset layout."""

    def detect(self, path: Path) -> bool:
        """Whether the dataset at `path` has this layout; never raises on a readable path."""
        ...

    def samples(self, path: Path) -> Iterator[Sample]:
        """The samples in a fixed order; raises DataError where the dataset is wrong."""
        ...


@dataclass(frozen=True)
class Reading:
    """What reading a dataset brought, past everything that is wrong in it.

    Args:
        format: the layout's name.
        samples: those that could be made; maybe none.
        errors: `{"path", "why"}` of each wrong annotation; path is the sample id where the image
            is known.
        fatal: those of the errors for which training refuses the dataset.
        without_picture: reviewed parts whose picture was never kept, or is removed by the rules of
            its line; they are no sample, and no error.
    """

    format: str
    samples: list[Sample]
    errors: list[dict[str, str]]
    fatal: list[DataError]
    without_picture: int = 0

    @property
    def left_out(self) -> str:
        """What is no sample and no error, in words; empty where that is nothing."""
        n = self.without_picture
        return f"{n} reviewed part(s) without a kept picture are left out" if n else ""

    def usable(self, where: Path | str) -> list[Sample]:
        """The samples of a dataset that can be trained with.

        Args:
            where: the dataset, for the error.

        Raises:
            DataError: the first fatal error, or there is no sample.
        """
        if self.fatal:
            raise self.fatal[0]
        if not self.samples:
            what = f"dataset holds no image (read as {self.format})"
            raise DataError(what, where=where, found=self.left_out or None)
        return self.samples


def layouts() -> dict[str, Layout]:
    """Every layout by its name, which is its module's name."""
    found: dict[str, Layout] = {}
    for info in iter_modules(__path__):
        module = import_module(f"{__name__}.{info.name}")
        if hasattr(module, "detect") and hasattr(module, "samples"):
            found[info.name] = module
    return found


def load_samples(
    path: Path | str, format: str | None = None, options: Mapping[str, Any] | None = None
) -> tuple[str, list[Sample]]:
    """Read a dataset: the name of its layout, and its samples.

    Args:
        path: the dataset's folder or file.
        format: the layout's name, or None to find it out.
        options: what the layout is told, by the names of its `Options`.

    Raises:
        DataError: nothing there, no layout or several fit, an unknown name, or a wrong dataset.
        RecipeError: an option that is not legal.
        UsageError: options for a layout that has none.
    """
    reading = read_dataset(path, format, options)
    return reading.format, reading.usable(path)


def read_dataset(
    path: Path | str, format: str | None = None, options: Mapping[str, Any] | None = None
) -> Reading:
    """Read a dataset past what is wrong in it, for an audit; as `load_samples` otherwise.

    Raises:
        DataError, RecipeError, UsageError: as `load_samples`, where nothing can be read at all.
    """
    root = Path(path)
    try:
        return _read(root, format, options)
    except OSError as error:
        where = error.filename or root
        raise DataError(f"dataset cannot be read ({error.strerror})", where=where) from error


def _read(root: Path, format: str | None, options: Mapping[str, Any] | None) -> Reading:
    if not root.exists():
        raise DataError("dataset does not exist", where=root)
    errors, fatal = _wrong_entries(root)
    without_picture = 0
    known = layouts()
    name = _detected(root, known) if format is None else _named(format, known, root)
    module: Any = known[name]
    told = _told(name, module, options or {})
    if hasattr(module, "scan"):
        scan = module.scan(root, *told)
        scan.group()
        samples = list(scan.samples)
        errors += scan.as_rows()
        fatal += scan.fatal
        without_picture = scan.without_picture
    else:
        samples = list(module.samples(root, *told))
    for sample in filter(_is_unwritable, samples):
        what = "a name that is not UTF-8: rename it, no table or page can hold it"
        fatal.append(DataError(what, where=sample.image_path, found=sample.sample_id))
        errors.append({"path": printable(sample.sample_id), "why": str(fatal[-1])})
    samples = [sample for sample in samples if not _is_unwritable(sample)]
    for error in _by_case_only(samples, root):
        errors.append({"path": ".", "why": str(error)})
        fatal.append(error)
    twice = [k for k, n in Counter(s.sample_id for s in samples).items() if n > 1]
    if twice:
        raise DataError("sample ids occur twice", where=root, found=", ".join(twice[:5]))
    return Reading(name, samples, errors, fatal, without_picture)


def _wrong_entries(root: Path) -> tuple[list[dict[str, str]], list[DataError]]:
    """Rows and errors of what no layout reads, and what must not be left out silently."""
    if not root.is_dir():
        return [], []
    found = walk(root, HIDDEN)
    fatal = found.loops + found.others
    rows = [{"path": os.path.relpath(e.where, printable(str(root))), "why": str(e)} for e in fatal]
    return rows, fatal


def _is_unwritable(sample: Sample) -> bool:
    texts = [sample.sample_id, sample.group, *sample.labels]
    return any(printable(text) != text for text in texts)


def _told(name: str, module: Any, options: Mapping[str, Any]) -> tuple[Any, ...]:
    """The layout's options, checked; nothing for a layout that has none."""
    if hasattr(module, "Options"):
        return (read_table(options, module.Options, f"options of {name}"),)
    if options:
        found = ", ".join(options)
        raise UsageError("this layout takes no options", where=name, found=found)
    return ()


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
        found=lying(root)[0],
    )


def _by_case_only(samples: Sequence[Sample], root: Path) -> list[DataError]:
    """Classes whose names are the same but for the case of their letters: one typed in two ways."""
    spellings: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for sample in samples:
        for label in sample.labels:
            spellings[label.casefold()][label] += 1
    what = "classes differ by the case of their letters only"
    return [
        DataError(
            what,
            where=root,
            expected="one name for one class",
            found=", ".join(f"{name} ({n} images)" for name, n in sorted(images.items())),
        )
        for images in spellings.values()
        if len(images) > 1
    ]
