"""Who may import whom, read from the source of every file: an import hidden in a function counts.

Relative imports count too, and `import_module("...")` and `__import__("...")` with a plain name; a
name that is put together at run time is not seen here.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("qc", "training", "export", "edge")
DEEP = ("keras", "tensorflow", "tf_keras")
LINE = ("edge.line", "edge.sources", "edge.predictors", "edge.sinks", "edge.triggers")

FORBIDDEN: list[tuple[str, tuple[str, ...]]] = [
    ("qc", ("training", "export", "edge", "albumentations", *DEEP)),
    ("edge", ("training", "export", "albumentations", *DEEP)),
    ("training", ("export", "edge")),
    ("export", ("edge.station",)),
    ("edge.station", LINE),
    ("edge.live", LINE),
    *((part, ("edge.station",)) for part in LINE),
]
"""What the modules of the first name may not import; a name stands for all that is in it."""

EDGE_MAY = {
    *("qc", "edge", "numpy", "cv2", "packaging", "pydantic", "pydantic_core", "typer", "rich"),
    *("ai_edge_litert", "tflite_runtime", "onnxruntime", "psutil"),
    *("fastapi", "starlette", "uvicorn", "jinja2", "markupsafe", "anyio", "prometheus_client"),
    *("serial", "paho", "asyncua", "pymodbus", "urllib3", "argon2", "cryptography"),
}
"""Outside the standard library, the edge may import these and nothing else."""


def _inside(name: str, package: str) -> bool:
    return name == package or name.startswith(package + ".")


def imports(source: str, module: str, is_package: bool = False) -> Iterator[tuple[int, str]]:
    """Line and full name of everything that the source of `module` imports."""
    here = module.split(".") if is_package else module.split(".")[:-1]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            start = here[: len(here) - node.level + 1] if node.level else []
            base = ".".join([*start, *([node.module] if node.module else [])])
            # `from a import b` may name the module a.b
            yield from ((node.lineno, f"{base}.{alias.name}") for alias in node.names)
        elif isinstance(node, ast.Call) and node.args:
            name = getattr(node.func, "attr", getattr(node.func, "id", ""))
            first = node.args[0]
            if name in ("import_module", "__import__") and isinstance(first, ast.Constant):
                yield node.lineno, str(first.value)


def offences(source: str, module: str, where: str, is_package: bool = False) -> list[str]:
    """`file:line module imports name`, for each import that the rules forbid."""
    found = []
    for line, name in imports(source, module, is_package):
        top = name.split(".")[0]
        wrong = any(
            _inside(module, owner) and any(_inside(name, b) for b in banned)
            for owner, banned in FORBIDDEN
        )
        foreign = _inside(module, "edge") and top not in EDGE_MAY | sys.stdlib_module_names
        if wrong or foreign:
            found.append(f"{where}:{line} {module} imports {name}")
    return found


def _files() -> list[Path]:
    return [file for package in PACKAGES for file in sorted((ROOT / package).rglob("*.py"))]


def _module_of(file: Path) -> str:
    parts = file.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def test_no_file_imports_what_it_may_not() -> None:
    files = _files()
    assert {_module_of(f).split(".")[0] for f in files} == set(PACKAGES)
    found = [
        offence
        for file in files
        for offence in offences(
            file.read_text(encoding="utf-8"),
            _module_of(file),
            file.relative_to(ROOT).as_posix(),
            file.name == "__init__.py",
        )
    ]
    assert not found, "\n" + "\n".join(found)


def test_a_module_of_the_product_does_not_import_the_tests() -> None:
    found = [
        f"{file.relative_to(ROOT)}:{line}"
        for file in _files()
        for line, name in imports(file.read_text(encoding="utf-8"), _module_of(file))
        if _inside(name, "tests")
    ]
    assert not found, found


@pytest.mark.parametrize(
    ("module", "source", "named"),
    [
        ("qc.types", "import keras", "keras"),
        ("qc.types", "def f():\n    from tensorflow.lite import x", "tensorflow.lite.x"),
        ("qc.cli", "from training import fit", "training.fit"),
        ("qc.cli", "import edge.line as line", "edge.line"),
        ("qc.cli", "import_module('export.pack')", "export.pack"),
        ("training.fit", "from export.pack import pack", "export.pack.pack"),
        ("training.fit", "import edge", "edge"),
        ("edge.line", "import importlib\nimportlib.import_module('keras.ops')", "keras.ops"),
        ("edge.line", "from training.split import group_of", "training.split.group_of"),
        ("edge.line", "import albumentations", "albumentations"),
        ("edge.line", "import scipy.ndimage", "scipy.ndimage"),
        ("edge.line", "from edge import station", "edge.station"),
        ("edge.line", "from . import station", "edge.station"),
        ("edge.sources.folder", "from ..station.app import app", "edge.station.app.app"),
        ("edge.station.app", "from edge.predictors import litert", "edge.predictors.litert"),
        ("edge.station.app", "from ..line import Line", "edge.line.Line"),
        ("export.pack", "import edge.station.app", "edge.station.app"),
    ],
)
def test_the_rule_sees_a_bad_import(module: str, source: str, named: str) -> None:
    line = source.count("\n") + 1
    assert offences(source, module, "a.py") == [f"a.py:{line} {module} imports {named}"]


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("qc.cli", "import qc.types, json, numpy\nfrom qc import bundle"),
        ("qc.training_notes", "from qc.edges import x\nimport keras_like"),
        (
            "export.pack",
            "from training.model import build\nimport keras\nimport edge.predictors.litert",
        ),
        ("training.fit", "import keras, tensorflow\nfrom qc.types import Sample"),
        ("edge.line", "from edge.sources import folder\nimport queue, cv2\nfrom . import channel"),
        ("edge.station.app", "from fastapi import FastAPI\nfrom edge.station import pages"),
        ("edge.station", "from .pages import x"),
    ],
)
def test_the_rule_lets_a_good_import_pass(module: str, source: str) -> None:
    assert offences(source, module, "a.py", is_package=module == "edge.station") == []
