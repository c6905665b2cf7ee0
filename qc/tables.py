"""The strict reader of every TOML file: a table that forbids unknown keys, and errors that help.

A key that is not known is an error that names the file, the key and the nearest legal key. A value
is never substituted.
"""

from __future__ import annotations

import re
import reprlib
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, ValidationError

from qc.errors import RecipeError, nearest

M = TypeVar("M", bound=BaseModel)

MAX_BYTES = 256 * 1024
"""A file that a person wrote is shorter; more of any file is not read."""

_DEEP_KEY = re.compile(r"""(?<![\w"'-])(?:[\w"'-]++[ \t]*+\.[ \t]*+){50}""")
"""The parser takes a time that grows with the square of the parts of a key."""


class Table(BaseModel):
    """One table of a TOML file: frozen, and an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class _Short(reprlib.Repr):
    """A value in a few words, whatever it is."""

    def __init__(self) -> None:
        super().__init__()
        self.maxstring = self.maxother = self.maxlong = 200
        self.maxlist = self.maxtuple = self.maxdict = 20

    def repr_int(self, x: int, level: int) -> str:
        return super().repr_int(x, level) if abs(x) < 10**200 else "a number of over 200 digits"


_SHORT = _Short()


def read_toml(path: Path, model: type[M]) -> M:
    """Read a TOML file into a pydantic model that forbids unknown keys.

    Raises:
        RecipeError: not readable, too long, not TOML, an unknown key (the nearest legal one is
            named), or a value that is not legal; all of them are listed.
    """
    try:
        with path.open("rb") as stream:
            data = stream.read(MAX_BYTES + 1)
    except OSError as error:
        raise RecipeError("the file cannot be read", where=path, found=error.strerror) from error
    if len(data) > MAX_BYTES:
        expected = f"at most {MAX_BYTES} bytes"
        raise RecipeError("the file is too long", where=path, expected=expected, found="more")
    try:
        text = data.decode()
        if _DEEP_KEY.search(text):
            raise RecipeError("the file has a key of more than 50 parts", where=path)
        raw = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # a number of 5000 digits is a ValueError
        raise RecipeError(f"the file is not TOML ({error})", where=path) from error
    return read_table(raw, model, path)


def read_table(raw: Mapping[str, Any], model: type[M], where: object, prefix: str = "") -> M:
    """Check values against a pydantic model that forbids unknown keys.

    Args:
        raw: the values.
        model: what they become.
        where: the name that an error carries.
        prefix: where in the file the values stand, as "sinks.0.".

    Raises:
        RecipeError: an unknown key (the nearest legal one is named), or a value that is not legal;
            all of them are listed.
    """
    try:
        return model.model_validate(raw)
    except ValidationError as error:
        lines = [_line(model, dict(e), prefix) for e in error.errors()]
        raise RecipeError("; ".join(lines), where=where) from error


def _line(model: type[BaseModel], error: dict[str, Any], prefix: str) -> str:
    keys = [str(k) for k in error["loc"]]
    if not keys and "error" in error.get("ctx", {}):  # of the whole file: it names its keys itself
        return str(error["ctx"]["error"])
    key = prefix + ".".join(keys) if keys else prefix.rstrip(".") or "the file"
    if error["type"] == "extra_forbidden":
        near = nearest(keys[-1], _legal(model, keys[:-1]))
        return f"unknown key '{key}'" + (f", did you mean '{near}'?" if near else "")
    if error["type"] == "missing":
        return f"key '{key}' is missing"
    return f"key '{key}': {error['msg']}, found {_SHORT.repr(error['input'])}"


def _legal(model: type[BaseModel], keys: list[str]) -> list[str]:
    """The names legal in the table that `keys` lead to; a number leads into a list of tables."""
    for key in keys:
        found = model.model_fields[key].annotation if key in model.model_fields else None
        for kind in (found, *get_args(found)):
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                model = kind
    return list(model.model_fields)
