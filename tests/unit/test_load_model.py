"""A run's model is read back in a process that has not built it: every layer registers itself."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from qc import plugins
from qc.recipe import ModelTable
from training.model import build_model

READ = """
import sys
from pathlib import Path
from types import SimpleNamespace
from training.steps import load_model
print(load_model(SimpleNamespace(model_file=Path(sys.argv[1]) / "model.keras")).count_params())
"""


@pytest.mark.parametrize("backbone", plugins.names("backbone"))
def test_a_fresh_process_reads_every_backbone(backbone: str, tmp_path: Path) -> None:
    table = ModelTable(backbone=backbone, block="none", size_hw=(64, 64), stride=16)
    model = build_model(table, 3)
    model.save(tmp_path / "model.keras")
    command = [sys.executable, "-c", READ, str(tmp_path)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr[-500:]
    assert int(ran.stdout) == model.count_params()
