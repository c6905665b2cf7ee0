"""The folder that the documents' commands run in: what a reader has who ran the demo.

demo-out/        as `qc demo` leaves it, of small painted parts: parts, split.csv, recipe.toml,
                 runs/drawn-<hash>, bundle.tflite, line, inspected/journal.db and so on
parts            a dataset of class folders with masks and groups.csv
recipe.toml      a recipe named "part" for it; wants split.csv
split.csv        a split of it
part.tflite      a bundle; old.tflite: one from before it
images, part.png pictures of parts
line.toml        a line over images, with journal line.db; ends by itself
line.db, journal.db  journals of inspected parts; the second one has people who may log in
data             recipes, lines and cards of the project
.venv/bin/qc     and `qc`, `python` on the PATH: the program under test
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from doc_shell import ROOT, environment, shim
from painted import draw_painted

from qc.demo import RECIPE

_DEMO = """
from pathlib import Path
import qc.demo as demo
from qc.console import Command

demo.RECIPE = Path("small.toml").read_text()
demo.demo(Command(as_json=False, verbose=False), Path("demo-out"), 0)
"""

_SMALLER = {
    "size_hw = [128, 128]": "size_hw = [64, 64]\nwidth = 0.5",
    "epochs = 11": "epochs = 8",
    "learning_rate = 2e-3": "learning_rate = 3e-3\naverage = 0.9",
    "mask_weight = 3.0": "mask_weight = 0.5",
    "calibration_images = 100": (
        'calibration_images = 32\ngolden_images = 16\nscheme = "int8"\n'
        "min_agreement = 0.0\nmax_recall_drop = 1.0\nmax_overkill_rise = 1.0\n"
        "min_map_correlation = -1.0\nmax_auroc_drop = 1.0"
    ),
    "max_escape = 0.05": "max_escape = 0.1",
    "max_overkill = 0.05": "max_overkill = 0.1",
}
"""The demo's recipe made small: seconds in place of minutes, any model passes the gate."""

_LINE = """\
bundle = "part.tflite"
journal = "line.db"

[source]
kind = "folder"
path = "images"

[queue]
policy = "wait"

[[sinks]]
kind = "csv_file"
path = "results.csv"
"""


def prepare(home: Path) -> Path:
    """Make the folder; about a minute on two idle cores.

    Raises:
        AssertionError: a step failed; says what it printed.
    """
    recipe = RECIPE
    for old, new in _SMALLER.items():
        assert old in recipe, f"the demo's recipe has no {old!r} any more"
        recipe = recipe.replace(old, new)
    for name in ("qc", ".venv/bin/qc"):
        place = home / (name if "/" in name else f"bin/{name}")
        shim(place, sys.executable, "-m", "qc.cli")
    for name in ("bin/python", "bin/python3", ".venv/bin/python"):
        shim(home / name, sys.executable)
    out = home / "demo-out"
    out.mkdir()
    draw_painted(out / "parts", parts_per_lot=24)
    (home / "small.toml").write_text(recipe)
    (out / "recipe.toml").write_text(recipe.format(seed=0, here="demo-out"))
    run(home, sys.executable, "-c", _DEMO)
    (home / "small.toml").unlink()
    _name_the_rest(home, out)
    return home


def _name_the_rest(home: Path, out: Path) -> None:
    shutil.copytree(out / "parts", home / "parts")
    shutil.copytree(out / "line", home / "images")
    shutil.copytree(ROOT / "data", home / "data")
    shutil.copy(out / "split.csv", home)
    named = (out / "recipe.toml").read_text().replace('name = "drawn"', 'name = "part"')
    (home / "recipe.toml").write_text(named)
    for name in ("part.tflite", "old.tflite"):
        shutil.copy(out / "bundle.tflite", home / name)
    shutil.copy(min((home / "images").iterdir()), home / "part.png")
    (home / "line.toml").write_text(_LINE)
    for name in ("journal", "line"):
        (home / "once.toml").write_text(_LINE.replace("line.db", f"{name}.db"))
        run(home, "bin/qc", "run", "once.toml")
    (home / "once.toml").unlink()
    (home / "results.csv").unlink()
    (home / "password.txt").write_text("a password of this test\n")
    with (home / "password.txt").open() as password:
        run(
            *(home, "bin/qc", "people", "add", "journal.db", "Anna Lund", "--role", "engineer"),
            stdin=password,
        )


def run(home: Path, *words: str, stdin: object = subprocess.DEVNULL) -> None:
    """Run a step of the preparation."""
    done = subprocess.run(
        words,
        cwd=home,
        env=environment(home),
        stdin=stdin,  # type: ignore[call-overload]
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{' '.join(words)[:80]}: {done.stdout}{done.stderr}"
