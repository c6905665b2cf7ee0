"""Rules on the text of the tree: no file too long, no path of one machine in the product."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = ("qc", "training", "export", "edge", "tests", "data", "docs")
ENDINGS = {".py", ".md", ".toml", ".yml", ".yaml"}
MAX_LINES = 400

_MACHINE_PATH = re.compile(r"(?<![\w.~\-/])/(?:work|tmp|home|root|Users|mnt)/")


def _texts() -> list[Path]:
    """The project's texts: of the top folder, and of the known folders to any depth."""
    files = [*ROOT.iterdir(), *(f for top in FOLDERS for f in (ROOT / top).rglob("*"))]
    wanted = [f for f in files if f.suffix in ENDINGS or f.name == "Makefile"]
    return sorted(f for f in wanted if f.is_file())


def too_long(text: str) -> bool:
    """Whether a file has more lines than a reader can hold."""
    return len(text.splitlines()) > MAX_LINES


def machine_paths(text: str) -> list[int]:
    """Numbers of the lines that hold a path of one machine."""
    lines = enumerate(text.splitlines(), 1)
    return [number for number, line in lines if _MACHINE_PATH.search(line)]


def _name(file: Path) -> str:
    return file.relative_to(ROOT).as_posix()


def test_no_python_file_is_too_long() -> None:
    files = [f for f in _texts() if f.suffix == ".py"]
    assert len(files) > 10
    found = [_name(f) for f in files if too_long(f.read_text(encoding="utf-8"))]
    assert not found, f"more than {MAX_LINES} lines: {found}"


def test_every_text_is_utf_8_with_plain_line_ends() -> None:
    for file in _texts():
        data = file.read_bytes()
        data.decode("utf-8")  # raises with the place
        assert b"\r" not in data, f"{_name(file)} has carriage returns"


def test_no_module_of_the_product_holds_a_path_of_one_machine() -> None:
    files = [f for top in FOLDERS[:4] for f in sorted((ROOT / top).rglob("*.py"))]
    assert files
    found = [
        f"{_name(f)}:{line}" for f in files for line in machine_paths(f.read_text(encoding="utf-8"))
    ]
    assert not found, found


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("a = 1\nb = '/" + "work/x'", [2]),
        ("open('/" + "tmp/x')\n", [1]),
        ("see /" + "home/someone/", [1]),
        ("x / work / y, path/tmp/z, a/work/", []),
        ("https://example.org/tmp/x", []),
    ],
)
def test_the_rule_on_paths_can_fail(text: str, lines: list[int]) -> None:
    assert machine_paths(text) == lines


def test_the_rule_on_length_can_fail() -> None:
    assert not too_long("x\n" * MAX_LINES)
    assert too_long("x\n" * (MAX_LINES + 1))
