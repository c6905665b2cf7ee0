"""The how-to pages: every layout, source, trigger and sink has its place there, and every snippet
is legal."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from qc.linefile import read_line
from qc.plugins import Kind, names
from qc.recipe import DataTable
from qc.tables import read_table
from training.datasets import layouts

HOWTO = Path(__file__).parents[2] / "docs" / "howto"
LAYOUTS = layouts()
LINE = {"bundle": 'bundle = "part.tflite"', "journal": 'journal = "line.db"'}
SOURCE = '[source]\nkind = "folder"\npath = "images"\n'
PLACES: list[tuple[Kind, str]] = [
    ("source", "sources-and-triggers.md"),
    ("trigger", "sources-and-triggers.md"),
    ("sink", "sinks.md"),
]


def _page(name: str) -> str:
    return (HOWTO / name).read_text(encoding="utf-8")


def _snippets(page: str) -> list[str]:
    return re.findall(r"^```toml\n(.*?)^```$", _page(page), re.DOTALL | re.MULTILINE)


def _whole(snippet: str) -> str:
    """A line file that has what the snippet leaves out."""
    given = tomllib.loads(snippet)
    head = "\n".join(text for key, text in LINE.items() if key not in given)
    return f"{head}\n{snippet}\n{'' if 'source' in given else SOURCE}"


def _kinds(snippets: list[str], table: str) -> set[str]:
    found: set[str] = set()
    for snippet in snippets:
        tables = tomllib.loads(snippet).get(table, [])
        found |= {one["kind"] for one in (tables if isinstance(tables, list) else [tables])}
    return found


@pytest.mark.parametrize("name", sorted(LAYOUTS))
def test_every_layout_has_a_section_with_its_tree_and_a_recipe(name: str) -> None:
    found = re.search(rf"^## {name}\n(.*?)^## ", _page("layouts.md"), re.DOTALL | re.MULTILINE)
    assert found is not None, f"docs/howto/layouts.md has no section '{name}'"
    assert re.search(r"^```\n", found[1], re.MULTILINE), "no tree"
    assert f'format = "{name}"' in found[1], "no recipe"


@pytest.mark.parametrize("snippet", _snippets("layouts.md"))
def test_every_recipe_of_the_layouts_is_legal(snippet: str) -> None:
    told = tomllib.loads(snippet)["data"]
    data = DataTable.model_validate(told)
    layout: Any = LAYOUTS[data.format or ""]
    if data.options:
        read_table(data.options, layout.Options, "docs/howto/layouts.md")


@pytest.mark.parametrize(
    ("page", "name"), [(page, name) for kind, page in PLACES for name in names(kind)]
)
def test_every_source_trigger_and_sink_is_explained(page: str, name: str) -> None:
    assert re.search(rf"^\*\*`{name}`[.*]", _page(page), re.MULTILINE), (
        f"no paragraph of docs/howto/{page} begins with **`{name}`"
    )


@pytest.mark.parametrize(
    ("page", "number"),
    [(p, n) for p in dict(PLACES[1:]).values() for n in range(len(_snippets(p)))],
)
def test_every_snippet_of_a_line_file_is_legal(page: str, number: int, tmp_path: Path) -> None:
    file = tmp_path / "line.toml"
    file.write_text(_whole(_snippets(page)[number]), encoding="utf-8")
    assert read_line(file).source


def test_every_source_and_sink_has_a_snippet() -> None:
    assert _kinds(_snippets("sources-and-triggers.md"), "source") == set(names("source"))
    assert _kinds(_snippets("sinks.md"), "sinks") == set(names("sink"))
    text = _page("sources-and-triggers.md")
    for name in set(names("trigger")) - {"every"}:
        assert f'trigger = {{ kind = "{name}"' in text, f"no snippet with the trigger {name}"
