"""What a user gets for wrong input: one error that names the file, an exit code, no traceback."""

from __future__ import annotations

import os
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from program import Made, done, python, qc, recipe_with, refused, write_line

from qc.imageio import read_image
from qc.journal import Journal


@contextmanager
def mounted(folder: Path, options: str) -> Iterator[Path]:
    """A small file system of its own at `folder`; skips where that is not allowed."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    try:
        answer = subprocess.run(mount, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("there is no mount program")
    if answer.returncode != 0:
        pytest.skip(f"no file system can be mounted here: {answer.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.fixture
def read_only(tmp_path: Path) -> Iterator[Path]:
    """A folder that nothing can be written to, by root neither."""
    folder = tmp_path / "read_only"
    if os.geteuid() == 0:
        with mounted(folder, "ro"):
            yield folder
        return
    folder.mkdir()
    folder.chmod(0o555)
    yield folder
    folder.chmod(0o755)


# --- datasets


@pytest.mark.parametrize("command", [("audit",), ("split", "--out", "split.csv")])
def test_a_dataset_that_is_not_there(tmp_path: Path, command: tuple[str, ...]) -> None:
    ran = qc("data", command[0], "nowhere", *command[1:], "--json", cwd=tmp_path)
    refused(ran, kind="data", where="nowhere", says=("does not exist",))
    assert list(tmp_path.iterdir()) == []


def test_an_empty_class_folder(few: Path) -> None:
    for file in (few / "hole").iterdir():
        file.unlink()
    ran = qc("data", "split", few, "--out", few / "split.csv", "--json")
    refused(ran, kind="data", where=few / "hole", says=("empty class 'hole'", ".png"))
    ran = qc("data", "audit", few, "--json")
    assert ran.code == 1
    errors = {row["path"]: row["why"] for row in ran.json["annotation_errors"]}
    assert set(errors) == {"hole", "groups.csv"}
    assert "empty class 'hole'" in errors["hole"] and "missing file" in errors["groups.csv"]
    assert ran.json["blocking"] == ["2 file(s) or annotation(s) do not fit"]
    assert ran.json["classes"]["good"] > 0 and "hole" not in ran.json["classes"]


def test_audit_lists_a_truncated_picture_and_blocks(few: Path) -> None:
    spoilt = _truncate(few / "good")
    ran = qc("data", "audit", few, "--json")
    assert ran.code == 1
    found = ran.json
    assert [row["path"] for row in found["unreadable"]] == [f"good/{spoilt.name}"]
    assert "truncated" in found["unreadable"][0]["why"]
    assert len(found["blocking"]) == 1
    assert found["images"] == 96
    assert spoilt.name in ran.err
    assert "blocked" in ran.err.splitlines()[-1]


def test_train_refuses_a_truncated_picture(made: Made, few: Path, tmp_path: Path) -> None:
    spoilt = _truncate(few / "scratch")
    recipe = recipe_with(made, tmp_path, 'split = "split.csv"\n', "")
    ran = qc("train", recipe, "--data", few, "--runs", tmp_path / "runs", "--json")
    refused(ran, kind="data", where=spoilt, says=("truncated",))


def test_a_dataset_the_recipe_names_and_nobody_has(made: Made, tmp_path: Path) -> None:
    recipe = recipe_with(made, tmp_path, '"parts"', '"nowhere"')
    ran = qc("train", recipe, "--json", cwd=tmp_path)
    refused(ran, kind="data", where=recipe, says=("--data", "'nowhere'", f"{tmp_path}/nowhere"))


def _truncate(folder: Path) -> Path:
    file = min(f for f in folder.iterdir() if not f.stem.endswith("_mask"))
    file.write_bytes(file.read_bytes()[:900])
    return file


# --- recipes


def test_a_misspelt_key(made: Made, tmp_path: Path) -> None:
    recipe = recipe_with(made, tmp_path, "learning_rate", "learning_rat")
    ran = qc("train", recipe, "--json", cwd=tmp_path)
    says = ("unknown key 'train.learning_rat'", "did you mean 'learning_rate'?")
    refused(ran, kind="recipe", where=recipe, says=says)
    assert [file.name for file in tmp_path.iterdir()] == ["recipe.toml"]


def test_a_value_that_is_not_legal(made: Made, tmp_path: Path) -> None:
    recipe = recipe_with(made, tmp_path, "stride = 8", "stride = 7")
    ran = qc("train", recipe, "--json", cwd=tmp_path)
    refused(ran, kind="recipe", where=recipe, says=("model.stride", "8 or 16", "found 7"))


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"name = tiny\n", ("not TOML", "line 1")),
        (b"\x1c\x00\x00\x00TFL3\xff\xfe", ("not TOML",)),
        (None, ("cannot be read", "No such file")),
    ],
)
def test_a_recipe_that_is_norecipe_with(
    tmp_path: Path, content: bytes | None, says: tuple[str, ...]
) -> None:
    recipe = tmp_path / "recipe.toml"
    if content is not None:
        recipe.write_bytes(content)
    refused(qc("train", recipe, "--json"), kind="recipe", where=recipe, says=says)


# --- bundles


def _cut(data: bytes) -> bytes:
    return data[: len(data) // 2]


def _flip_model(data: bytes) -> bytes:
    return _flip(data, 40_000)


def _flip_manifest(data: bytes) -> bytes:
    return _flip(data, data.index(b"manifest.json") + 60)


def _flip(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def _text(data: bytes) -> bytes:
    return b"This is not a model.\n"


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (_cut, ("truncated", "qc export")),
        (_flip_model, ("altered", "SHA-256")),
        (_flip_manifest, ("bundle",)),
        (_text, ("not a bundle", "qc export")),
    ],
)
def test_a_spoilt_bundle(
    made: Made, tmp_path: Path, spoil: Callable[[bytes], bytes], says: tuple[str, ...]
) -> None:
    bundle = tmp_path / "spoilt.tflite"
    bundle.write_bytes(spoil(made.bundle.read_bytes()))
    refused(qc("verify", bundle, "--json"), kind="bundle", where=bundle, says=says)


@pytest.mark.parametrize("verb", ["show", "inspect", "run"])
def test_no_command_works_with_an_altered_bundle(
    made: Made, pictures: Path, tmp_path: Path, verb: str
) -> None:
    bundle = tmp_path / "altered.tflite"
    bundle.write_bytes(_flip_model(made.bundle.read_bytes()))
    line = write_line(tmp_path / "line.toml", bundle, pictures)
    before = sorted(tmp_path.iterdir())
    arguments = {"show": [bundle], "inspect": [bundle, pictures], "run": [line]}[verb]
    refused(qc(verb, *arguments, "--json"), kind="bundle", where=bundle, says=("altered",))
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize("verb", ["verify", "show"])
def test_a_bundle_that_is_not_there(tmp_path: Path, verb: str) -> None:
    bundle = tmp_path / "nowhere.tflite"
    refused(qc(verb, bundle, "--json"), kind="bundle", where=bundle, says=("No such file",))


# --- pictures and folders


def test_a_text_file_among_the_pictures_is_a_fault(made: Made, tmp_path: Path) -> None:
    text = tmp_path / "notes.png"
    text.write_text("This is not a picture.\n")
    good = min((made.parts / "good").iterdir())
    found = done(qc("inspect", made.bundle, text, good, "--json"))
    assert [row["verdict"] == "FAULT" for row in found["images"]] == [True, False]
    assert "not an image" in found["images"][0]["reason"]
    assert found["counts"]["FAULT"] == 1


def test_a_folder_without_a_picture(made: Made, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("nothing here")
    ran = qc("inspect", made.bundle, tmp_path, "--json")
    refused(ran, kind="data", where=tmp_path, says=("no image", ".png"))


def test_a_picture_that_is_not_there(made: Made, tmp_path: Path) -> None:
    missing = tmp_path / "part.png"
    refused(qc("inspect", made.bundle, missing, "--json"), kind="data", where=missing)


def test_an_output_folder_that_is_a_file(made: Made, pictures: Path, tmp_path: Path) -> None:
    file = tmp_path / "out"
    file.write_text("mine")
    ran = qc("inspect", made.bundle, pictures, "--out", file, "--json")
    refused(ran, kind="fault", where=file, says=("File exists",), code=3)
    line = write_line(tmp_path / "line.toml", made.bundle, pictures, folder="out")
    refused(qc("run", line, "--json"), kind="fault", where=file, says=("File exists",), code=3)
    assert file.read_text() == "mine"
    assert not (tmp_path / "journal.sqlite").exists()


# --- lines and journals


def test_an_unknown_sink(made: Made, pictures: Path, tmp_path: Path) -> None:
    line = write_line(tmp_path / "line.toml", made.bundle, pictures, kind="foldr")
    ran = qc("run", line, "--json")
    says = ("sinks.0.kind", "did you mean 'folder'?", "csv_file", "found 'foldr'")
    refused(ran, kind="recipe", where=line, says=says)
    assert [file.name for file in tmp_path.iterdir()] == ["line.toml"]


def test_a_journal_in_a_read_only_folder(made: Made, pictures: Path, read_only: Path) -> None:
    journal = read_only / "journal.sqlite"
    line = write_line(
        read_only.parent / "line.toml", made.bundle, pictures, journal=str(journal), sinks=False
    )
    ran = qc("run", line, "--json")
    refused(ran, kind="fault", where=journal, says=("journal", "can be written"), code=3)
    assert list(read_only.iterdir()) == []


def test_a_journal_on_a_disk_that_fills_up(made: Made, tmp_path: Path) -> None:
    with mounted(tmp_path / "disk", "size=256k") as disk:
        journal = disk / "journal.sqlite"
        line = write_line(
            tmp_path / "line.toml", made.bundle, made.parts, journal=str(journal), sinks=False
        )
        ran = qc("run", line, "--json")
        message = refused(ran, kind="fault", where=journal, says=("journal",), code=3)
        assert "full" in message or "No space left" in message
        kept = Journal(journal)
        rows = kept.rows(limit=400)
        assert 0 < len(rows) == kept.counts()["captured"] < 320
        for row in rows:
            if row.image_path is not None:  # what is journaled is whole
                assert read_image(disk / row.image_path).shape == (64, 64, 3)


def test_a_line_starts_again_once_the_disk_has_room(
    made: Made, pictures: Path, tmp_path: Path
) -> None:
    with mounted(tmp_path / "disk", "size=64k") as disk:
        journal = disk / "journal.sqlite"
        line = write_line(
            tmp_path / "line.toml", made.bundle, pictures, journal=str(journal), sinks=False
        )
        refused(qc("run", line, "--json"), kind="fault", where=journal, code=3)
        subprocess.run(["mount", "-o", "remount,size=4m", str(disk)], check=True)
        assert done(qc("run", line, "--json"))["captured"] == 25


def test_sinks_on_a_full_disk_cost_no_inspection(made: Made, tmp_path: Path) -> None:
    with mounted(tmp_path / "disk", "size=64k") as disk:
        values = {"folder": str(disk / "flagged"), "size": "4"}
        line = write_line(tmp_path / "line.toml", made.bundle, made.parts, **values)
        found = done(qc("run", line, "--json"))
        assert Journal(tmp_path / "journal.sqlite").counts()["captured"] == 320
    assert found["captured"] == 320
    (error,) = found["sink_errors"]
    assert error.startswith("folder-0: ") and "No space left on device" in error


def _not_sqlite(file: Path) -> None:
    file.write_text("time,verdict\n")


def _foreign(file: Path) -> None:
    with sqlite3.connect(file) as connection:
        connection.execute("CREATE TABLE parts (name TEXT)")
    connection.close()


@pytest.mark.parametrize("make", [_not_sqlite, _foreign])
def test_a_file_that_is_no_journal(
    made: Made, pictures: Path, tmp_path: Path, make: Callable[[Path], None]
) -> None:
    journal = tmp_path / "journal.sqlite"
    make(journal)
    before = journal.read_bytes()
    ran = qc("review", journal, "--json")
    refused(ran, kind="data", where=journal, says=("not a journal",))
    line = write_line(tmp_path / "line.toml", made.bundle, pictures, sinks=False)
    ran = qc("run", line, "--json")
    refused(ran, kind="data", where=journal, says=("not a journal",))
    assert journal.read_bytes() == before


def test_a_journal_that_is_not_there(tmp_path: Path) -> None:
    ran = qc("review", tmp_path / "nowhere.sqlite", "--json")
    refused(ran, kind="data", where=tmp_path / "nowhere.sqlite", says=("no journal",))
    assert list(tmp_path.iterdir()) == []


# --- what is not installed


_WITHOUT = """
import sys
sys.modules.update(dict.fromkeys(sys.argv.pop(1).split(",")))
from qc.cli import app
app()
"""


@pytest.mark.parametrize(
    ("extra", "missing", "arguments"),
    [
        ("station", "uvicorn", ["review", "journal.sqlite"]),
        ("train", "keras,tensorflow", ["train", "recipe.toml", "--runs", "runs"]),
    ],
)
def test_a_command_names_the_extra_it_needs(
    made: Made, tmp_path: Path, extra: str, missing: str, arguments: list[str]
) -> None:
    recipe_with(made, tmp_path, '"split.csv"', f'"{made.home / "split.csv"}"')
    data = ["--data", made.parts] if extra == "train" else []
    ran = python("-c", _WITHOUT, missing, *arguments, *data, "--json", cwd=tmp_path)
    assert ran.code == 2, ran.err
    assert f"pip install 'attention-qc[{extra}]'" in ran.json["error"]["message"]
    assert [file.name for file in tmp_path.iterdir()] == ["recipe.toml"]
