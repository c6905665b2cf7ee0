"""The line file: what it may say, where its paths lead, and how a mistake is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from qc.errors import RecipeError
from qc.linefile import LineFile, read_line
from qc.plugins import names

LINE = """
bundle = "m.tflite"
journal = "out/j"

[source]
kind = "folder"
path = "parts"

[[sinks]]
kind = "csv_file"
path = "t.csv"

[[sinks]]
kind = "folder"
path = "flagged"
"""


def _written(folder: Path, old: str = "", new: str = "") -> Path:
    assert old in LINE
    path = folder / "line.toml"
    path.write_text(LINE.replace(old, new, 1) if old else LINE)
    return path


def test_every_path_is_relative_to_the_file_and_not_to_the_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "lines").mkdir()
    _written(tmp_path / "lines")
    monkeypatch.chdir(tmp_path / "elsewhere")
    line = read_line(Path("..") / "lines" / "line.toml")
    base = tmp_path / "lines"
    found = [line.bundle, line.journal, *(s.options.path for s in (*line.source, *line.sinks))]
    assert [p.resolve() for p in found] == [
        base / "m.tflite",
        base / "out" / "j",
        base / "parts",
        base / "t.csv",
        base / "flagged",
    ]


def test_trusted_keys_are_relative_to_the_file_too(tmp_path: Path) -> None:
    assert read_line(_written(tmp_path)).trusted_keys == ()
    whole = (tmp_path / "far" / "b.pub").as_posix()
    keys = f'trusted_keys = ["keys/a.pub", "{whole}"]\n[source]'
    line = read_line(_written(tmp_path, "[source]", keys))
    assert line.trusted_keys == (tmp_path / "keys" / "a.pub", Path(whole))


def test_one_trusted_key_is_a_list_too(tmp_path: Path) -> None:
    path = _written(tmp_path, "[source]", 'trusted_keys = "a.pub"\n[source]')
    with pytest.raises(RecipeError, match="key 'trusted_keys'"):
        read_line(path)


def test_a_whole_path_is_kept(tmp_path: Path) -> None:
    whole = tmp_path / "far" / "m.tflite"
    assert read_line(_written(tmp_path, '"m.tflite"', f'"{whole.as_posix()}"')).bundle == whole


@pytest.mark.parametrize(("key", "kind"), [("source", "source"), ("sinks", "sink")])
def test_an_unknown_kind_names_the_key_and_what_there_is(
    tmp_path: Path, key: str, kind: str
) -> None:
    table = f'[{key}]\nkind = "folder"' if key == "source" else '[[sinks]]\nkind = "csv_file"'
    path = _written(tmp_path, table, table.rsplit("\n", 1)[0] + '\nkind = "foldr"')
    with pytest.raises(RecipeError) as caught:
        read_line(path)
    assert caught.value.where == str(path)
    where = "source.kind" if key == "source" else "sinks.0.kind"
    assert f"key '{where}': unknown {kind} 'foldr', did you mean 'folder'?" in caught.value.message
    assert all(name in caught.value.message for name in names(kind))  # type: ignore[arg-type]


def test_every_sink_is_looked_at(tmp_path: Path) -> None:
    path = _written(tmp_path, 'kind = "folder"\npath = "flagged"', 'kind = "mail"\npath = "x"')
    with pytest.raises(RecipeError, match=r"key 'sinks\.1\.kind': unknown sink 'mail'"):
        read_line(path)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("bundle =", "bundel =", "unknown key 'bundel', did you mean 'bundle'"),
        ("[source]", "[source]\npatern = 'x'", "'source.patern', did you mean 'pattern'"),
        ("[source]", "[queue]\nsiz = 1\n[source]", "'queue.siz', did you mean 'size'"),
        ("[source]", "[train]\nepochs = 1\n[source]", "unknown key 'train'"),
        ("[source]", "threshold = 0.5\n[source]", "unknown key 'threshold'"),
        ('journal = "out/j"', "", "key 'journal' is missing"),
        ("[[sinks]]", "[[sinks]]\nretain = 1", "unknown key 'sinks.0.retain'"),
    ],
)
def test_a_misspelt_key_is_named(tmp_path: Path, old: str, new: str, said: str) -> None:
    path = _written(tmp_path, old, new)
    with pytest.raises(RecipeError) as caught:
        read_line(path)
    assert said in caught.value.message and caught.value.where == str(path)


def test_a_misspelt_key_of_a_sink_is_named_with_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"'sinks\.0\.pth', did you mean 'path'"):
        read_line(_written(tmp_path, 'path = "t.csv"', 'path = "t.csv"\npth = "u"'))


@pytest.mark.parametrize("size", [0, 1025, 2.5])
def test_a_queue_has_a_size_that_can_be(tmp_path: Path, size: float) -> None:
    path = _written(tmp_path, "[source]", f"[queue]\nsize = {size}\n[source]")
    with pytest.raises(RecipeError, match=rf"key 'queue\.size': .*found {size}"):
        read_line(path)


def test_a_file_that_is_not_there_or_not_toml(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"none\.toml: the file cannot be read"):
        read_line(tmp_path / "none.toml")
    with pytest.raises(RecipeError, match=r"line\.toml: the file is not TOML"):
        read_line(_written(tmp_path, "[source]", "[source"))


def test_no_key_of_a_line_file_sets_a_threshold() -> None:
    assert set(LineFile.model_fields) == {
        *("bundle", "journal", "durability", "source", "queue", "sinks", "actions", "keep"),
        *("health", "deadline_ms", "trusted_keys"),
    }
