"""Options of blocks and poolings by recipe: each plugin takes every argument of its own.

A file added to training/blocks or training/poolings is held to it at once.
"""

from __future__ import annotations

import inspect
from typing import Any

import keras
import pytest

from qc.errors import RecipeError
from qc.plugins import names, resolve
from qc.recipe import ModelTable
from qc.tables import read_table
from training.model import build_model
from training.options import legal_options

PLUGINS = [("block", name) for name in names("block")]
PLUGINS += [("pooling", name) for name in names("pooling")]

pytestmark = pytest.mark.usefixtures("repeatable")


def _table(kind: str, name: str, /, **options: Any) -> ModelTable:
    raw = {
        "backbone": "inverted_residual",
        "size_hw": [32, 32],
        "stride": 8,
        "width": 0.35,
        "block": "none",
        kind: name,
        f"{kind}_options": options,
    }
    return read_table(raw, ModelTable, "toy.toml")


def _layer(kind: Any, name: str) -> type[keras.layers.Layer]:
    module = resolve(kind, name)
    found: type[keras.layers.Layer] = module.Block if kind == "block" else module.Pooling
    return found


def _others(layer: type[keras.layers.Layer]) -> dict[str, Any]:
    """A legal value of each option that is not its default, as TOML would give it."""
    found: dict[str, Any] = {}
    for name in legal_options(layer):
        default = inspect.signature(layer.__init__).parameters[name].default
        if isinstance(default, bool):
            found[name] = not default
        elif name == "kernel_size":
            found[name] = 3 if default != 3 else 5
        elif isinstance(default, int):
            found[name] = default // 2
        else:
            found[name] = default / 2
    return found


def _built(kind: str, model: keras.Model) -> list[keras.layers.Layer]:
    if kind == "pooling":
        return [model.get_layer("head").pooling]
    return [layer for layer in model.layers if layer.name.endswith("_attention")]


@pytest.mark.parametrize(("kind", "name"), PLUGINS)
def test_every_option_is_taken(kind: str, name: str) -> None:
    given = _others(_layer(kind, name))
    layers = _built(kind, build_model(_table(kind, name, **given), 2))
    assert layers
    for layer in layers:
        assert {key: layer.get_config()[key] for key in given} == given


@pytest.mark.parametrize(("kind", "name"), PLUGINS)
def test_an_unknown_option_names_plugin_key_and_nearest(kind: str, name: str) -> None:
    legal = legal_options(_layer(kind, name))
    asked = legal[0] + "s" if legal else "ratio"
    with pytest.raises(RecipeError) as caught:
        build_model(_table(kind, name, **{asked: 2}), 2)
    said = str(caught.value)
    assert said.startswith(f"model.{kind}_options.{asked}: {kind} {name} has no option '{asked}'")
    if legal:
        assert f"did you mean '{legal[0]}'?; expected some of {', '.join(legal)}" in said
    else:
        assert said.endswith("expected none: it has no options")


@pytest.mark.parametrize(("kind", "name"), PLUGINS)
@pytest.mark.parametrize("value", ["many", -3, [2]])
def test_a_value_that_is_none_is_refused(kind: str, name: str, value: object) -> None:
    for key in legal_options(_layer(kind, name)):
        with pytest.raises(RecipeError) as caught:
            build_model(_table(kind, name, **{key: value}), 2)
        said = str(caught.value)
        assert f"model.{kind}_options: {kind} {name} refuses its options; found {key} must" in said
        assert repr(value) in said


@pytest.mark.parametrize("key", ["name", "dtype", "trainable"])
def test_what_every_layer_takes_is_no_option(key: str) -> None:
    with pytest.raises(RecipeError, match=f"block cbam has no option '{key}'"):
        build_model(_table("block", "cbam", **{key: "x"}), 2)


def test_a_block_that_does_not_fit_with_its_options_names_the_stage() -> None:
    with pytest.raises(RecipeError, match=r"model\.block: block self_attention does not fit stage"):
        build_model(_table("block", "self_attention", heads=7), 2)


def test_options_without_a_block_are_refused() -> None:
    with pytest.raises(RecipeError, match=r"toy\.toml: block_options are of a block"):
        _table("block", "none", ratio=4)
