"""A block or a pooling with the arguments of its own that a recipe names: `model.block_options`.

The legal names are those of the plugin's constructor, so a new plugin's arguments can be named in a
recipe as soon as its file is there.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import keras

from qc.errors import RecipeError, nearest


def legal_options(layer: type[keras.layers.Layer]) -> list[str]:
    """The constructor's own arguments, without those that every Keras layer takes."""
    shared = set(inspect.signature(keras.layers.Layer.__init__).parameters)
    return [name for name in inspect.signature(layer.__init__).parameters if name not in shared]


def check_options(
    layer: type[keras.layers.Layer], named: str, options: Mapping[str, Any], key: str
) -> None:
    """Refuse an option that the constructor does not know.

    Args:
        layer: what the options are for.
        named: the plugin in words, such as "block cbam".
        options: as the recipe has them.
        key: the recipe's table of options, such as "model.block_options".

    Raises:
        RecipeError: names plugin, key and the nearest legal one.
    """
    legal = legal_options(layer)
    for name in options:
        if name not in legal:
            near = nearest(name, legal)
            raise RecipeError(
                f"{named} has no option '{name}'" + (f", did you mean '{near}'?" if near else ""),
                where=f"{key}.{name}",
                expected=f"some of {', '.join(legal)}" if legal else "none: it has no options",
            )


def make_layer(
    layer: type[keras.layers.Layer], named: str, options: Mapping[str, Any], key: str, **given: Any
) -> keras.layers.Layer:
    """A layer with the recipe's options.

    Args:
        layer, named, options, key: as of `check_options`.
        given: what every Keras layer takes, such as its name.

    Raises:
        RecipeError: an option that is unknown, or a value that the layer refuses.
    """
    check_options(layer, named, options, key)
    try:
        return layer(**options, **given)
    except (ValueError, TypeError) as error:
        raise RecipeError(
            f"{named} refuses its options", where=key, found=str(error).splitlines()[0]
        ) from error
