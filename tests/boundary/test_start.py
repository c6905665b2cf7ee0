"""A start of the edge is waited for: what it does not need, it neither imports nor builds."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from qc import cli

ROOT = Path(__file__).parents[2]
UNUSED = {
    "asyncio",
    "concurrent.futures",
    "cryptography",
    "edge.occlusion",
    "edge.sources",
    "numpy.testing",
    "qc.card",
    "qc.tables",
    "rich._emoji_codes",
    "rich.progress",
    "rich.table",
    "sqlite3",
    "ssl",
    "tomllib",
}


def test_inspect_imports_nothing_that_it_does_not_need(tmp_path: Path) -> None:
    missing = tmp_path / ":warning:.tflite"
    # coverage would import libraries of its own
    env = {key: value for key, value in os.environ.items() if not key.startswith("COVERAGE_")}
    ran = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "qc.cli", "inspect", missing, missing],
        cwd=ROOT,
        env=env,
        capture_output=True,
        text=True,
        timeout=120,
    )
    lines = ran.stderr.splitlines()
    loaded = {s.rsplit("|", 1)[1].strip() for s in lines if s.startswith("import time:")}
    assert ran.returncode == 2 and {"numpy", "cv2", "edge.picture_files"} <= loaded
    assert loaded.isdisjoint(UNUSED), sorted(loaded & UNUSED)
    assert "numpy.linalg" in loaded  # dotted names are seen
    said = [s for s in lines if not s.startswith("import time:")]
    assert said[0].startswith(f"error {missing}: the bundle cannot be read"), said  # no emoji


@pytest.mark.parametrize(
    ("arguments", "commands", "groups"),
    [
        (["inspect", "--help"], ["inspect"], []),
        (["journal", "verify"], [], ["journal"]),
        ([], None, None),
        (["--version"], None, None),
        (["inspekt"], None, None),
    ],
)
def test_only_the_verb_that_is_named_is_built(
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    commands: list[str] | None,
    groups: list[str] | None,
) -> None:
    built: list[typer.Typer] = []
    monkeypatch.setattr(typer.Typer, "__call__", lambda app: built.append(app))
    monkeypatch.setattr(sys, "argv", ["qc", *arguments])
    cli.main()
    [app] = built
    if commands is None:
        assert app is cli.app
    else:
        assert [c.callback.__name__ for c in app.registered_commands if c.callback] == commands
        assert [g.name for g in app.registered_groups] == groups
        assert app.registered_callback is cli.app.registered_callback
    assert len(cli.app.registered_commands) > 10 and len(cli.app.registered_groups) == 5


def test_every_verb_is_found_by_its_name() -> None:
    command = typer.main.get_command(cli.app)
    assert isinstance(command, typer.core.TyperGroup)
    verbs = {cli._verb(info) for info in cli.app.registered_commands}
    assert verbs | {str(g.name) for g in cli.app.registered_groups} == set(command.commands)
