"""Starts a program anew so that its memory comes in huge pages, where Linux gives them on request.

A training reads and writes hundreds of MB in each step; pages of 2 MB in place of 4 KB spare the
processor the search for them, up to 4 % of the time on two cores (decision 0019). glibc's malloc
asks for them where `GLIBC_TUNABLES` says so (manual of glibc, "Memory Allocation Tunables"), but it
reads that only when a program starts.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path

_SWITCH = Path("/sys/kernel/mm/transparent_hugepage/enabled")
_TUNABLES, _ASK = "GLIBC_TUNABLES", "glibc.malloc.hugetlb=1"


def restart_with_huge_pages() -> None:
    """Start this command anew with huge pages; goes on where that is not possible or needed.

    That is: on other systems than Linux with glibc 2.35 or newer, where the kernel gives huge pages
    to all or to none, where the user has set `GLIBC_TUNABLES` himself, and inside a program that
    was not started as this command.
    """
    arguments = sys.argv[1:]
    if _TUNABLES in os.environ or not arguments or sys.orig_argv[-len(arguments) :] != arguments:
        return
    try:
        given_on_request = "[madvise]" in _SWITCH.read_text()
    except OSError:
        return
    if given_on_request and _glibc() >= (2, 35):
        os.environ[_TUNABLES] = _ASK
        with suppress(OSError):
            os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def _glibc() -> tuple[int, ...]:
    try:
        name, _, version = (os.confstr("CS_GNU_LIBC_VERSION") or "").partition(" ")
        return tuple(map(int, version.split("."))) if name == "glibc" else (0,)
    except (ValueError, OSError):
        return (0,)
