"""Reading a recipe: a mistake is named with file, key and nearest key, and nothing is guessed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from qc.errors import DataError, RecipeError
from qc.recipe import Recipe, dataset_path, read_recipe

RECIPE = """
name = "tiles"
seed = 4

[data]
path = "parts"
good = "fine"
shares = [0.7, 0.1, 0.2]

[data.severity]
crack = "critical"
stain = "minor"

[model]
backbone = "mobilenet_v2"
size_hw = [64, 96]

[train]
epochs = 5

[train.augment]
rotate_deg = 3.0

[export]
golden_images = 20

[decision]
max_escape = 0.01
"""


def _written(folder: Path, old: str = "", new: str = "") -> Path:
    assert old in RECIPE
    path = folder / "tiles.toml"
    path.write_text(RECIPE.replace(old, new, 1) if old else RECIPE)
    return path


def test_a_recipe_is_read_with_its_defaults(tmp_path: Path) -> None:
    recipe = read_recipe(_written(tmp_path))
    assert (recipe.name, recipe.seed) == ("tiles", 4)
    assert recipe.data.shares == (0.7, 0.1, 0.2) and recipe.data.split is None
    assert recipe.data.severity == {"crack": "critical", "stain": "minor"}
    assert (recipe.model.size_hw, recipe.model.stride, recipe.model.block) == ((64, 96), 16, "cbam")
    assert recipe.train.epochs == 5 and recipe.train.augment.rotate_deg == 3.0
    assert recipe.train.augment.flip_vertical is True
    assert recipe.export.golden_images == 20 and recipe.export.min_agreement == 0.99
    assert (recipe.decision.max_escape, recipe.decision.max_overkill) == (0.01, 0.02)


@pytest.mark.parametrize(
    ("old", "new", "key", "nearest"),
    [
        ("seed =", "sed =", "sed", "seed"),
        ("[export]", "[exprt]", "exprt", "export"),
        ("good =", "god =", "data.god", "good"),
        ("backbone =", "backbon =", "model.backbon", "backbone"),
        ("epochs =", "epoch =", "train.epoch", "epochs"),
        ("rotate_deg =", "rotat_deg =", "train.augment.rotat_deg", "rotate_deg"),
        ("golden_images =", "goldn_images =", "export.goldn_images", "golden_images"),
        ("max_escape =", "max_escapes =", "decision.max_escapes", "max_escape"),
    ],
)
def test_a_misspelt_key_names_file_key_and_nearest(
    tmp_path: Path, old: str, new: str, key: str, nearest: str
) -> None:
    path = _written(tmp_path, old, new)
    with pytest.raises(RecipeError) as caught:
        read_recipe(path)
    assert caught.value.where == str(path) and caught.value.exit_code == 2
    assert f"unknown key '{key}', did you mean '{nearest}'?" in caught.value.message


def test_a_key_like_no_other_gets_no_suggestion(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"unknown key 'data\.zzz'$"):
        read_recipe(_written(tmp_path, "good =", "zzz = 1\ngood ="))


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('name = "tiles"', 'name = "Tiles 2"', r"key 'name': .*found 'Tiles 2'"),
        ("seed = 4", "seed = -1", "key 'seed': .*greater than or equal to 0, found -1"),
        ("[64, 96]", "[64, 100]", r"key 'model': .*multiples of stride 16, at least 32"),
        ("[64, 96]", "[16, 96]", r"key 'model': .*at least 32"),
        ("[64, 96]", "[64]", r"key 'model\.size_hw\.1' is missing"),
        ("epochs = 5", "epochs = 0", r"key 'train\.epochs': .*found 0"),
        ("epochs = 5", 'epochs = "many"', r"key 'train\.epochs': .*found 'many'"),
        ("epochs = 5", "epochs = 5\nbatch_size = 1", r"key 'train\.batch_size': .*found 1"),
        (
            "epochs = 5",
            "epochs = 5\nlabel_smoothing = 0.5",
            r"train\.label_smoothing': .*less than",
        ),
        ("epochs = 5", "epochs = 5\nlearning_rate = 0", r"train\.learning_rate'"),
        ("rotate_deg = 3.0", "shift = 0.6", r"key 'train\.augment\.shift': .*found 0\.6"),
        ('"minor"', '"small"', r"key 'data\.severity\.stain': .*'minor'.*found 'small'"),
        ("golden_images = 20", "golden_images = 15", r"export\.golden_images'.*found 15"),
        ("max_escape = 0.01", "max_escape = 1.0", r"decision\.max_escape'.*found 1\.0"),
        ('good = "fine"', "", r"key 'data\.good' is missing"),
        ("[model]", "[model]\nwidth = 0", r"key 'model\.width'"),
    ],
)
def test_a_wrong_value_names_key_and_value(tmp_path: Path, old: str, new: str, said: str) -> None:
    with pytest.raises(RecipeError, match=rf"tiles\.toml: .*{said}"):
        read_recipe(_written(tmp_path, old, new))


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    path = tmp_path / "r.toml"
    path.write_text(RECIPE.replace("epochs = 5", "epochs = 0").replace("seed =", "sed ="))
    with pytest.raises(RecipeError, match=r"'sed'.*'train\.epochs'|'train\.epochs'.*'sed'"):
        read_recipe(path)


@pytest.mark.parametrize("text", ["[data", "name = ", "a = 1\na = 2\n", "name = 'x' # \x00"])
def test_what_is_not_toml_is_said_to_be_none(tmp_path: Path, text: str) -> None:
    path = tmp_path / "r.toml"
    path.write_text(text)
    with pytest.raises(RecipeError, match=r"r\.toml: the file is not TOML \("):
        read_recipe(path)


def test_bytes_that_are_no_text_are_no_toml(tmp_path: Path) -> None:
    path = tmp_path / "r.toml"
    path.write_bytes(b'name = "\xff\xfe"')
    with pytest.raises(RecipeError, match="not TOML"):
        read_recipe(path)


def test_a_file_that_is_missing_or_a_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"none\.toml: the file cannot be read; found No such"):
        read_recipe(tmp_path / "none.toml")
    with pytest.raises(RecipeError, match="cannot be read"):
        read_recipe(tmp_path)


# identity


def test_the_digest_is_of_the_values_and_not_of_the_text(tmp_path: Path) -> None:
    recipe = read_recipe(_written(tmp_path))
    assert (
        len(recipe.digest()) == 64 and recipe.digest() == read_recipe(_written(tmp_path)).digest()
    )
    named = _written(tmp_path, "seed = 4", "seed = 0x4  # hex")
    assert read_recipe(named).digest() == recipe.digest()
    defaults = _written(tmp_path, "[model]", '[model]\nblock = "cbam"\nstride = 16')
    assert read_recipe(defaults).digest() == recipe.digest()
    turned = _written(
        tmp_path, 'crack = "critical"\nstain = "minor"', 'stain = "minor"\ncrack = "critical"'
    )
    assert read_recipe(turned).digest() == recipe.digest()
    assert Recipe.model_validate(recipe.model_dump(mode="json")).digest() == recipe.digest()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("seed = 4", "seed = 5"),
        ('path = "parts"', 'path = "others"'),
        ("[64, 96]", "[96, 64]"),
        ("[64, 96]", "[64, 96]\nblock_options = {ratio = 4}"),
        ("[64, 96]", "[64, 96]\npooling_options = {cap = 2.0}"),
        ("rotate_deg = 3.0", "rotate_deg = 3.5"),
        ('crack = "critical"', 'crack = "major"'),
        ("max_escape = 0.01", "max_escape = 0.02"),
    ],
)
def test_every_value_counts_in_the_digest(tmp_path: Path, old: str, new: str) -> None:
    before = read_recipe(_written(tmp_path)).digest()
    assert read_recipe(_written(tmp_path, old, new)).digest() != before


def test_a_recipe_does_not_change(tmp_path: Path) -> None:
    recipe: Any = read_recipe(_written(tmp_path))
    with pytest.raises(ValueError, match="frozen"):
        recipe.seed = 5
    with pytest.raises(ValueError, match="frozen"):
        recipe.train.epochs = 1


# where the dataset lies


def test_the_dataset_is_beside_the_recipe_or_where_it_was_said(tmp_path: Path) -> None:
    path = _written(tmp_path)
    recipe = read_recipe(path)
    for place in (tmp_path / "parts", tmp_path / "data" / "parts", tmp_path / "other"):
        place.mkdir(parents=True)
    assert dataset_path(recipe, path, None) == tmp_path / "parts"
    assert dataset_path(recipe, path, tmp_path / "data") == tmp_path / "data" / "parts"
    assert dataset_path(recipe, path, tmp_path / "other") == tmp_path / "other"


def test_a_dataset_that_is_not_there_names_every_place(tmp_path: Path) -> None:
    path = _written(tmp_path)
    recipe = read_recipe(path)
    with pytest.raises(DataError) as caught:
        dataset_path(recipe, path, None)
    assert caught.value.where == str(path) and "--data or QC_DATA" in caught.value.message
    assert str(tmp_path / "parts") in caught.value.message
    with pytest.raises(DataError) as caught:
        dataset_path(recipe, path, tmp_path / "gone")
    assert f"{tmp_path / 'gone' / 'parts'} or {tmp_path / 'gone'}" in caught.value.message


def test_what_was_said_is_not_replaced_by_what_lies_beside_the_recipe(tmp_path: Path) -> None:
    path = _written(tmp_path)
    (tmp_path / "parts").mkdir()
    with pytest.raises(DataError):
        dataset_path(read_recipe(path), path, tmp_path / "gone")
