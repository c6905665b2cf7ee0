"""Secrets stand in environment variables; a line file names the variable and never the secret."""

from __future__ import annotations

import os

from qc.errors import UsageError


def secret(key: str, name: str) -> str | None:
    """The secret in an environment variable; None where none is named.

    Args:
        key: of the line file, for the error.
        name: of the environment variable; "" for none.

    Raises:
        UsageError: the variable is named and is not set, or empty.
    """
    if not name:
        return None
    value = os.environ.get(name)
    if not value:
        raise UsageError(
            f"key '{key}' names an environment variable that is not set",
            expected=f"a value in {name}",
            found="nothing" if value is None else "an empty one",
        )
    return value
