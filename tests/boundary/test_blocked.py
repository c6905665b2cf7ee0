"""Where tensorflow and keras cannot be imported, every module of `qc` and `edge` still can."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

_BLOCKER = """
import sys

BLOCKED = {"tensorflow", "keras", "tf_keras", "albumentations", "training", "export"}

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in BLOCKED:
            raise ImportError("blocked here: " + name)
        return None

sys.meta_path.insert(0, Blocker())
"""

_WALK = """
import importlib, pkgutil

skipped = tuple(sys.argv[1:])
count = 0
for top in ("qc", "edge"):
    package = importlib.import_module(top)
    names = [top]
    def failed(name):
        raise SystemExit(f"cannot import package {name}: {sys.exc_info()[1]!r}")
    for info in pkgutil.walk_packages(package.__path__, top + ".", onerror=failed):
        names.append(info.name)
    for name in names:
        if name.startswith(skipped) or name.endswith(".__main__"):
            continue
        try:
            importlib.import_module(name)
        except Exception as error:
            raise SystemExit(f"cannot import {name}: {error!r}")
        count += 1
loaded = sorted(BLOCKED & {name.split(".")[0] for name in sys.modules})
if loaded:
    raise SystemExit(f"imported all the same: {loaded}")
print(count)
"""


def _python(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", _BLOCKER + code, *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def _optional(module: str, needs: str) -> list[str]:
    return [] if importlib.util.find_spec(needs) else [module]


def test_qc_and_edge_import_without_tensorflow_and_keras() -> None:
    station = _optional("edge.station", "fastapi")
    done = _python(_WALK, *(station or ["no module has this name"]))
    assert done.returncode == 0, done.stderr
    modules = [f for top in ("qc", "edge") for f in (ROOT / top).rglob("*.py")]
    expected = sum(
        file.name != "__main__.py" and not (station and "station" in file.parts) for file in modules
    )
    # a module may have been added or removed while the other process ran
    assert abs(int(done.stdout) - expected) <= 2


@pytest.mark.parametrize("name", ["tensorflow", "keras.ops", "albumentations", "training.split"])
def test_the_blocker_blocks(name: str) -> None:
    done = _python(f"import {name}")
    assert done.returncode == 1
    assert f"blocked here: {name.split('.')[0]}" in done.stderr
