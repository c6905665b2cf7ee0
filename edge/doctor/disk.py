"""The disk under a journal: whether it can be written and synced, how fast, and what is free."""

from __future__ import annotations

import os
import shutil
import sqlite3
import statistics
import tempfile
import time
from contextlib import closing
from pathlib import Path

from edge.doctor.checks import Examination

SYNCS = 20
"""Syncs that are timed; fewer where they take more than two seconds."""

SLOW_SYNC_MS = 50.0
LITTLE_BYTES = 2e9
"""Free bytes under which somebody should look; docs/deploy alarms at the same."""

_NETWORK = {"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "ceph", "glusterfs", "afs", "fuse.sshfs"}
_PASSING = {"tmpfs": "a restart of the machine", "ramfs": "a restart of the machine",
            "overlay": "the container"}  # fmt: skip
"""File systems whose files go away, and with what."""


def examine(found: Examination, journal: Path, min_free_gb: float) -> None:
    """Look at the folder of a journal; nothing stays in it.

    Args:
        found: where it is noted.
        journal: that a line will write; its folder need not be there yet.
        min_free_gb: free gigabytes under which a line keeps no picture.
    """
    folder = journal.parent.resolve()
    there = next(f for f in (folder, *folder.parents) if f.exists())
    facts: dict[str, object] = {"folder": str(folder), "file_system": file_system(there)}
    found.facts["disk"] = facts
    beside = "" if there == folder else " (it will be made)"
    try:
        _room(found, there, min_free_gb, facts)
        with tempfile.TemporaryDirectory(prefix=".qc-doctor-", dir=there) as name:
            p50_ms, max_ms = sync_ms(Path(name))
            mode = wal(Path(name) / "wal.db")
    except (OSError, sqlite3.Error) as error:
        found.add(
            "journal folder",
            "wrong",
            f"{folder}{beside}: {getattr(error, 'strerror', None) or error}",
            expected="a folder that this user can write",
            fix=f"sudo install -d -o $USER {folder}",
        )
        return
    _kind(found, folder, beside, facts, mode)
    facts |= {"fsync_p50_ms": round(p50_ms, 3), "fsync_max_ms": round(max_ms, 3)}
    found.add(
        "sync",
        "warning" if p50_ms > SLOW_SYNC_MS else "ok",
        f"{p50_ms:.1f} ms, at worst {max_ms:.1f} ms",
        expected=f"at most {SLOW_SYNC_MS:g} ms: a verdict is told when its row is synced",
        fix='an SSD, or durability = "normal" in the line file',
    )


def _room(found: Examination, there: Path, min_free_gb: float, facts: dict[str, object]) -> None:
    free = shutil.disk_usage(there).free
    facts["free_bytes"] = free
    none = free < max(min_free_gb * 1e9, 1e7)
    found.add(
        "free disk",
        "wrong" if none else "warning" if free < LITTLE_BYTES else "ok",
        f"{free / 1e9:.1f} GB",
        expected=f"{min_free_gb:g} GB: no picture is kept under that"
        if none
        else f"{LITTLE_BYTES / 1e9:g} GB",
        fix="free some, or limit the pictures by [keep] of the line file",
    )


def _kind(
    found: Examination, folder: Path, beside: str, facts: dict[str, object], mode: str
) -> None:
    kind = str(facts["file_system"])
    text = f"{folder}{beside}, {kind or 'file system unknown'}"
    if kind in _NETWORK or mode != "wal":
        why = "" if mode == "wal" else f", SQLite gives '{mode}'"
        found.add(
            "journal folder",
            "wrong",
            text + why,
            expected="a local disk with write-ahead logging",
            fix="name a journal on a local disk",
        )
    elif kind in _PASSING:
        found.add(
            "journal folder",
            "warning",
            text,
            expected=f"a disk that outlives {_PASSING[kind]}",
            fix="name a journal on a disk, or mount a volume",
        )
    else:
        found.add("journal folder", "ok", text)


def file_system(folder: Path) -> str:
    """The kind of file system that holds a folder, such as "ext4"; "" where that is not told."""
    try:
        lines = Path("/proc/self/mounts").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    where = folder.resolve()
    kinds = {}
    for line in lines:
        words = line.split()
        if len(words) < 3:
            continue
        place = Path(words[1].replace("\\040", " "))
        if place == where or place in where.parents:
            kinds[place] = words[2]
    return kinds[max(kinds, key=lambda place: len(place.parts))] if kinds else ""


def sync_ms(folder: Path) -> tuple[float, float]:
    """The median and the longest time to append 4 kB to a file and sync it, milliseconds.

    Raises:
        OSError: it cannot be written or synced.
    """
    times: list[float] = []
    number = os.open(folder / "sync", os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        until = time.monotonic() + 2
        while len(times) < SYNCS and (not times or time.monotonic() < until):
            begin = time.perf_counter()
            os.write(number, bytes(4096))
            os.fsync(number)
            times.append((time.perf_counter() - begin) * 1000)
    finally:
        os.close(number)
    return statistics.median(times), max(times)


def wal(path: Path) -> str:
    """How SQLite would write a journal there; "wal" is what a journal needs.

    Raises:
        sqlite3.Error: not at all.
    """
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        (mode,) = connection.execute("PRAGMA journal_mode=WAL").fetchone()
        connection.execute("CREATE TABLE a (b)")
        return str(mode)
