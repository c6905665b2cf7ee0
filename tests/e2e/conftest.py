"""One very small model, trained and exported by the command line, for every end-to-end test.

Its figures mean nothing beyond these tests.
"""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path

import pytest
from painted import PAINT, draw_painted
from program import Made, done, qc

RECIPE = """
name = "tiny"
seed = 1

[data]
path = "parts"
good = "good"
split = "split.csv"
licence = "drawn for these tests"

[model]
backbone = "inverted_residual"
block = "cbam"
size_hw = [64, 64]
stride = 8
width = 0.5

[train]
epochs = 8
batch_size = 16
learning_rate = 3e-3
average = 0.9

[export]
calibration_images = 32
golden_images = 16
scheme = "int8"
min_agreement = 0.0
max_recall_drop = 1.0
max_overkill_rise = 1.0
min_map_correlation = -1.0
max_auroc_drop = 1.0

[decision]
max_escape = 0.1
max_overkill = 0.1
"""


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """Draw, split, train and export; about a minute and a half on two cores."""
    if importlib.util.find_spec("tensorflow") is None:
        pytest.skip("tensorflow is not installed")
    home = tmp_path_factory.mktemp("e2e")
    parts = draw_painted(home / "parts")
    recipe = home / "tiny.toml"
    recipe.write_text(RECIPE)
    split = qc("data", "split", "parts", "--out", "split.csv", "--json", cwd=home)
    done(split)
    train = qc("train", "tiny.toml", "--json", cwd=home)
    run = home / done(train)["run"]
    export = qc("export", run, "--json", cwd=home)
    bundle = Path(done(export)["bundle"])
    return Made(home, parts, recipe, run, bundle, split, train, export)


@pytest.fixture(scope="session")
def pictures(made: Made, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of 24 parts, half of them with a defect, and one picture that was cut off."""
    folder = tmp_path_factory.mktemp("pictures")
    of_kind = {
        kind: sorted((made.parts / kind).glob("lot??_????.png")) for kind in ("good", *PAINT)
    }
    chosen = of_kind["good"][:12] + [f for kind in PAINT for f in of_kind[kind][:3]]
    for file in chosen:
        (folder / f"{file.parent.name}_{file.name}").write_bytes(file.read_bytes())
    (folder / "cut_off.png").write_bytes(chosen[0].read_bytes()[:900])
    return folder


LOTS = ("lot00", "lot01", "lot02")


@pytest.fixture
def few(made: Made, tmp_path: Path) -> Path:
    """Three lots of the dataset, to be spoilt."""
    folder = tmp_path / "few"
    for kind in ("good", "scratch", "hole", "stain", "crack"):
        (folder / kind).mkdir(parents=True)
        for file in (made.parts / kind).iterdir():
            if file.name.startswith(LOTS):
                shutil.copy(file, folder / kind)
    lines = (made.parts / "groups.csv").read_text().splitlines()
    kept = [line for line in lines[1:] if line.endswith(LOTS)]
    (folder / "groups.csv").write_text("\n".join([lines[0], *kept]) + "\n")
    return folder
