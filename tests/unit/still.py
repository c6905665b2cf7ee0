"""Augmentation that changes nothing, for tests that turn on one thing, and nearly all of it."""

from __future__ import annotations

from qc.recipe import AugmentTable

STILL = AugmentTable(
    flip_horizontal=False,
    flip_vertical=False,
    rotate_deg=0,
    shift=0,
    scale=0,
    brightness=0,
    contrast=0,
    noise=0,
)

EVERYTHING = AugmentTable(
    quarter_turns=True,
    rotate_deg=20,
    shift=0.2,
    scale=0.2,
    gamma=0.5,
    uneven_light=0.2,
    defocus=4,
    motion_blur=9,
    noise=0.1,
    jpeg=60,
    cut_out=0.4,
)
