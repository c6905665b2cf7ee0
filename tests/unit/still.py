"""Augmentation that changes nothing, for tests that turn on one thing."""

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
