"""A training that is killed at any moment goes on and ends as one that nobody disturbed."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import h5py
import pytest
from program import Made, done, qc


def _digest(run: Path) -> str:
    """SHA-256 of the weights a run kept; the archive around them carries the time of day."""
    found = hashlib.sha256()
    with zipfile.ZipFile(run / "model.keras") as archive:
        inner = archive.open("model.weights.h5")
        with inner, h5py.File(inner) as weights:

            def add(name: str, item: object) -> None:
                if isinstance(item, h5py.Dataset):
                    found.update(name.encode() + item[()].tobytes())

            weights.visititems(add)
    return found.hexdigest()


def _recipe(made: Made, home: Path) -> Path:
    text = made.recipe.read_text().replace("epochs = 8", "epochs = 4")
    assert 'split = "split.csv"' in text and "epochs = 4" in text
    (home / "split.csv").write_bytes((made.home / "split.csv").read_bytes())
    recipe = home / "recipe.toml"
    recipe.write_text(text)
    return recipe


@pytest.mark.parametrize("epochs", [0, 2])
def test_a_killed_training_ends_as_an_unbroken_one(
    made: Made, tmp_path: Path, epochs: int, unbroken: str
) -> None:
    """`kill -9` in the first epoch, and in the third."""
    recipe = _recipe(made, tmp_path)
    command = ["train", str(recipe), "--data", str(made.parts), "--runs", str(tmp_path / "runs")]
    with subprocess.Popen(
        [sys.executable, "-m", "qc.cli", *command],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={k: v for k, v in os.environ.items() if not k.startswith(("QC_", "TF_"))},
    ) as training:
        wanted = f"runs/*/checkpoint-{epochs}.npz" if epochs else "runs/*/plan.json"
        deadline = time.monotonic() + 300
        while not list(tmp_path.glob(wanted)):
            assert training.poll() is None and time.monotonic() < deadline
            time.sleep(0.05)
        time.sleep(0.3)
        training.send_signal(signal.SIGKILL)
    (run,) = (tmp_path / "runs").iterdir()
    assert not (run / "result.json").exists()
    found = done(qc(*command, "--resume", "--json"))
    assert found["epochs"] == 4
    assert _digest(Path(found["run"])) == unbroken


@pytest.fixture(scope="module")
def unbroken(made: Made, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The weights of the run that nobody disturbed."""
    home = tmp_path_factory.mktemp("unbroken")
    command = ("train", _recipe(made, home), "--data", made.parts, "--runs", home / "runs")
    return _digest(Path(done(qc(*command, "--json"))["run"]))
