"""Cards: every card of the project reads, and a wrong one says what is wrong.

And the command that shows a card's licence, asks, and fetches; here from a file of this machine.
"""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from qc.console import Command
from qc.errors import DataError, RecipeError, UsageError
from qc.tables import read_toml
from training.cards import (
    Card,
    CardFile,
    Record,
    RecordedFile,
    card_folders,
    read_card,
    write_record,
)
from training.fetch import fetch_command

ROOT = Path(__file__).parents[2]
CARDS = sorted((ROOT / "data" / "cards").glob("*.toml"))

MINIMAL = """
name = "small"
title = "A small set"
source = "nobody"
licence = "CC0"
obtain = "ask nobody"
"""


def written(folder: Path, text: str, name: str = "small") -> Path:
    path = folder / f"{name}.toml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("path", CARDS, ids=lambda p: p.stem)
def test_every_card_reads(path: Path) -> None:
    card = read_card(path)
    assert card.name == path.stem
    assert card.flaws, "no set is without a flaw; one that is not known is said so"
    if card.split is not None:
        assert (ROOT / card.split).is_file()
    if card.counts == "images" and card.images and card.classes:
        known = [n for n in card.classes.values() if isinstance(n, int)]
        if len(known) == len(card.classes):
            assert sum(known) == card.images
    for file in card.files:
        assert file.url.startswith("https://"), "only over a connection that is checked"


def test_there_are_cards() -> None:
    assert {"magnetic_tile", "neu_det", "visa"} <= {p.stem for p in CARDS}


def test_a_card_is_found_by_its_name() -> None:
    assert read_card("magnetic_tile").classes["MT_Free"] == 952


def test_the_current_folder_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data" / "cards").mkdir(parents=True)
    written(tmp_path / "data" / "cards", MINIMAL.replace("small", "visa"), "visa")
    assert read_card("visa").source == "nobody"
    assert read_card("bccd").licence.startswith("MIT")  # from beside the package


def test_an_unknown_name_suggests_the_nearest() -> None:
    with pytest.raises(DataError, match="did you mean 'magnetic_tile'") as caught:
        read_card("magnetic_tiles")
    assert "kolektor" in str(caught.value)


def test_without_cards_both_places_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training.cards.card_folders", lambda: [tmp_path / "a", tmp_path / "b"])
    with pytest.raises(DataError) as caught:
        read_card("visa")
    assert str(tmp_path / "a") in str(caught.value)
    assert str(tmp_path / "b") in str(caught.value)
    assert len(card_folders()) == 2


@pytest.mark.parametrize(
    ("extra", "key", "near"),
    [
        ('licenze = "MIT"', "licenze", "licence"),
        ('[grouping]\nunit = "piece"\ngroup = 3', "grouping.group", "groups"),
        ('[[flaws]]\nwhat = "a"\neffects = "b"', "flaws.0.effects", "effect"),
        ('[[files]]\nurl = "https://a.example/x.zip"\nsha265 = "a"', "files.0.sha265", "sha256"),
    ],
)
def test_a_misspelt_key_names_file_key_and_nearest(
    tmp_path: Path, extra: str, key: str, near: str
) -> None:
    path = written(tmp_path, MINIMAL + extra)
    with pytest.raises(RecipeError) as caught:
        read_card(path)
    assert str(path) in str(caught.value)
    assert f"unknown key '{key}', did you mean '{near}'?" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (MINIMAL.replace("small", "other"), "expected small; found other"),
        (MINIMAL.replace('obtain = "ask nobody"', ""), "says in 'obtain'"),
        (MINIMAL.replace('"CC0"', '""'), "licence"),
        (MINIMAL + 'good = "fine"\n[classes]\nbad = 1', "not among the classes"),
        (MINIMAL + "[classes]\nbad = -1", "classes.bad"),
    ],
)
def test_a_wrong_card_says_why(tmp_path: Path, text: str, why: str) -> None:
    with pytest.raises(RecipeError, match=why):
        read_card(written(tmp_path, text))


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"url": "ftp://a.example/x.zip"}, "begin with one of http"),
        ({"url": "https://a.example/x y.zip"}, "ASCII"),
        ({"url": "https://a.example/"}, "not a plain file name"),
        ({"url": "https://a.example/..%2f..%2fx"}, None),
        ({"url": "https://a.example/x", "save_as": "../x"}, "not a plain file name"),
        ({"url": "https://a.example/x", "save_as": ".."}, "not a plain file name"),
        ({"url": "https://a.example/fetched.toml"}, "taken"),
        ({"url": "https://a.example/x.part"}, "taken"),
        ({"url": "https://a.example/x.rar", "unpack": "zip"}, "archive's name must end"),
        ({"url": "https://a.example/x", "sha256": "abc"}, "sha256"),
    ],
)
def test_a_file_has_a_plain_name(fields: dict[str, str], why: str | None) -> None:
    if why is None:  # an escaped slash ends the name as a plain one does
        assert CardFile.model_validate(fields).name == "x"
        return
    with pytest.raises(ValueError, match=why):
        CardFile.model_validate(fields)


def test_the_folder_of_an_archive_is_its_name_without_the_ending() -> None:
    file = CardFile(url="https://a.example/d/set.v2.tar.gz?download=1", unpack="tar")
    assert (file.name, file.folder) == ("set.v2.tar.gz", "set.v2")
    assert CardFile(url="https://a.example/x.npz").folder is None


def test_two_files_of_one_name_are_refused() -> None:
    files = (CardFile(url="https://a.example/1/x"), CardFile(url="https://a.example/2/x"))
    with pytest.raises(ValueError, match="one name"):
        Card(name="a", title="a", source="a", licence="a", files=files)


def test_a_record_reads_back(tmp_path: Path) -> None:
    file = RecordedFile(url="https://a.example/x.zip?a=1&b=%22", sha256="0" * 64, bytes=7)
    record = Record(files={"x.v1.zip": file, "b": file})
    write_record(record, tmp_path / "fetched.toml")
    assert read_toml(tmp_path / "fetched.toml", Record) == record
    assert [p.name for p in tmp_path.iterdir()] == ["fetched.toml"]


@pytest.fixture
def local(tmp_path: Path) -> str:
    """The path of a card whose one file lies on this machine."""
    (tmp_path / "source.bin").write_bytes(b"what is fetched")
    text = MINIMAL + f'[[files]]\nurl = "{(tmp_path / "source.bin").as_uri()}"\n'
    return str(written(tmp_path, text))


def test_the_command_shows_the_licence_and_says_what_it_fetched(
    local: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fetch_command(Command(as_json=True, verbose=False), local, tmp_path / "sets", True)
    printed = capsys.readouterr()
    result = json.loads(printed.out)
    assert (result["name"], result["licence"]) == ("small", "CC0")
    assert result["out"] == str(tmp_path / "sets" / "small")
    [file] = result["files"]
    assert Path(file["path"]).read_bytes() == b"what is fetched"
    assert (file["bytes"], file["checked"], file["unpacked"]) == (15, "first", None)
    assert "licence: CC0" in printed.err


@pytest.mark.parametrize("answer", ["n\n", "\n", ""])
def test_without_consent_nothing_is_fetched(
    local: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: str
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(answer))
    with pytest.raises(UsageError, match="--yes"):
        fetch_command(Command(as_json=False, verbose=False), local, tmp_path / "sets", False)
    assert not (tmp_path / "sets").exists()


def test_consent_is_asked_once(local: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    for _ in range(2):  # the second finds everything there; a question would meet the end of stdin
        fetch_command(Command(as_json=False, verbose=False), local, tmp_path / "sets", False)
    assert (tmp_path / "sets" / "small" / "source.bin").exists()


def test_a_set_behind_a_form_says_how_to_get_it(tmp_path: Path) -> None:
    path = written(tmp_path, MINIMAL)
    with pytest.raises(UsageError, match="ask nobody"):
        fetch_command(Command(as_json=False, verbose=False), str(path), tmp_path / "sets", True)
