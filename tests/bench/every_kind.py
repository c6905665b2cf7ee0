"""Every kind of augmentation at once, for the benches of training."""

from __future__ import annotations

from typing import Any

EVERYTHING: dict[str, Any] = {
    "quarter_turns": True,
    "rotate_deg": 10,
    "shift": 0.05,
    "scale": 0.1,
    "gamma": 0.3,
    "uneven_light": 0.2,
    "defocus": 3,
    "motion_blur": 7,
    "noise": 0.03,
    "jpeg": 50,
    "cut_out": 0.2,
    "copy_paste": 0.3,
}
"""A recipe's `[train.augment]`."""
