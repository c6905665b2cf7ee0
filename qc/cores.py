"""How many cores this program may use."""

from __future__ import annotations

import os


def usable_cores() -> int:
    """Those it is allowed; those of the machine where the system does not say."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
