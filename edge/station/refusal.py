"""A refusal that can be said in the language of whoever reads it.

Each names its string; its own text is the English one, for terminals and logs.
"""

from __future__ import annotations

from fastapi import HTTPException
from starlette.exceptions import HTTPException as AnyHTTPException

from edge.station.strings import STRINGS, Words
from qc.errors import DataError, QCError, UsageError, printable


class Refused(HTTPException):
    """An answer that is not 2xx.

    Args:
        status: of the answer.
        key: of the string that says why.
        **values: that the string names; a `role` is said in words.
    """

    def __init__(self, status: int, key: str, **values: object) -> None:
        super().__init__(status, _say(key, values, Words("en")))
        self.key, self.values = key, values


class SaidUsageError(UsageError):
    """What was asked for cannot be.

    Args:
        key: of the string that says why.
        where: the file it concerns.
        **values: that the string names.
    """

    def __init__(self, key: str, *, where: object = None, **values: object) -> None:
        super().__init__(_say(key, values, Words("en")), where=where)
        self.key, self.values = key, values


class SaidDataError(DataError):
    """What was asked for does not fit what is kept; arguments as of `SaidUsageError`."""

    def __init__(self, key: str, *, where: object = None, **values: object) -> None:
        super().__init__(_say(key, values, Words("en")), where=where)
        self.key, self.values = key, values


def in_words(error: AnyHTTPException | QCError, t: Words) -> str:
    """What an error says, in the reader's language where its words are known in both."""
    if isinstance(error, Refused | SaidUsageError | SaidDataError):
        return _say(error.key, error.values, t)
    return error.message if isinstance(error, QCError) else str(error.detail)


def _say(key: str, values: dict[str, object], t: Words) -> str:
    role = f"role.{values.get('role')}"
    if role in STRINGS:
        values = values | {"role": t(role)}
    return printable(t(key, **values))
