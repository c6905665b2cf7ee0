"""Checks that the blocks share: sizes given by the caller, and shapes given by the features."""

from __future__ import annotations

Shape = tuple[int | None, ...]


def check_whole(name: str, value: object, least: int = 1) -> None:
    """Raise ValueError where an argument is not a whole number of at least `least`."""
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise ValueError(f"{name} must be a whole number of at least {least}, found {value!r}")


def check_odd(name: str, value: object) -> None:
    """Raise ValueError where a side has no middle."""
    check_whole(name, value)
    if isinstance(value, int) and value % 2 == 0:
        raise ValueError(f"{name} must be odd, found {value}")


def check_flag(name: str, value: object) -> None:
    """Raise ValueError where an argument is not true or false."""
    if not isinstance(value, bool):
        raise ValueError(f"{name} must be true or false, found {value!r}")


def channels_of(input_shape: Shape) -> int:
    """C of `(B, H, W, C)`; ValueError where it is not known, or this is no feature map."""
    if len(input_shape) != 4:
        raise ValueError(f"features must be (B, H, W, C), found {tuple(input_shape)}")
    channels = input_shape[-1]
    if channels is None:
        raise ValueError(f"the number of channels must be known, found {tuple(input_shape)}")
    return channels


def map_of(input_shape: Shape) -> tuple[int, int]:
    """H and W of `(B, H, W, C)`; ValueError where one is not known."""
    height, width = input_shape[1:3]
    if height is None or width is None:
        raise ValueError(f"height and width must be known, found {tuple(input_shape)}")
    return height, width
