"""`qc data preview`: every class is on the sheet, masks are outlined, nothing heavy is loaded."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from qc.cli import app
from qc.imageio import read_image
from training.preview import _OWN, _PAPER, _PASTED, VERSIONS, Cell, _broken, _wide, draw_sheet

RECIPE = """
name = "toy"

[data]
path = "parts"
good = "good"

[model]
backbone = "inverted_residual"
size_hw = [64, 64]
stride = 8

[train]
epochs = 1

[train.augment]
rotate_deg = 20.0
gamma = 0.3
"""
CLASSES = 5


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "toy.toml"
    path.write_text(RECIPE)
    return path


def _run(*arguments: object) -> tuple[int, dict[str, object]]:
    done = CliRunner().invoke(app, ["data", "preview", *map(str, arguments), "--json"])
    return done.exit_code, json.loads(done.stdout)


def _colours(sheet: np.ndarray) -> set[tuple[int, ...]]:
    return {tuple(c) for c in np.unique(sheet.reshape(-1, 3), axis=0).tolist()}


# the command


def test_a_row_for_each_class(recipe: Path, drawn_parts: Path, tmp_path: Path) -> None:
    out = tmp_path / "sheet.png"
    code, found = _run(recipe, "--data", drawn_parts, "--out", out)
    assert code == 0
    assert found == {
        "out": str(out),
        "rows": CLASSES,
        "images": CLASSES * (VERSIONS + 1),
        "pasted": 0,
    }
    sheet = read_image(out)
    assert sheet.shape[1] > (VERSIONS + 1) * 200 and sheet.shape[0] > CLASSES * 200


def test_the_seed_decides_the_sheet(recipe: Path, drawn_parts: Path, tmp_path: Path) -> None:
    sheets = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        code, _ = _run(
            recipe, "--data", drawn_parts, "--out", tmp_path / f"{name}.png", "--seed", seed
        )
        assert code == 0
        sheets.append((tmp_path / f"{name}.png").read_bytes())
    assert sheets[0] == sheets[1] != sheets[2]


def test_pasted_defects_have_rows_of_their_own(
    recipe: Path, drawn_parts: Path, tmp_path: Path
) -> None:
    recipe.write_text(RECIPE + "copy_paste = 0.0001\n")
    out = tmp_path / "sheet.png"
    code, found = _run(recipe, "--data", drawn_parts, "--out", out, "--images", 2)
    assert code == 0
    defects = CLASSES - 1
    assert found["rows"] == 2 * (CLASSES + defects)
    assert found["pasted"] == 2 * defects * VERSIONS
    body = read_image(out)[100:]
    seen = _colours(body)
    assert _OWN in seen and _PASTED in seen


@pytest.mark.parametrize(
    ("arguments", "kind", "said"),
    [
        (("--out", "sheet.jpg"), "usage", "the contact sheet is a PNG"),
        (("--out", "missing/sheet.png"), "fault", "image cannot be written"),
        (("--data", "nowhere"), "data", "dataset does not exist"),
    ],
)
def test_what_cannot_be_done_is_said(
    recipe: Path,
    drawn_parts: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, str],
    kind: str,
    said: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    given = ["--data", str(drawn_parts)] if arguments[0] != "--data" else []
    code, found = _run(recipe, *given, *arguments)
    assert code == {"usage": 2, "data": 2, "fault": 3}[kind]
    error = found["error"]
    assert isinstance(error, dict) and error["kind"] == kind and said in error["message"]


def test_a_wrong_strength_is_a_recipe_error(recipe: Path, drawn_parts: Path) -> None:
    recipe.write_text(RECIPE + "gama = 1\n")
    code, found = _run(recipe, "--data", drawn_parts)
    assert code == 2
    assert "'train.augment.gama', did you mean 'gamma'?" in str(found["error"])


def test_neither_tensorflow_nor_keras_is_loaded(
    recipe: Path, drawn_parts: Path, tmp_path: Path
) -> None:
    code = (
        "import sys; sys.modules['tensorflow'] = sys.modules['keras'] = None\n"
        "from qc.cli import app; app()"
    )
    out = tmp_path / "sheet.png"
    subprocess.run(
        [
            sys.executable,
            "-c",
            code,
            "data",
            "preview",
            recipe,
            "--data",
            drawn_parts,
            "--out",
            out,
        ],
        check=True,
        capture_output=True,
    )
    assert out.is_file()


# the drawing


def _cell(**values: object) -> Cell:
    image = np.full((64, 64, 3), 120, np.uint8)
    mask = np.zeros((64, 64), np.uint8)
    mask[30:34, 30:34] = 255
    given = {"image": image, "mask": mask, "title": "hole", "words": "as it is"} | values
    return Cell(**given)  # type: ignore[arg-type]


def test_a_mask_is_outlined_in_the_colour_of_its_kind_and_not_covered() -> None:
    for pasted, colour in ((False, _OWN), (True, _PASTED)):
        body = draw_sheet([[_cell(pasted=pasted)]], [])[40:240]
        assert (body == colour).all(axis=2).sum() > 30
        ys, xs = np.nonzero((body == colour).all(axis=2)[:, :200])
        middle = body[(ys.min() + ys.max()) // 2, (xs.min() + xs.max()) // 2]
        assert (middle == 120).all(), "the defect itself is seen"
        assert (body == 0).all(axis=2).sum() > 30, "a dark rim on both sides"


def test_what_has_no_mask_has_no_outline() -> None:
    for mask in (None, np.zeros((64, 64), np.uint8)):
        body = draw_sheet([[_cell(mask=mask)]], [])[60:]
        assert not (body == _OWN).all(axis=2).any()


def test_pictures_of_any_size_are_legible() -> None:
    for size in ((28, 28), (64, 256), (640, 480), (1024, 1024)):
        image, mask = np.full((*size, 3), 120, np.uint8), np.zeros(size, np.uint8)
        sheet = draw_sheet([[_cell(image=image, mask=mask)]], ["a heading"])
        assert 200 <= sheet.shape[1] <= 340 and sheet.shape[0] <= 520


def test_a_short_row_is_filled_with_paper() -> None:
    sheet = draw_sheet([[_cell(), _cell()], [_cell()]], ["a heading"])
    assert (sheet[-100:, -150:] == _PAPER).all()


def test_text_is_broken_at_spaces_and_long_words_anywhere() -> None:
    words = "mirrored, upside down, uneven light, " + "x" * 100
    lines = _broken(words, 150, 0.4)
    assert len(lines) > 5 and all(_wide(line, 0.4) <= 150 for line in lines)
    assert "".join(lines).replace(" ", "") == words.replace(" ", "")
    assert _broken("", 150, 0.4) == [""]
