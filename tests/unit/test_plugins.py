"""Plugins by file name, the line file that names them, and the quiet start of a runtime."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import edge.sinks
from qc.errors import FaultError, RecipeError, UsageError
from qc.linefile import read_line
from qc.plugins import names, resolve
from qc.quiet import quiet_stderr

ROOT = Path(__file__).parents[2]

LINE = """
bundle = "../m.tflite"
journal = "out/line.journal"
deadline_ms = 250

[source]
kind = "folder"
path = "parts"
pattern = "*.png"

[queue]
policy = "latest"
size = 3

[[sinks]]
kind = "csv_file"
path = "/var/t.csv"

[[sinks]]
kind = "folder"
path = "flagged"
"""


# plugins


def test_names_are_the_files() -> None:
    assert {"folder", "camera", "rtsp"} <= {*names("source")}
    assert names("predictor") == ["litert"]
    assert names("sink") == ["csv_file", "folder", "mqtt", "webhook"]


def test_a_name_is_its_module() -> None:
    assert resolve("sink", "csv_file").__name__ == "edge.sinks.csv_file"
    assert resolve("source", "folder").Source.is_live is False


def test_an_unknown_name_suggests_the_nearest() -> None:
    with pytest.raises(UsageError, match=r"unknown sink 'csv', did you mean 'csv_file'.*folder"):
        resolve("sink", "csv")
    for name in ("", "os", "__init__", "..line", "folder.Sink"):
        with pytest.raises(UsageError, match="unknown sink"):
            resolve("sink", name)


@pytest.fixture
def more_sinks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A second folder that holds sinks, beside the real one."""
    monkeypatch.setattr(edge.sinks, "__path__", [*edge.sinks.__path__, str(tmp_path)])
    spec = edge.sinks.__spec__
    assert spec is not None
    monkeypatch.setattr(spec, "submodule_search_locations", list(edge.sinks.__path__))
    return tmp_path


def test_one_new_file_is_a_new_plugin(more_sinks: Path) -> None:
    (more_sinks / "siren.py").write_text("LOUD = 11\n")
    (more_sinks / "_shared.py").write_text("raise SystemExit\n")
    (more_sinks / "broken.py").write_text("raise SystemExit\n")
    assert {"broken", "csv_file", "folder", "siren"} <= {*names("sink")}
    assert "_shared" not in names("sink")
    assert resolve("sink", "siren").LOUD == 11


def test_a_package_that_is_missing_is_named(more_sinks: Path) -> None:
    (more_sinks / "bus.py").write_text("import no_such_fieldbus\n")
    with pytest.raises(FaultError, match=r"sink 'bus' needs a package.*expected no_such_fieldbus"):
        resolve("sink", "bus")


def test_asking_for_names_imports_no_plugin() -> None:
    code = (
        "import sys, qc.plugins as p; p.names('block'); p.names('backbone'); p.names('sink'); "
        "print([m for m in sys.modules if m.startswith(('training.b', 'edge.sinks.', 'keras'))])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    loaded = done.stdout.strip()
    assert loaded in ("[]", "['training.blocks', 'training.backbones']")


# the line file


def test_a_line_file_is_read_and_its_paths_resolved(tmp_path: Path) -> None:
    path = tmp_path / "lines" / "a.toml"
    path.parent.mkdir()
    path.write_text(LINE)
    line = read_line(path)
    assert line.bundle.resolve() == tmp_path / "m.tflite"
    assert line.journal == tmp_path / "lines" / "out" / "line.journal"
    (source,) = line.source
    assert source.arguments["path"] == tmp_path / "lines" / "parts"
    assert source.arguments["pattern"] == "*.png"
    assert (line.queue.policy, line.queue.size, line.deadline_ms) == ("latest", 3, 250)
    assert [(s.kind, s.arguments["path"]) for s in line.sinks] == [
        ("csv_file", Path("/var/t.csv")),
        ("folder", tmp_path / "lines" / "flagged"),
    ]


def test_what_is_not_named_has_its_default(tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    path.write_text('bundle = "m"\njournal = "j"\n[source]\nkind = "folder"\npath = "."\n')
    line = read_line(path)
    assert (line.queue.policy, line.queue.size) == ("wait", 8)
    assert line.sinks == () and line.deadline_ms is None
    assert line.source[0].arguments["pattern"] == "*"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("journal =", "jurnal =", "unknown key 'jurnal', did you mean 'journal'"),
        ('policy = "latest"', 'polcy = "latest"', "'queue.polcy', did you mean 'policy'"),
        ('"latest"', '"newest"', "queue.policy"),
        ("size = 3", "size = 0", "queue.size"),
        ("deadline_ms = 250", "deadline_ms = 0", "deadline_ms"),
        ('kind = "csv_file"', 'kind = "csv"', "sinks.0.kind': .*did you mean 'csv_file'"),
        ('"parts"', "7", "source.path"),
        ('[source]\nkind = "folder"', '[source]\nkind = "flder"', "source.kind': .*'folder'"),
        ("[source]", "[source", "not TOML"),
    ],
)
def test_a_mistake_names_file_and_key(tmp_path: Path, old: str, new: str, said: str) -> None:
    path = tmp_path / "a.toml"
    assert old in LINE
    path.write_text(LINE.replace(old, new, 1))
    with pytest.raises(RecipeError, match=rf"a\.toml: .*{said}") as caught:
        read_line(path)
    assert caught.value.exit_code == 2


# quiet


def test_native_chatter_is_hidden_and_kept(capfd: pytest.CaptureFixture[str]) -> None:
    with quiet_stderr() as printed:
        os.write(2, b"INFO: delegate\n")
        print("python too", file=sys.__stderr__, flush=True)
    os.write(2, b"after\n")
    assert "INFO: delegate" in printed.text
    assert capfd.readouterr().err == "after\n"


def test_stderr_comes_back_after_an_exception(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match="boom"), quiet_stderr() as printed:
        os.write(2, b"why it failed\n")
        raise ValueError("boom")
    os.write(2, b"after\n")
    assert printed.text == "why it failed\n" and capfd.readouterr().err == "after\n"


def test_not_enabled_hides_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    with quiet_stderr(enabled=False) as printed:
        os.write(2, b"seen\n")
    assert printed.text == "" and capfd.readouterr().err == "seen\n"


def test_no_descriptor_is_leaked() -> None:
    if not Path("/proc/self/fd").exists():
        pytest.skip("this system does not list its descriptors")
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(20):
        with quiet_stderr():
            pass
    assert len(list(Path("/proc/self/fd").iterdir())) == before
