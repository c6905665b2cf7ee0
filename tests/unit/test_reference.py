"""The reference pages: those that are committed are those of the code, and leave nothing out."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
import typer
from pydantic import Field

from qc import reference
from qc.cli import app
from qc.plugins import Kind, names
from qc.reference_cli import commands, parameters, usage
from qc.reference_keys import Key, arguments_of, keys_of, meanings, prose, tables_of, toml
from qc.tables import Table

ROOT = Path(__file__).parents[2]
COMMITTED = ROOT / "docs" / "reference"


@pytest.fixture(scope="module")
def pages() -> dict[str, str]:
    return reference.pages()


@pytest.mark.parametrize("name", ["recipe.md", "line.md", "adopt.md", "cli.md"])
def test_a_committed_page_is_what_the_code_says(pages: dict[str, str], name: str) -> None:
    committed = (COMMITTED / name).read_text(encoding="utf-8")
    assert committed == pages[name], f"docs/reference/{name} is stale: run `make docs`"


def test_every_page_is_committed_and_no_other(pages: dict[str, str]) -> None:
    assert {file.name for file in COMMITTED.iterdir()} == set(pages)


def _rows_without_meaning(page: str) -> list[str]:
    found, head = [], ""
    for line in page.splitlines():
        cells = line.strip("|").split(" | ")
        if not line.startswith("|"):
            head = ""
        elif not head:
            head = cells[-1].strip()
        elif not line.startswith("| ---") and (head != "meaning" or not cells[-1].strip()):
            found.append(line)
    return found


@pytest.mark.parametrize("name", ["recipe.md", "line.md", "adopt.md", "cli.md"])
def test_every_key_and_option_has_a_meaning(pages: dict[str, str], name: str) -> None:
    assert _rows_without_meaning(pages[name]) == []


def test_the_rule_on_meanings_can_fail() -> None:
    good = "| key | meaning |\n| --- | --- |\n| `a` | b. |\n"
    assert _rows_without_meaning(good) == []
    assert _rows_without_meaning(good + "| `c` |  |\n") == ["| `c` |  |"]
    assert _rows_without_meaning("| key | type |\n| --- | --- |\n| `a` | text |") == [
        "| `a` | text |"
    ]


@pytest.mark.parametrize(
    ("kind", "page"),
    [
        *(("source", "line.md"), ("trigger", "line.md"), ("sink", "line.md")),
        *(("block", "recipe.md"), ("backbone", "recipe.md"), ("pooling", "recipe.md")),
    ],
)
def test_every_plugin_has_a_section(pages: dict[str, str], kind: Kind, page: str) -> None:
    there = re.findall(r"^### `(\w+)`$", pages[page], re.MULTILINE)
    assert names(kind) and set(names(kind)) <= set(there)


def test_no_page_has_a_tag_or_a_word_of_python(pages: dict[str, str]) -> None:
    for name, text in pages.items():
        plain = re.sub(r"`[^`]*`|<!--.*-->", "", text)
        assert not re.search(r"(?<!\\)<[A-Za-z/]", plain), name
        assert "None" not in plain, name


def _parsed() -> dict[str, Any]:
    """Every command of the real parser, by its full name."""
    found: dict[str, Any] = {}

    def walk(command: Any, name: str) -> None:
        if hasattr(command, "commands"):
            for verb, inner in command.commands.items():
                walk(inner, f"{name} {verb}")
        else:
            found[name] = command

    walk(typer.main.get_command(app), "qc")
    return found


def test_the_commands_and_their_options_are_those_of_the_parser() -> None:
    parsed = _parsed()
    ours = {name: function for name, _, function in commands(app)}
    assert ours.keys() == parsed.keys() and len(ours) > 20
    for name, function in ours.items():
        options = {n for p in parameters(function) if p.is_option for n in p.names}
        real = {
            n
            for p in parsed[name].params
            if p.param_type_name == "option"
            for n in (*p.opts, *p.secondary_opts)
        }
        assert options == real, name


def test_the_usage_shows_what_must_be_given() -> None:
    ours = {name: function for name, _, function in commands(app)}
    assert usage("qc adopt", ours["qc adopt"]) == "qc adopt MODEL --labels PATH [OPTIONS]"
    assert usage("qc inspect", ours["qc inspect"]) == "qc inspect BUNDLE PATHS... [OPTIONS]"


class Inner(Table):
    """`[inner]`: within."""

    a: int


class Base(Table):
    """What others share.

    Args:
        shared: of all.
    """

    shared: str = "x"


class Toy(Base):
    """A toy.

    More of it.

    Args:
        rate: a share,
            on two lines; None: any.
        low, high: two ends.
        word: one of three.

    Raises:
        ValueError: never: this is not a key.
    """

    rate: float | None = Field(default=None, ge=0, lt=1)
    low: int
    high: int = Field(default=3, gt=0)
    word: Literal["a", "b"] = "a"
    corners: tuple[tuple[float, float], ...] = Field(default=(), min_length=3)
    shares: tuple[int, int] = (1, 2)
    paths: list[Path] = Field(default_factory=list)
    by_name: dict[str, Annotated[float, Field(ge=0.5)]] = Field(default_factory=dict)
    inner: Inner = Inner(a=4)
    name: str = Field(default="n", pattern="^[a|b]$")


def test_the_keys_of_a_model_by_hand() -> None:
    keys = {key.name: key for key in keys_of(Toy)}
    assert keys["shared"] == Key("shared", "text", '"x"', "", "of all.")
    assert keys["rate"] == Key(
        "rate", "number", "none", ">= 0, < 1", "a share, on two lines; None: any."
    )
    assert keys["low"] == Key("low", "whole number", "required", "", "two ends.")
    assert keys["high"] == Key("high", "whole number", "3", "> 0", "two ends.")
    assert keys["word"] == Key("word", '`"a"` or `"b"`', '"a"', "", "one of three.")
    assert keys["corners"].type == "list of lists of 2 numbers"
    assert keys["corners"].range == "at least 3"
    assert (keys["shares"].type, keys["shares"].default) == ("list of 2 whole numbers", "[1, 2]")
    assert (keys["paths"].type, keys["paths"].default) == ("list of paths", "[]")
    assert keys["by_name"].type == "table of numbers by text"
    assert keys["by_name"].range == "each >= 0.5"
    assert (keys["inner"].type, keys["inner"].default) == ("table", "{a = 4}")
    assert (keys["name"].range, keys["name"].meaning) == ("`^[a|b]$`", "")
    assert list(tables_of(Toy)) == ["inner"]
    assert [k.name for k in keys_of(Toy, skip=("rate", "low"))][:2] == ["shared", "high"]


def test_a_meaning_may_stand_with_another_class() -> None:
    class Plugin:
        """A plugin.

        Args:
            a: of the plugin.
        """

    assert keys_of(Inner, of=[Plugin])[0].meaning == "of the plugin."


def test_a_type_without_words_is_an_error() -> None:
    class Odd(Table):
        a: bytes

    with pytest.raises(TypeError, match="no words for the type"):
        keys_of(Odd)


def test_the_arguments_of_a_constructor() -> None:
    class Layer:
        """A layer.

        Args:
            heads: side by side.
        """

        def __init__(self, heads: int = 4, relative: bool = False) -> None: ...

    first, second = arguments_of(Layer, ["heads", "relative"])
    assert first == Key("heads", "whole number", "4", "", "side by side.")
    assert (second.type, second.default, second.meaning) == ("`true` or `false`", "false", "")


def test_prose_and_meanings_of_a_docstring() -> None:
    assert prose(Toy.__doc__) == "A toy.\n\nMore of it."
    assert set(meanings(Toy.__doc__)) == {"rate", "low", "high", "word"}
    assert (prose(None), meanings(None)) == ("", {})


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "none"),
        (True, "true"),
        (0.5, "0.5"),
        ("ä", '"ä"'),
        ({"a": [1, "b"]}, '{a = [1, "b"]}'),
        (Path("a/b"), '"a/b"'),
        (Toy(low=1).inner, "{a = 4}"),
        (Base(), "its own defaults"),
    ],
)
def test_values_as_toml(value: object, text: str) -> None:
    assert toml(value) == text


def test_the_command_writes_the_pages(
    tmp_path: Path, pages: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reference, "pages", lambda: pages)
    assert reference.main([str(tmp_path)]) == 0
    assert {f.name: f.read_text(encoding="utf-8") for f in tmp_path.iterdir()} == pages


@pytest.mark.parametrize("words", [[], ["a", "b"], ["not there"]])
def test_the_command_wants_one_folder(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert reference.main(words) == 2
    assert "a folder that exists is expected" in capsys.readouterr().err
