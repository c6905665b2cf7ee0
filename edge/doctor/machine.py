"""The machine: processor, memory, clock, cameras, accelerators. It only looks; nothing is set."""

from __future__ import annotations

import ctypes
import os
import platform
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

from edge.doctor.checks import Examination
from qc.cores import usable_cores

LEAST_MEMORY = 256e6
"""Bytes; what a line with small frames needs, with some to spare."""

ROOT = Path("/")

_X86 = ("sse4_2", "avx2", "fma", "avx512f", "avx512_vnni", "avx_vnni")
_ARM = ("asimd", "asimddp", "i8mm")
_FAST = {"x86_64": "avx2", "aarch64": "asimddp"}
"""Without it, int8 runs slower than people who bought the machine expect."""

_TIME_ERROR = 5

_ACCELERATORS = (
    ("dev/apex_*", "Coral Edge TPU"),
    ("dev/ethosu*", "Ethos-U"),
    ("dev/hailo*", "Hailo"),
    ("dev/nvidia[0-9]*", "NVIDIA GPU"),
    ("dev/dri/renderD*", "GPU"),
)
_CORAL_USB = {("1a6e", "089a"), ("18d1", "9302")}


def examine(found: Examination, root: Path = ROOT) -> None:
    """Look at all of it.

    Args:
        found: where it is noted.
        root: of the system's files.
    """
    _processor(found, root)
    _memory(found, root)
    _clock(found)
    _cameras(found, root)
    _accelerators(found, root)


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _fields(text: str) -> dict[str, str]:
    """The last "name : value" of each name."""
    pairs = (line.partition(":") for line in text.splitlines() if ":" in line)
    return {name.strip(): value.strip() for name, _, value in pairs}


def _share(root: Path) -> float | None:
    """Processors that a container may use, such as 0.5; None: no limit."""
    quota, _, period = _text(root / "sys/fs/cgroup/cpu.max").strip().partition(" ")
    if not quota:
        old = root / "sys/fs/cgroup/cpu"
        quota = _text(old / "cpu.cfs_quota_us").strip()
        period = _text(old / "cpu.cfs_period_us").strip()
    try:
        share = int(quota) / int(period)
    except (ValueError, ZeroDivisionError):
        return None
    return share if share > 0 else None


def _processor(found: Examination, root: Path) -> None:
    told = _fields(_text(root / "proc/cpuinfo"))
    model = told.get("model name") or told.get("Model") or platform.processor() or "unknown"
    machine = platform.machine()
    flags = set((told.get("flags") or told.get("Features") or "").split())
    have = [flag for flag in (*_X86, *_ARM) if flag in flags]
    cores = usable_cores()
    share = _share(root)
    text = f"{model}, {cores} cores, {' '.join(have) or 'flags unknown'}"
    if share is not None:
        text += f"; at most {share:g} of them for this container"
    found.facts["cpu"] = {
        "model": model,
        "machine": machine,
        "cores": cores,
        "share": share,
        "flags": have,
    }
    wanted = _FAST.get(machine, "")
    slow = bool(flags) and wanted not in {"", *flags}
    found.add(
        "processor",
        "warning" if slow else "ok",
        text,
        expected=f"{wanted}: models run slower without it",
        fix="see how long an inspection takes: qc doctor BUNDLE",
    )


def _memory(found: Examination, root: Path) -> None:
    told = _fields(_text(root / "proc/meminfo"))
    try:
        total, free = (int(told[name].split()[0]) * 1024 for name in ("MemTotal", "MemAvailable"))
    except (KeyError, ValueError, IndexError):
        found.facts["memory"] = None
        found.add("memory", "note", "not told by this system")
        return
    limits = [
        int(text)
        for name in ("memory.max", "memory/memory.limit_in_bytes")
        if (text := _text(root / "sys/fs/cgroup" / name).strip()).isdecimal()
    ]
    limit = min([total, *limits])
    free = min(free, limit)
    found.facts["memory"] = {"total_bytes": limit, "free_bytes": free}
    found.add(
        "memory",
        "warning" if free < LEAST_MEMORY else "ok",
        f"{free / 1e9:.1f} GB of {limit / 1e9:.1f} GB free"
        + (" (limit of the container)" if limit < total else ""),
        expected=f"{LEAST_MEMORY / 1e6:.0f} MB free",
        fix="end what else runs here",
    )


class _Timex(ctypes.Structure):
    """The beginning of `struct timex` (adjtimex(2)), and room for the rest."""

    _fields_ = (("modes", ctypes.c_uint), ("rest", ctypes.c_char * 508))


def is_synchronised() -> bool | None:
    """Whether the kernel's clock is held to another; None where that cannot be asked."""
    if sys.platform != "linux":
        return None
    try:
        adjtimex = ctypes.CDLL(None, use_errno=True).adjtimex
    except (OSError, AttributeError):
        return None
    state = int(adjtimex(ctypes.byref(_Timex())))  # modes 0: it only asks
    return None if state < 0 else state != _TIME_ERROR


def _clock(found: Examination) -> None:
    now = time.time()
    made = Path(__file__).stat().st_mtime
    held = is_synchronised()
    found.facts["clock"] = {
        "utc": datetime.fromtimestamp(now, UTC).isoformat(timespec="seconds"),
        "synchronised": held,
    }
    text = f"{datetime.fromtimestamp(now, UTC):%Y-%m-%d %H:%M:%S} UTC"
    installed = f"{datetime.fromtimestamp(made, UTC):%Y-%m-%d}"
    if now < made - 86400:
        found.add(
            "clock",
            "wrong",
            text,
            expected=f"after {installed}, when this program was installed",
            fix="set the clock: the journal's times come from it",
        )
    elif held is False:
        found.add(
            "clock",
            "warning",
            f"{text}, held to no other clock",
            expected="a clock that is synchronised",
            fix="timedatectl set-ntp true, or install chrony",
        )
    else:
        beside = "synchronised" if held else "whether it is synchronised is not told here"
        found.add("clock", "ok", f"{text}, {beside}")


def _cameras(found: Examination, root: Path) -> None:
    devices = sorted((root / "dev").glob("video*"))
    shut = [str(d) for d in devices if not os.access(d, os.R_OK | os.W_OK)]
    named = []
    for device in devices:
        name = _text(root / "sys/class/video4linux" / device.name / "name").strip()
        named.append({"device": str(device), "name": name, "allowed": str(device) not in shut})
    found.facts["cameras"] = named
    if not devices:
        found.add("cameras", "note", "no /dev/video*")
        return
    text = ", ".join(f"{c['device']} ({c['name'] or 'no name'})" for c in named)
    found.add(
        "cameras",
        "warning" if shut else "ok",
        text,
        expected=f"that this user may open {', '.join(shut)}",
        fix="sudo usermod -aG video $USER, then log in anew",
    )


def _accelerators(found: Examination, root: Path) -> None:
    there = [
        {"device": str(device), "name": name}
        for pattern, name in _ACCELERATORS
        for device in sorted(root.glob(pattern))
    ]
    for vendor in sorted((root / "sys/bus/usb/devices").glob("*/idVendor")):
        pair = (_text(vendor).strip(), _text(vendor.with_name("idProduct")).strip())
        if pair in _CORAL_USB:
            there.append({"device": str(vendor.parent), "name": "Coral Edge TPU (USB)"})
    found.facts["accelerators"] = there
    text = ", ".join(f"{one['name']} {one['device']}" for one in there)
    found.add(
        "accelerators", "note", f"{text}: not used, a line runs on the CPU" if there else "none"
    )
