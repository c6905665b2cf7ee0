"""Keys of a TOML file as rows of a table, from the models that check them.

Type, default and range come from the fields; what a key means stands in the docstring of its model
under `Args`, or in that of the class that the model says it is of, and nowhere else.
"""

from __future__ import annotations

import inspect
import json
import re
import types
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

_SECTION = re.compile(r"^[A-Z][A-Za-z ]*:$")
_ENTRY = re.compile(r"^ {4}(\w+(?:, \w+)*): (.*)$")
_WORDS = {
    str: ("text", "texts"),
    int: ("whole number", "whole numbers"),
    float: ("number", "numbers"),
    bool: ("`true` or `false`", "`true` or `false`"),
    Path: ("path", "paths"),
    Any: ("any value", "any values"),
}
_BOUNDS = (("ge", ">= {}"), ("gt", "> {}"), ("le", "<= {}"), ("lt", "< {}"))


@dataclass(frozen=True, slots=True)
class Key:
    """One key of a table.

    Args:
        name: as it stands in the file.
        type: in the words of TOML.
        default: what holds where it is left out, or "required".
        range: what is allowed, or "".
        meaning: in a sentence, or "" where the docstring does not name it.
    """

    name: str
    type: str
    default: str
    range: str
    meaning: str


def sections(doc: str | None) -> dict[str, list[str]]:
    """The lines of a docstring by their section; those before the first one under ""."""
    found: dict[str, list[str]] = {"": []}
    name = ""
    for line in inspect.cleandoc(doc or "").splitlines():
        if _SECTION.match(line):
            name = line[:-1]
            found.setdefault(name, [])
        elif name and line and not line.startswith(" "):
            name = "after"
            found.setdefault(name, []).append(line)
        else:
            found[name].append(line)
    return found


def prose(doc: str | None) -> str:
    """A docstring without its sections."""
    return "\n".join(sections(doc)[""]).strip()


def meanings(doc: str | None) -> dict[str, str]:
    """What the section `Args` says, by name; names that share an entry share its text."""
    found: dict[str, list[str]] = {}
    text: list[str] = []
    for line in sections(doc).get("Args", []):
        entry = _ENTRY.match(line)
        if entry:
            text = [entry[2]]
            found |= dict.fromkeys(entry[1].split(", "), text)
        elif line.strip():
            text.append(line.strip())
    return {name: " ".join(lines) for name, lines in found.items()}


def keys_of(
    model: type[BaseModel], of: Sequence[type[Any]] = (), skip: Iterable[str] = ()
) -> list[Key]:
    """The keys of a model in their order.

    Args:
        model: checks the table.
        of: classes whose `Args` speak of the same names, where the model's own do not.
        skip: fields that are no keys.
    """
    told: dict[str, str] = {}
    for kind in (*of, *reversed(model.__mro__)):
        if kind is not BaseModel:
            told |= meanings(kind.__doc__)
    return [
        Key(
            name,
            type_words(field.annotation),
            _default(field),
            range_words(field.metadata, field.annotation),
            told.get(name, ""),
        )
        for name, field in model.model_fields.items()
        if name not in skip
    ]


def arguments_of(layer: type[Any], legal: Sequence[str]) -> list[Key]:
    """The same for the arguments of a constructor.

    Args:
        layer: the class.
        legal: the arguments that are keys.
    """
    told: dict[str, str] = {}
    for kind in reversed(layer.__mro__):
        if "__init__" in vars(kind) or kind is layer:
            told |= meanings(kind.__doc__)
    given = inspect.signature(layer.__init__, eval_str=True).parameters
    return [
        Key(
            name,
            type_words(given[name].annotation),
            toml(given[name].default),
            "",
            told.get(name, ""),
        )
        for name in legal
    ]


def tables_of(model: type[BaseModel]) -> dict[str, type[BaseModel]]:
    """The tables within a table, by their key."""
    found = {}
    for name, field in model.model_fields.items():
        for kind in _parts(field.annotation):
            if isinstance(kind, type) and issubclass(kind, BaseModel) and kind is not BaseModel:
                found[name] = kind
    return found


def _parts(annotation: Any) -> list[Any]:
    return [annotation, *(p for a in get_args(annotation) for p in _parts(a))]


def type_words(annotation: Any, plural: bool = False) -> str:
    """A type in the words of TOML."""
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return type_words(inner[0], plural)
    if origin is Literal:
        return " or ".join(f"`{toml(value)}`" for value in inner)
    if origin in (Union, types.UnionType):
        return " or ".join(type_words(a, plural) for a in inner if a is not type(None))
    if origin in (tuple, list):
        lists = "lists" if plural else "list"
        if origin is tuple and Ellipsis not in inner:
            return f"{lists} of {len(inner)} {type_words(inner[0], plural=True)}"
        return f"{lists} of {type_words(inner[0], plural=True)}"
    if origin is dict:
        return f"table of {type_words(inner[1], plural=True)} by {type_words(inner[0])}"
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return "tables" if plural else "table"
    try:
        return _WORDS[annotation][plural]
    except (KeyError, TypeError):
        raise TypeError(f"the reference has no words for the type {annotation!r}") from None


def range_words(metadata: Sequence[Any], annotation: Any = None) -> str:
    """What the constraints of a field allow, or ""."""
    words = []
    for key, form in _BOUNDS:
        words += [form.format(f"{getattr(m, key):g}") for m in metadata if hasattr(m, key)]
    for m in metadata:
        least, most = getattr(m, "min_length", None), getattr(m, "max_length", None)
        if least is not None:
            words.append("not empty" if least == 1 else f"at least {least}")
        if most is not None:
            words.append(f"at most {most}")
        if getattr(m, "pattern", None) is not None:
            words.append(f"`{m.pattern}`")
        if getattr(m, "allow_inf_nan", None) is False:
            words.append("finite")
    for part in _parts(annotation)[1:]:  # of what stands in a list or a table
        if get_origin(part) is Annotated:
            each = [m for a in get_args(part)[1:] for m in _constraints(a)]
            words += [f"each {w}" for w in [range_words(each)] if w]
    return ", ".join(words)


def _constraints(annotated: Any) -> list[Any]:
    return annotated.metadata if isinstance(annotated, FieldInfo) else [annotated]


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    return toml(field.get_default(call_default_factory=True, validated_data={}))


def toml(value: Any) -> str:
    """A value as TOML has it; "none" for what a file can only leave out."""
    if value is None:
        return "none"
    if isinstance(value, BaseModel):
        told = value.model_dump(exclude_unset=True)
        return toml(told) if told else "its own defaults"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{k} = {toml(v)}" for k, v in value.items()) + "}"
    if isinstance(value, tuple | list):
        return "[" + ", ".join(map(toml, value)) + "]"
    if isinstance(value, Path):
        return json.dumps(value.as_posix())
    if isinstance(value, bool | str):
        return json.dumps(value, ensure_ascii=False)
    return repr(value)
