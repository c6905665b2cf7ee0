"""The line files that the project ships, and what its documentation says of their keys."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from qc.linefile import read_line
from qc.plugins import Kind, names, resolve

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "line.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", sorted(f.name for f in (ROOT / "data" / "lines").glob("*.toml")))
def test_a_line_file_that_is_shipped_is_legal(name: str) -> None:
    line = read_line(ROOT / "data" / "lines" / name)
    assert line.source and line.bundle.name.endswith(".tflite")


@pytest.mark.parametrize(
    ("kind", "name"), [(k, n) for k in ("source", "trigger") for n in names(k)]
)
def test_every_key_of_a_source_and_a_trigger_is_documented(kind: Kind, name: str) -> None:
    found = re.search(rf"^\| `{name}`[^|]*\|(.*)$", PAGE, re.MULTILINE)
    assert found is not None, f"docs/line.md does not name the {kind} {name}"
    told = set(re.findall(r"`(\w+)`", found[1]))
    legal = set(resolve(kind, name).Options.model_fields)
    assert legal <= told, f"{sorted(legal - told)} of {kind} {name} stand nowhere in docs/line.md"


@pytest.mark.parametrize("name", names("sink"))
def test_every_sink_is_documented(name: str) -> None:
    found = re.search(rf"^\| `{name}`.*$", PAGE.split("## Sinks")[1], re.MULTILINE)
    assert found is not None, f"docs/line.md does not name the sink {name}"
    told = set(re.findall(r"`(\w+)`", found[0])) - {name}
    assert told <= set(resolve("sink", name).Options.model_fields) | {"mqtt", "webhook"}
