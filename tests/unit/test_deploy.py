"""What docs/deploy ships: the container file fits the sources, the command line and the page.

That it builds and runs is tested by tests/e2e/test_container.py, where there is podman.
"""

from __future__ import annotations

import json
import re
import shlex
import tomllib
from pathlib import Path

import pytest
from packaging.specifiers import SpecifierSet
from typer.main import get_command

from qc.cli import app
from qc.linefile import HealthTable

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "docs" / "deploy"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def instructions() -> list[tuple[str, str]]:
    """Those of the container file, each on one line."""
    text = (DEPLOY / "Containerfile").read_text(encoding="utf-8")
    lines = re.sub(r"\\\n", " ", re.sub(r"^#.*\n", "", text, flags=re.MULTILINE)).splitlines()
    return [(words[0], words[2]) for line in lines if (words := line.partition(" "))[0]]


def of(name: str) -> list[str]:
    """What follows an instruction, each time it stands there."""
    return [rest for word, rest in instructions() if word == name]


def test_what_is_copied_is_there_and_all_packages_are_copied() -> None:
    copied = [w for rest in of("COPY") if "--from" not in rest for w in shlex.split(rest)[:-1]]
    assert [name for name in copied if not (ROOT / name).exists()] == []
    assert {p for p in ("qc", "training", "export", "edge") if (ROOT / p).is_dir()} <= set(copied)
    needed = {"pyproject.toml", "constraints.txt", PROJECT["readme"], *PROJECT["license-files"]}
    assert needed <= set(copied)


def test_it_installs_extras_that_there_are_on_a_python_that_will_do() -> None:
    (extras,) = re.findall(r"'\.\[([\w,-]+)\]'", " ".join(of("RUN")))
    assert set(extras.split(",")) <= set(PROJECT["optional-dependencies"])
    assert "train" not in extras and "all" not in extras
    bases = {rest.split()[0] for rest in of("FROM")}
    (python,) = [re.search(r"python:([\d.]+)", base) for base in bases]
    assert python is not None
    assert python[1] in SpecifierSet(PROJECT["requires-python"])


@pytest.mark.parametrize("command", [of("CMD")[-1]])
def test_its_command_is_one_of_the_command_line(command: str) -> None:
    assert json.loads(of("ENTRYPOINT")[0]) == ["qc"]
    name, *arguments = json.loads(command)
    found = get_command(app).commands[name]  # type: ignore[attr-defined]
    assert found.make_context(name, [*arguments]).params["line"] == Path(arguments[0])


def test_its_health_is_asked_where_the_page_is() -> None:
    port = HealthTable().port
    assert of("EXPOSE") == [str(port)]
    (health,) = of("HEALTHCHECK")
    command = json.loads(health.partition("CMD ")[2])
    assert command[0] == "python" and f"http://127.0.0.1:{port}/health" in command[2]
    compile(command[2], "HEALTHCHECK", "exec")


def test_the_page_says_what_podman_needs_for_it() -> None:
    page = (DEPLOY / "README.md").read_text(encoding="utf-8")
    builds = re.findall(r"^podman build .*$", page, re.MULTILINE)
    assert builds and all("--format docker" in build for build in builds)
