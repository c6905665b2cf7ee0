"""The reference pages in docs/reference, written from the models and parsers themselves.

`python -m qc.reference DIR` writes them; `make docs` does so for docs/reference, and a test fails
where the files there are not these. Plugins are found by their folders, so a new one stands in the
reference as soon as its file is there.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from qc import linefile, recipe
from qc.cli import app
from qc.console import load
from qc.markdown import cell, code, grid, joined, plain
from qc.plugins import Kind, names, resolve
from qc.reference_cli import INTRO, commands, parameters, usage
from qc.reference_keys import Key, arguments_of, keys_of, prose, sections, tables_of

_GENERATED = "<!-- Written by `make docs`; change the code that it names, not this page. -->\n"

_RECIPE = """\
# The recipe

One experiment, one TOML file, read by `qc train` and `qc data preview`. Paths are relative to it.
An unknown key is an error that names the file, the key and the nearest legal one. The
[guide](../guide.md#train) says which keys matter first.
"""

_LINE = """\
# The line file

One line, one TOML file, read by `qc run`. Paths are relative to it. An unknown key is an error that
names the file, the key and the nearest legal one. [The line](../line.md) says what is behind the
keys.
"""


def pages() -> dict[str, str]:
    """Every page by its file name; needs the extra `all`, since plugins are imported."""
    found = {
        "recipe.md": recipe_page(),
        "line.md": line_page(),
        "adopt.md": adopt_page(),
        "cli.md": cli_page(),
    }
    return {name: _GENERATED + text for name, text in found.items()}


def recipe_page() -> str:
    """The recipe, and what layouts, backbones, blocks and poolings can be told."""
    parts = [
        _RECIPE,
        "## Top of the file",
        table(keys_of(recipe.Recipe, skip=_tables(recipe.Recipe))),
    ]
    parts += _tables_in(recipe.Recipe)
    parts += ["## Layouts: `data.format` and `[data.options]`", _LAYOUTS]
    for name, module in load("all", "training.datasets:layouts")().items():
        parts += [f"### `{name}`", _text(module.__doc__)]
        options: type[BaseModel] | None = getattr(module, "Options", None)
        parts += [_NONE if options is None else table(keys_of(options))]
    parts += ["## Backbones: `model.backbone`"]
    for name in names("backbone"):
        parts += [f"### `{name}`", _text(resolve("backbone", name).__doc__)]
    parts += ["## Attention blocks: `model.block` and `model.block_options`"]
    parts += _layers("block", "Block")
    parts += ["## Poolings: `model.pooling` and `model.pooling_options`"]
    parts += _layers("pooling", "Pooling")
    return joined(parts)


def line_page() -> str:
    """The line file, and what sources, triggers and sinks can be told."""
    lines = linefile.LineFile
    parts = [_LINE, "## Top of the file", table(keys_of(lines, skip=_tables(lines)))]
    named: tuple[tuple[str, type[BaseModel]], ...] = (
        ("`[source]`, or `[[source]]` for each of several", linefile.SourceTable),
        ("`[[sinks]]`", linefile.SinkTable),
    )
    for title, model in named:
        parts += [f"## {title}", _about(model), table(keys_of(model, skip=("options",)))]
    for name in ("queue", "actions", "keep", "health"):
        own = tables_of(lines)[name]
        parts += [f"## `[{name}]`", _about(own), table(keys_of(own))]
    plugins: tuple[tuple[str, Kind, str], ...] = (
        ("Sources: `source.kind`", "source", "Source"),
        ("Triggers: `source.trigger.kind`", "trigger", "Trigger"),
        ("Sinks: `sinks.kind`", "sink", "Sink"),
    )
    for title, kind, class_name in plugins:
        parts += [f"## {title}", *_edge(kind, class_name)]
    return joined(parts)


def adopt_page() -> str:
    """What is said of a model made elsewhere."""
    adopt: type[BaseModel] = load("all", "export.adopt_table:AdoptTable")  # type: ignore[assignment]
    inner = tables_of(adopt)
    parts = [_ADOPT, "## Top of the file", table(keys_of(adopt))]
    for title, name in (("`normalise`", "normalise"), ("`[thresholds]`", "thresholds")):
        parts += [f"## {title}", _about(inner[name]), table(keys_of(inner[name]))]
    return joined(parts)


def cli_page() -> str:
    """Every command."""
    parts = [INTRO, _COMMON]
    for name, help, function in commands(app):
        shown = [p for p in parameters(function) if p.names[0] not in ("--json", "--verbose")]
        parts += [f"## `{name}`", _plain(help), f"`{usage(name, function)}`"]
        rows = [
            (code(*p.names), _cell(p.takes), _default(p.default), _cell(p.meaning)) for p in shown
        ]
        parts += [grid(("argument or option", "takes", "default", "meaning"), rows)] if rows else []
    return joined(parts)


_ADOPT = """\
# The TOML of `qc adopt`

What a model made elsewhere does not say itself: `qc adopt MODEL --labels FILE --manifest TOML`.
Paths are relative to it. `[data]` and `[decision]` are those of [a recipe](recipe.md). The
[how-to](../howto/adopt.md) shows one.
"""

_LAYOUTS = """\
How images and labels may lie in `data.path`; also `--format` and `--option KEY=VALUE` on the
command line, where a list is written with commas."""

_NONE = "It has no options."
_NONE_WORD = re.compile(r"\bNone\b")

_COMMON = """\
Each command also takes `--json` (print one JSON object on stdout), `--verbose` or `-v` (let the
libraries talk) and `--help`. `qc --version` says the version."""


def _tables(model: type[BaseModel]) -> list[str]:
    return list(tables_of(model))


def _tables_in(model: type[BaseModel], before: str = "") -> list[str]:
    """Heading, prose and keys of each table of a model, to any depth."""
    parts = []
    for name, kind in tables_of(model).items():
        full = f"{before}{name}"
        parts += [f"## `[{full}]`", _about(kind), table(keys_of(kind, skip=_tables(kind)))]
        parts += _tables_in(kind, f"{full}.")
    return parts


def _about(model: type[BaseModel]) -> str:
    """The prose of a table's docstring, without the name of the table that it begins with."""
    text = _text(model.__doc__)
    _, colon, rest = text.partition(": ")
    return rest[:1].upper() + rest[1:] if colon and text.startswith("`") else text


def _edge(kind: Kind, class_name: str) -> list[str]:
    parts = []
    for name in names(kind):
        module = resolve(kind, name)
        plugin = getattr(module, class_name)
        rows = table(keys_of(module.Options, of=[plugin]))
        more = prose(plugin.__doc__)
        if kind == "source":  # its first paragraph says that the class gives frames
            more = more.partition("\n\n")[2]
        parts += [f"### `{name}`", _text(module.__doc__), _plain(more), rows]
    return parts


def _layers(kind: Kind, attribute: str) -> list[str]:
    legal_options = load("all", "training.options:legal_options")
    parts = []
    for name in names(kind):
        module = resolve(kind, name)
        layer = getattr(module, attribute)
        legal = legal_options(layer)
        parts += [f"### `{name}`", _text(module.__doc__)]
        if kind == "pooling" or layer.__module__ != module.__name__:
            parts.append(_text(layer.__doc__))
        parts.append(table(arguments_of(layer, legal)))
        parts += [f"Refused: {_plain(why)}" for why in _refused(layer) if legal]
    return parts


def _refused(layer: type[Any]) -> list[str]:
    """What the nearest docstring that says so calls a wrong value."""
    for kind in layer.__mro__:
        lines = sections(kind.__doc__).get("Raises", [])
        if lines:
            return [" ".join(line.strip() for line in lines if line.strip()).split(": ", 1)[1]]
    return []


def table(keys: Sequence[Key]) -> str:
    """Keys as a table of Markdown."""
    if not keys:
        return _NONE
    rows = [
        (code(k.name), _cell(k.type), _default(k.default), _cell(k.range), _cell(k.meaning))
        for k in keys
    ]
    return grid(("key", "type", "default", "range", "meaning"), rows)


def _text(doc: str | None) -> str:
    """The prose of a docstring as Markdown."""
    return _plain(prose(doc))


def _plain(text: str) -> str:
    """Text for a reader of files, in which None is a key that is left out."""
    pieces = text.split("`")  # every other one is code
    pieces[::2] = [_NONE_WORD.sub("left out", piece) for piece in pieces[::2]]
    return plain("`".join(pieces))


def _cell(text: str) -> str:
    return cell(_NONE_WORD.sub("left out", text))


def _default(text: str) -> str:
    words = ("required", "none", "its own defaults")
    return text if text in words else code(text)


def main(arguments: Sequence[str]) -> int:
    """Write the pages into a folder; 2 where the folder is not named or is none."""
    folder = Path(arguments[0]) if len(arguments) == 1 else None
    if folder is None or not folder.is_dir():
        sys.stderr.write("python -m qc.reference FOLDER: a folder that exists is expected\n")
        return 2
    for name, text in pages().items():
        (folder / name).write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
