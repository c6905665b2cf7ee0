"""Errors a user can act on: what was wrong, what was expected, what was found, and where.

Each error carries the exit code of the command line: 2 for usage or bad input, 3 for a fault of the
machine (disk, runtime, camera). A failed quality gate is exit code 1.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from difflib import get_close_matches

_NO_CHARACTER = re.compile("[\ud800-\udfff]")


class QCError(Exception):
    """Base of every error this project raises on purpose.

    Args:
        message: what was wrong, in one sentence.
        where: the file, key or sample id it concerns.
        expected: what would have been right.
        found: what was there instead.
    """

    exit_code = 2
    kind = "error"

    def __init__(
        self,
        message: str,
        *,
        where: object = None,
        expected: object = None,
        found: object = None,
    ) -> None:
        parts = [message]
        if expected is not None:
            parts.append(f"expected {expected}")
        if found is not None:
            parts.append(f"found {found}")
        self.message = printable("; ".join(parts))
        self.where = "" if where is None else printable(str(where))
        super().__init__(f"{self.where}: {self.message}" if self.where else self.message)

    def as_json(self) -> dict[str, dict[str, str]]:
        """The `--json` form: `{"error": {"kind", "message", "where"}}`."""
        return {"error": {"kind": self.kind, "message": self.message, "where": self.where}}


class UsageError(QCError):
    """A command was called in a way that cannot work."""

    kind = "usage"


class RecipeError(QCError):
    """A recipe or line file is wrong."""

    kind = "recipe"


class DataError(QCError):
    """A dataset, image, mask or split is wrong."""

    kind = "data"


class StaleError(QCError):
    """What a decision was based on has changed since it was shown."""

    kind = "stale"


class BundleError(QCError):
    """A bundle is truncated, altered, of another version, or does not replay."""

    kind = "bundle"


class GateError(QCError):
    """A quality gate failed: the input is fine, the result is not good enough."""

    kind = "gate"
    exit_code = 1


class FaultError(QCError):
    """The machine could not do its job: disk, runtime, camera, journal."""

    kind = "fault"
    exit_code = 3


def printable(text: str) -> str:
    """Text that every file takes: a byte of a name that is not UTF-8 becomes `\\xff`."""
    return _NO_CHARACTER.sub(_in_words, text)


def _in_words(found: re.Match[str]) -> str:
    number = ord(found.group())
    is_byte = 0xDC80 <= number <= 0xDCFF  # PEP 383: how Python hands on a byte of a name
    return f"\\x{number - 0xDC00:02x}" if is_byte else f"\\u{number:04x}"


def nearest(name: str, legal: Iterable[str]) -> str | None:
    """The legal name closest to `name`, to be suggested and never substituted."""
    matches = get_close_matches(name, list(legal), n=1, cutoff=0.5)
    return matches[0] if matches else None
